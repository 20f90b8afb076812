//! Names, options and triggers of queues.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kv::Key;
use crate::trigger::{TriggerKind, TriggerRecord};
use crate::{CollectionName, Error, Result};

/// Largest message, in bytes of canonical JSON.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Longest delay, in seconds: a year.
pub const MAX_DELAY_SECONDS: f64 = 366.0 * 24.0 * 3_600.0;

/// The priorities are -100 to 100.
pub const MAX_PRIORITY: i16 = 100;

/// Most messages of one queue that may be handled at one time.
pub const MAX_CONCURRENCY: u32 = 1_000;

/// How many messages of a queue are handled at one time when its trigger says nothing.
pub const DEFAULT_CONCURRENCY: u32 = 100;

/// Most messages that one execution handles.
pub const MAX_BATCH: u32 = 100;

/// The name of a queue: 1 to [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES) of `A-Z a-z 0-9 _ . : -`.
///
/// ```
/// use picloud_core::queue::QueueName;
/// assert!(QueueName::new("thumbnails").is_ok());
/// assert_eq!(QueueName::new("a b").unwrap_err().code(), "queue.invalid_name");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct QueueName(CollectionName);

impl QueueName {
    /// Checks a name.
    ///
    /// # Errors
    /// `queue.invalid_name`, quoting the name and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        CollectionName::new(text).map(QueueName).map_err(|error| {
            Error::invalid("queue.invalid_name", error.message().replace("a collection name", "a queue name"))
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for QueueName {
    type Err = Error;

    /// As [`QueueName::new`].
    fn from_str(text: &str) -> Result<Self> {
        QueueName::new(text)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for QueueName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        QueueName::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What orders or deduplicates messages: 1 to 512 bytes without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey(Key);

impl QueueKey {
    /// Checks a key.
    ///
    /// # Errors
    /// `queue.invalid_key` naming what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        Key::new(text)
            .map(QueueKey)
            .map_err(|error| Error::invalid("queue.invalid_key", error.message().to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for QueueKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        QueueKey::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How urgent a message is: -100 to 100, the higher the sooner, 0 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i16);

impl Priority {
    /// Checks a priority.
    ///
    /// # Errors
    /// `queue.invalid_priority`.
    pub fn new(number: i64) -> Result<Self> {
        match i16::try_from(number) {
            Ok(priority) if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) => Ok(Priority(priority)),
            _ => Err(Error::invalid(
                "queue.invalid_priority",
                format!("a priority is -{MAX_PRIORITY} to {MAX_PRIORITY}, not {number}"),
            )),
        }
    }

    /// The number.
    pub fn get(self) -> i16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Priority::new(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How a message is sent. The default is: at once, with priority 0, in no order with others.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SendOptions {
    /// The message waits for so many seconds at least; 0 to [`MAX_DELAY_SECONDS`].
    pub delay_seconds: f64,
    /// While another message with this is stored, neither handled nor given up, no second one is.
    pub dedupe_key: Option<QueueKey>,
    /// Among the messages of its queue that wait, the one with the highest priority is handled first.
    pub priority: Priority,
    /// Messages with the same key are handled one after the other, in the order in which they were sent (of those that were
    /// sent at one time, or in transactions that were open at one time, in any). One that waits, for
    /// its delay or to be tried again, holds back those behind it.
    pub key: Option<QueueKey>,
}

impl SendOptions {
    /// Not before so many seconds.
    #[must_use]
    pub fn delay_seconds(mut self, seconds: f64) -> Self {
        self.delay_seconds = seconds;
        self
    }

    /// Not while another message with this is stored.
    #[must_use]
    pub fn dedupe_key(mut self, key: QueueKey) -> Self {
        self.dedupe_key = Some(key);
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// In order with others of this key.
    #[must_use]
    pub fn key(mut self, key: QueueKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Checks what its types do not: the delay.
    ///
    /// # Errors
    /// `queue.invalid_delay`.
    pub fn check(&self) -> Result<()> {
        if (0.0..=MAX_DELAY_SECONDS).contains(&self.delay_seconds) {
            return Ok(());
        }
        Err(Error::invalid(
            "queue.invalid_delay",
            format!("delay_seconds is 0 to {MAX_DELAY_SECONDS}, a year, not {}", self.delay_seconds),
        ))
    }

    /// How long the message waits at least.
    pub fn delay(&self) -> Duration {
        Duration::try_from_secs_f64(self.delay_seconds).unwrap_or_default()
    }
}

/// Consumes a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueTrigger {
    /// The queue.
    pub queue: QueueName,
    /// How many of its messages are handled at one time at most, by all nodes together, in however many executions; 1 to
    /// [`MAX_CONCURRENCY`].
    pub concurrency: u32,
    /// One execution gets up to so many messages, as many as are there, in `ctx.event.queue.messages`; 1 to [`MAX_BATCH`].
    /// `None`: one message in `ctx.event.queue.message`.
    pub batch: Option<u32>,
}

impl QueueTrigger {
    /// Consumes a queue message by message, with the default concurrency.
    pub fn new(queue: QueueName) -> Self {
        QueueTrigger { queue, concurrency: DEFAULT_CONCURRENCY, batch: None }
    }

    /// The trigger that consumes the same queue.
    pub(crate) fn consumer<'a>(&self, triggers: &'a [TriggerRecord]) -> Option<&'a TriggerRecord> {
        let same =
            |kind: &TriggerKind| matches!(kind, TriggerKind::Queue(other) if other.queue == self.queue);
        triggers.iter().find(|trigger| same(&trigger.kind))
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// `trigger.invalid_concurrency`, `trigger.invalid_batch`.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            return Err(Error::invalid(
                "trigger.invalid_concurrency",
                format!("the concurrency of a queue is 1 to {MAX_CONCURRENCY}, not {}", self.concurrency),
            ));
        }
        match self.batch {
            Some(batch) if !(1..=MAX_BATCH).contains(&batch) => Err(Error::invalid(
                "trigger.invalid_batch",
                format!("the batch of a queue is 1 to {MAX_BATCH}, not {batch}"),
            )),
            Some(batch) if batch > self.concurrency => Err(Error::invalid(
                "trigger.invalid_batch",
                format!(
                    "the batch of a queue is at most its concurrency, which counts messages: {batch} is more than {}",
                    self.concurrency
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for QueueTrigger {
    /// As a directive spells it: `jobs concurrency=4 batch=10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.queue, f)?;
        if self.concurrency != DEFAULT_CONCURRENCY {
            write!(f, " concurrency={}", self.concurrency)?;
        }
        match self.batch {
            Some(batch) => write!(f, " batch={batch}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let refused = |options: SendOptions| options.check().unwrap_err().code().to_owned();
        for wrong in [-1.0, f64::NAN, f64::INFINITY, MAX_DELAY_SECONDS * 1.001] {
            assert_eq!(
                refused(SendOptions::default().delay_seconds(wrong)),
                "queue.invalid_delay",
                "{wrong}"
            );
        }
        assert_eq!(SendOptions::default().delay_seconds(1.5).delay(), Duration::from_millis(1_500));
        for wrong in [-101, 101, i64::MAX] {
            assert_eq!(Priority::new(wrong).unwrap_err().code(), "queue.invalid_priority");
        }
        for wrong in ["", "\0", &"a".repeat(513)] {
            assert_eq!(QueueKey::new(wrong).unwrap_err().code(), "queue.invalid_key");
        }
        let trigger =
            |concurrency, batch| QueueTrigger { queue: QueueName::new("q").unwrap(), concurrency, batch };
        for wrong in [0, 1_001] {
            assert_eq!(trigger(wrong, None).check().unwrap_err().code(), "trigger.invalid_concurrency");
        }
        for wrong in [0, 101, 8] {
            assert_eq!(trigger(7, Some(wrong)).check().unwrap_err().code(), "trigger.invalid_batch");
        }
    }
}
