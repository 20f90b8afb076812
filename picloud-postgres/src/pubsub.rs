//! The pub/sub service.

use std::sync::Arc;

use picloud_core::outbox::EventKind;
use picloud_core::pubsub::{PUBLISH, PubsubEvent, PubsubService, Topic};
use picloud_core::{CallCx, Json, Result, async_trait};

use crate::backend::Inner;
use crate::event_rows::EventRows;
use crate::source::Source;

#[derive(Debug)]
pub(crate) struct PostgresPubsub {
    backend: Arc<Inner>,
    source: Source,
}

impl PostgresPubsub {
    pub(crate) fn new(backend: Arc<Inner>, source: Source) -> Self {
        PostgresPubsub { backend, source }
    }
}

#[async_trait]
impl PubsubService for PostgresPubsub {
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64> {
        let payload = PubsubEvent { topic, message, published_at: cx.clock().now() }.to_json();
        EventRows::new(cx, &[PUBLISH])
            .store(cx, &self.backend, &self.source, EventKind::Pubsub, &payload)
            .await
    }
}
