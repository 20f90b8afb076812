//! What a script answers to let its caller hear messages.

use std::sync::Arc;
use std::time::Duration;

use super::{Topic, TopicPattern};
use crate::{Error, MAX_NAME_BYTES, Result};

/// Most patterns of one stream: each message is compared with all of them.
pub const MAX_STREAM_PATTERNS: usize = 16;

/// Longest time that a client can be asked to wait before it connects again.
pub const MAX_RETRY: Duration = Duration::from_secs(3_600);

/// Which messages a client is to hear from now on: the answer of `pubsub::stream`, as the body of a response.
///
/// The script that answers it has decided who may hear what; nothing of it runs while the stream is open.
///
/// ```
/// use picloud_core::pubsub::{EventStream, Topic};
///
/// let stream = EventStream::new(["chat.*", "news"])?;
/// assert!(stream.matches(&Topic::new("chat.room1")?));
/// assert!(!stream.matches(&Topic::new("chat")?));
/// # Ok::<(), picloud_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStream {
    patterns: Arc<[TopicPattern]>,
    retry: Option<Duration>,
}

impl EventStream {
    /// The messages whose topic one of the patterns matches; patterns are as for triggers.
    ///
    /// # Errors
    /// `pubsub.invalid_pattern`, quoting it; `pubsub.invalid_stream` for none, or more than [`MAX_STREAM_PATTERNS`].
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut parsed = Vec::new();
        for pattern in patterns {
            if parsed.len() == MAX_STREAM_PATTERNS {
                return Err(number());
            }
            parsed.push(pattern.as_ref().parse().map_err(|_| not_a_pattern(pattern.as_ref()))?);
        }
        if parsed.is_empty() {
            Err(number())
        } else {
            Ok(EventStream { patterns: parsed.into(), retry: None })
        }
    }

    /// Asks clients to wait so long before they connect again.
    ///
    /// # Errors
    /// `pubsub.invalid_stream` past [`MAX_RETRY`].
    pub fn with_retry(mut self, retry: Duration) -> Result<Self> {
        if retry > MAX_RETRY {
            let most = MAX_RETRY.as_millis();
            let text = format!("retry_ms is at most {most}, not {}", retry.as_millis());
            return Err(Error::invalid("pubsub.invalid_stream", text));
        }
        self.retry = Some(retry);
        Ok(self)
    }

    /// Whether a topic is heard.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    /// The patterns.
    pub fn patterns(&self) -> &[TopicPattern] {
        &self.patterns
    }

    /// How long clients are asked to wait before they connect again; `None` leaves it to them.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }
}

fn number() -> Error {
    let text = format!("a stream has 1 to {MAX_STREAM_PATTERNS} topics");
    Error::invalid("pubsub.invalid_stream", text)
}

fn not_a_pattern(text: &str) -> Error {
    let quoted: String = text.chars().take(MAX_NAME_BYTES + 12).collect();
    Error::invalid(
        "pubsub.invalid_pattern",
        format!("a stream is of one topic, all that are below one (chat.*) or all (*), not {quoted:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_some_patterns_and_not_too_many() {
        let code = |patterns: &[&str]| EventStream::new(patterns).unwrap_err().code().to_owned();
        assert_eq!(code(&[]), "pubsub.invalid_stream");
        assert_eq!(code(&["a"; 17]), "pubsub.invalid_stream");
        assert_eq!(code(&["a", "a.*.b"]), "pubsub.invalid_pattern");
        assert_eq!(EventStream::new(["a"; 16]).unwrap().patterns().len(), 16);
    }

    #[test]
    fn clients_are_not_sent_away_for_ever() {
        let stream = EventStream::new(["*"]).unwrap();
        assert!(stream.clone().with_retry(MAX_RETRY + Duration::from_millis(1)).is_err());
        assert_eq!(stream.with_retry(MAX_RETRY).unwrap().retry(), Some(MAX_RETRY));
    }
}
