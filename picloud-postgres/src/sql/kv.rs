//! Writes to KV.

/// A write whose events tell what was there before: previous value, write and outbox rows in one statement.
///
/// It takes place only if the entry still has the version that `old` saw: of two writers at the same time one writes
/// nothing. Then it is repeated as [`sure`](KvWrite::sure) does it, which locks the entry, sees it as it is then, and tells
/// why nothing was written. Most of the time nobody else writes; and lock and reason are a tenth of the statement's cost.
///
/// The version is the higher one: it is drawn when the entry has been locked, or else after the snapshot in which the entry
/// still has its version.
#[derive(Clone, Copy)]
pub(super) struct KvWrite {
    /// Whether the write takes place: `done`, or why not.
    code: &'static str,
    /// Whether `code`, `value` or `expires_at` ask for `old`.
    asks_for_old: bool,
    /// What is written.
    value: &'static str,
    expires_at: &'static str,
    /// What the write turns out to be.
    op: &'static str,
    /// The same, as a number: see [`EventRows`](crate::event_rows::EventRows).
    op_bit: &'static str,
    payload_value: &'static str,
    /// What the caller wants to know of what was written.
    told: &'static str,
}

impl KvWrite {
    /// The statement for when nobody else writes. Answers no row when nothing was written.
    pub(super) fn quick(&self) -> String {
        let from = if self.asks_for_old { FROM_OLD } else { "" };
        self.fill(
            "",
            from,
            "SELECT true AS written, {told} AS value, EXISTS (SELECT 1 FROM fired) AS fired FROM put",
        )
    }

    pub(super) fn sure(&self) -> String {
        self.fill("FOR UPDATE", FROM_OLD, WRITTEN_OR_WHY_NOT)
    }

    fn fill(&self, lock: &str, from: &str, answer: &str) -> String {
        (KV_WRITE.to_owned() + answer)
            .replace("{lock}", lock)
            .replace("{from}", from)
            .replace("{code}", self.code)
            .replace("{value}", self.value)
            .replace("{expires_at}", self.expires_at)
            .replace("{op}", self.op)
            .replace("{op_bit}", self.op_bit)
            .replace("{payload_value}", self.payload_value)
            .replace("{told}", self.told)
    }
}

const KV_WRITE: &str = r#"
WITH old AS MATERIALIZED (
    SELECT value, version, expires_at, {alive} AS alive
    FROM {s}.kv WHERE app = $1 AND collection = $2 AND key = $3 {lock}
), put AS (
    INSERT INTO {s}.kv AS kv (app, collection, key, value, version, expires_at)
    SELECT $1, $2, $3, {value}, nextval('{s}.kv_version'), {expires_at}{from}
    WHERE {code} = 'done' AND {fresh}
    ON CONFLICT (app, collection, key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
    WHERE kv.version IS NOT DISTINCT FROM (SELECT version FROM old)
    RETURNING value, version
), fired AS (
    INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at, run_at)
    SELECT row.id, $1, 'kv', row.trigger, row.script,
           $13 || {op} || '","prev_value":' || coalesce(CASE WHEN old.alive THEN old.value END, 'null')
           || ',"value":' || {payload_value} || ',"version":' || put.version || '}',
           $9, $10, $11, $12, now(), now()
    FROM put LEFT JOIN old ON true, {rows}
    WHERE row.ops & {op_bit} <> 0
    RETURNING 1
)
"#;

const WRITTEN_OR_WHY_NOT: &str = "
SELECT put.version IS NOT NULL AS written, {told} AS value, EXISTS (SELECT 1 FROM fired) AS fired,
       {code} AS code, {fresh} AS fresh
FROM (VALUES (1)) AS one LEFT JOIN old ON true LEFT JOIN put ON true";

const INSERT_OR_UPDATE: &str = "CASE WHEN old.alive THEN 'update' ELSE 'insert' END";

const ONE_OR_TWO: &str = "CASE WHEN old.alive THEN 2 ELSE 1 END";

/// One row, whether there is an entry or not.
const FROM_OLD: &str = " FROM (VALUES (1)) AS one LEFT JOIN old ON true";

const NOTHING: &str = "NULL::text";

/// $14 value, $15 seconds to live.
pub(super) const SET: KvWrite = KvWrite {
    code: "'done'",
    asks_for_old: false,
    value: "$14::text",
    expires_at: "statement_timestamp() + make_interval(secs => $15)",
    op: INSERT_OR_UPDATE,
    op_bit: ONE_OR_TWO,
    payload_value: "put.value",
    told: NOTHING,
};

pub(super) const DELETE: KvWrite = KvWrite {
    code: "CASE WHEN old.alive THEN 'done' ELSE 'no' END",
    asks_for_old: true,
    value: NOTHING,
    expires_at: "statement_timestamp()",
    op: "'delete'",
    op_bit: "1",
    payload_value: "'null'",
    told: NOTHING,
};

/// $14 by how much. Canonical text of an integer has no leading zero; the largest have nineteen digits.
pub(super) const INCREMENT: KvWrite = KvWrite {
    code: "CASE WHEN NOT coalesce(old.alive, false) THEN 'done'
                WHEN old.value !~ '^(0|-?[1-9][0-9]{0,18})$' THEN 'not_an_integer'
                WHEN old.value::numeric NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN 'not_an_integer'
                WHEN old.value::numeric + $14::bigint NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN 'overflow'
                ELSE 'done' END",
    asks_for_old: true,
    value: "CASE WHEN NOT coalesce(old.alive, false) THEN ($14::bigint)::text
                 WHEN old.value ~ '^(0|-?[1-9][0-9]{0,18})$' THEN (old.value::numeric + $14::bigint)::text
                 ELSE '' END",
    expires_at: "CASE WHEN old.alive THEN old.expires_at END",
    op: INSERT_OR_UPDATE,
    op_bit: ONE_OR_TWO,
    payload_value: "put.value",
    told: "put.value",
};

/// $14 what is expected, $15 what is written then.
pub(super) const COMPARE_AND_SET: KvWrite = KvWrite {
    code: "CASE WHEN CASE WHEN old.alive THEN old.value END IS NOT DISTINCT FROM $14::text THEN 'done' ELSE 'no' END",
    asks_for_old: true,
    value: "$15::text",
    expires_at: "CASE WHEN old.alive THEN old.expires_at END",
    op: INSERT_OR_UPDATE,
    op_bit: ONE_OR_TWO,
    payload_value: "put.value",
    told: NOTHING,
};

/// A write that tells whether it took place, the value if there is one to tell, and whether the app has the revision $4.
pub(super) fn with_fresh(write: &str) -> String {
    let of_kv = "kv.value IS NOT NULL AND (kv.expires_at IS NULL OR kv.expires_at > statement_timestamp())";
    let write = write.replace("{kv.alive}", of_kv);
    format!(
        "WITH put AS ({write})
         SELECT EXISTS (SELECT 1 FROM put) AS written, (SELECT value FROM put) AS value, EXISTS (SELECT 1 FROM put) OR {{fresh}} AS fresh"
    )
}
