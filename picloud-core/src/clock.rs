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

/// The duration, give or take a quarter, at random: what many processes do again and again is not done by all of them at
/// one moment.
///
/// ```
/// use std::time::Duration;
///
/// let wait = picloud_core::jittered(Duration::from_secs(4));
/// assert!(wait >= Duration::from_secs(3) && wait <= Duration::from_secs(5));
/// ```
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.75 + 0.5 * f64::from(crate::ids::random_u16()) / f64::from(u16::MAX))
}
