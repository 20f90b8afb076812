//! The pub/sub service, and what carries messages that are not stored.

use std::sync::Arc;

use picloud_core::outbox::EventKind;
use picloud_core::pubsub::{
    Broadcast, Ephemeral, Listener, Listeners, PUBLISH, PubsubEvent, PubsubService, Topic,
};
use picloud_core::{CallCx, Json, Result, async_trait};

use crate::place::Place;
use crate::tables::rows_of;

#[derive(Debug)]
pub(crate) struct MemoryPubsub(Place);

impl MemoryPubsub {
    pub(crate) fn new(place: Place) -> Self {
        MemoryPubsub(place)
    }
}

#[async_trait]
impl PubsubService for MemoryPubsub {
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64> {
        let published_at = cx.clock().now();
        self.0
            .write(|store| {
                store.check_revision(cx)?;
                let event = PubsubEvent { topic, message, published_at };
                let rows = rows_of(cx, EventKind::Pubsub, PUBLISH, published_at, || event.to_json());
                let count = rows.len();
                store.rows.extend(rows);
                Ok(count as u64)
            })
            .await
    }
}

/// All nodes are in this process.
#[derive(Debug, Default)]
pub(crate) struct MemoryBroadcast(Listeners);

#[async_trait]
impl Broadcast for MemoryBroadcast {
    fn publish_ephemeral(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<()> {
        self.0.hear(&Arc::new(Ephemeral::new(cx, topic, message)));
        Ok(())
    }

    async fn listen(&self, listener: &Arc<dyn Listener>) -> Result<()> {
        self.0.add(listener);
        Ok(())
    }
}
