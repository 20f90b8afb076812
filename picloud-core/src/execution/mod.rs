//! Executions: runs of scripts, what they came to, and the record that is kept of each.

mod record;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;
mod writer;

pub use record::{
    ExecutionListOptions, ExecutionLogSink, ExecutionRecord, ExecutionStatus, ExecutionStore,
    MAX_EXECUTIONS_PAGE, RequestSummary, ResponseSummary, TracingSink,
};
pub(crate) use types::Allowance;
pub use types::{
    Answer, EventDelivery, Failure, FailureClass, HttpRequest, HttpResponse, Invocation, InvocationType,
    LimitExceeded, Outcome, Position,
};
pub use writer::{ExecutionLog, ExecutionLogConfig};
