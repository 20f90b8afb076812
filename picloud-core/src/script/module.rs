//! Modules: scripts that others import.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ScriptName;
use crate::{Error, Result, ScriptId};

/// Longest name of a module.
pub const MAX_MODULE_NAME: usize = 64;

/// How deep modules may import each other, counted from the script that imports the first.
pub const MAX_IMPORT_DEPTH: usize = 8;

/// The name of a module: 1 to [`MAX_MODULE_NAME`] of `a-z 0-9 _ -`, not beginning with `-`. A module is a script, so its
/// name is unique among those of all scripts of the app.
///
/// ```
/// use picloud_core::script::ModuleName;
/// assert!(ModuleName::new("price_list-2").is_ok());
/// assert_eq!(ModuleName::new("lib/prices").unwrap_err().code(), "module.invalid_name");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModuleName(Arc<str>);

impl ModuleName {
    /// Checks a name.
    ///
    /// # Errors
    /// `module.invalid_name`, quoting the name and saying what is allowed.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = text.len() <= MAX_MODULE_NAME
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'-');
        if fits {
            return Ok(ModuleName(text.into()));
        }
        Err(Error::invalid(
            "module.invalid_name",
            format!(
                "a module is named by 1 to {MAX_MODULE_NAME} of a-z, 0-9, '_' and '-', not beginning with '-' (so it stands in \
                 no folder); this is {:?}",
                text.chars().take(80).collect::<String>()
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for ModuleName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ModuleName::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Which modules a script imports, by the names in its source, whether or not the app has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptImports {
    /// The script.
    pub script: ScriptId,
    /// The modules, in order of their names, each once.
    pub modules: Vec<ModuleName>,
}

impl ScriptImports {
    /// Puts the names in order.
    pub fn new(script: ScriptId, modules: impl IntoIterator<Item = ModuleName>) -> Self {
        let mut modules: Vec<_> = modules.into_iter().collect();
        modules.sort();
        modules.dedup();
        ScriptImports { script, modules }
    }
}

/// A module cannot do what was asked for: it is imported, and has no entry point.
pub(crate) fn is_module(name: &ScriptName) -> Error {
    Error::invalid(
        "script.is_module",
        "a module is imported by other scripts; it is not run, and has no routes or triggers",
    )
    .with("name", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_are_short_words() {
        for right in ["a", "0", "_", "prices", "price_list", "price-list", "a-", &"a".repeat(64)] {
            assert_eq!(ModuleName::new(right).unwrap().as_str(), right);
        }
        for wrong in ["", "-a", "A", "a b", "a/b", "a.b", "ä", "a\0", &"a".repeat(65)] {
            assert_eq!(ModuleName::new(wrong).unwrap_err().code(), "module.invalid_name", "{wrong:?}");
        }
    }
}
