//! The pub/sub room: messages to every trigger whose pattern matches a topic, and to whoever listens just now.
//!
//! All five files: this one (the trait and its contract), `types`, `event`, `script`, `suite`. What is not stored has three
//! more: `ephemeral` (the trait [`Broadcast`], from node to node), `hub` (the subscribers of a node), and `stream` (what a
//! script answers to let its caller hear).

mod ephemeral;
mod event;
mod hub;
mod script;
mod stream;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;

pub use ephemeral::{Broadcast, Ephemeral, Listener, Listeners, MAX_EPHEMERAL_BYTES, overloaded};
pub use event::{PUBLISH, PubsubEvent};
pub(crate) use hub::Hub;
pub use hub::{Heard, Subscription, SubscriptionConfig, SubscriptionEnd};
pub(crate) use script::module as script_module;
pub use stream::{EventStream, MAX_RETRY, MAX_STREAM_PATTERNS};
pub use types::{MAX_MESSAGE_BYTES, PubsubTrigger, Topic, TopicPattern};

use crate::{CallCx, Json, Result};

/// Messages by topic.
///
/// # Contract
///
/// - A message is stored for every row in [`CallCx::fanout`], all of them in one commit, and nothing else is kept of it.
/// - The rows are those of the operation [`PUBLISH`]; their payload is [`PubsubEvent::to_json`], with the time of
///   [`CallCx::clock`].
/// - The size of the message was checked before a backend sees it.
///
/// Dropping the future leaves it open whether the message was published; never to some of those whom it concerns.
#[async_trait]
pub trait PubsubService: Debug + Send + Sync + 'static {
    /// Publishes a message; answers to how many triggers. No match is a success with 0.
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64>;
}
