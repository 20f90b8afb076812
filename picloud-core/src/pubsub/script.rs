//! What scripts see of pub/sub: `pubsub::publish_durable(topic, message)`, `publish_ephemeral(topic, message)` and
//! `stream(topics)`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Broadcast, EventStream, PubsubService, Topic};
use crate::engine::{Handle, Raw, ScriptModule};
use crate::{CallCx, Result};

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a topic or an array of topics")]
enum Topics {
    One(String),
    Some(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StreamOptions {
    retry_ms: Option<u64>,
}

/// The script module `pubsub` on top of (guarded) services.
pub(crate) fn module(pubsub: Arc<dyn PubsubService>, broadcast: Arc<dyn Broadcast>) -> ScriptModule {
    ScriptModule::new("pubsub")
        .doc("Messages to all whom a topic concerns.")
        .handle_type::<EventStream>("EventStream")
        .async_function(
            "publish_durable(topic: string, message: any) -> int",
            move |cx: CallCx, topic: String, message: Raw| {
                let pubsub = pubsub.clone();
                async move { pubsub.publish_durable(&cx, &Topic::new(topic)?, &message.or_null()).await }
            },
        )
        .function(
            "publish_ephemeral(topic: string, message: any)",
            move |cx: CallCx, topic: String, message: Raw| -> Result<()> {
                broadcast.publish_ephemeral(&cx, &Topic::new(topic)?, &message.or_null())
            },
        )
        .function(
            "stream(topics: string | array, options?: #{ retry_ms }) -> EventStream",
            |_cx: CallCx, topics: Topics, options: Option<StreamOptions>| -> Result<_> {
                let stream = match topics {
                    Topics::One(topic) => EventStream::new([topic])?,
                    Topics::Some(topics) => EventStream::new(topics)?,
                };
                Ok(Handle(match options.unwrap_or_default().retry_ms {
                    Some(retry) => stream.with_retry(Duration::from_millis(retry))?,
                    None => stream,
                }))
            },
        )
        .about("publish_durable", "Stores a message of up to 1 MiB for every script with a matching `//! on pubsub`; answers how many these are. A topic has parts with dots between. Throws `pubsub.invalid_topic`, `pubsub.message_too_large`.")
        .about("publish_ephemeral", "Sends a message of up to 64 KiB to whoever listens just now, on any node, at most once; nothing is stored and no handler runs. Throws `pubsub.invalid_topic`, `pubsub.message_too_large`, `pubsub.overloaded`.")
        .about("stream", "As the answer of a route, or the `body` of one: lets the caller hear what `publish_ephemeral` publishes under a topic, a pattern (`chat.*`, `*`) or an array of them, as server-sent events: `event` is the topic, `data` the message as JSON. The script is over then. Throws `pubsub.invalid_pattern`, `pubsub.invalid_stream`.")
}
