//! The sandboxed script engine.

mod limits;

pub use limits::{Limits, SandboxCeiling, ScriptSandbox};
