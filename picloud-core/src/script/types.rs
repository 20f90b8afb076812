//! What a script is.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::ScriptSandbox;
use crate::{Error, Result, ScriptId, Timestamp};

/// Longest source, in bytes. The parser has no progress callback and takes quadratic time in places, so this
/// is what bounds a compile.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;

/// The name of a script, unique in its app: 1 to 128 characters, none of them a control character, no leading
/// or trailing white space. A folder's script is named by its path without the ending: `hooks/stripe`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ScriptName(Arc<str>);

impl ScriptName {
    /// Checks a name.
    ///
    /// # Errors
    /// `script.invalid_name`, quoting the name and saying what is allowed.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let length = text.chars().count();
        if (1..=128).contains(&length) && text.trim() == text && !text.chars().any(char::is_control) {
            return Ok(ScriptName(text.into()));
        }
        Err(Error::invalid(
            "script.invalid_name",
            format!(
                "a script name has 1 to 128 characters, no control characters and no white space around it; this is {:?}",
                text.chars().take(140).collect::<String>()
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl std::str::FromStr for ScriptName {
    type Err = Error;

    /// As [`ScriptName::new`].
    fn from_str(text: &str) -> Result<Self> {
        ScriptName::new(text)
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for ScriptName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ScriptName::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a script is run or imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScriptKind {
    /// Has an entry point: its top level.
    Endpoint,
    /// Imported by other scripts, never run by itself.
    Module,
}

/// Who made a script or a route, and hence who may remove it without being asked to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Owner {
    /// A call of the API or of the host's code.
    Api,
    /// A deployed folder, by the name it was deployed under.
    Folder(String),
    /// A directive in the script itself.
    Directive,
}

/// A script as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRecord {
    /// Stable across versions.
    pub id: ScriptId,
    /// Unique in its app.
    pub name: ScriptName,
    /// Run or imported.
    pub kind: ScriptKind,
    /// The source text.
    pub source: Arc<str>,
    /// Grows by one with every change of source, kind, sandbox or timeout; starts at 1.
    pub version: u64,
    /// Limits of this script that differ from the engine's defaults.
    pub sandbox: ScriptSandbox,
    /// Wall-clock limit of one execution in seconds, 1 to 300; `None` for the engine's default.
    pub timeout_seconds: Option<u32>,
    /// Who made it.
    pub owner: Owner,
    /// When it was created.
    pub created_at: Timestamp,
    /// When this version was saved.
    pub updated_at: Timestamp,
}
