//! Topics, and patterns over them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, MAX_NAME_BYTES, Result};

/// Largest message, in bytes of canonical JSON.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What a message is about: 1 to [`MAX_NAME_BYTES`] of `A-Z a-z 0-9 _ : -` in parts with dots between them.
///
/// ```
/// use picloud_core::pubsub::Topic;
/// assert!(Topic::new("order.paid.eu").is_ok());
/// assert_eq!(Topic::new("order..paid").unwrap_err().code(), "pubsub.invalid_topic");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Topic(String);

impl Topic {
    /// Checks a topic.
    ///
    /// # Errors
    /// `pubsub.invalid_topic`, quoting the topic and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match wrong_with(&text) {
            None => Ok(Topic(text)),
            Some(wrong) => Err(Error::invalid("pubsub.invalid_topic", format!("a topic {wrong}"))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn wrong_with(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    let quoted: String = text.chars().take(MAX_NAME_BYTES + 12).collect();
    if text.is_empty() {
        Some("must not be empty".to_owned())
    } else if text.len() > MAX_NAME_BYTES {
        Some(format!("has at most {MAX_NAME_BYTES} bytes, this one has {}", text.len()))
    } else if !text.bytes().all(allowed) {
        Some(format!(
            "consists of A-Z, a-z, 0-9, '_', ':' and '-' in parts with dots between, not {quoted:?}"
        ))
    } else if text.split('.').any(str::is_empty) {
        Some(format!("has something before and after each dot, unlike {quoted:?}"))
    } else {
        None
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which topics a trigger watches: `*` for all, `order.*` for everything below `order`, else one topic.
///
/// ```
/// use picloud_core::pubsub::{Topic, TopicPattern};
///
/// let orders: TopicPattern = "order.*".parse()?;
/// assert!(orders.matches(&Topic::new("order.paid.eu")?));
/// assert!(!orders.matches(&Topic::new("order")?));
/// # Ok::<(), picloud_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicPattern(Pattern);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Pattern {
    All,
    /// With its last dot.
    Below(String),
    One(Topic),
}

impl TopicPattern {
    /// Whether a topic is watched.
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.0 {
            Pattern::All => true,
            Pattern::Below(prefix) => topic.as_str().starts_with(prefix.as_str()),
            Pattern::One(one) => one == topic,
        }
    }
}

impl FromStr for TopicPattern {
    type Err = Error;

    /// # Errors
    /// `trigger.invalid_topic`, quoting the pattern and saying what is allowed.
    fn from_str(text: &str) -> Result<Self> {
        let pattern = match text.strip_suffix('*') {
            Some("") => Some(Pattern::All),
            Some(below) => below
                .strip_suffix('.')
                .filter(|prefix| wrong_with(prefix).is_none())
                .map(|_| Pattern::Below(below.to_owned())),
            None => Topic::new(text).ok().map(Pattern::One),
        };
        pattern.map(TopicPattern).ok_or_else(|| {
            let quoted: String = text.chars().take(MAX_NAME_BYTES + 12).collect();
            Error::invalid(
                "trigger.invalid_topic",
                format!(
                    "a trigger watches one topic, all that are below one (order.*) or all (*), not {quoted:?}"
                ),
            )
        })
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::All => f.write_str("*"),
            Pattern::Below(prefix) => write!(f, "{prefix}*"),
            Pattern::One(topic) => fmt::Display::fmt(topic, f),
        }
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for TopicPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Watches what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PubsubTrigger {
    /// The topics.
    pub topic: TopicPattern,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_topic_is_refused() {
        for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a*", "ä", &"a".repeat(129)] {
            assert_eq!(Topic::new(wrong).unwrap_err().code(), "pubsub.invalid_topic", "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", ".*", "a*", "a.*.b", "*.a", "a..*", "**", "a.**", "a b.*"] {
            let error = wrong.parse::<TopicPattern>().unwrap_err();
            assert_eq!(error.code(), "trigger.invalid_topic", "{wrong:?}");
        }
    }

    proptest! {
        /// Against the words of the description, part by part.
        #[test]
        fn a_pattern_matches_what_it_says(
            pattern in prop::collection::vec("[ab]", 1..4),
            topic in prop::collection::vec("[ab]", 1..5),
            is_open in any::<bool>(),
        ) {
            let text = format!("{}{}", pattern.join("."), if is_open { ".*" } else { "" });
            let parsed: TopicPattern = text.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), text);
            let wanted = if is_open {
                topic.len() > pattern.len() && topic.starts_with(&pattern)
            } else {
                topic == pattern
            };
            prop_assert_eq!(parsed.matches(&Topic::new(topic.join(".")).unwrap()), wanted);
        }
    }
}
