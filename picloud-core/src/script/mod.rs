//! Scripts: stored source with a name and versions, and the folders they are deployed from.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod types;

pub use types::{MAX_SOURCE_BYTES, Owner, ScriptKind, ScriptName, ScriptRecord};
