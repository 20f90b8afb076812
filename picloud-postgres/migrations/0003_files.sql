CREATE TABLE {s}.files (
    app uuid NOT NULL,
    collection text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    metadata text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    blob uuid NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (app, collection, id)
);
CREATE UNIQUE INDEX files_blob ON {s}.files (blob);
COMMENT ON TABLE {s}.files IS 'Files in collections, without their bytes.';
COMMENT ON COLUMN {s}.files.metadata IS 'Canonical JSON as text: jsonb would not keep every number as it was.';
COMMENT ON COLUMN {s}.files.blob IS 'The name of the bytes in the blob store. The sweep asks by it which of them are still needed.';
COMMENT ON COLUMN {s}.files.version IS 'One more with every write, so that a write notices another one.';
