//! The reference evaluator.

use std::cmp::Ordering;

use super::order::rank;
use super::{Comparison, Filter, Test, Value, values_order};
use crate::{Json, Result};

impl Filter {
    /// Whether the filter holds for data.
    ///
    /// # Errors
    /// None for canonical text; `json.mismatch` for other text.
    pub fn matches(&self, data: &Json) -> Result<bool> {
        Ok(self.holds(&data.to_value()?))
    }

    /// Whether the filter holds for a value.
    pub fn holds(&self, data: &Value) -> bool {
        match self {
            Filter::All(filters) => filters.iter().all(|filter| filter.holds(data)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.holds(data)),
            Filter::Not(filter) => !filter.holds(data),
            Filter::At(path, test) => {
                let any = |is_so: &mut dyn FnMut(&Value) -> bool| path.any(data, is_so);
                let no_value_will_do = match test {
                    Test::In(values) => values.first().is_some_and(Value::is_null),
                    Test::Exists(wanted) => return any(&mut |_| true) == *wanted,
                    _ => false,
                };
                any(&mut |value| test.passes(value)) || no_value_will_do && !any(&mut |_| true)
            }
        }
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        if let Test::Contains(operand) = self {
            return match (value, operand) {
                (Value::String(text), Value::String(part)) => text.contains(part),
                (Value::Array(items), operand) => {
                    items.iter().any(|item| values_order(item, operand).is_eq())
                }
                _ => false,
            };
        }
        let elements = value.as_array().map(Vec::as_slice).unwrap_or_default();
        self.passes_as_it_is(value) || elements.iter().any(|element| self.passes_as_it_is(element))
    }

    fn passes_as_it_is(&self, value: &Value) -> bool {
        match self {
            Test::In(values) => values.binary_search_by(|wanted| values_order(wanted, value)).is_ok(),
            Test::Compare(comparison, operand) => {
                rank(value) == rank(operand) && comparison.holds(values_order(value, operand))
            }
            Test::StartsWith(start) => value.as_str().is_some_and(|text| text.starts_with(start.as_str())),
            // Not reached.
            Test::Exists(_) | Test::Contains(_) => false,
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        }
    }
}
