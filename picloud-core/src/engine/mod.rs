//! The sandboxed script engine.

mod argument;
pub(crate) mod budget;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod convert;
mod ctx;
mod failure;
pub(crate) mod fiber;
mod import;
pub(crate) mod library;
mod limits;
pub(crate) mod message;
mod module;
pub(crate) mod natives;
pub(crate) mod outline;
pub(crate) mod reference;
mod response;
pub(crate) mod run;
mod sleep;

pub(crate) use argument::Around;
pub use argument::{Args, Bytes, Content, FromScript, Handle, IntoScript, JsonText, Operand, Raw, This};
pub use ctx::SDK_VERSION;
pub use limits::{Limits, MAX_TIMEOUT_SECONDS, SandboxCeiling, ScriptSandbox};
pub use module::{AsyncScriptFn, Fallible, FunctionDoc, Plain, ScriptAnswer, ScriptFn, ScriptModule};
pub use reference::Reference;
