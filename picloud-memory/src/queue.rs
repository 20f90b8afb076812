//! The queue service.

use picloud_core::outbox::{EventKind, OutboxRow};
use picloud_core::queue::{QueueEvent, QueueName, QueueService, SEND, SendOptions};
use picloud_core::{CallCx, EventId, Json, Result, async_trait};

use crate::outbox::Message;
use crate::place::Place;
use crate::tables::rows_of;

#[derive(Debug)]
pub(crate) struct MemoryQueue(Place);

impl MemoryQueue {
    pub(crate) fn new(place: Place) -> Self {
        MemoryQueue(place)
    }
}

#[async_trait]
impl QueueService for MemoryQueue {
    async fn send(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        self.0
            .write(|store| {
                store.check_revision(cx)?;
                let payload = || QueueEvent { message, name: queue }.to_json();
                let rows = rows_of(cx, EventKind::Queue, SEND, cx.clock().now(), payload);
                let Some((row, trigger)) = rows.into_iter().find_map(first) else { return Ok(None) };
                let sent = options.dedupe_key.as_ref().and_then(|key| {
                    let own = store.messages.iter().find(|message| message.is_duplicate(trigger, key));
                    own.map(|message| message.row.id).or_else(|| store.outbox.duplicate(trigger, key))
                });
                let id = sent.unwrap_or(row.id);
                if sent.is_none() {
                    store.messages.push(Message { row, options: options.clone() });
                }
                Ok(Some(id))
            })
            .await
    }
}

fn first(row: OutboxRow) -> Option<(OutboxRow, picloud_core::TriggerId)> {
    row.trigger.map(|trigger| (row, trigger))
}
