//! Scripts: stored source with a name and versions, and the folders they are deployed from.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod bundle;
pub(crate) mod deploy;
mod directive;
mod report;
mod types;

pub use bundle::Bundle;
pub use report::{Change, DeployError, DeployProblem, DeployReport, DeployedRoute, DeployedTrigger};
pub use types::{MAX_SOURCE_BYTES, Owner, ScriptKind, ScriptName, ScriptRecord};
