//! The door of the queue room.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability;
use crate::metric::call;
use crate::outbox::EventSource;
use crate::queue::{MAX_MESSAGE_BYTES, QueueName, QueueService, SendOptions, no_consumer};
use crate::{CallCx, Error, ErrorKind, EventId, Json, Result};

/// A queue service behind the door.
#[derive(Debug)]
pub(super) struct GuardedQueue {
    inner: Arc<dyn QueueService>,
    door: Door,
}

impl GuardedQueue {
    pub(super) fn new(inner: Arc<dyn QueueService>, door: Door) -> Self {
        GuardedQueue { inner, door }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl QueueService for GuardedQueue {
    async fn send(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        options.check()?;
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "queue.message_too_large",
                format!(
                    "a message has at most {MAX_MESSAGE_BYTES} bytes as JSON, this one has {}",
                    message.len()
                ),
            )
            .with("queue", queue));
        }
        let sent = self
            .door
            .write(
                cx,
                call!("queue.send"),
                Capability::AppQueueSend,
                EventSource::Queue { queue },
                async |cx: CallCx| self.inner.send(&cx, queue, message, options).await,
            )
            .await?;
        // A message too deep is not stored either, but that is told where loops are cut.
        if sent.is_none() && cx.trigger_depth() < self.door.max_depth {
            return Err(no_consumer(queue));
        }
        Ok(sent)
    }
}
