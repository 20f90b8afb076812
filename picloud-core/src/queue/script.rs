//! What scripts see of queues: `queue::send(name, message, options?)`.

use std::sync::Arc;

use super::{QueueName, QueueService, SendOptions};
use crate::engine::{Raw, ScriptModule};
use crate::{CallCx, Error};

/// The script module `queue` on top of a (guarded) service.
pub(crate) fn module(queue: Arc<dyn QueueService>) -> ScriptModule {
    ScriptModule::new("queue").doc("Messages for the script that consumes a queue.").async_function(
        "send(name: string, message: any, options?: #{ delay_seconds, dedupe_key, priority, key }) -> string",
        move |cx: CallCx, name: String, message: Raw, options: Option<SendOptions>| {
            let queue = queue.clone();
            async move {
                let options = options.unwrap_or_default();
                let id = queue.send(&cx, &QueueName::new(name)?, &message.or_null(), &options).await?;
                Ok::<_, Error>(id)
            }
        },
    )
}
