//! Statements of queues. `outbox.state` of their messages: 0 due, 1 with a worker, 2 waits for room, 3 waits for its time, 4
//! waits behind another of its key.

/// As [`events_store`](super::Sql::events_store), for the first row only: $13 the delay in microseconds, $14 the priority, $15
/// the key that orders, $16 the one that deduplicates. Touching the message that has the same one tells its id.
pub(super) const SEND: &str = "WITH app AS MATERIALIZED (SELECT 1 WHERE {fresh}), sent AS (
                  INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at,
                      run_at, state, priority, position, order_key, dedupe_key)
                  SELECT row.id, $1, $2, row.trigger, row.script, $3, $9, $10, $11, $12, now(),
                      now() + $13::bigint * interval '1 microsecond', CASE WHEN $13::bigint > 0 THEN 3 ELSE 2 END,
                      $14::smallint, nextval('{s}.queue_position'), $15::text, $16::text
                  FROM app, unnest($5::uuid[], $6::smallint[], $7::uuid[], $8::uuid[]) AS row (id, ops, trigger, script) LIMIT 1
                  ON CONFLICT (app, trigger, dedupe_key) WHERE dedupe_key IS NOT NULL
                  DO UPDATE SET dedupe_key = excluded.dedupe_key RETURNING id
              ) SELECT EXISTS (SELECT 1 FROM app) AS fresh, (SELECT id FROM sent) AS id";

/// Whether any message waits for room, or has waited long enough.
pub(super) const WAITS: &str = "WITH RECURSIVE consumer AS (
                  (SELECT app, trigger FROM {s}.outbox WHERE position IS NOT NULL ORDER BY app, trigger, state, priority DESC, position LIMIT 1)
                  UNION ALL
                  SELECT n.app, n.trigger FROM consumer CROSS JOIN LATERAL (
                      SELECT app, trigger FROM {s}.outbox o
                      WHERE position IS NOT NULL AND (o.app, o.trigger) > (consumer.app, consumer.trigger)
                      ORDER BY o.app, o.trigger, o.state, o.priority DESC, o.position LIMIT 1
                  ) n
              ) SELECT coalesce(
                  EXISTS (SELECT 1 FROM consumer CROSS JOIN LATERAL (
                      SELECT 1 FROM {s}.outbox o WHERE o.position IS NOT NULL AND o.app = consumer.app AND o.trigger = consumer.trigger
                      AND o.state = 2 ORDER BY o.priority DESC, o.position LIMIT 1
                  ) waiting)
                  OR (SELECT run_at FROM {s}.outbox WHERE state = 3 ORDER BY run_at LIMIT 1) <= now(), false)";

pub(super) const DELAYED: &str = "UPDATE {s}.outbox SET state = 2 WHERE id = ANY (ARRAY(
                  SELECT id FROM {s}.outbox WHERE state = 3 AND run_at <= now() ORDER BY run_at LIMIT 1000)) AND state = 3";

/// Of each key whose first message is gone, the one that is first now: $1 apps, $2 triggers, $3 keys.
pub(super) const NEXT_OF_KEYS: &str = "UPDATE {s}.outbox o SET state = 2
              FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS freed (app, trigger, key)
              CROSS JOIN LATERAL (
                  SELECT id FROM {s}.outbox n WHERE n.app = freed.app AND n.trigger = freed.trigger AND n.order_key = freed.key
                  ORDER BY n.position LIMIT 1
              ) AS next WHERE o.id = next.id AND o.state = 4";

/// The same for every key, from one to the next: what it costs grows with the keys, not with the messages.
pub(super) const NEXT_OF_ANY_KEY: &str = "WITH RECURSIVE key AS (
                  (SELECT app, trigger, order_key FROM {s}.outbox WHERE order_key IS NOT NULL
                   ORDER BY app, trigger, order_key, position LIMIT 1)
                  UNION ALL
                  SELECT n.app, n.trigger, n.order_key FROM key CROSS JOIN LATERAL (
                      SELECT app, trigger, order_key FROM {s}.outbox o
                      WHERE order_key IS NOT NULL AND (o.app, o.trigger, o.order_key) > (key.app, key.trigger, key.order_key)
                      ORDER BY o.app, o.trigger, o.order_key, o.position LIMIT 1
                  ) n
              ), next AS MATERIALIZED (
                  SELECT n.id FROM key CROSS JOIN LATERAL (
                      SELECT id, state FROM {s}.outbox n WHERE n.app = key.app AND n.trigger = key.trigger AND n.order_key = key.order_key
                      ORDER BY n.position LIMIT 1
                  ) n WHERE n.state = 4
              ) UPDATE {s}.outbox o SET state = 2 FROM next WHERE o.id = ANY (ARRAY(SELECT id FROM next)) AND o.id = next.id AND o.state = 4";

/// For each consumer that messages wait for: as many of the first of them as there is room for are due; those among them that
/// wait behind another of their key are put aside, so that they are not looked at again. A consumer that is gone has room
/// for everything: its messages are dropped when they are delivered.
pub(super) const PROMOTE: &str = "WITH RECURSIVE consumer AS (
                  (SELECT app, trigger FROM {s}.outbox WHERE position IS NOT NULL ORDER BY app, trigger, state, priority DESC, position LIMIT 1)
                  UNION ALL
                  SELECT n.app, n.trigger FROM consumer CROSS JOIN LATERAL (
                      SELECT app, trigger FROM {s}.outbox o
                      WHERE position IS NOT NULL AND (o.app, o.trigger) > (consumer.app, consumer.trigger)
                      ORDER BY o.app, o.trigger, o.state, o.priority DESC, o.position LIMIT 1
                  ) n
              ), room AS MATERIALIZED (
                  SELECT consumer.app, consumer.trigger, CASE WHEN t.id IS NULL THEN 1000 ELSE greatest(
                      coalesce((t.kind ->> 'concurrency')::integer, 1) - (
                          SELECT count(*) FROM {s}.outbox p WHERE p.app = consumer.app AND p.trigger = consumer.trigger
                          AND p.position IS NOT NULL AND p.state IN (0, 1)
                      ), 0) END AS room
                  FROM consumer LEFT JOIN {s}.triggers t ON t.app = consumer.app AND t.id = consumer.trigger
              ), looked_at AS MATERIALIZED (
                  SELECT m.*, room.room FROM room CROSS JOIN LATERAL (
                      SELECT o.id, o.app, o.trigger, o.priority, o.position, o.order_key IS NOT NULL AND EXISTS (
                          SELECT 1 FROM {s}.outbox e WHERE e.app = o.app AND e.trigger = o.trigger AND e.order_key = o.order_key
                          AND e.position < o.position
                      ) AS is_behind
                      FROM {s}.outbox o WHERE o.app = room.app AND o.trigger = room.trigger AND o.position IS NOT NULL
                      AND o.state = 2 ORDER BY o.priority DESC, o.position LIMIT room.room + 200
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
