//! Filters as SQL/JSON paths: one text, bound as one parameter.
//!
//! A path in lax mode goes through arrays as filters do, and compares with each element of an array; its comparisons are
//! typed, exact for numbers and by code point for strings. So most filters are a path exactly. The others (equality with
//! objects and arrays, `$contains`) become one that lets too much through, and the evaluator of core decides.
//!
//! Whatever comes from callers is a literal in the path: keys and texts are quoted as JSON quotes them, which is how a path
//! reads them.

use picloud_core::docs::filter::{Comparison, Filter, Path, Test, Value, canonical_numbers};
use picloud_core::{AppId, CollectionName, Json, Result};
use sha2::{Digest, Sha256};

/// A filter as a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) text: String,
    /// It holds for the documents that the filter holds for, and for no others.
    pub(crate) is_exact: bool,
    /// The index finds what it holds for.
    pub(crate) is_indexed: bool,
}

const ALWAYS: &str = "exists($)";
const NEVER: &str = "!exists($)";

/// Of an object or array that is looked for, this many parts are looked up; the rest is compared.
const MOST_PARTS: usize = 8;

/// The longest part, in bytes of its path.
const LONGEST_PART: usize = 2_048;

/// With more values than these it is quicker to send documents to core than to ask the database about each value.
const MOST_EXCLUDED: usize = 32;

/// How much of a text is looked for by the database.
const LONGEST_TEXT: usize = 128;

/// The key under which the form of an app's documents lies, so that the entries of apps and collections in the one index
/// are apart. Only the index depends on it: what is found is checked for app and collection.
pub(crate) fn scope(app: AppId, collection: &CollectionName) -> String {
    let hash = Sha256::new().chain_update(app.as_uuid()).chain_update(collection.as_str()).finalize();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What the database searches of data.
pub(crate) fn form(scope: &str, data: &Json) -> Result<String> {
    Ok(format!("{{\"{scope}\":{}}}", canonical_numbers(data)?.as_str()))
}

/// The path to what a query sorts by: through objects only.
pub(crate) fn sort_path(scope: &str, path: &Path) -> Result<String> {
    Ok(format!("strict {}", located(scope, path)?))
}

/// The path to what a filter asks for: through arrays, too.
pub(crate) fn any_path(scope: &str, path: &Path) -> Result<String> {
    located(scope, path)
}

/// The filter as a path.
pub(crate) fn condition(scope: &str, filter: &Filter) -> Result<Condition> {
    of(scope, filter, false)
}

fn literal(value: &Value) -> Result<String> {
    Ok(canonical_numbers(&Json::from_value(value)?)?.as_str().to_owned())
}

fn located(scope: &str, path: &Path) -> Result<String> {
    let mut text = format!("$.\"{scope}\"");
    for key in path.keys() {
        text.push('.');
        text.push_str(Json::from_value(key)?.as_str());
    }
    Ok(text)
}

impl Condition {
    fn exact(text: String) -> Self {
        Condition { text, is_exact: true, is_indexed: false }
    }

    fn indexed(text: String) -> Self {
        Condition { is_indexed: true, ..Condition::exact(text) }
    }

    /// It may let too much through.
    fn roughly(self) -> Self {
        Condition { is_exact: false, ..self }
    }

    fn anything() -> Self {
        Condition::exact(ALWAYS.to_owned()).roughly()
    }

    /// The opposite. A comparison of different types is neither true nor false.
    fn negated(text: &str) -> Self {
        Condition::exact(format!("(!{text} || {text} is unknown)"))
    }

    fn all(conditions: Vec<Condition>) -> Self {
        let is_indexed = conditions.iter().any(|condition| condition.is_indexed);
        Condition { is_indexed, ..Condition::joined(conditions, " && ", ALWAYS) }
    }

    fn any(conditions: Vec<Condition>) -> Self {
        let is_indexed = !conditions.is_empty() && conditions.iter().all(|condition| condition.is_indexed);
        Condition { is_indexed, ..Condition::joined(conditions, " || ", NEVER) }
    }

    fn joined(mut conditions: Vec<Condition>, with: &str, none: &str) -> Self {
        match conditions.pop() {
            None => Condition::exact(none.to_owned()),
            Some(only) if conditions.is_empty() => only,
            Some(last) => {
                conditions.push(last);
                let is_exact = conditions.iter().all(|condition| condition.is_exact);
                let texts: Vec<_> = conditions.into_iter().map(|condition| condition.text).collect();
                Condition { text: format!("({})", texts.join(with)), is_exact, is_indexed: false }
            }
        }
    }
}

fn of(scope: &str, filter: &Filter, is_negated: bool) -> Result<Condition> {
    let each = |filters: &[Filter]| -> Result<Vec<_>> {
        filters.iter().map(|filter| of(scope, filter, is_negated)).collect()
    };
    match filter {
        Filter::All(filters) if is_negated => Ok(Condition::any(each(filters)?)),
        Filter::Any(filters) if is_negated => Ok(Condition::all(each(filters)?)),
        Filter::All(filters) => Ok(Condition::all(each(filters)?)),
        Filter::Any(filters) => Ok(Condition::any(each(filters)?)),
        Filter::Not(filter) => of(scope, filter, !is_negated),
        Filter::At(path, test) => at(&located(scope, path)?, test, is_negated),
        // A filter of a later version: core decides.
        _ => Ok(Condition::anything()),
    }
}

fn at(path: &str, test: &Test, is_negated: bool) -> Result<Condition> {
    let simple = |text: String| if is_negated { Condition::negated(&text) } else { Condition::exact(text) };
    Ok(match test {
        Test::In(values) if is_negated && values.len() > MOST_EXCLUDED => Condition::anything(),
        Test::In(values) if is_negated => {
            Condition::all(values.iter().map(|value| differs(path, value)).collect::<Result<_>>()?)
        }
        Test::In(values) => {
            Condition::any(values.iter().map(|value| equals(path, value)).collect::<Result<_>>()?)
        }
        Test::Compare(comparison, operand) => {
            let comparison = match comparison {
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
            };
            simple(format!("({path} {comparison} {})", literal(operand)?))
        }
        Test::Exists(wanted) if *wanted != is_negated => Condition::exact(format!("exists({path})")),
        Test::Exists(_) => Condition::exact(format!("!exists({path})")),
        Test::StartsWith(start) => {
            simple(format!("({path} starts with {})", Json::from_value(start)?.as_str()))
        }
        Test::Contains(_) if is_negated => Condition::anything(),
        Test::Contains(Value::String(text)) => {
            let start = &text[..text.floor_char_boundary(LONGEST_TEXT)];
            let text = match start {
                "" => format!("exists({path})"),
                start => format!("({path} like_regex {} flag \"q\")", Json::from_value(start)?.as_str()),
            };
            Condition::exact(text).roughly()
        }
        Test::Contains(Value::Null) => Condition::indexed(format!("({path} == null)")).roughly(),
        Test::Contains(value) => equals(path, value)?.roughly(),
        // A test of a later version: core decides.
        _ => Condition::anything(),
    })
}

fn equals(path: &str, value: &Value) -> Result<Condition> {
    Ok(match value {
        Value::Null => Condition::exact(format!("(({path} == null) || !exists({path}))")),
        Value::Array(_) | Value::Object(_) => {
            let mut parts = Vec::new();
            collect_parts(path, value, &mut parts)?;
            parts.push(Condition::exact(format!("exists({path})")));
            Condition::all(parts).roughly()
        }
        scalar => Condition::indexed(format!("({path} == {})", literal(scalar)?)),
    })
}

fn differs(path: &str, value: &Value) -> Result<Condition> {
    Ok(match value {
        Value::Null => {
            let not_null = Condition::negated(&format!("({path} == null)"));
            Condition::all(vec![Condition::exact(format!("exists({path})")), not_null])
        }
        Value::Array(_) | Value::Object(_) => Condition::anything(),
        scalar => Condition::negated(&format!("({path} == {})", literal(scalar)?)),
    })
}

/// Conditions that hold wherever an equal object or array is at the path, or in an array there.
fn collect_parts(path: &str, value: &Value, parts: &mut Vec<Condition>) -> Result<()> {
    if path.len() > LONGEST_PART || parts.len() >= MOST_PARTS {
        return Ok(());
    }
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                collect_parts(&format!("{path}.{}", Json::from_value(key)?.as_str()), value, parts)?;
            }
        }
        Value::Array(items) => {
            // Of a value that is no array, `[*]` is the value itself.
            let inside = format!("{path}[*][*]");
            for item in items {
                collect_parts(&inside, item, parts)?;
            }
        }
        Value::Null => parts.push(Condition::indexed(format!("({path} == null)"))),
        scalar => {
            let literal = literal(scalar)?;
            if literal.len() <= LONGEST_PART {
                parts.push(Condition::indexed(format!("({path} == {literal})")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use picloud_core::docs::Query;

    use super::*;

    fn of_query(text: &str) -> Condition {
        let query = Query::parse(&Json::parse(text).unwrap()).unwrap();
        condition("s", query.filter()).unwrap()
    }

    #[test]
    fn callers_texts_are_quoted() {
        let condition = of_query(r#"{"a\"|| true":"\" || exists($) || \"","b":{"$starts_with":"\\"}}"#);
        let wanted = r#"(($."s"."a\"|| true" == "\" || exists($) || \"") && ($."s"."b" starts with "\\"))"#;
        assert_eq!(condition.text, wanted);
    }

    #[test]
    fn the_index_serves_what_every_branch_looks_up() {
        for (query, is_indexed) in [
            (r#"{"a":1}"#, true),
            (r#"{"a":1,"b":{"$gt":1}}"#, true),
            (r#"{"a":{"$in":[1,"x",{"b":1}]}}"#, true),
            (r#"{"$or":[{"a":1},{"b":2}]}"#, true),
            (r#"{"$or":[{"a":1},{"b":{"$gt":2}}]}"#, false),
            (r#"{"a":null}"#, false),
            (r#"{"a":{"$ne":1}}"#, false),
            (r#"{"a":{"$in":[]}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(of_query(query).is_indexed, is_indexed, "{query}");
        }
    }

    #[test]
    fn what_is_looked_up_of_a_large_operand_is_little() {
        let item = format!("{{\"{}\":1}}", "k".repeat(1_000));
        let query = format!("{{\"a\":[{}]}}", vec![item; 200].join(","));
        assert!(of_query(&query).text.len() < 16_384);
    }
}
