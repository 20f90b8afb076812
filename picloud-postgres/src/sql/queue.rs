//! Statements of queues. `outbox.state` of their messages: 0 due, 1 with a worker, 2 waits for room, 3 waits for its time, 4
//! waits behind another of its key.

/// As [`events_store`](super::Sql::events_store), for the first row only: $13 the delay in microseconds, $14 the priority, $15
/// the key that orders, $16 the one that deduplicates. Answers the id of what is stored, new or the one that has the key
/// already; none when the one that has it was stored a moment ago, and is seen only by the next statement.
pub(super) const SEND: &str = "WITH app AS MATERIALIZED (SELECT 1 WHERE {fresh}), row AS MATERIALIZED (
                  SELECT * FROM {rows} LIMIT 1
              ), known AS MATERIALIZED (
                  SELECT o.id FROM row JOIN {s}.outbox o ON o.app = $1 AND o.trigger = row.trigger AND o.dedupe_key = $16::text
              ), sent AS (
                  INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at,
                      run_at, state, priority, position, order_key, dedupe_key)
                  SELECT row.id, $1, $2, row.trigger, row.script, $3, $9, $10, $11, $12, now(),
                      now() + $13::bigint * interval '1 microsecond', CASE WHEN $13::bigint > 0 THEN 3 ELSE 2 END,
                      $14::smallint, nextval('{s}.queue_position'), $15::text, $16::text
                  FROM app, row WHERE NOT EXISTS (SELECT 1 FROM known)
                  ON CONFLICT (app, trigger, dedupe_key) WHERE dedupe_key IS NOT NULL DO NOTHING RETURNING id
              ) SELECT EXISTS (SELECT 1 FROM app) AS fresh, EXISTS (SELECT 1 FROM row) AS has_row,
                       coalesce((SELECT id FROM sent), (SELECT id FROM known)) AS id";

/// Who has messages that wait for room, from $1, $2 on, $3 of them at most, with how much room there is; and how long until the
/// next delay is over, in microseconds. A consumer that is gone has room: its messages are dropped when they are delivered.
pub(super) const CONSUMERS: &str = "WITH RECURSIVE consumer AS (
                  (SELECT app, trigger, 1 AS number FROM {s}.outbox
                   WHERE position IS NOT NULL AND state = 2 AND (app, trigger) > ($1, $2)
                   ORDER BY app, trigger, priority DESC, position LIMIT 1)
                  UNION ALL
                  SELECT n.app, n.trigger, consumer.number + 1 FROM consumer CROSS JOIN LATERAL (
                      SELECT app, trigger FROM {s}.outbox o
                      WHERE position IS NOT NULL AND state = 2 AND (o.app, o.trigger) > (consumer.app, consumer.trigger)
                      ORDER BY o.app, o.trigger, o.priority DESC, o.position LIMIT 1
                  ) n WHERE consumer.number < $3
              ) SELECT consumer.app, consumer.trigger, {room} AS room
              FROM consumer LEFT JOIN {s}.triggers t ON t.app = consumer.app AND t.id = consumer.trigger";

/// How much room a consumer has: what is due counts, and what is with a worker.
pub(super) const ROOM: &str = "CASE WHEN t.id IS NULL THEN 1000 ELSE greatest(
                      coalesce((t.kind ->> 'concurrency')::integer, 1) - (
                          SELECT count(*) FROM {s}.outbox p WHERE p.position IS NOT NULL AND p.state IN (0, 1)
                          AND p.app = consumer.app AND p.trigger = consumer.trigger
                      ), 0) END";

pub(super) const NEXT_DELAY: &str = "SELECT greatest(extract(epoch FROM run_at - now()) * 1000000, 0)::bigint
              FROM {s}.outbox WHERE state = 3 ORDER BY run_at LIMIT 1";

/// Messages that have waited for long enough wait for room now.
pub(super) const DELAYED: &str = "UPDATE {s}.outbox SET state = 2 WHERE id = ANY (ARRAY(
                  SELECT id FROM {s}.outbox WHERE state = 3 AND run_at <= now() ORDER BY run_at LIMIT 1000)) AND state = 3
              RETURNING app, trigger";

/// Of each key whose first message is gone, the one that is first now: $1 apps, $2 triggers, $3 keys.
pub(super) const NEXT_OF_KEYS: &str = "UPDATE {s}.outbox o SET state = 2
              FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS freed (app, trigger, key)
              CROSS JOIN LATERAL (
                  SELECT id FROM {s}.outbox n WHERE n.app = freed.app AND n.trigger = freed.trigger AND n.order_key = freed.key
                  ORDER BY n.position LIMIT 1
              ) AS next WHERE o.id = next.id AND o.state = 4";

/// Keys from $1, $2, $3 on, $4 of them at most, each with whether its first message has been put aside.
pub(super) const KEYS: &str = "WITH RECURSIVE key AS (
                  (SELECT app, trigger, order_key, state, 1 AS number FROM {s}.outbox
                   WHERE order_key IS NOT NULL AND (app, trigger, order_key) > ($1, $2, $3)
                   ORDER BY app, trigger, order_key, position LIMIT 1)
                  UNION ALL
                  SELECT n.app, n.trigger, n.order_key, n.state, key.number + 1 FROM key CROSS JOIN LATERAL (
                      SELECT app, trigger, order_key, state FROM {s}.outbox o
                      WHERE order_key IS NOT NULL AND (o.app, o.trigger, o.order_key) > (key.app, key.trigger, key.order_key)
                      ORDER BY o.app, o.trigger, o.order_key, o.position LIMIT 1
                  ) n WHERE key.number < $4
              ) SELECT app, trigger, order_key, state = 4 AS is_stuck FROM key";

/// For each consumer, $1 apps and $2 triggers: as many of the first of its messages as there is room for are due. Those among
/// them that wait behind others of their key are put aside, so that they are not looked at again. Behind means: another one
/// was sent earlier, or is due or with a worker, having been seen earlier.
pub(super) const PROMOTE: &str = "WITH consumer AS MATERIALIZED (
                  SELECT DISTINCT app, trigger FROM unnest($1::uuid[], $2::uuid[]) AS consumer (app, trigger)
              ), room AS MATERIALIZED (
                  SELECT consumer.app, consumer.trigger, {room} AS room
                  FROM consumer LEFT JOIN {s}.triggers t ON t.app = consumer.app AND t.id = consumer.trigger
              ), in_play AS MATERIALIZED (
                  SELECT p.app, p.trigger, p.order_key FROM room JOIN {s}.outbox p ON p.position IS NOT NULL AND p.state IN (0, 1)
                  AND p.app = room.app AND p.trigger = room.trigger WHERE room.room > 0 AND p.order_key IS NOT NULL
              ), looked_at AS MATERIALIZED (
                  SELECT m.*, room.room FROM room CROSS JOIN LATERAL (
                      SELECT o.id, o.app, o.trigger, o.priority, o.position, o.order_key IS NOT NULL AND (EXISTS (
                          SELECT 1 FROM {s}.outbox e WHERE e.app = o.app AND e.trigger = o.trigger AND e.order_key = o.order_key
                          AND e.position < o.position
                      ) OR EXISTS (
                          SELECT 1 FROM in_play i WHERE i.app = o.app AND i.trigger = o.trigger AND i.order_key = o.order_key
                      )) AS is_behind
                      FROM {s}.outbox o WHERE o.position IS NOT NULL AND o.state = 2 AND o.app = room.app AND o.trigger = room.trigger
                      ORDER BY o.priority DESC, o.position LIMIT room.room + 200
                  ) m WHERE room.room > 0
              ), ranked AS (
                  SELECT id, is_behind, row_number() OVER (
                      PARTITION BY app, trigger, is_behind ORDER BY priority DESC, position
                  ) <= room AS fits FROM looked_at
              ), chosen AS MATERIALIZED (
                  SELECT id, is_behind FROM ranked WHERE is_behind OR fits
              ) UPDATE {s}.outbox o SET state = CASE WHEN chosen.is_behind THEN 4 ELSE 0 END,
                  run_at = CASE WHEN chosen.is_behind THEN o.run_at ELSE now() END
              FROM chosen WHERE o.id = ANY (ARRAY(SELECT id FROM chosen)) AND o.id = chosen.id AND o.state = 2 RETURNING o.state";
