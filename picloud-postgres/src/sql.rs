//! Every statement, built once at start: the only place where text becomes SQL.
//!
//! What varies in the text is the name of the schema, which was checked when it was made. Everything that comes from
//! callers is a bound parameter.

mod docs;
mod files;
mod kv;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr, SqlStr};

use crate::schema::SchemaName;

pub(crate) use docs::{DocsSql, FILLED_AT_ONCE, Filtered, Kept, MOST_WALKED, Walk};
use docs::{
    docs_create, docs_create_quick, docs_create_silent, docs_delete, docs_index_fill, docs_update,
    docs_update_quick, docs_update_silent,
};
use files::{FILES_GET, FILES_IN_USE, FILES_LIST, files_create, files_delete, files_update};
use kv::{COMPARE_AND_SET, DELETE, INCREMENT, SET, with_fresh};
use queue::{CONSUMERS, DELAYED, KEYS, NEXT_DELAY, NEXT_OF_KEYS, PROMOTE, ROOM, SEND};

/// A statement.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    text: Arc<str>,
    /// Prepared once per connection, under a name. Not through a pooler, where the name would meet another connection.
    named: bool,
}

impl Statement {
    /// The statement, to bind its parameters.
    pub(crate) fn query(&self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(self.text.clone())).persistent(self.named)
    }

    /// The statement, to be run and to tell how.
    #[cfg(test)]
    pub(crate) fn explained(&self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(format!("EXPLAIN (ANALYZE, COSTS OFF) {}", self.text)))
    }

    /// The statement, to be prepared by hand.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The statement as one message, for `raw_sql`: without parameters.
    pub(crate) fn simple(&self) -> SqlStr {
        AssertSqlSafe(self.text.clone()).into_sql_str()
    }
}

/// A statement that takes rows of the outbox along, where its text says `{rows}`: parameters $5 to $8, each a value if there
/// is one row, as mostly, and else an array. Arrays cost the database a tenth of a short write.
#[derive(Debug, Clone)]
pub(crate) struct EventStatement {
    one: Statement,
    any: Statement,
}

const ONE_ROW: &str =
    "(SELECT $5::uuid AS id, $6::smallint AS ops, $7::uuid AS trigger, $8::uuid AS script) AS row";

const ANY_ROWS: &str =
    "unnest($5::uuid[], $6::smallint[], $7::uuid[], $8::uuid[]) AS row (id, ops, trigger, script)";

impl EventStatement {
    fn new(text: &str, named: bool) -> Self {
        let with = |rows: &str| Statement { text: text.replace("{rows}", rows).into(), named };
        EventStatement { one: with(ONE_ROW), any: with(ANY_ROWS) }
    }

    /// The statement for so many rows.
    pub(crate) fn for_rows(&self, rows: usize) -> &Statement {
        if rows == 1 { &self.one } else { &self.any }
    }
}

/// Begins a transaction whose statements take at most that long, as one message.
pub(crate) fn begin(statement_timeout: Duration) -> SqlStr {
    let limit = statement_timeout.as_millis();
    AssertSqlSafe(format!("BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL jit = off")).into_sql_str()
}

macro_rules! statements {
    (
        $($(#[$doc:meta])* $name:ident = $text:expr;)*
        @with_events
        $($(#[$event_doc:meta])* $event:ident = $event_text:expr;)*
    ) => {
        /// The statements for one schema.
        #[derive(Debug)]
        pub(crate) struct Sql {
            /// Queries over documents.
            pub(crate) docs: DocsSql,
            $($(#[$doc])* pub(crate) $name: Statement,)*
            $($(#[$event_doc])* pub(crate) $event: EventStatement,)*
        }

        impl Sql {
            pub(crate) fn new(schema: &SchemaName, named: bool) -> Self {
                let fill = |text: &str| -> String {
                    let text = text.replace("{alive}", ALIVE).replace("{fresh}", FRESH);
                    let text = text.replace("{room}", ROOM);
                    let text = text.replace("{held}", HELD);
                    schema.fill(&text.replace("{freed}", FREED).replace("{waiting}", WAITING))
                };
                Sql {
                    docs: DocsSql::new(schema, named),
                    $($name: Statement { text: fill(&$text).into(), named },)*
                    $($event: EventStatement::new(&fill(&$event_text), named),)*
                }
            }
        }
    };
}

/// Whether an entry is there. Not `now()`, which stands still in a transaction.
const ALIVE: &str = "value IS NOT NULL AND (expires_at IS NULL OR expires_at > statement_timestamp())";

/// Whether the app has the revision $4, if that matters.
const FRESH: &str = "($4::bigint IS NULL OR EXISTS (SELECT 1 FROM {s}.apps WHERE id = $1 AND revision = $4))";

/// Of a settled row of the outbox `o`: whose message it was, if it was one, and behind what key others may wait.
/// The rows to settle: $1 the worker, $2 and $3 ids and claims. As many looks into the primary key as there are rows, which
/// `ANY` asks for. Not a join: of arrays that it does not know a plan expects ten elements, compares each row with each
/// claim, and takes ten times as long. Nothing is said of `state`, which follows from `worker`: or else planners take the
/// index of what is with a worker, and read what has long been removed.
const HELD: &str =
    "o.id = ANY($2::uuid[]) AND o.worker = $1 AND o.claim = ($3::bigint[])[array_position($2::uuid[], o.id)]";

const FREED: &str = "CASE WHEN o.position IS NOT NULL THEN o.app END AS freed_app,
              CASE WHEN o.position IS NOT NULL THEN o.trigger END AS freed_trigger, o.order_key";

/// The state of a row of the outbox `o` that is put back for a while, $4: messages of queues wait apart.
const WAITING: &str =
    "CASE WHEN o.position IS NULL THEN 0 WHEN ($4::bigint[])[array_position($2, o.id)] > 0 THEN 3 ELSE 2 END";

/// The columns of a row of the outbox, in the order in which they are read.
const ROW: &str =
    "id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at";

fn with_row(text: &str) -> String {
    const LETTER: &str = "attempts, reason, error, died_at, resolution, resolved_at";
    text.replace("{row}", ROW)
        .replace("{letter}", LETTER)
        .replace("{o.row}", &format!("o.{}", ROW.replace(", ", ", o.")))
}

/// $1 the worker, $2 how many. With `now()` and its index an empty claim is one look, however many rows wait for their time.
fn claim(condition: &str) -> String {
    with_row(&format!(
        "WITH due AS MATERIALIZED (
             SELECT id FROM {{s}}.outbox WHERE state = 0 AND run_at <= now() {condition}
             AND EXISTS (SELECT 1 FROM {{s}}.workers WHERE id = $1 AND gone_at IS NULL)
             ORDER BY run_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
         ) UPDATE {{s}}.outbox o SET state = 1, attempt = o.attempt + 1, claim = o.claim + 1, worker = $1
         FROM due WHERE o.id = due.id RETURNING {{o.row}}, o.attempt, o.claim, o.run_at, o.replayed"
    ))
}

/// Puts back what is with the worker $1.
fn give_back(condition: &str) -> String {
    format!(
        "UPDATE {{s}}.outbox o SET state = CASE WHEN position IS NULL THEN 0 ELSE 2 END, worker = NULL, run_at = now(),
             attempt = greatest(attempt - 1, 0) WHERE worker = $1 AND state = 1 {condition}"
    )
}

/// The nodes that sent something, each found by one look into the index, however much they sent.
fn with_nodes(text: &str) -> String {
    format!(
        "WITH RECURSIVE nodes AS (
             (SELECT node FROM {{s}}.ephemeral ORDER BY node LIMIT 1)
             UNION ALL
             SELECT (SELECT e.node FROM {{s}}.ephemeral e WHERE e.node > n.node ORDER BY e.node LIMIT 1)
             FROM nodes n WHERE n.node IS NOT NULL
         ) {text}"
    )
}

statements! {
    secret_get = "SELECT name, hosts, updated_at, sealed FROM {s}.secrets WHERE app = $1 AND name = $2";
    secrets_list = "SELECT name, hosts, updated_at FROM {s}.secrets WHERE app = $1 ORDER BY name";
    secret_put = "INSERT INTO {s}.secrets (app, name, sealed, hosts, updated_at) VALUES ($1, $2, $3, $4, $5)
              ON CONFLICT (app, name) DO UPDATE
              SET sealed = excluded.sealed, hosts = excluded.hosts, updated_at = excluded.updated_at RETURNING 1";
    /// $6 the bytes that must be there.
    secret_replace = "UPDATE {s}.secrets SET sealed = $3, hosts = $4, updated_at = $5
              WHERE app = $1 AND name = $2 AND sealed = $6 RETURNING 1";
    secret_delete = "DELETE FROM {s}.secrets WHERE app = $1 AND name = $2 RETURNING 1";

    schema_version = "SELECT max(version) FROM {s}.migrations";

    kv_get = "SELECT value FROM {s}.kv WHERE app = $1 AND collection = $2 AND key = $3
              AND {alive}";
    kv_get_many = "SELECT key, value FROM {s}.kv WHERE app = $1 AND collection = $2 AND key = ANY($3)
              AND {alive}";
    kv_list = "SELECT key, value FROM {s}.kv WHERE app = $1 AND collection = $2 AND key >= $3 AND key < $4
              AND {alive} ORDER BY key LIMIT $5";
    /// Without rows to take along nobody needs to know what was there before.
    kv_set_silent = "INSERT INTO {s}.kv AS kv (app, collection, key, value, version, expires_at)
              SELECT $1, $2, $3, $4, nextval('{s}.kv_version'), statement_timestamp() + make_interval(secs => $5)
              WHERE $6::bigint IS NULL OR EXISTS (SELECT 1 FROM {s}.apps WHERE id = $1 AND revision = $6)
              ON CONFLICT (app, collection, key) DO UPDATE
              SET value = excluded.value, version = nextval('{s}.kv_version'), expires_at = excluded.expires_at
              RETURNING 1";
    /// The other writes without rows to take along, each with what it came to, and whether the app is as expected.
    kv_delete_silent = with_fresh("UPDATE {s}.kv SET value = NULL, version = nextval('{s}.kv_version'), expires_at = statement_timestamp()
              WHERE app = $1 AND collection = $2 AND key = $3 AND {alive} AND {fresh} RETURNING NULL::text AS value");
    /// $5 by how much. What is no integer, or would overflow, is left alone.
    kv_increment_silent = with_fresh("INSERT INTO {s}.kv AS kv (app, collection, key, value, version)
              SELECT $1, $2, $3, $5::bigint::text, nextval('{s}.kv_version') WHERE {fresh}
              ON CONFLICT (app, collection, key) DO UPDATE
              SET value = CASE WHEN {kv.alive} THEN (kv.value::numeric + $5::bigint)::text ELSE excluded.value END,
                  version = nextval('{s}.kv_version'), expires_at = CASE WHEN {kv.alive} THEN kv.expires_at END
              WHERE CASE WHEN NOT ({kv.alive}) THEN true
                         WHEN kv.value !~ '^(0|-?[1-9][0-9]{0,18})$' THEN false
                         ELSE kv.value::numeric + $5::bigint BETWEEN -9223372036854775808 AND 9223372036854775807 END
              RETURNING value");
    /// $5 what is written, $6 what is expected.
    kv_replace_silent = with_fresh("UPDATE {s}.kv SET value = $5::text, version = nextval('{s}.kv_version')
              WHERE app = $1 AND collection = $2 AND key = $3 AND {alive} AND value = $6::text AND {fresh} RETURNING NULL::text AS value");
    /// $5 what is written, if there is nothing.
    kv_add_silent = with_fresh("INSERT INTO {s}.kv AS kv (app, collection, key, value, version)
              SELECT $1, $2, $3, $5::text, nextval('{s}.kv_version') WHERE {fresh}
              ON CONFLICT (app, collection, key) DO UPDATE
              SET value = excluded.value, version = nextval('{s}.kv_version'), expires_at = NULL WHERE NOT ({kv.alive})
              RETURNING NULL::text AS value");
    /// What has been dead for a minute: by then no writer is left that drew its version before the entry's last one, to
    /// write it when the entry is gone.
    kv_sweep = "WITH dead AS (
                  SELECT app, collection, key FROM {s}.kv WHERE expires_at < now() - interval '1 minute'
                  LIMIT 5000 FOR UPDATE SKIP LOCKED
              ) DELETE FROM {s}.kv USING dead
              WHERE kv.app = dead.app AND kv.collection = dead.collection AND kv.key = dead.key
              AND kv.expires_at < now() - interval '1 minute'";

    docs_get = "SELECT id, data, version, created_at, updated_at FROM {s}.docs WHERE app = $1 AND collection = $2 AND id = $3";
    docs_create_silent = docs_create_silent();
    docs_update_silent = docs_update_silent();
    /// $6 how many there may be. Answers whether it is there now.
    docs_index_declare = "WITH known AS (
                  SELECT count(*) FILTER (WHERE field = $3) AS same, count(*) AS others FROM {s}.docs_indexes
                  WHERE app = $1 AND collection = $2 AND state < 3
              ), put AS (
                  INSERT INTO {s}.docs_indexes (app, collection, field, only_path, any_path)
                  SELECT $1, $2, $3, $4::text::jsonpath, $5::text::jsonpath FROM known WHERE same = 0 AND others < $6
                  ON CONFLICT DO NOTHING
              ) SELECT same > 0 OR others < $6 FROM known";
    docs_index_drop = "UPDATE {s}.docs_indexes SET state = 3, dropped_at = now()
              WHERE app = $1 AND collection = $2 AND field = $3 AND state < 3 RETURNING 1";
    docs_indexes = "SELECT field, state, documents, number FROM {s}.docs_indexes
              WHERE app = $1 AND collection = $2 AND state < 3 ORDER BY field";
    docs_index_next = "SELECT app, number, state FROM {s}.docs_indexes WHERE state < 2 ORDER BY number LIMIT 1";
    /// Whoever writes to documents, from before their statement sees anything until the end of their transaction.
    docs_writers = "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation'
              AND relation = '{s}.docs'::regclass AND mode = 'RowExclusiveLock' AND granted AND pid <> pg_backend_pid()
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    docs_index_begin = "UPDATE {s}.docs_indexes SET state = 1 WHERE app = $1 AND number = $2 AND state = 0";
    docs_index_fill = docs_index_fill();
    docs_index_finish = "UPDATE {s}.docs_indexes i SET done = '00000000-0000-0000-0000-000000000000', state = CASE WHEN EXISTS (
                  SELECT 1 FROM {s}.docs d WHERE d.app = $1 AND d.collection = i.collection
                  AND NOT EXISTS (SELECT 1 FROM {s}.docs_keys k WHERE k.app = $1 AND k.index = $2 AND k.id = d.id)
              ) THEN 1 ELSE 2 END WHERE app = $1 AND number = $2 AND state = 1 RETURNING state";
    docs_keys_analyze = "ANALYZE {s}.docs_keys";
    /// By now no node looks into it, so that it need not be kept any more.
    docs_index_bury = "UPDATE {s}.docs_indexes SET state = 4 WHERE state = 3 AND dropped_at < now() - interval '1 minute'";
    docs_index_clear = "WITH dead AS MATERIALIZED (
                  SELECT k.app, k.index, k.id FROM {s}.docs_indexes i JOIN {s}.docs_keys k ON k.app = i.app AND k.index = i.number
                  WHERE i.state = 4 LIMIT 5000
              ), gone AS (
                  DELETE FROM {s}.docs_keys k USING dead WHERE k.app = dead.app AND k.index = dead.index AND k.id = dead.id RETURNING 1
              ) SELECT count(*) FROM gone";
    /// Later, since whoever saw it before it was buried may still have kept it.
    docs_index_remove = "DELETE FROM {s}.docs_indexes i WHERE state = 4 AND dropped_at < now() - interval '5 minutes'
              AND NOT EXISTS (SELECT 1 FROM {s}.docs_keys k WHERE k.app = i.app AND k.index = i.number)";

    files_get = FILES_GET;
    files_list = FILES_LIST;
    files_in_use = FILES_IN_USE;

    app_create = "INSERT INTO {s}.apps (id, slug, created_at) VALUES ($1, $2, $3)";
    apps = "SELECT id, slug, created_at, revision FROM {s}.apps ORDER BY id";
    app = "SELECT id, slug, created_at, revision FROM {s}.apps WHERE id = $1";
    app_lock = "SELECT revision FROM {s}.apps WHERE id = $1 FOR UPDATE";
    app_revise = "UPDATE {s}.apps SET revision = $2, changed_at = clock_timestamp() WHERE id = $1";
    /// Changes whenever any app did, however it is asked for.
    apps_mark = "SELECT count(*) || ' ' || coalesce(sum(revision), 0) || ' ' || coalesce(max(changed_at)::text, '') FROM {s}.apps";
    scripts = "SELECT v.script, v.name, v.kind, v.version, v.source, v.sandbox::text, v.timeout_seconds, v.owner::text, v.created_at, v.updated_at
              FROM {s}.scripts s JOIN {s}.script_versions v ON v.app = s.app AND v.script = s.id AND v.version = s.version
              WHERE s.app = $1 ORDER BY s.name";
    script_versions = "SELECT script, name, kind, version, source, sandbox::text, timeout_seconds, owner::text, created_at, updated_at
              FROM {s}.script_versions WHERE app = $1 AND script = $2 ORDER BY version DESC";
    script_put_version = "INSERT INTO {s}.script_versions
              (app, script, version, name, kind, source, sandbox, timeout_seconds, owner, created_at, updated_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, $8, $9::text::json, $10, $11)
              ON CONFLICT (app, script, version) DO UPDATE SET name = excluded.name, kind = excluded.kind, source = excluded.source,
              sandbox = excluded.sandbox, timeout_seconds = excluded.timeout_seconds, owner = excluded.owner,
              created_at = excluded.created_at, updated_at = excluded.updated_at";
    script_put = "INSERT INTO {s}.scripts (app, id, name, version)
              SELECT app, script, name, version FROM {s}.script_versions WHERE app = $1 AND script = $2 ORDER BY version DESC LIMIT 1
              ON CONFLICT (app, id) DO UPDATE SET name = excluded.name, version = excluded.version";
    script_delete = "WITH gone AS (DELETE FROM {s}.scripts WHERE app = $1 AND id = $2),
              versions AS (DELETE FROM {s}.script_versions WHERE app = $1 AND script = $2),
              routes AS (DELETE FROM {s}.routes WHERE app = $1 AND script = $2),
              imports AS (DELETE FROM {s}.imports WHERE app = $1 AND script = $2),
              fired AS (DELETE FROM {s}.fired WHERE app = $1 AND trigger IN (SELECT id FROM {s}.triggers WHERE app = $1 AND script = $2))
              DELETE FROM {s}.triggers WHERE app = $1 AND script = $2";
    name_taken = "SELECT name FROM {s}.scripts WHERE app = $1 GROUP BY name HAVING count(*) > 1 ORDER BY name LIMIT 1";
    no_such_script = "SELECT what, script FROM (
                  SELECT 'route' AS what, 1 AS rank, script FROM {s}.routes WHERE app = $1
                  UNION ALL SELECT 'trigger', 2, script FROM {s}.triggers WHERE app = $1
                  UNION ALL SELECT 'import', 3, script FROM {s}.imports WHERE app = $1
              ) AS target WHERE NOT EXISTS (SELECT 1 FROM {s}.scripts s WHERE s.app = $1 AND s.id = target.script)
              ORDER BY rank, script LIMIT 1";
    imports = "SELECT script, array_agg(module ORDER BY module) FROM {s}.imports WHERE app = $1 GROUP BY script ORDER BY script";
    /// $3 the modules.
    imports_put = "WITH gone AS (DELETE FROM {s}.imports WHERE app = $1 AND script = $2 AND module <> ALL($3::text[]))
              INSERT INTO {s}.imports (app, script, module) SELECT $1, $2, module FROM unnest($3::text[]) AS module
              ON CONFLICT (app, script, module) DO NOTHING";
    routes = "SELECT id, script, method, host, path, dispatch_mode, owner::text, created_at FROM {s}.routes WHERE app = $1 ORDER BY id";
    route_put = "INSERT INTO {s}.routes (app, id, script, method, host, path, dispatch_mode, owner, created_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9)
              ON CONFLICT (app, id) DO UPDATE SET script = excluded.script, method = excluded.method, host = excluded.host,
              path = excluded.path, dispatch_mode = excluded.dispatch_mode, owner = excluded.owner, created_at = excluded.created_at";
    route_delete = "DELETE FROM {s}.routes WHERE app = $1 AND id = $2";
    triggers = "SELECT id, script, kind::text, enabled, dispatch_mode, retry::text, registered_by::text, owner::text, created_at
              FROM {s}.triggers WHERE app = $1 ORDER BY id";
    /// A kind that only a newer version knows is kept as it is.
    trigger_put = "INSERT INTO {s}.triggers (app, id, script, kind, enabled, dispatch_mode, retry, registered_by, owner, created_at)
              VALUES ($1, $2, $3, $4::text::json, $5, $6, $7::text::json, $8::text::json, $9::text::json, $10)
              ON CONFLICT (app, id) DO UPDATE SET script = excluded.script, enabled = excluded.enabled,
              kind = CASE WHEN excluded.kind ->> 'kind' = 'unknown' THEN triggers.kind ELSE excluded.kind END,
              dispatch_mode = excluded.dispatch_mode, retry = excluded.retry, registered_by = excluded.registered_by,
              owner = excluded.owner, created_at = excluded.created_at";
    trigger_delete = "WITH fired AS (DELETE FROM {s}.fired WHERE app = $1 AND trigger = $2)
              DELETE FROM {s}.triggers WHERE app = $1 AND id = $2";
    notify = "SELECT pg_notify($1, '')";

    /// A batch of messages; what was sent long ago goes, and other nodes are told.
    ephemeral_send = "WITH old AS (DELETE FROM {s}.ephemeral WHERE node = $1 AND number <= $7),
              sent AS (
                  INSERT INTO {s}.ephemeral (node, number, ids, apps, topics, messages) VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT DO NOTHING
              ) SELECT pg_notify($8, '')";
    /// The last batch of each node.
    ephemeral_marks = with_nodes("SELECT n.node, (SELECT max(e.number) FROM {s}.ephemeral e WHERE e.node = n.node)
              FROM nodes n WHERE n.node IS NOT NULL");
    /// What other nodes than $1 sent after those batches; of a node that is not among them all that is there.
    ephemeral_read = with_nodes("SELECT e.node, e.number, e.ids, e.apps, e.topics, e.messages
              FROM nodes n LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS seen (node, number) ON seen.node = n.node
              CROSS JOIN LATERAL (
                  SELECT * FROM {s}.ephemeral e WHERE e.node = n.node AND e.number > coalesce(seen.number, 0)
                  ORDER BY e.number LIMIT $4
              ) e WHERE n.node IS NOT NULL AND n.node <> $1 ORDER BY e.node, e.number LIMIT $4");
    ephemeral_forget = "DELETE FROM {s}.ephemeral WHERE sent_at < now() - interval '1 minute'";

    outbox_enqueue = with_row("INSERT INTO {s}.outbox ({row}, run_at)
              SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() WHERE EXISTS (SELECT 1 FROM {s}.apps WHERE id = $2)");
    /// $12 the scheduled time. The first of several nodes stores it. None does before its time, by the clock of the database,
    /// give or take what clocks of good nodes differ.
    outbox_fire = with_row("WITH time AS (
                  SELECT $12 > clock_timestamp() + interval '5 seconds' AS is_early
              ), first AS (
                  INSERT INTO {s}.fired (app, trigger, scheduled_for) SELECT $2, $4, $12 FROM time WHERE NOT is_early
                  AND EXISTS (SELECT 1 FROM {s}.triggers WHERE app = $2 AND id = $4 AND script = $5 AND enabled)
                  ON CONFLICT (app, trigger) DO UPDATE SET scheduled_for = excluded.scheduled_for
                  WHERE fired.scheduled_for < excluded.scheduled_for RETURNING 1
              ), stored AS (
                  INSERT INTO {s}.outbox ({row}, run_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() FROM first RETURNING 1
              ) SELECT is_early, EXISTS (SELECT 1 FROM stored) FROM time");
    worker_beat = "INSERT INTO {s}.workers (id, beat_at) VALUES ($1, clock_timestamp())
              ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp() WHERE workers.gone_at IS NULL RETURNING 1";
    outbox_claim = claim("");
    /// $3 apps and $4 scripts whose rows are left. Only where some of them have more than their share.
    outbox_claim_except = claim("AND app <> ALL ($3) AND script <> ALL ($4)");
    queue_consumers = CONSUMERS;
    queue_next_delay = NEXT_DELAY;
    queue_keys = KEYS;
    queue_lock = "SELECT pg_advisory_xact_lock(hashtextextended('picloud queues ' || $1, 0))";
    queue_delayed = DELAYED;
    queue_next_of_keys = NEXT_OF_KEYS;
    queue_promote = PROMOTE;
    outbox_remove = "DELETE FROM {s}.outbox o WHERE {held} RETURNING o.id, {freed}";
    outbox_put_back = "UPDATE {s}.outbox o SET state = {waiting}, worker = NULL,
              run_at = now() + ($4::bigint[])[array_position($2, o.id)] * interval '1 microsecond',
              attempt = greatest(o.attempt - ($5::integer[])[array_position($2, o.id)], 0)
              WHERE {held} RETURNING o.id";
    outbox_bury = with_row("WITH gone AS (
                  DELETE FROM {s}.outbox o WHERE {held}
                  RETURNING {o.row}, o.attempt, o.claim, ($4::text[])[array_position($2, o.id)] AS reason,
                  ($5::text[])[array_position($2, o.id)] AS error, o.priority, o.position, o.order_key
              ), told AS (
                  INSERT INTO {s}.outbox ({row}, run_at)
                  SELECT h.id, gone.app, h.kind, h.trigger, h.script, ($17::text[])[h.payload_number], h.trigger_depth, h.trace, h.request, h.parent, h.occurred_at, now()
                  FROM unnest($6::uuid[], $7::uuid[], $8::text[], $9::uuid[], $10::uuid[], $11::integer[], $12::integer[], $13::uuid[], $14::uuid[],
                      $15::uuid[], $16::timestamptz[])
                  AS h (letter, id, kind, trigger, script, payload_number, trigger_depth, trace, request, parent, occurred_at)
                  JOIN gone ON gone.id = h.letter
              ), buried AS (
                  INSERT INTO {s}.dead_letters ({row}, attempts, claim, reason, error, died_at, priority, order_key)
                  SELECT {row}, attempt, claim, reason, error, now(), priority, order_key FROM gone
                  ON CONFLICT (app, id) DO UPDATE SET attempts = excluded.attempts, reason = excluded.reason,
                  error = excluded.error, died_at = excluded.died_at, claim = excluded.claim, resolution = NULL, resolved_at = NULL
              ) SELECT o.id, {freed} FROM gone o");
    outbox_handler_failed = "WITH gone AS (
                  DELETE FROM {s}.outbox o WHERE {held}
                  RETURNING o.id, o.app, ($4::uuid[])[array_position($2, o.id)] AS letter
              ), closed AS (
                  UPDATE {s}.dead_letters d SET resolution = 'handler_failed', resolved_at = now() FROM gone
                  WHERE d.app = gone.app AND d.id = gone.letter AND d.resolution IS NULL
              ) SELECT id FROM gone";
    workers_gone = "UPDATE {s}.workers SET gone_at = now()
              WHERE gone_at IS NULL AND id <> $1 AND beat_at <= clock_timestamp() - $2 * interval '1 microsecond'
              AND EXISTS (SELECT 1 FROM {s}.workers me WHERE me.id = $1 AND me.gone_at IS NULL)";
    outbox_take_over = with_row("WITH lost AS MATERIALIZED (
                  SELECT o.id FROM {s}.outbox o JOIN {s}.workers w ON w.id = o.worker
                  WHERE o.state = 1 AND w.gone_at IS NOT NULL
                  AND EXISTS (SELECT 1 FROM {s}.workers me WHERE me.id = $1 AND me.gone_at IS NULL)
                  ORDER BY o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED
              ) UPDATE {s}.outbox o SET claim = o.claim + 1, worker = $1
              FROM lost WHERE o.id = lost.id RETURNING {o.row}, o.attempt, o.claim, o.run_at, o.replayed");
    /// For an hour a worker that was taken over is told so when it comes back.
    workers_forget = "DELETE FROM {s}.workers w WHERE w.gone_at < now() - interval '1 hour'
              AND NOT EXISTS (SELECT 1 FROM {s}.outbox o WHERE o.worker = w.id AND o.state = 1)";
    /// $2 what the worker knows to be its own.
    outbox_give_back = give_back("AND id <> ALL ($2)");
    worker_retire = format!("WITH mine AS ({}) DELETE FROM {{s}}.workers WHERE id = $1", give_back(""));
    outbox_next_due = "SELECT greatest(extract(epoch FROM run_at - now()) * 1000000, 0)::bigint
              FROM {s}.outbox WHERE state = 0 ORDER BY run_at, id LIMIT 1";
    outbox_waiting = with_row("SELECT {row} FROM {s}.outbox WHERE app = $1 ORDER BY id LIMIT $2");
    outbox_vacuum = "VACUUM {s}.outbox";
    dead_letters = with_row("SELECT {row}, {letter} FROM {s}.dead_letters
              WHERE app = $1 AND (died_at, id) < ($2, $3) ORDER BY died_at DESC, id DESC LIMIT $4");
    dead_letters_open = with_row("SELECT {row}, {letter} FROM {s}.dead_letters
              WHERE app = $1 AND (died_at, id) < ($2, $3) AND resolution IS NULL ORDER BY died_at DESC, id DESC LIMIT $4");
    dead_letter = with_row("SELECT {row}, {letter} FROM {s}.dead_letters WHERE app = $1 AND id = $2");
    dead_letters_count = "SELECT count(*) FROM {s}.dead_letters WHERE app = $1 AND resolution IS NULL";
    /// The letter is locked, so that of two calls one finds it open.
    dead_letter_replay = with_row("WITH letter AS MATERIALIZED (
                  SELECT {row}, claim, priority, order_key, resolution IS NULL AS is_open,
                         EXISTS (SELECT 1 FROM {s}.scripts t WHERE t.app = $1 AND t.id = d.script)
                         AND (d.trigger IS NULL OR EXISTS (SELECT 1 FROM {s}.triggers t WHERE t.app = $1 AND t.id = d.trigger)) AS has_target
                  FROM {s}.dead_letters d WHERE app = $1 AND id = $2 FOR UPDATE
              ), sent AS (
                  INSERT INTO {s}.outbox ({row}, claim, run_at, replayed, priority, order_key, state, position)
                  SELECT id, app, kind, trigger, script, payload, greatest(trigger_depth, $3), trace, request, parent, occurred_at, claim, now(), true, priority, order_key, CASE kind WHEN 'queue' THEN 2 ELSE 0 END,
                         CASE kind WHEN 'queue' THEN nextval('{s}.queue_position') END
                  FROM letter WHERE is_open AND has_target
              ), closed AS (
                  UPDATE {s}.dead_letters d SET resolution = 'replayed', resolved_at = now() FROM letter
                  WHERE d.app = $1 AND d.id = $2 AND letter.is_open AND letter.has_target
              ) SELECT is_open, has_target FROM letter");
    dead_letter_resolve = "WITH letter AS MATERIALIZED (
                  SELECT resolution IS NULL AS is_open FROM {s}.dead_letters WHERE app = $1 AND id = $2 FOR UPDATE
              ), closed AS (
                  UPDATE {s}.dead_letters d SET resolution = $3, resolved_at = now() FROM letter
                  WHERE d.app = $1 AND d.id = $2 AND letter.is_open
              ) SELECT is_open, true FROM letter";
    dead_letters_forget = "WITH old AS MATERIALIZED (
                  SELECT app, id FROM {s}.dead_letters WHERE died_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
              ) DELETE FROM {s}.dead_letters d USING old WHERE d.app = old.app AND d.id = old.id AND d.died_at < $1";

    executions_forget = "WITH old AS MATERIALIZED (
                  SELECT app, id FROM {s}.executions WHERE started_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
              ) DELETE FROM {s}.executions e USING old WHERE e.app = old.app AND e.id = old.id";
    executions_write = "INSERT INTO {s}.executions (app, id, script, status, started_at, record)
              SELECT app, id, script, status, started_at, record::json
              FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[])
              AS record (app, id, script, status, started_at, record) ON CONFLICT (app, id) DO NOTHING";
    executions_list = "SELECT record::text FROM {s}.executions WHERE app = $1
              AND (started_at, id) < ($2, $3) AND ($4::uuid IS NULL OR script = $4) AND ($5::text IS NULL OR status = $5)
              ORDER BY started_at DESC, id DESC LIMIT $6";
    execution_get = "SELECT record::text FROM {s}.executions WHERE app = $1 AND id = $2";

    @with_events

    /// Rows by themselves: $2 their kind, $3 their payload.
    events_store = "WITH app AS MATERIALIZED (SELECT 1 WHERE {fresh}), fired AS (
                  INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at, run_at)
                  SELECT row.id, $1, $2, row.trigger, row.script, $3, $9, $10, $11, $12, now(), now()
                  FROM app, {rows}
                  RETURNING 1
              ) SELECT EXISTS (SELECT 1 FROM app) AS fresh, (SELECT count(*) FROM fired) AS fired";
    kv_set = SET.quick();
    kv_set_sure = SET.sure();
    kv_delete = DELETE.quick();
    kv_delete_sure = DELETE.sure();
    kv_increment = INCREMENT.quick();
    kv_increment_sure = INCREMENT.sure();
    kv_compare_and_set = COMPARE_AND_SET.quick();
    kv_compare_and_set_sure = COMPARE_AND_SET.sure();
    docs_create_quick = docs_create_quick();
    docs_create = docs_create(Kept::Nothing);
    docs_create_indexed = docs_create(Kept::All);
    docs_update_quick = docs_update_quick();
    docs_update = docs_update(Kept::Nothing);
    docs_update_indexed = docs_update(Kept::All);
    docs_delete = docs_delete();
    queue_send = SEND;
    files_create = files_create();
    files_update = files_update();
    files_delete = files_delete();
}
