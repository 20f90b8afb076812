//! The door of the pub/sub room.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability;
use crate::metric::call;
use crate::outbox::EventSource;
use crate::pubsub::{MAX_MESSAGE_BYTES, PubsubService, Topic};
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

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PubsubService for GuardedPubsub {
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "pubsub.message_too_large",
                format!(
                    "a message has at most {MAX_MESSAGE_BYTES} bytes as JSON, this one has {}",
                    message.len()
                ),
            )
            .with("topic", topic));
        }
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
