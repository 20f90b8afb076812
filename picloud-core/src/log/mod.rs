//! The log room: what a script says while it runs.
//!
//! Lacks trait and suite: lines belong to the execution that wrote them and travel in its
//! [record](crate::execution::ExecutionRecord); where records go is [`ExecutionLogSink`](crate::execution::ExecutionLogSink).
//! Lacks `event`: a log line fires nothing.

mod script;
mod types;

pub(crate) use script::module as script_module;
pub use types::{LogBuffer, LogLevel, LogLine, LogLines, MAX_LOG_BYTES, MAX_LOG_LINES};
