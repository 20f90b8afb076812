-- What people need who look into the tables themselves.
COMMENT ON COLUMN {s}.executions.status IS 'success; error (does not compile, threw, or a defect); timeout; budget_exceeded; overloaded (there was no room to start); cancelled; loop (an event too deep, whose handler was not run).';
COMMENT ON COLUMN {s}.executions.record IS 'All of it: class, error and position of a failure, log lines, duration_us, operations, what caused it (request, trigger, event, attempt, parent, trace).';
COMMENT ON COLUMN {s}.executions.started_at IS 'When the run began; its end is duration_us of the record later.';

COMMENT ON COLUMN {s}.outbox.kind IS 'kv, docs, files, pubsub, cron, queue, dead_letter; http: a request to an async route.';
COMMENT ON COLUMN {s}.outbox.payload IS 'Canonical JSON: what scripts see as the map of ctx.event that is named after the kind; of http the request.';
COMMENT ON COLUMN {s}.outbox.trigger IS 'The trigger that matched. NULL: a request to an async route.';
COMMENT ON COLUMN {s}.outbox.trigger_depth IS 'How many events lie between the first cause and the handler, this one included.';
COMMENT ON COLUMN {s}.outbox.trace IS 'The same for everything that one first cause led to.';
COMMENT ON COLUMN {s}.outbox.request IS 'The request that started it all.';
COMMENT ON COLUMN {s}.outbox.parent IS 'The execution that caused the event. NULL: the host or a request did.';
COMMENT ON COLUMN {s}.outbox.worker IS 'The process that has it, in state 1: a row of workers.';
COMMENT ON COLUMN {s}.outbox.replayed IS 'It was sent again from a dead letter, which has the same id.';
COMMENT ON COLUMN {s}.outbox.priority IS 'Messages of queues only: -100 to 100, the higher the sooner.';

COMMENT ON COLUMN {s}.kv.version IS 'From one sequence for all keys: it grows with each write to the key, by more than one.';
COMMENT ON COLUMN {s}.docs.version IS 'One more with every write to the document, from 1.';
COMMENT ON COLUMN {s}.docs_keys.rank IS 'The type of the value, in the order of types: 1 missing or null, 2 a number, 3 a string, 4 an object, 6 false, 7 true (5 would be an array, which is not regular). 0: not regular.';
COMMENT ON COLUMN {s}.docs_keys.number IS 'The value if it is a number, else 0.';
COMMENT ON COLUMN {s}.docs_keys.text IS 'The value if it is a string, else empty.';

COMMENT ON COLUMN {s}.dead_letters.id IS 'The id of the event, which it keeps when it is sent again.';
COMMENT ON COLUMN {s}.dead_letters.kind IS 'As in outbox. Scripts see it as source.';
COMMENT ON COLUMN {s}.dead_letters.trigger IS 'As in outbox.';
COMMENT ON COLUMN {s}.dead_letters.occurred_at IS 'When the event happened. Scripts see it as first_at.';
COMMENT ON COLUMN {s}.dead_letters.died_at IS 'When it was given up. Scripts see it as last_at.';
COMMENT ON COLUMN {s}.dead_letters.reason IS 'failed: the handler failed as often as it may. crash: the process died as often while the handler ran. registrant_invalid: whoever registered the trigger is gone or has no role in the app any more.';
COMMENT ON COLUMN {s}.dead_letters.error IS 'The last failure, for people.';
COMMENT ON COLUMN {s}.dead_letters.resolution IS 'NULL: open. replayed: sent again; if it is given up again, the letter is open again. ignored: nothing is to be done. handled_by_script: a script did what was to be done. handler_failed: a script that handles dead letters failed.';

COMMENT ON COLUMN {s}.workers.beat_at IS 'When the process last said that it is there.';
COMMENT ON COLUMN {s}.workers.gone_at IS 'When others took its events over. For an hour it is told so if it comes back.';

COMMENT ON COLUMN {s}.routes.dispatch_mode IS 'sync: the answer is the script''s. async: the caller gets 202, and the script runs from the outbox.';
COMMENT ON COLUMN {s}.routes.owner IS 'Who made the route: "api", a deployed folder, or "directive", a line of the script.';
COMMENT ON COLUMN {s}.triggers.dispatch_mode IS 'Always async: what causes an event does not wait for its handlers.';
COMMENT ON COLUMN {s}.triggers.owner IS 'Who made the trigger: "api", a deployed folder, or "directive", a line of the script.';

COMMENT ON TABLE {s}.migrations IS 'The steps that made this schema, each by the checksum of its text.';
