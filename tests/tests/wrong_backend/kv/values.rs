//! What becomes of values, times to live, comparisons and sums.

use picloud_core::kv::{KvError, SetOptions};
use picloud_core::{CallCx, Error, ErrorKind, Json, Result};
use serde_json::Value;

use super::{Id, Wrong, WrongKv};

fn equal_loosely(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

impl WrongKv {
    /// What is stored of a value.
    pub(crate) fn stored(&self, value: &Json) -> Result<Json> {
        let refuse = || Err(Error::invalid("kv.refused", "such values are not stored"));
        let parsed: Value = value.to_value()?;
        match (self.wrong, parsed) {
            (Some(Wrong::IntegersBecomeFloats), Value::Number(number)) if number.is_i64() => {
                Json::from_value(&number.as_f64())
            }
            (Some(Wrong::FloatsLoseTheirFraction), Value::Number(number)) if number.is_f64() => {
                Json::from_value(&(number.as_f64().unwrap_or_default() as i64))
            }
            (Some(Wrong::TextIsTrimmed), Value::String(text)) => Json::from_value(text.trim()),
            (Some(Wrong::EmptyMapsBecomeNull), Value::Object(map)) if map.is_empty() => Ok(Json::null()),
            (Some(Wrong::RefusesDeepValues), _) if value.as_str().starts_with("[[[[[[[[") => refuse(),
            (Some(Wrong::RefusesLargeValues), _) if value.len() >= 1 << 20 => refuse(),
            _ => Ok(value.clone()),
        }
    }

    pub(crate) fn read(&self, value: Option<Json>) -> Option<Json> {
        match value {
            Some(value) if value.is_null() && self.is(Wrong::NullMeansMissing) => None,
            None if self.is(Wrong::MissingReadsAsNull) => Some(Json::null()),
            value => value,
        }
    }

    pub(crate) fn ttl(&self, id: &Id, asked: Option<u64>) -> Result<Option<u64>> {
        let mut notes = self.notes();
        let before = notes.ttls.get(id).copied();
        if let Some(seconds) = asked {
            notes.ttls.entry(id.clone()).or_insert(seconds);
        }
        Ok(match (self.wrong, asked) {
            (Some(Wrong::ExpiresTooSoon), Some(_)) => Some(1),
            (Some(Wrong::RefusesLongTimes), Some(seconds)) if seconds > 1_000_000_000 => {
                return Err(Error::new(ErrorKind::TooLarge, "kv.ttl_too_long", "that is too long"));
            }
            (Some(Wrong::ForgetsTtl), _) => None,
            (Some(Wrong::SetKeepsTtl), None) | (Some(Wrong::FirstTtlStays), Some(_)) => before.or(asked),
            _ => asked,
        })
    }

    /// Writes again what was just written, with another time to live, and without any events.
    async fn write_again(&self, cx: &CallCx, id: &Id, ttl: Option<u64>) -> Result<()> {
        let plain = CallCx::from(cx.to_inner());
        let Some(value) = self.inner.get(&plain, &id.1, &id.2).await? else { return Ok(()) };
        let options = ttl.map_or_else(SetOptions::default, SetOptions::ttl);
        self.inner.set(&plain, &id.1, &id.2, &value, &options).await
    }

    pub(crate) async fn after_write(&self, cx: &CallCx, id: &Id, clears: Wrong) -> Result<()> {
        let old = self.notes().ttls.get(id).copied();
        if self.is(clears) || self.is(Wrong::TtlOutlivesItsEntry) && old.is_some() {
            self.write_again(cx, id, old.filter(|_| !self.is(clears))).await?;
        }
        Ok(())
    }

    /// Whether a wrong comparison takes the stored value for the expected one.
    pub(crate) fn matches(&self, stored: Option<&Json>, expected: Option<&Json>) -> bool {
        let value = |json: &Json| json.to_value::<Value>().unwrap_or_default();
        let right = stored == expected;
        match (self.wrong, stored, expected) {
            (Some(Wrong::CasNeverWrites), ..) => false,
            (Some(Wrong::CasAlwaysWrites), ..) => true,
            (Some(Wrong::CasNeedsAnEntry), None, None) => false,
            (Some(Wrong::CasNeverFindsAKeyInTheWay), _, None) => true,
            (Some(Wrong::CasWritesMissingKeys), None, _) => true,
            (Some(Wrong::CasTakesNullForMissing), stored, expected) => {
                stored.filter(|stored| !stored.is_null()) == expected.filter(|expected| !expected.is_null())
            }
            (Some(Wrong::CasComparesLoosely), Some(stored), Some(expected)) => {
                equal_loosely(&value(stored), &value(expected))
            }
            (Some(Wrong::CasComparesAsText), Some(stored), Some(expected)) => {
                stored.as_str().trim_matches('"') == expected.as_str().trim_matches('"')
            }
            (Some(Wrong::CasIgnoresTheOrderOfArrays), Some(stored), Some(expected)) => {
                let sorted = |json| match value(json) {
                    Value::Array(items) => {
                        let mut items: Vec<_> = items.iter().map(Value::to_string).collect();
                        items.sort();
                        Some(items)
                    }
                    _ => None,
                };
                right || sorted(stored).is_some_and(|items| Some(items) == sorted(expected))
            }
            (Some(Wrong::CasNeverMatchesObjects), Some(stored), _) => right && !value(stored).is_object(),
            _ => right,
        }
    }

    /// The sum where the memory backend would refuse, or otherwise than it would add.
    pub(crate) async fn wrong_sum(&self, cx: &CallCx, id: &Id, by: i64) -> Result<Option<i64>> {
        let plain = CallCx::from(cx.to_inner());
        let stored = self.inner.get(&plain, &id.1, &id.2).await?;
        let integer = |stored: &Json| stored.as_str().parse::<i64>().ok();
        let number = match (self.wrong, &stored) {
            (Some(Wrong::IncrementOfMissingIsAnError), None) => return Err(KvError::NotAnInteger.into()),
            (Some(Wrong::IncrementAcceptsFloats), Some(stored)) => {
                stored.as_str().parse::<f64>().ok().map(|number| number as i64)
            }
            (Some(Wrong::IncrementReadsText), Some(stored)) => {
                Some(stored.as_str().trim_matches('"').parse().unwrap_or_default())
            }
            (Some(Wrong::IncrementRefusesTheLimits), Some(stored)) => {
                match integer(stored).and_then(|number| number.checked_add(by)) {
                    Some(i64::MIN | i64::MAX) => return Err(KvError::Overflow.into()),
                    _ => None,
                }
            }
            (Some(Wrong::IncrementWraps | Wrong::LosesUpdates), Some(stored)) => integer(stored),
            (Some(Wrong::LosesUpdates), None) => Some(0),
            _ => None,
        };
        Ok(number.map(|number| number.wrapping_add(by)))
    }
}
