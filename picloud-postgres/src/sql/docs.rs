//! Documents: the writes, and queries, which are put together of fixed pieces and numbers of parameters, since there is one
//! for each order of sorting.

use std::fmt::Write;

use super::Statement;
use crate::schema::SchemaName;

/// How a filter is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filtered {
    /// There is none.
    Not,
    /// Document by document.
    EachLookedAt,
    /// By the index.
    ByIndex,
}

/// Makes the statements for one schema.
#[derive(Debug)]
pub(crate) struct DocsSql {
    schema: SchemaName,
    named: bool,
}

/// $1 and $2, and as $3 the filter if there is one. A path is read once, not for each row.
const EACH_LOOKED_AT: &str = " AND jsonb_path_match(form, (SELECT $3::text::jsonpath), '{}', true)";

/// Nothing is pulled out of the subquery: else the planner might walk through the collection in the order of ids, in the
/// hope of soon having enough.
const BY_INDEX: &str = " AND form @@ (SELECT $3::text::jsonpath) OFFSET 0";

impl Filtered {
    fn text(self) -> &'static str {
        match self {
            Filtered::Not => "",
            Filtered::EachLookedAt => EACH_LOOKED_AT,
            Filtered::ByIndex => BY_INDEX,
        }
    }

    /// The parameters so far.
    fn parameters(self) -> usize {
        if self == Filtered::Not { 2 } else { 3 }
    }
}

/// One path to sort by: the value, then its type's place in the order, and what counts of it. The default stands where the
/// type is another.
const SORT: &str = "
 CROSS JOIN LATERAL (SELECT jsonb_path_query_first(d.form, (SELECT ${path}::text::jsonpath), '{}', true) AS v OFFSET 0) v{n}
 CROSS JOIN LATERAL (SELECT
    CASE jsonb_typeof(v{n}.v) WHEN 'number' THEN 2 WHEN 'string' THEN 3 WHEN 'object' THEN 4 WHEN 'array' THEN 5
         WHEN 'boolean' THEN CASE WHEN v{n}.v::boolean THEN 7 ELSE 6 END ELSE 1 END AS rank,
    CASE jsonb_typeof(v{n}.v) WHEN 'number' THEN v{n}.v::numeric ELSE 0 END AS number,
    CASE jsonb_typeof(v{n}.v) WHEN 'string' THEN left(v{n}.v #>> '{}', 1000) ELSE '' END COLLATE \"C\" AS text
    OFFSET 0) k{n}";

impl DocsSql {
    pub(crate) fn new(schema: &SchemaName, named: bool) -> Self {
        DocsSql { schema: schema.clone(), named }
    }

    /// Documents in order. Parameters: app, collection, the filter if there is one, the limit, a path for each of `falls`
    /// (whether the greatest comes first), and if it goes on after a place: of each path rank, number and text, and the id.
    pub(crate) fn find(&self, filtered: Filtered, falls: &[bool], goes_on: bool) -> Statement {
        let limit = filtered.parameters() + 1;
        let first_place = limit + falls.len() + 1;
        let (mut sort, mut order) = (String::new(), String::new());
        for (n, falls) in falls.iter().enumerate() {
            let path = (limit + n + 1).to_string();
            sort.push_str(&SORT.replace("{n}", &n.to_string()).replace("{path}", &path));
            let direction = if *falls { " DESC" } else { "" };
            let _ = write!(order, "k{n}.rank{direction}, k{n}.number{direction}, k{n}.text{direction}, ");
        }
        // From the inside out: only where all before are alike does the next decide.
        let mut after = format!("d.id > ${}", first_place + 3 * falls.len());
        for (n, falls) in falls.iter().enumerate().rev() {
            let beyond = if *falls { "<" } else { ">" };
            let place = first_place + 3 * n;
            let parts = [
                ("text", format!("${}::text", place + 2)),
                ("number", format!("${}::text::numeric", place + 1)),
                ("rank", format!("${place}::integer")),
            ];
            for (part, at) in parts {
                after = format!("(k{n}.{part} {beyond} {at} OR k{n}.{part} = {at} AND {after})");
            }
        }
        let mut text = format!(
            "SELECT d.id, d.data, d.version, d.created_at, d.updated_at FROM (
               SELECT * FROM {{s}}.docs WHERE app = $1 AND collection = $2{}) d{sort}",
            filtered.text()
        );
        if goes_on {
            let _ = write!(text, " WHERE {after}");
        }
        let _ = write!(text, " ORDER BY {order}d.id LIMIT ${limit}");
        self.statement(&text)
    }

    /// How many there are. Parameters: app, collection, the filter if there is one.
    pub(crate) fn count(&self, filtered: Filtered) -> Statement {
        let text = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {{s}}.docs WHERE app = $1 AND collection = $2{}) d",
            filtered.text()
        );
        self.statement(&text)
    }

    fn statement(&self, text: &str) -> Statement {
        Statement { text: self.schema.fill(text).into(), named: self.named }
    }
}

/// A write to a document: the rows of the outbox that `put` takes along. Where there is one, `old` has been locked, so it is
/// what `put` replaces.
const DOCS_FIRED: &str = r#"fired AS (
    INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at, run_at)
    SELECT row.id, $1, 'docs', row.trigger, row.script,
           '{"collection":' || $13 || ',"data":' || {data} || ',"id":"' || $3 || '","op":"{op}","prev_data":' || {prev} || '}',
           $9, $10, $11, $12, now(), now()
    FROM put {old}, unnest($5::uuid[], $6::smallint[], $7::uuid[], $8::uuid[]) AS row (id, ops, trigger, script)
    WHERE row.ops <> 0
    RETURNING 1
)"#;

fn docs_fired(op: &str, data: &str, prev: &str) -> String {
    let old = if prev == "'null'" { "" } else { "CROSS JOIN old" };
    DOCS_FIRED.replace("{op}", op).replace("{data}", data).replace("{prev}", prev).replace("{old}", old)
}

/// The document as it was, locked.
const DOCS_OLD: &str = "old AS MATERIALIZED (
    SELECT data, version FROM {s}.docs WHERE app = $1 AND collection = $2 AND id = $3 FOR UPDATE
)";

/// What a write to a document came to, or why it did not take place.
const DOCS_TOLD: &str = "
SELECT put.version IS NOT NULL AS written, put.version, put.created_at, put.updated_at, EXISTS (SELECT 1 FROM fired) AS fired,
       old.version AS found, {fresh} AS fresh
FROM (VALUES (1)) AS one LEFT JOIN old ON true LEFT JOIN put ON true";

/// $14 the data, $15 its form.
pub(super) fn docs_create() -> String {
    let fired = docs_fired("create", "$14", "'null'");
    format!(
        "WITH put AS (
             INSERT INTO {{s}}.docs (app, collection, id, data, form, version, created_at, updated_at)
             SELECT $1, $2, $3, $14::text, $15::text::jsonb, 1, statement_timestamp(), statement_timestamp() WHERE {{fresh}}
             RETURNING version, created_at, updated_at
         ), old AS (SELECT NULL::bigint AS version WHERE false), {fired} {DOCS_TOLD}"
    )
}

/// $14 the data, $15 its form, $16 the version it must have.
pub(super) fn docs_update() -> String {
    let fired = docs_fired("update", "$14", "old.data");
    format!(
        "WITH {DOCS_OLD}, put AS (
             UPDATE {{s}}.docs SET data = $14::text, form = $15::text::jsonb, version = old.version + 1,
                 updated_at = greatest(statement_timestamp(), docs.updated_at)
             FROM old WHERE app = $1 AND collection = $2 AND id = $3 AND ($16::bigint IS NULL OR old.version = $16) AND {{fresh}}
             RETURNING docs.version, created_at, updated_at
         ), {fired} {DOCS_TOLD}"
    )
}

/// $14 the version it must have.
pub(super) fn docs_delete() -> String {
    let fired = docs_fired("delete", "'null'", "old.data");
    format!(
        "WITH {DOCS_OLD}, put AS (
             DELETE FROM {{s}}.docs USING old
             WHERE app = $1 AND collection = $2 AND id = $3 AND ($14::bigint IS NULL OR old.version = $14) AND {{fresh}}
             RETURNING docs.version, created_at, updated_at
         ), {fired} {DOCS_TOLD}"
    )
}
