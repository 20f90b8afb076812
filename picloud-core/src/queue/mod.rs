//! The queue room: messages that wait for one consumer, each handled by it, with delay, priority, and order by key.
//!
//! All five files: this one (the trait and its contract), `types`, `event`, `script`, `suite`.

mod event;
mod script;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;

pub(crate) use event::batch_payload;
pub use event::{QueueEvent, SEND};
pub(crate) use script::module as script_module;
pub use types::{
    DEFAULT_CONCURRENCY, MAX_BATCH, MAX_CONCURRENCY, MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES, MAX_PRIORITY,
    Priority, QueueKey, QueueName, QueueTrigger, SendOptions,
};

use crate::{CallCx, Error, EventId, Json, Result};

/// Messages for one consumer.
///
/// A message is a row of the outbox that waits apart from the others until there is room for it:
/// [`Outbox::promote`](crate::outbox::Outbox::promote) makes it due.
///
/// # Contract
///
/// - A message is stored for the first row in [`CallCx::fanout`] of the operation [`SEND`], which is that of the queue's
///   consumer, with [`QueueEvent::to_json`] as payload. Without such a row nothing is stored, and the answer is `None`.
/// - While a message of the same consumer with the same [`dedupe_key`](SendOptions::dedupe_key) is stored, neither handled nor
///   given up, no second one is stored: the answer is the id of the first.
/// - Names, sizes and options were checked before a backend sees them.
///
/// Dropping the future leaves it open whether the message was stored.
#[async_trait]
pub trait QueueService: Debug + Send + Sync + 'static {
    /// Stores a message; answers its id, which is that of its event.
    async fn send(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        options: &SendOptions,
    ) -> Result<Option<EventId>>;
}

/// `queue.no_consumer`: nothing consumes the queue, so that a message would be lost.
pub(crate) fn no_consumer(queue: &QueueName) -> Error {
    Error::not_found(
        "queue.no_consumer",
        format!("no enabled trigger of this app consumes the queue {queue}; a script does with the line //! queue {queue}"),
    )
    .with("queue", queue)
}
