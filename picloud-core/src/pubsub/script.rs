//! What scripts see of pub/sub: `pubsub::publish_durable(topic, message)`.

use std::sync::Arc;

use super::{PubsubService, Topic};
use crate::CallCx;
use crate::engine::{Raw, ScriptModule};

/// The script module `pubsub` on top of a (guarded) service.
pub(crate) fn module(pubsub: Arc<dyn PubsubService>) -> ScriptModule {
    ScriptModule::new("pubsub").doc("Messages to all whom a topic concerns.").async_function(
        "publish_durable(topic: string, message: any) -> int",
        move |cx: CallCx, topic: String, message: Raw| {
            let pubsub = pubsub.clone();
            async move { pubsub.publish_durable(&cx, &Topic::new(topic)?, &message.or_null()).await }
        },
    )
        .about("publish_durable", "Stores a message of up to 1 MiB for every script with a matching `//! on pubsub`; answers how many these are. A topic has parts with dots between. Throws `pubsub.invalid_topic`, `pubsub.message_too_large`.")
}
