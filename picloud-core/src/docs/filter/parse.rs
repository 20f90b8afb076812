//! From JSON to a query.

use serde_json::Map;

use super::{
    Comparison, Filter, MAX_CONDITIONS, MAX_FILTER_DEPTH, MAX_IN, MAX_QUERY_BYTES, MAX_SELECT, MAX_SORT,
    Path, Query, Sort, Test, Value, values_order,
};
use crate::docs::types::kind_of;
use crate::page::Cursor;
use crate::{Error, ErrorKind, Json, Result};

/// What stands beside paths in a query.
const AT_THE_TOP: &str = "$and, $or, $not, $sort, $limit, $cursor and $select";

/// What stands beside paths in a query within a query.
const WITHIN: &str = "$and, $or and $not";

/// What stands behind a path.
const BEHIND_A_PATH: &str =
    "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not, $contains and $starts_with";

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("docs.invalid_query", message)
}

/// An operand that is not what it must be.
fn expected(operator: &str, what: &str, found: &Value) -> Error {
    invalid(format!("{operator} needs {what}, not {}", kind_of(found)))
}

fn unknown(operator: &str, supported: &str) -> Error {
    let operator: String = operator.chars().take(80).collect();
    invalid(format!("there is no operator {operator} here; supported are {supported}"))
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `docs.invalid_query`, naming what is wrong and what would be right; `docs.invalid_path`; `docs.query_too_large`.
    pub fn parse(json: &Json) -> Result<Self> {
        if json.len() > MAX_QUERY_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "docs.query_too_large",
                format!("a query has at most {MAX_QUERY_BYTES} bytes as JSON, this one has {}", json.len()),
            ));
        }
        let Value::Object(mut entries) = json.to_value()? else {
            return Err(invalid("a query is an object, as in #{ status: \"open\" }"));
        };
        let mut query = Query::default();
        query.limit = entries.remove("$limit").as_ref().map(limit).transpose()?;
        query.cursor = entries.remove("$cursor").map(cursor).transpose()?;
        query.select = entries.remove("$select").as_ref().map(select).transpose()?;
        query.identity = Json::from_value(&entries)?.as_str().to_owned();
        query.sort = entries.remove("$sort").as_ref().map(sort).transpose()?.unwrap_or_default();
        query.filter = Reader { conditions: 0, supported: AT_THE_TOP }.query(&entries, 0)?;
        Ok(query)
    }
}

impl Filter {
    /// Reads a query that is nothing but conditions.
    ///
    /// # Errors
    /// As [`Query::parse`], and `docs.invalid_query` for `$sort`, `$limit`, `$cursor` and `$select`.
    pub fn parse(json: &Json) -> Result<Self> {
        let query = Query::parse(json)?;
        if query.is_more_than_a_filter() {
            return Err(invalid(format!("only conditions stand here: paths, {WITHIN}")));
        }
        Ok(query.filter)
    }
}

fn limit(value: &Value) -> Result<usize> {
    let limit = value.as_i64().ok_or_else(|| expected("$limit", "an integer", value))?;
    Ok(usize::try_from(limit).unwrap_or_default())
}

fn cursor(value: Value) -> Result<Cursor> {
    match value {
        Value::String(text) => Ok(Cursor::new(text)),
        other => Err(expected("$cursor", "the cursor of another page, a string", &other)),
    }
}

fn select(value: &Value) -> Result<Vec<Path>> {
    let what = "an array of paths, as in [\"name\", \"address.city\"]";
    let paths = value.as_array().ok_or_else(|| expected("$select", what, value))?;
    if paths.len() > MAX_SELECT {
        return Err(invalid(format!("$select takes at most {MAX_SELECT} paths, these are {}", paths.len())));
    }
    paths
        .iter()
        .map(|path| Path::parse(path.as_str().ok_or_else(|| expected("$select", what, path))?))
        .collect()
}

fn sort(value: &Value) -> Result<Vec<Sort>> {
    let parts = match value {
        Value::Array(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    };
    if parts.len() > MAX_SORT {
        return Err(invalid(format!("$sort takes at most {MAX_SORT} paths, these are {}", parts.len())));
    }
    parts.iter().map(sort_part).collect()
}

fn sort_part(value: &Value) -> Result<Sort> {
    let what = "a path, #{ path: 1 }, #{ path: -1 }, or an array of these";
    let (path, direction) = match value {
        Value::String(path) => return Ok(Sort { path: Path::parse(path)?, descending: false }),
        Value::Object(entries) => {
            let mut entries = entries.iter();
            match (entries.next(), entries.next()) {
                (Some(entry), None) => entry,
                // Maps do not remember which came first.
                _ => {
                    return Err(invalid(
                        "$sort by several paths is an array, as in [#{ age: -1 }, \"name\"]",
                    ));
                }
            }
        }
        other => return Err(expected("$sort", what, other)),
    };
    let descending = match (direction.as_i64(), direction.as_str()) {
        (Some(1), _) | (_, Some("asc")) => false,
        (Some(-1), _) | (_, Some("desc")) => true,
        _ => return Err(invalid(format!("the direction of {path:?} in $sort is 1 or -1"))),
    };
    Ok(Sort { path: Path::parse(path)?, descending })
}

/// Reads conditions, and counts them.
struct Reader {
    conditions: usize,
    /// The operators beside paths where it reads.
    supported: &'static str,
}

impl Reader {
    fn count(&mut self) -> Result<()> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(invalid(format!("a query has at most {MAX_CONDITIONS} conditions")));
        }
        Ok(())
    }

    fn deeper(depth: usize) -> Result<usize> {
        if depth == MAX_FILTER_DEPTH {
            return Err(invalid(format!("$and, $or and $not nest at most {MAX_FILTER_DEPTH} levels deep")));
        }
        Ok(depth + 1)
    }

    fn query(&mut self, entries: &Map<String, Value>, depth: usize) -> Result<Filter> {
        let mut all = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            all.push(match key.as_str() {
                "$and" => Filter::All(self.queries(key, value, depth)?),
                "$or" => Filter::Any(self.queries(key, value, depth)?),
                "$not" => Filter::Not(Box::new(self.within(key, value, depth)?)),
                operator if operator.starts_with('$') => return Err(unknown(operator, self.supported)),
                path => self.at(&Path::parse(path)?, value, depth)?,
            });
        }
        Ok(one_of(all))
    }

    fn queries(&mut self, operator: &str, value: &Value, depth: usize) -> Result<Vec<Filter>> {
        match value {
            Value::Array(queries) if !queries.is_empty() => {
                queries.iter().map(|query| self.within(operator, query, depth)).collect()
            }
            Value::Array(_) => Err(invalid(format!("{operator} needs at least one query"))),
            other => Err(expected(operator, "an array of queries", other)),
        }
    }

    fn within(&mut self, operator: &str, value: &Value, depth: usize) -> Result<Filter> {
        let entries = value.as_object().ok_or_else(|| expected(operator, "a query, an object", value))?;
        self.count()?;
        let depth = Self::deeper(depth)?;
        self.supported = WITHIN;
        let filter = self.query(entries, depth);
        if depth == 1 {
            self.supported = AT_THE_TOP;
        }
        filter
    }

    /// What stands behind a path.
    fn at(&mut self, path: &Path, value: &Value, depth: usize) -> Result<Filter> {
        let operators = match value {
            Value::Object(entries) if entries.keys().any(|key| key.starts_with('$')) => entries,
            value => return self.test(path, Test::In(vec![value.clone()])),
        };
        let mut all = Vec::with_capacity(operators.len());
        for (operator, operand) in operators {
            all.push(self.operator(path, operator, operand, depth)?);
        }
        Ok(one_of(all))
    }

    fn test(&mut self, path: &Path, test: Test) -> Result<Filter> {
        self.count()?;
        Ok(Filter::At(path.clone(), test))
    }

    fn operator(&mut self, path: &Path, operator: &str, operand: &Value, depth: usize) -> Result<Filter> {
        let not = |filter| Filter::Not(Box::new(filter));
        let test = match operator {
            "$eq" => Test::In(vec![operand.clone()]),
            "$ne" => return Ok(not(self.test(path, Test::In(vec![operand.clone()]))?)),
            "$gt" => compared(operator, Comparison::Greater, operand)?,
            "$gte" => compared(operator, Comparison::GreaterOrEqual, operand)?,
            "$lt" => compared(operator, Comparison::Less, operand)?,
            "$lte" => compared(operator, Comparison::LessOrEqual, operand)?,
            "$in" => values(operator, operand)?,
            "$nin" => return Ok(not(self.test(path, values(operator, operand)?)?)),
            "$exists" => {
                Test::Exists(operand.as_bool().ok_or_else(|| expected(operator, "true or false", operand))?)
            }
            "$not" => {
                let is_operators =
                    operand.as_object().is_some_and(|entries| entries.keys().any(|key| key.starts_with('$')));
                if !is_operators {
                    return Err(invalid("$not behind a path needs operators, as in #{ $not: #{ $gt: 5 } }"));
                }
                return Ok(not(self.at(path, operand, Self::deeper(depth)?)?));
            }
            "$contains" => Test::Contains(operand.clone()),
            "$starts_with" => {
                let start = operand.as_str().ok_or_else(|| expected(operator, "a string", operand))?;
                Test::StartsWith(start.to_owned())
            }
            operator if operator.starts_with('$') => return Err(unknown(operator, BEHIND_A_PATH)),
            key => {
                let key: String = key.chars().take(80).collect();
                return Err(invalid(format!(
                    "{key:?} stands among the operators of {path:?}: give both a path"
                )));
            }
        };
        self.test(path, test)
    }
}

fn one_of(mut all: Vec<Filter>) -> Filter {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        Some(last) => {
            all.push(last);
            Filter::All(all)
        }
        None => Filter::All(all),
    }
}

fn compared(operator: &str, comparison: Comparison, operand: &Value) -> Result<Test> {
    match operand {
        Value::Number(_) | Value::String(_) | Value::Bool(_) => {
            Ok(Test::Compare(comparison, operand.clone()))
        }
        other => Err(expected(operator, "a number, a string or a boolean", other)),
    }
}

fn values(operator: &str, operand: &Value) -> Result<Test> {
    let values = operand.as_array().ok_or_else(|| expected(operator, "an array", operand))?;
    if values.len() > MAX_IN {
        return Err(invalid(format!("{operator} takes at most {MAX_IN} values, these are {}", values.len())));
    }
    let mut values = values.clone();
    values.sort_by(values_order);
    values.dedup_by(|one, two| values_order(one, two).is_eq());
    Ok(Test::In(values))
}
