//! Executions: runs of scripts, what they came to, and the record that is kept of each.

mod record;
mod types;
mod writer;

pub use record::{
    ExecutionLogSink, ExecutionRecord, ExecutionStatus, RequestSummary, ResponseSummary, TracingSink,
};
pub use types::{
    Answer, Failure, FailureClass, HttpRequest, HttpResponse, Invocation, InvocationType, LimitExceeded,
    Outcome, Position,
};
pub use writer::{ExecutionLog, ExecutionLogConfig};
