-- Messages of queues are rows of the outbox with a position. They wait apart from the others (states 2 to 4) until there is
-- room for them; then they are due as any row is (state 0).
CREATE SEQUENCE {s}.queue_position;

ALTER TABLE {s}.outbox
    ADD COLUMN position bigint,
    ADD COLUMN priority smallint,
    ADD COLUMN order_key text COLLATE "C",
    ADD COLUMN dedupe_key text COLLATE "C";
ALTER TABLE {s}.dead_letters
    ADD COLUMN priority smallint,
    ADD COLUMN order_key text COLLATE "C";

-- As few as will do: every write with events opens each of them.
CREATE INDEX outbox_queue ON {s}.outbox (state, app, trigger, priority DESC, position) WHERE position IS NOT NULL;
CREATE INDEX outbox_delayed ON {s}.outbox (run_at) WHERE state = 3;
CREATE INDEX outbox_key ON {s}.outbox (app, trigger, order_key, position) WHERE order_key IS NOT NULL;
CREATE UNIQUE INDEX outbox_dedupe ON {s}.outbox (app, trigger, dedupe_key) WHERE dedupe_key IS NOT NULL;

COMMENT ON COLUMN {s}.outbox.state IS '0: waits until run_at. 1: with the worker. Messages of queues only: 2: waits for room. 3: waits until run_at. 4: waits behind another of its order_key.';
COMMENT ON COLUMN {s}.outbox.position IS 'Messages of queues only: the order in which they were sent.';
COMMENT ON COLUMN {s}.outbox.order_key IS 'Messages with the same one are handled in the order of their positions, one at a time.';
COMMENT ON COLUMN {s}.outbox.dedupe_key IS 'While a message of a trigger has it, no second one is stored.';
