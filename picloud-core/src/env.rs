//! Reading settings from environment variables: an invalid value is warned about by name and skipped.
//!
//! Only `…::from_env()` functions, which a host calls or not, come here.

use std::fmt::Display;
use std::str::FromStr;

/// The value of `name`, if it is set and valid.
pub(crate) fn parsed<T: FromStr>(name: &'static str, expected: &str) -> Option<T>
where
    T::Err: Display,
{
    let text = match std::env::var(name) {
        Ok(text) => text,
        Err(std::env::VarError::NotPresent) => return None,
        Err(std::env::VarError::NotUnicode(_)) => {
            tracing::warn!(variable = name, "ignored: not UTF-8");
            return None;
        }
    };
    match text.trim().parse() {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(variable = name, value = text, %error, expected, "ignored: invalid value");
            None
        }
    }
}

/// A whole number of at least 1.
pub(crate) fn positive<T: FromStr + PartialOrd + From<u8>>(name: &'static str) -> Option<T>
where
    T::Err: Display,
{
    let value = parsed::<T>(name, "a whole number of at least 1")?;
    if value >= T::from(1) {
        return Some(value);
    }
    tracing::warn!(variable = name, "ignored: must be at least 1");
    None
}
