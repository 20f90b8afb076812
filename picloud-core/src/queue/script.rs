//! What scripts see of queues: `queue::send(name, message, options?)`.

use std::sync::Arc;

use serde::Deserialize;

use super::{Priority, QueueKey, QueueName, QueueService, SendOptions};
use crate::engine::{Raw, ScriptModule};
use crate::{CallCx, Error, Result};

/// The options of `send` as scripts give them: what is wrong with one has a code of its own, which reading them as
/// [`SendOptions`] would make `invalid_argument`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    delay_seconds: f64,
    dedupe_key: Option<String>,
    priority: i64,
    key: Option<String>,
}

impl Options {
    fn checked(self) -> Result<SendOptions> {
        let mut options = SendOptions::default().delay_seconds(self.delay_seconds);
        options.priority = Priority::new(self.priority)?;
        let key = |name: &str, key: Option<String>| {
            key.map(QueueKey::new).transpose().map_err(|error| {
                Error::invalid(error.code().to_owned(), format!("{name}: {}", error.message()))
            })
        };
        options.dedupe_key = key("dedupe_key", self.dedupe_key)?;
        options.key = key("key", self.key)?;
        Ok(options)
    }
}

/// The script module `queue` on top of a (guarded) service.
pub(crate) fn module(queue: Arc<dyn QueueService>) -> ScriptModule {
    ScriptModule::new("queue").doc("Messages for the script that consumes a queue.").async_function(
        "send(name: string, message: any, options?: #{ delay_seconds, dedupe_key, priority, key }) -> string",
        move |cx: CallCx, name: String, message: Raw, options: Option<Options>| {
            let queue = queue.clone();
            async move {
                let options = options.unwrap_or_default().checked()?;
                let id = queue.send(&cx, &QueueName::new(name)?, &message.or_null(), &options).await?;
                Ok::<_, Error>(id)
            }
        },
    )
        .about("send", "Stores a message of up to 1 MiB for the script with `//! queue NAME`; answers its id. `delay_seconds`: not before; fractions are fine. `priority`: -100 to 100, the higher the sooner, of the same one in the order in which they were sent. `key`: messages with the same one are handled strictly in the order in which they were sent; one that waits, for its delay or to be tried again, holds back those behind it. `dedupe_key`: while a message with the same one is neither handled nor given up, nothing is stored and the answer is its id. Throws `queue.no_consumer`, `queue.invalid_name`, `queue.invalid_delay`, `queue.invalid_priority`, `queue.invalid_key` (of either key: 1 to 512 bytes), `queue.message_too_large`.")
}
