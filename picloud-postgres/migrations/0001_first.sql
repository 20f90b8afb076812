CREATE TABLE {s}.apps (
    id uuid PRIMARY KEY,
    slug text COLLATE "C" NOT NULL CONSTRAINT apps_slug_taken UNIQUE,
    created_at timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {s}.apps IS 'The tenants. Everything else belongs to one of them.';
COMMENT ON COLUMN {s}.apps.revision IS 'Grows with every change to the scripts, routes and triggers of the app.';

CREATE TABLE {s}.scripts (
    app uuid NOT NULL,
    id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (app, id),
    CONSTRAINT scripts_name_taken UNIQUE (app, name) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE {s}.scripts IS 'Each script at its latest version; the versions are in script_versions.';

CREATE TABLE {s}.script_versions (
    app uuid NOT NULL,
    script uuid NOT NULL,
    version bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    sandbox json NOT NULL,
    timeout_seconds integer,
    owner json NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (app, script, version)
);
COMMENT ON TABLE {s}.script_versions IS 'Every version of every script, as it was saved.';
COMMENT ON COLUMN {s}.script_versions.owner IS 'Who made the script: "api", a deployed folder, or "directive".';

CREATE TABLE {s}.routes (
    app uuid NOT NULL,
    id uuid NOT NULL,
    script uuid NOT NULL,
    method text NOT NULL,
    host text,
    path text NOT NULL,
    dispatch_mode text NOT NULL,
    owner json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE INDEX routes_script ON {s}.routes (app, script);
COMMENT ON TABLE {s}.routes IS 'Which script answers which requests; patterns as they were typed.';

CREATE TABLE {s}.triggers (
    app uuid NOT NULL,
    id uuid NOT NULL,
    script uuid NOT NULL,
    kind json NOT NULL,
    enabled boolean NOT NULL,
    dispatch_mode text NOT NULL,
    retry json NOT NULL,
    registered_by json NOT NULL,
    owner json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE INDEX triggers_script ON {s}.triggers (app, script);
COMMENT ON TABLE {s}.triggers IS 'Which script handles which events.';
COMMENT ON COLUMN {s}.triggers.kind IS 'The kind of event, and what of it is watched.';
COMMENT ON COLUMN {s}.triggers.registered_by IS 'The principal as whom the script runs, looked up at each run.';

CREATE SEQUENCE {s}.kv_version;
COMMENT ON SEQUENCE {s}.kv_version IS 'One for all keys, so that the versions of a key never repeat.';

CREATE TABLE {s}.kv (
    app uuid NOT NULL,
    collection text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text,
    version bigint NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (app, collection, key)
) WITH (fillfactor = 90);
CREATE INDEX kv_expired ON {s}.kv (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE {s}.kv IS 'Values under keys. Expired and deleted entries stay for a while, so that versions never fall.';
COMMENT ON COLUMN {s}.kv.value IS 'Canonical JSON as text: a json type would not keep every number as it was. NULL: deleted.';
COMMENT ON COLUMN {s}.kv.expires_at IS 'From then on the entry is as if it were deleted; for one that was, when.';

CREATE TABLE {s}.outbox (
    id uuid PRIMARY KEY,
    app uuid NOT NULL,
    kind text NOT NULL,
    trigger uuid,
    script uuid NOT NULL,
    payload text NOT NULL,
    trigger_depth integer NOT NULL,
    trace uuid NOT NULL,
    request uuid NOT NULL,
    parent uuid,
    occurred_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    state smallint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    claim bigint NOT NULL DEFAULT 0,
    worker uuid
) WITH (fillfactor = 70);
CREATE INDEX outbox_due ON {s}.outbox (run_at, id) WHERE state = 0;
CREATE INDEX outbox_taken ON {s}.outbox (worker) WHERE state = 1;
COMMENT ON TABLE {s}.outbox IS 'Events on their way to the scripts that handle them. A handled event is removed.';
COMMENT ON COLUMN {s}.outbox.state IS '0: waits until run_at. 1: with the worker.';
COMMENT ON COLUMN {s}.outbox.attempt IS 'How often a worker began with it, counted when it is claimed.';
COMMENT ON COLUMN {s}.outbox.claim IS 'Grows with every claim: a worker that was taken over settles nothing by an older number.';

CREATE TABLE {s}.fired (
    app uuid NOT NULL,
    trigger uuid NOT NULL,
    scheduled_for timestamptz NOT NULL,
    PRIMARY KEY (app, trigger)
);
COMMENT ON TABLE {s}.fired IS 'The last time that each trigger fired for, of those that fire by the clock.';

CREATE TABLE {s}.workers (
    id uuid PRIMARY KEY,
    beat_at timestamptz NOT NULL,
    gone_at timestamptz
);
COMMENT ON TABLE {s}.workers IS 'Processes that handle events. One that is silent for its lease is gone, and its events are taken over.';

CREATE TABLE {s}.dead_letters (
    app uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    trigger uuid,
    script uuid NOT NULL,
    payload text NOT NULL,
    trigger_depth integer NOT NULL,
    trace uuid NOT NULL,
    request uuid NOT NULL,
    parent uuid,
    occurred_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    died_at timestamptz NOT NULL,
    claim bigint NOT NULL,
    resolution text,
    resolved_at timestamptz,
    PRIMARY KEY (app, id)
);
CREATE INDEX dead_letters_old ON {s}.dead_letters (died_at);
CREATE INDEX dead_letters_open ON {s}.dead_letters (app, died_at DESC, id DESC) WHERE resolution IS NULL;
COMMENT ON COLUMN {s}.dead_letters.claim IS 'The last claim of the event: its numbers go on when it is sent again.';
COMMENT ON COLUMN {s}.dead_letters.resolution IS 'NULL: open. Else what became of it.';
CREATE INDEX dead_letters_newest ON {s}.dead_letters (app, died_at DESC, id DESC);
COMMENT ON TABLE {s}.dead_letters IS 'Events that were given up, with all that is needed to look into them.';

CREATE TABLE {s}.executions (
    app uuid NOT NULL,
    id uuid NOT NULL,
    script uuid NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    record json NOT NULL,
    PRIMARY KEY (app, id)
);
CREATE INDEX executions_newest ON {s}.executions (app, started_at DESC, id DESC);
-- Records come in the order of time, more or less: a block range tells which are old, and costs nothing to keep.
CREATE INDEX executions_old ON {s}.executions USING brin (started_at);
COMMENT ON TABLE {s}.executions IS 'The execution log: one record for each run of a script.';
