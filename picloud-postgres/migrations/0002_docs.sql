CREATE TABLE {s}.docs (
    app uuid NOT NULL,
    collection text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    data text NOT NULL,
    form jsonb NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (app, collection, id)
);
CREATE INDEX docs_form ON {s}.docs USING gin (form jsonb_path_ops);
COMMENT ON TABLE {s}.docs IS 'Documents in collections.';
COMMENT ON COLUMN {s}.docs.data IS 'Canonical JSON as text: jsonb would not keep every number as it was.';
COMMENT ON COLUMN {s}.docs.form IS 'The data under a key of its app and collection, for queries: so that in the index one tenant never reads through what another stored.';
