//! The door of the pub/sub room.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Door, at_once};
use crate::authz::Capability;
use crate::metric::call;
use crate::outbox::EventSource;
use crate::pubsub::{Broadcast, Listener, MAX_EPHEMERAL_BYTES, MAX_MESSAGE_BYTES, PubsubService, Topic};
use crate::{CallCx, Error, ErrorKind, Json, Result};

/// A pub/sub service behind the door.
#[derive(Debug)]
pub(super) struct GuardedPubsub {
    inner: Arc<dyn PubsubService>,
    door: Door,
}

impl GuardedPubsub {
    pub(super) fn new(inner: Arc<dyn PubsubService>, door: Door) -> Self {
        GuardedPubsub { inner, door }
    }
}

fn check_size(topic: &Topic, message: &Json, what: &str, most: usize) -> Result<()> {
    if message.len() <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        "pubsub.message_too_large",
        format!("{what} has at most {most} bytes as JSON, this one has {}", message.len()),
    )
    .with("topic", topic))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PubsubService for GuardedPubsub {
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64> {
        check_size(topic, message, "a message", MAX_MESSAGE_BYTES)?;
        self.door
            .write(
                cx,
                call!("pubsub.publish_durable"),
                Capability::AppPubsubPublish,
                EventSource::Pubsub { topic },
                async |cx: CallCx| self.inner.publish_durable(&cx, topic, message).await,
            )
            .await
    }
}

/// A broadcast behind the door.
#[derive(Debug)]
pub(super) struct GuardedBroadcast {
    inner: Arc<dyn Broadcast>,
}

impl GuardedBroadcast {
    pub(super) fn new(inner: Arc<dyn Broadcast>) -> Self {
        GuardedBroadcast { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Broadcast for GuardedBroadcast {
    fn publish_ephemeral(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<()> {
        check_size(topic, message, "a message that is not stored", MAX_EPHEMERAL_BYTES)?;
        cx.require(Capability::AppPubsubPublish)?;
        at_once(cx, call!("pubsub.publish_ephemeral"), || self.inner.publish_ephemeral(cx, topic, message))
    }

    async fn listen(&self, listener: &Arc<dyn Listener>) -> Result<()> {
        self.inner.listen(listener).await
    }
}
