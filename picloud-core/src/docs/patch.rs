//! Patches: JSON merge patches with operators.

use serde_json::Map;

use super::DocData;
use super::filter::{Path, Value, values_order};
use super::types::kind_of;
use crate::{Error, ErrorKind, Json, Result};

/// The operators of a patch, in the order in which they take effect.
const OPERATORS: &str = "$unset, $inc, $push and $pull";

/// Most paths of one operator.
const MAX_PATHS: usize = 100;

/// A change of a document's data: a JSON merge patch (RFC 7396), and beside it operators, each with a map from paths to
/// operands.
///
/// First the merge patch: what is an object in both is merged, `null` removes a key, anything else replaces the value. Then
/// `$unset` (an array of paths) removes, `$inc` adds to a number, `$push` appends to an array, and `$pull` removes every
/// element that equals the operand. A missing number counts as 0 and a missing array as empty; objects on the way are made.
/// Paths go through objects only.
///
/// ```
/// use picloud_core::Json;
/// use picloud_core::docs::Patch;
///
/// let patch = r#"{ "name": "Ada", "old": null, "$inc": { "visits.total": 1 }, "$push": { "tags": "new" } }"#;
/// let patch = Patch::parse(&Json::parse(patch)?)?;
/// let data = Json::parse(r#"{ "name": "?", "old": 1, "tags": [] }"#)?;
/// let wanted = r#"{"name":"Ada","tags":["new"],"visits":{"total":1}}"#;
/// assert_eq!(patch.apply(&data)?.json().as_str(), wanted);
/// # Ok::<(), picloud_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    merge: Map<String, Value>,
    changes: Vec<(Path, Change)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Unset,
    Increase(Value),
    Push(Value),
    Pull(Value),
}

/// Makes a change of an operand.
type Making = fn(Value) -> Change;

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("docs.invalid_patch", message)
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// `docs.invalid_patch`, `docs.invalid_path`, `docs.not_an_object`, `docs.data_too_large`.
    pub fn parse(json: &Json) -> Result<Self> {
        let mut merge: Map<String, Value> = DocData::new(json.clone())?.into_json().to_value()?;
        let mut changes = Vec::new();
        if let Some(paths) = merge.remove("$unset") {
            let what = || invalid("$unset needs an array of paths, as in [\"name\", \"address.city\"]");
            let paths = paths.as_array().ok_or_else(what)?;
            limited("$unset", paths.len())?;
            for path in paths {
                changes.push((Path::parse(path.as_str().ok_or_else(what)?)?, Change::Unset));
            }
        }
        let operators: [(&str, Making); 3] =
            [("$inc", Change::Increase), ("$push", Change::Push), ("$pull", Change::Pull)];
        for (operator, change) in operators {
            let Some(operands) = merge.remove(operator) else { continue };
            let Value::Object(operands) = operands else {
                return Err(invalid(format!("{operator} needs a map from paths to operands")));
            };
            limited(operator, operands.len())?;
            for (path, operand) in operands {
                if operator == "$inc" && !operand.is_number() {
                    return Err(invalid(format!(
                        "$inc of {path:?} needs a number, not {}",
                        kind_of(&operand)
                    )));
                }
                changes.push((Path::parse(&path)?, change(operand)));
            }
        }
        if let Some(operator) = merge.keys().find(|key| key.starts_with('$')) {
            let operator: String = operator.chars().take(80).collect();
            return Err(invalid(format!("there is no operator {operator}; supported are {OPERATORS}")));
        }
        Ok(Patch { merge, changes })
    }

    /// What the patch makes of data.
    ///
    /// # Errors
    /// `docs.not_a_number` and `docs.overflow` of `$inc`, `docs.not_an_array` of `$push` and `$pull`,
    /// `docs.path_blocked` when a path leads through something that is no object; `docs.data_too_large` and
    /// `json.too_deep` for what comes out.
    pub fn apply(&self, data: &Json) -> Result<DocData> {
        let mut data: Map<String, Value> = data.to_value()?;
        merge(&mut data, &self.merge);
        for (path, change) in &self.changes {
            change.apply(&mut data, path)?;
        }
        DocData::new(Json::from_value(&data)?)
    }
}

fn limited(operator: &str, paths: usize) -> Result<()> {
    if paths > MAX_PATHS {
        return Err(invalid(format!("{operator} takes at most {MAX_PATHS} paths, these are {paths}")));
    }
    Ok(())
}

fn merge(data: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                data.remove(key);
            }
            Value::Object(patch) => {
                let entry = data.entry(key.as_str()).or_insert(Value::Null);
                if !entry.is_object() {
                    *entry = Value::Object(Map::new());
                }
                if let Value::Object(data) = entry {
                    merge(data, patch);
                }
            }
            value => {
                data.insert(key.clone(), value.clone());
            }
        }
    }
}

impl Change {
    fn apply(&self, data: &mut Map<String, Value>, path: &Path) -> Result<()> {
        let Some((last, way)) = path.keys().split_last() else { return Ok(()) };
        let mut object = data;
        for key in way {
            let makes_way = matches!(self, Change::Increase(_) | Change::Push(_));
            let next = match object.get_mut(key) {
                None if !makes_way => return Ok(()),
                None => object.entry(key.as_str()).or_insert(Value::Object(Map::new())),
                // Asked again, since a borrow that is answered in one arm is held in all.
                Some(_) => object.entry(key.as_str()).or_insert(Value::Null),
            };
            object = match next {
                Value::Object(object) => object,
                _ if matches!(self, Change::Unset) => return Ok(()),
                other => {
                    return Err(conflict(
                        "docs.path_blocked",
                        format!("the path {path:?} leads through {key:?}, which is {}", kind_of(other)),
                    ));
                }
            };
        }
        match self {
            Change::Unset => {
                object.remove(last);
            }
            Change::Increase(by) => {
                let sum = increased(path, object.get(last), by)?;
                object.insert(last.clone(), sum);
            }
            Change::Push(value) => match object.entry(last.as_str()).or_insert(Value::Array(Vec::new())) {
                Value::Array(items) => items.push(value.clone()),
                other => return Err(not_an_array("$push", path, other)),
            },
            Change::Pull(value) => match object.get_mut(last) {
                None => {}
                Some(Value::Array(items)) => items.retain(|item| values_order(item, value).is_ne()),
                Some(other) => return Err(not_an_array("$pull", path, other)),
            },
        }
        Ok(())
    }
}

fn conflict(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Conflict, code, message)
}

fn not_an_array(operator: &str, path: &Path, found: &Value) -> Error {
    conflict(
        "docs.not_an_array",
        format!("{operator} needs an array at {path:?}, there is {}", kind_of(found)),
    )
}

fn increased(path: &Path, present: Option<&Value>, by: &Value) -> Result<Value> {
    let overflow = || conflict("docs.overflow", format!("the sum at {path:?} does not fit into a number"));
    let present = match present {
        None => return Ok(by.clone()),
        Some(Value::Number(present)) => present,
        Some(other) => {
            return Err(conflict(
                "docs.not_a_number",
                format!("$inc needs a number at {path:?}, there is {}", kind_of(other)),
            ));
        }
    };
    match (present.as_i64(), by.as_i64()) {
        (Some(present), Some(by)) => present.checked_add(by).map(Value::from).ok_or_else(overflow),
        _ => {
            let sum = present.as_f64().zip(by.as_f64()).map(|(present, by)| present + by);
            let number = sum.and_then(serde_json::Number::from_f64).ok_or_else(overflow)?;
            Ok(Value::Number(number))
        }
    }
}
