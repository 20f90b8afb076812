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

/// The key of a document for each declared index `i` of its collection; `{form}` is its form. A value that comes by another
/// way than through objects, or is an array, or a text that is too long for an index, is not regular.
const KEY: &str = "
 CROSS JOIN LATERAL (SELECT jsonb_path_query_first({form}, i.only_path, '{}', true) AS v OFFSET 0) v
 CROSS JOIN LATERAL (SELECT
    CASE jsonb_typeof(v.v) WHEN 'string' THEN octet_length(v.v #>> '{}') <= 500 WHEN 'array' THEN false
         ELSE v.v IS NOT NULL OR NOT jsonb_path_exists({form}, i.any_path, '{}', true) END AS regular OFFSET 0) r
 CROSS JOIN LATERAL (SELECT
    CASE WHEN NOT r.regular THEN 0 ELSE
        CASE jsonb_typeof(v.v) WHEN 'number' THEN 2 WHEN 'string' THEN 3 WHEN 'object' THEN 4
             WHEN 'boolean' THEN CASE WHEN v.v::boolean THEN 7 ELSE 6 END ELSE 1 END END::smallint AS rank,
    CASE jsonb_typeof(v.v) WHEN 'number' THEN v.v::numeric ELSE 0 END AS number,
    CASE WHEN r.regular AND jsonb_typeof(v.v) = 'string' THEN v.v #>> '{}' ELSE '' END AS text OFFSET 0) k";

/// The most that one walk answers. Said in the statement, so that it is planned for few, whatever its parameters are.
pub(crate) const MOST_WALKED: usize = 128;

/// How a walk along a declared index begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) filtered: Filtered,
    /// Whether the greatest comes first.
    pub(crate) falls: bool,
    /// Whether it goes on after a place.
    pub(crate) goes_on: bool,
}

impl DocsSql {
    /// Documents in the order of a declared index, within bounds. Parameters: app, collection, the filter if there is one,
    /// the limit, the path, the number of the index, the least and the greatest place (rank, number, text), and if it goes
    /// on after one: rank, number, text and id of that.
    ///
    /// The documents whose keys say all are walked in order, until there are enough; the others are looked at, all of them.
    pub(crate) fn walk(&self, walk: Walk) -> Statement {
        let limit = walk.filtered.parameters() + 1;
        let (path, index, bounds, place) = (limit + 1, limit + 2, limit + 3, limit + 9);
        let filter = match walk.filtered {
            Filtered::Not => "",
            Filtered::EachLookedAt | Filtered::ByIndex => EACH_LOOKED_AT,
        };
        let down = if walk.falls { " DESC" } else { "" };
        let order =
            |of: &str| format!("ORDER BY {of}.rank{down}, {of}.number{down}, {of}.text{down}, {of}.id");
        let triple = |at: usize| format!("(${at}::smallint, ${}::text::numeric, ${}::text)", at + 1, at + 2);
        let (mut regular_after, mut other_after) = (String::new(), String::new());
        if walk.goes_on {
            let (beyond, id) = (if walk.falls { "<" } else { ">" }, place + 3);
            let at = triple(place);
            regular_after = format!("AND NOT ((k.rank, k.number, k.text) = {at} AND k.id <= ${id})");
            other_after = format!(
                "WHERE ((k0.rank::smallint, k0.number, k0.text) {beyond} {at}
                        OR (k0.rank::smallint, k0.number, k0.text) = {at} AND d.id > ${id})"
            );
        }
        let columns = "d.id, d.data, d.version, d.created_at, d.updated_at";
        let sort = SORT.replace("{n}", "0").replace("{path}", &path.to_string());
        let document = format!(
            "CROSS JOIN LATERAL (
                 SELECT * FROM {{s}}.docs WHERE app = $1 AND collection = $2 AND id = k.id{filter} OFFSET 0
             ) d"
        );
        let text = format!(
            "SELECT f.id, f.data, f.version, f.created_at, f.updated_at FROM (
               (SELECT * FROM (
                  SELECT {columns}, k.rank, k.number, k.text FROM (
                    SELECT k.id, k.rank, k.number, k.text FROM {{s}}.docs_keys k
                    WHERE k.app = $1 AND k.index = ${index} AND k.regular
                    AND (k.rank, k.number, k.text) >= {} AND (k.rank, k.number, k.text) <= {} {regular_after} {}
                  ) k {document} {} LIMIT {MOST_WALKED}
                ) r {} LIMIT ${limit})
               UNION ALL
               (SELECT {columns}, k0.rank::smallint AS rank, k0.number, k0.text FROM (
                  SELECT d.* FROM {{s}}.docs_keys k {document} WHERE k.app = $1 AND k.index = ${index} AND NOT k.regular
                ) d {sort} {other_after} {} LIMIT ${limit})
             ) f {} LIMIT ${limit}",
            triple(bounds),
            triple(bounds + 3),
            order("k"),
            order("k"),
            order("r"),
            order("k0").replace("k0.id", "d.id"),
            order("f"),
        );
        self.statement(&text)
    }

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

/// A write to a document: the rows of the outbox that `put` takes along. Their payload is $13, the data, $14, what was there
/// before, and a brace. `old` is what `put` replaces.
const DOCS_FIRED: &str = r#"fired AS (
    INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, parent, occurred_at, run_at)
    SELECT row.id, $1, 'docs', row.trigger, row.script, $13 || {data} || $14 || {prev} || '}', $9, $10, $11, $12, now(), now()
    FROM put {old}, {rows}
    RETURNING 1
)"#;

fn docs_fired(data: &str, prev: &str) -> String {
    let old = if prev == "'null'" { "" } else { "CROSS JOIN old" };
    DOCS_FIRED.replace("{data}", data).replace("{prev}", prev).replace("{old}", old)
}

/// How a write keeps the declared indexes of its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// There are none, or nothing is written.
    Nothing,
    /// All there are.
    All,
}

/// Whether the collection has no declared index.
const BARE: &str =
    "NOT EXISTS (SELECT 1 FROM {s}.docs_indexes WHERE app = $1 AND collection = $2 AND state < 4)";

impl Kept {
    /// The condition of a write, and what it tells of it.
    fn condition(self) -> (&'static str, &'static str) {
        match self {
            Kept::Nothing => ("AND {bare}", "{bare}"),
            Kept::All => ("", "true"),
        }
    }

    fn keys(self, keys: impl FnOnce() -> String) -> String {
        match self {
            Kept::Nothing => String::new(),
            Kept::All => format!("{}, ", keys()),
        }
    }

    fn fill(self, text: &str) -> String {
        let (condition, told) = self.condition();
        text.replace("{is_bare}", told).replace("{if_bare}", condition).replace("{bare}", BARE)
    }
}

/// Writes that nothing matches, to a collection without declared indexes: nobody needs to know what was there before. $5 the
/// data, $6 its form.
pub(super) fn docs_create_silent() -> String {
    Kept::Nothing.fill(&format!(
        "INSERT INTO {{s}}.docs (app, collection, id, data, form, version, created_at, updated_at)
         SELECT $1, $2, $3, $5::text, $6::text::jsonb, 1, statement_timestamp(), statement_timestamp() WHERE {{fresh}} {{if_bare}}
         RETURNING {QUICK_TOLD}, false AS fired"
    ))
}

/// The same. $7 the version it must have.
pub(super) fn docs_update_silent() -> String {
    Kept::Nothing.fill(&format!(
        "UPDATE {{s}}.docs SET data = $5::text, form = $6::text::jsonb, version = version + 1,
             updated_at = greatest(statement_timestamp(), updated_at)
         WHERE app = $1 AND collection = $2 AND id = $3 AND ($7::bigint IS NULL OR version = $7) AND {{fresh}} {{if_bare}}
         RETURNING {QUICK_TOLD}, false AS fired"
    ))
}

/// As much as a write tells that took place.
const QUICK_TOLD: &str = "true AS written, version, created_at, updated_at";

/// Writes with events, to a collection without declared indexes, for when nobody else writes: without a lock, and without
/// a word when nothing was written. $15 the data, $16 its form.
pub(super) fn docs_create_quick() -> String {
    let fired = docs_fired("$15", "'null'");
    Kept::Nothing.fill(&format!(
        "WITH put AS (
             INSERT INTO {{s}}.docs (app, collection, id, data, form, version, created_at, updated_at)
             SELECT $1, $2, $3, $15::text, $16::text::jsonb, 1, statement_timestamp(), statement_timestamp() WHERE {{fresh}} {{if_bare}}
             RETURNING version, created_at, updated_at
         ), {fired} SELECT {QUICK_TOLD}, EXISTS (SELECT 1 FROM fired) AS fired FROM put"
    ))
}

/// The same. $17 the version it must have.
pub(super) fn docs_update_quick() -> String {
    let fired = docs_fired("$15", "old.data");
    Kept::Nothing.fill(&format!(
        "WITH old AS MATERIALIZED (
             SELECT data, version FROM {{s}}.docs WHERE app = $1 AND collection = $2 AND id = $3
         ), put AS (
             UPDATE {{s}}.docs SET data = $15::text, form = $16::text::jsonb, version = old.version + 1,
                 updated_at = greatest(statement_timestamp(), docs.updated_at)
             FROM old WHERE app = $1 AND collection = $2 AND id = $3 AND docs.version = old.version
             AND ($17::bigint IS NULL OR docs.version = $17) AND {{fresh}} {{if_bare}}
             RETURNING docs.version, created_at, updated_at
         ), {fired} SELECT {QUICK_TOLD}, EXISTS (SELECT 1 FROM fired) AS fired FROM put"
    ))
}

/// The keys of what `put` wrote, for the declared indexes of the collection: mostly there are none.
fn docs_keys() -> String {
    let key = KEY.replace("{form}", "(SELECT $16::text::jsonb)");
    format!(
        "keys AS (
             INSERT INTO {{s}}.docs_keys AS old (app, index, id, regular, rank, number, text)
             SELECT $1, i.number, $3, r.regular, k.rank, k.number, k.text FROM put, {{s}}.docs_indexes i {key}
             WHERE i.app = $1 AND i.collection = $2 AND i.state < 4
             ON CONFLICT (app, index, id) DO UPDATE SET regular = excluded.regular, rank = excluded.rank,
                 number = excluded.number, text = excluded.text
             WHERE (old.regular, old.rank, old.number, old.text)
                 IS DISTINCT FROM (excluded.regular, excluded.rank, excluded.number, excluded.text)
         )"
    )
}

/// How many documents are taken into an index at once. Said in the statement for the same reason.
pub(crate) const FILLED_AT_ONCE: usize = 500;

/// Takes the next documents into an index, passing over those that somebody is writing: whoever writes keeps the index. So
/// it waits for nobody. $1 the app, $2 the index.
pub(super) fn docs_index_fill() -> String {
    let key = KEY.replace("{form}", "found.form");
    format!(
        "WITH i AS MATERIALIZED (SELECT * FROM {{s}}.docs_indexes WHERE app = $1 AND number = $2 AND state = 1),
         found AS MATERIALIZED (
             SELECT d.id, d.form FROM i CROSS JOIN LATERAL (
                 SELECT id, form FROM {{s}}.docs WHERE app = $1 AND collection = i.collection AND id > i.done
                 ORDER BY id LIMIT {FILLED_AT_ONCE} FOR KEY SHARE SKIP LOCKED
             ) d
         ), keys AS (
             INSERT INTO {{s}}.docs_keys (app, index, id, regular, rank, number, text)
             SELECT $1, $2, found.id, r.regular, k.rank, k.number, k.text FROM i, found {key}
             ON CONFLICT DO NOTHING RETURNING 1
         ), noted AS (
             UPDATE {{s}}.docs_indexes u SET documents = u.documents + (SELECT count(*) FROM keys),
                 done = coalesce((SELECT id FROM found ORDER BY id DESC LIMIT 1), u.done)
             WHERE u.app = $1 AND u.number = $2 AND u.state = 1
         ) SELECT count(*) FROM found"
    )
}

/// The document as it was, locked.
const DOCS_OLD: &str = "old AS MATERIALIZED (
    SELECT data, version FROM {s}.docs WHERE app = $1 AND collection = $2 AND id = $3 FOR UPDATE
)";

/// What a write to a document came to, or why it did not take place.
const DOCS_TOLD: &str = "
SELECT put.version IS NOT NULL AS written, put.version, put.created_at, put.updated_at, EXISTS (SELECT 1 FROM fired) AS fired,
       old.version AS found, {fresh} AS fresh, {is_bare} AS bare
FROM (VALUES (1)) AS one LEFT JOIN old ON true LEFT JOIN put ON true";

/// $15 the data, $16 its form.
pub(super) fn docs_create(kept: Kept) -> String {
    let (keys, fired) = (kept.keys(docs_keys), docs_fired("$15", "'null'"));
    kept.fill(&format!(
        "WITH put AS (
             INSERT INTO {{s}}.docs (app, collection, id, data, form, version, created_at, updated_at)
             SELECT $1, $2, $3, $15::text, $16::text::jsonb, 1, statement_timestamp(), statement_timestamp() WHERE {{fresh}} {{if_bare}}
             RETURNING version, created_at, updated_at
         ), old AS (SELECT NULL::bigint AS version WHERE false), {keys}{fired} {DOCS_TOLD}"
    ))
}

/// $15 the data, $16 its form, $17 the version it must have.
pub(super) fn docs_update(kept: Kept) -> String {
    let (keys, fired) = (kept.keys(docs_keys), docs_fired("$15", "old.data"));
    kept.fill(&format!(
        "WITH {DOCS_OLD}, put AS (
             UPDATE {{s}}.docs SET data = $15::text, form = $16::text::jsonb, version = old.version + 1,
                 updated_at = greatest(statement_timestamp(), docs.updated_at)
             FROM old WHERE app = $1 AND collection = $2 AND id = $3 AND ($17::bigint IS NULL OR old.version = $17) AND {{fresh}} {{if_bare}}
             RETURNING docs.version, created_at, updated_at
         ), {keys}{fired} {DOCS_TOLD}"
    ))
}

/// $15 the version it must have.
pub(super) fn docs_delete() -> String {
    let fired = docs_fired("'null'", "old.data");
    Kept::All.fill(&format!(
        "WITH {DOCS_OLD}, put AS (
             DELETE FROM {{s}}.docs USING old
             WHERE app = $1 AND collection = $2 AND id = $3 AND ($15::bigint IS NULL OR old.version = $15) AND {{fresh}}
             RETURNING docs.version, created_at, updated_at
         ), keys AS (
             DELETE FROM {{s}}.docs_keys k USING put, {{s}}.docs_indexes i
             WHERE i.app = $1 AND i.collection = $2 AND i.state < 4 AND k.app = $1 AND k.index = i.number AND k.id = $3
         ), {fired} {DOCS_TOLD}"
    ))
}
