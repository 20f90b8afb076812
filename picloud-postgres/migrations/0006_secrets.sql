CREATE TABLE {s}.secrets (
    app uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    hosts text[] NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE {s}.secrets IS 'Secrets of apps, encrypted under a key that is not in the database.';
COMMENT ON COLUMN {s}.secrets.hosts IS 'Where each may be sent. Part of what the encryption vouches for: a change here makes the secret unreadable.';
