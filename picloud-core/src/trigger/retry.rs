//! When a failed handler runs again.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the wait grows from one attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Doubles each time.
    #[default]
    Exponential,
    /// Grows by the first wait each time.
    Linear,
    /// Stays the first wait.
    Constant,
}

impl FromStr for Backoff {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "exponential" => Ok(Backoff::Exponential),
            "linear" => Ok(Backoff::Linear),
            "constant" => Ok(Backoff::Constant),
            other => Err(Error::invalid(
                "trigger.invalid_backoff",
                format!("a backoff is exponential, linear or constant, not {other:?}"),
            )),
        }
    }
}

/// How often and when a failed handler runs again. Stored in full with each trigger, so that a record tells by itself
/// what will happen.
///
/// ```
/// use std::time::Duration;
/// use picloud_core::trigger::RetryPolicy;
///
/// let policy = RetryPolicy::default();
/// assert_eq!(policy.wait(1), Duration::from_secs(1));
/// assert_eq!(policy.wait(4), Duration::from_secs(8));
/// // At most an hour, however often it failed.
/// assert_eq!(policy.wait(1_000), Duration::from_secs(3_600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often the handler runs at most, the first time included; at least 1. Default: 5.
    pub max_attempts: u32,
    /// How the wait grows. Default: exponential.
    pub backoff: Backoff,
    /// The wait after the first failure, in milliseconds. Default: 1 000.
    pub base_ms: u64,
    /// The longest wait, in milliseconds. Default: an hour.
    pub max_ms: u64,
    /// By how much a wait is lengthened or shortened at random, in percent of it, 0 to 100, so that what failed
    /// together is not repeated together. Default: 20.
    pub jitter_percent: u8,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 5,
            backoff: Backoff::Exponential,
            base_ms: 1_000,
            max_ms: 3_600_000,
            jitter_percent: 20,
        }
    }
}

impl RetryPolicy {
    /// The wait after attempt number `attempt` (the first is 1) failed, without jitter.
    pub fn wait(&self, attempt: u32) -> Duration {
        let before = attempt.saturating_sub(1);
        let factor = match self.backoff {
            Backoff::Exponential => 1_u64.checked_shl(before).unwrap_or(u64::MAX),
            Backoff::Linear => u64::from(before) + 1,
            Backoff::Constant => 1,
        };
        Duration::from_millis(self.base_ms.saturating_mul(factor).min(self.max_ms))
    }

    /// The same with jitter. `random` is uniform in 0 ..= 65 535.
    pub(crate) fn wait_with(&self, attempt: u32, random: u16) -> Duration {
        let wait = u64::try_from(self.wait(attempt).as_micros()).unwrap_or(u64::MAX);
        let spread = u128::from(wait) * u128::from(self.jitter_percent.min(100)) / 100;
        let shift = 2 * spread * u128::from(random) / u128::from(u16::MAX);
        let wait = u128::from(wait) - spread + shift;
        Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// Checks what was asked for.
    ///
    /// # Errors
    /// `trigger.invalid_retry`, naming the field.
    pub fn check(&self) -> Result<()> {
        let wrong = if self.max_attempts == 0 {
            "max_attempts is at least 1".to_owned()
        } else if self.jitter_percent > 100 {
            format!("jitter_percent is 0 to 100, not {}", self.jitter_percent)
        } else if self.base_ms > self.max_ms {
            format!("base_ms ({}) is at most max_ms ({})", self.base_ms, self.max_ms)
        } else if self.max_ms > MAX_WAIT_MS {
            format!("max_ms is at most {MAX_WAIT_MS}, a year, not {}", self.max_ms)
        } else {
            return Ok(());
        };
        Err(Error::invalid("trigger.invalid_retry", wrong))
    }
}

/// Longest wait: a year. Longer ones are mistakes, and could name a time that a database does not know.
const MAX_WAIT_MS: u64 = 366 * 24 * 3_600 * 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_as_the_backoff_says() {
        let waits = |backoff| {
            let policy = RetryPolicy { backoff, base_ms: 100, max_ms: 350, ..RetryPolicy::default() };
            [1, 2, 3, 4, 200].map(|attempt| policy.wait(attempt).as_millis())
        };
        assert_eq!(waits(Backoff::Exponential), [100, 200, 350, 350, 350]);
        assert_eq!(waits(Backoff::Linear), [100, 200, 300, 350, 350]);
        assert_eq!(waits(Backoff::Constant), [100; 5]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_percentage(attempt in 0..100_u32, random: u16, jitter_percent in 0..=100_u8) {
            let policy = RetryPolicy { jitter_percent, ..RetryPolicy::default() };
            let (plain, with) = (policy.wait(attempt).as_micros(), policy.wait_with(attempt, random).as_micros());
            let spread = plain * u128::from(jitter_percent) / 100;
            prop_assert!(with >= plain - spread && with <= plain + spread);
        }
    }

    #[test]
    fn the_ends_of_the_jitter_are_reached() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait_with(1, 0), Duration::from_millis(800));
        assert_eq!(policy.wait_with(1, u16::MAX), Duration::from_millis(1_200));
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused_by_field() {
        let refused = |policy: RetryPolicy| policy.check().unwrap_err().message().to_owned();
        let good = RetryPolicy::default();
        assert!(good.check().is_ok());
        assert!(refused(RetryPolicy { max_attempts: 0, ..good }).contains("max_attempts"));
        assert!(refused(RetryPolicy { jitter_percent: 101, ..good }).contains("jitter_percent"));
        assert!(refused(RetryPolicy { base_ms: 2, max_ms: 1, ..good }).contains("base_ms"));
        assert!(refused(RetryPolicy { max_ms: u64::MAX, ..good }).contains("max_ms"));
    }
}
