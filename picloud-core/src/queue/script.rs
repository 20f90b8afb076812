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
        .about("send", "Stores a message of up to 1 MiB for the script with `//! queue NAME`; answers its id. `delay_seconds`: not before. `priority`: -100 to 100, the higher the sooner. `key`: messages with the same one are handled strictly in the order in which they were sent; one that waits, for its delay or to be tried again, holds back those behind it. `dedupe_key`: while a message with the same one is neither handled nor given up, nothing is stored and the answer is its id. Throws `queue.no_consumer`, `queue.invalid_name`, `queue.invalid_delay`, `queue.message_too_large`.")
}
