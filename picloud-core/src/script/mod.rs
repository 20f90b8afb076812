//! Scripts: stored source with a name and versions, and the folders they are deployed from.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod advice;
mod bundle;
pub(crate) mod deploy;
mod directive;
mod graph;
mod indexes;
pub(crate) mod invoke;
mod limits;
mod module;
mod report;
mod types;

pub use bundle::Bundle;
pub use directive::MAX_DIRECTIVES;
pub use indexes::MAX_BUNDLE_INDEXES;
pub(crate) use module::is_module;
pub use module::{MAX_IMPORT_DEPTH, MAX_MODULE_NAME, ModuleName, ScriptImports};
pub use report::{
    Change, DeployError, DeployProblem, DeployReport, DeployedIndex, DeployedRoute, DeployedTrigger,
};
pub use types::{MAX_SOURCE_BYTES, Owner, ScriptKind, ScriptName, ScriptRecord};
