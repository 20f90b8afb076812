CREATE UNLOGGED TABLE {s}.ephemeral (
    node uuid NOT NULL,
    number bigint NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    ids uuid[] NOT NULL,
    apps uuid[] NOT NULL,
    topics text[] NOT NULL,
    messages text[] NOT NULL,
    PRIMARY KEY (node, number)
);
-- Read at once and then removed: not worth the time that compressing takes.
ALTER TABLE {s}.ephemeral ALTER COLUMN messages SET STORAGE EXTERNAL;
COMMENT ON TABLE {s}.ephemeral IS 'Messages on their way from one node to the others, in batches; each is there for seconds. Lost when the database crashes.';
COMMENT ON COLUMN {s}.ephemeral.number IS 'Counts the batches of the node, which come into being one after the other: whoever has seen one has seen all before.';
