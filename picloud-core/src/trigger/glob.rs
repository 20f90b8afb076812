//! Which collections a trigger watches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CollectionName, Error, MAX_NAME_BYTES, Result};

/// A pattern over collection names: `*` for all, `prefix:*` for those that begin with `prefix:`, else one name.
///
/// ```
/// use picloud_core::CollectionName;
/// use picloud_core::trigger::CollectionGlob;
///
/// let orders: CollectionGlob = "orders:*".parse()?;
/// assert!(orders.matches(&CollectionName::new("orders:eu")?));
/// assert!(!orders.matches(&CollectionName::new("orders")?));
/// # Ok::<(), picloud_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CollectionGlob(Glob);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Glob {
    All,
    /// With its colon.
    Prefix(String),
    One(CollectionName),
}

impl CollectionGlob {
    /// Whether a collection is watched.
    pub fn matches(&self, collection: &CollectionName) -> bool {
        match &self.0 {
            Glob::All => true,
            Glob::Prefix(prefix) => collection.as_str().starts_with(prefix.as_str()),
            Glob::One(name) => name == collection,
        }
    }

    /// The name, where the pattern is one.
    pub(crate) fn exact(&self) -> Option<&CollectionName> {
        match &self.0 {
            Glob::One(name) => Some(name),
            _ => None,
        }
    }
}

impl FromStr for CollectionGlob {
    type Err = Error;

    /// # Errors
    /// `trigger.invalid_glob`, quoting the pattern and saying what is allowed.
    fn from_str(text: &str) -> Result<Self> {
        let glob = match text.strip_suffix('*') {
            Some("") => Some(Glob::All),
            Some(prefix) if prefix.ends_with(':') && prefix.len() < MAX_NAME_BYTES => {
                CollectionName::new(prefix).ok().map(|prefix| Glob::Prefix(prefix.to_string()))
            }
            Some(_) => None,
            None => CollectionName::new(text).ok().map(Glob::One),
        };
        glob.map(CollectionGlob).ok_or_else(|| {
            Error::invalid(
                "trigger.invalid_glob",
                format!(
                    "a trigger watches *, prefix:* or the name of one collection (A-Z, a-z, 0-9, '_', '.', ':', '-'), not {:?}",
                    text.chars().take(140).collect::<String>()
                ),
            )
        })
    }
}

impl fmt::Display for CollectionGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Glob::All => f.write_str("*"),
            Glob::Prefix(prefix) => write!(f, "{prefix}*"),
            Glob::One(name) => fmt::Display::fmt(name, f),
        }
    }
}

impl fmt::Debug for CollectionGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for CollectionGlob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CollectionGlob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, name: &str) -> bool {
        glob.parse::<CollectionGlob>().unwrap().matches(&CollectionName::new(name).unwrap())
    }

    #[test]
    fn a_glob_is_everything_a_prefix_or_one_name() {
        assert!(matches("*", "anything"));
        assert!(matches("orders:*", "orders:eu"));
        assert!(matches("orders:*", "orders:eu:south"));
        assert!(matches("orders:*", "orders:"));
        assert!(!matches("orders:*", "orders"));
        assert!(!matches("orders:*", "ordersx"));
        assert!(matches("orders", "orders"));
        assert!(!matches("orders", "orders:eu"));
    }

    #[test]
    fn what_is_none_of_these_is_refused() {
        for wrong in ["", "orders*", "*:orders", "a:*:b", "ord ers", "**", ":*:*", "order/*"] {
            let error = wrong.parse::<CollectionGlob>().unwrap_err();
            assert_eq!(error.code(), "trigger.invalid_glob", "{wrong:?}");
        }
    }

    #[test]
    fn a_glob_reads_as_it_was_typed() {
        for text in ["*", "orders:*", "orders.v1"] {
            assert_eq!(text.parse::<CollectionGlob>().unwrap().to_string(), text);
        }
    }
}
