//! Time, passed in: nothing in picloud reads the system's clock behind the host's back.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use jiff::Timestamp;

/// The source of wall-clock time and of waiting.
///
/// Everything that a person could see pass (expiry, backoff, schedules, `sleep` in a script) follows this
/// clock, so that a test can move it. The deadline of an execution does not: it bounds real processor time
/// and follows [`std::time::Instant`].
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Completes when `duration` has passed on this clock. Dropping the future gives the wait up.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The system's clock. Waiting needs a tokio runtime with its timer enabled.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
