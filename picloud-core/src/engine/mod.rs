//! The sandboxed script engine.

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

pub use ctx::SDK_VERSION;
pub use limits::{Limits, MAX_TIMEOUT_SECONDS, SandboxCeiling, ScriptSandbox};
pub(crate) use module::Around;
pub use module::{
    Args, AsyncScriptFn, Bytes, Content, Fallible, FromScript, FunctionDoc, Handle, IntoScript, JsonText,
    Operand, Plain, Raw, ScriptAnswer, ScriptFn, ScriptModule, This,
};
pub use reference::Reference;
