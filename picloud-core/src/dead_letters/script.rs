//! What scripts see of dead letters: `dead_letters::{list, get, count, replay, resolve}`.

use std::sync::Arc;

use serde::Serialize;

use super::{check, invalid_resolution, resolve};
use crate::engine::ScriptModule;
use crate::outbox::{
    DeadLetter, DeadLetterError, DeadLetterListOptions, DeadLetterReason, Outbox, Resolution,
};
use crate::page::Cursor;
use crate::{CallCx, Error, EventId, Json, Result, ScriptId, Timestamp, TriggerId};

/// A letter as scripts see it.
#[derive(Serialize)]
struct Letter {
    id: EventId,
    source: &'static str,
    trigger_id: Option<TriggerId>,
    script_id: ScriptId,
    attempts: u32,
    reason: DeadLetterReason,
    error: String,
    first_at: Timestamp,
    last_at: Timestamp,
    event: Json,
    resolution: Option<Resolution>,
    resolved_at: Option<Timestamp>,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        Letter {
            id: letter.row.id,
            source: letter.row.kind.as_str(),
            trigger_id: letter.row.trigger,
            script_id: letter.row.script,
            attempts: letter.attempts,
            reason: letter.reason,
            error: letter.error,
            first_at: letter.row.occurred_at,
            last_at: letter.died_at,
            event: letter.row.payload,
            resolution: letter.resolution,
            resolved_at: letter.resolved_at,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Letter>,
    cursor: Option<Cursor>,
}

/// The id of a letter. What is no id is the id of no letter.
fn id_of(text: &str) -> Result<EventId> {
    text.parse().map_err(|_| DeadLetterError::NotFound.into())
}

/// The script module `dead_letters` on top of an outbox.
pub(crate) fn module(outbox: Arc<dyn Outbox>) -> ScriptModule {
    let (list, get, count, replay, close) =
        (outbox.clone(), outbox.clone(), outbox.clone(), outbox.clone(), outbox);
    ScriptModule::new("dead_letters")
        .doc("Events that were given up. Needs a principal with AppDeadLetterManage.")
        .async_function(
            "list(options?: #{ unresolved, cursor, limit }) -> #{ items, cursor }",
            move |cx: CallCx, options: Option<DeadLetterListOptions>| {
                let outbox = list.clone();
                async move {
                    check(&cx)?;
                    let page = outbox.dead_letters(cx.app(), &options.unwrap_or_default()).await?;
                    let items = page.items.into_iter().map(Letter::from).collect();
                    Ok::<_, Error>(Listed { items, cursor: page.cursor })
                }
            },
        )
        .async_function("get(id: string) -> map", move |cx: CallCx, id: String| {
            let outbox = get.clone();
            async move {
                check(&cx)?;
                let Ok(id) = id_of(&id) else { return Ok(None) };
                Ok::<_, Error>(outbox.dead_letter(cx.app(), id).await?.map(Letter::from))
            }
        })
        .async_function("count() -> int", move |cx: CallCx| {
            let outbox = count.clone();
            async move {
                check(&cx)?;
                outbox.open_dead_letters(cx.app()).await
            }
        })
        .async_function("replay(id: string)", move |cx: CallCx, id: String| {
            let outbox = replay.clone();
            async move {
                check(&cx)?;
                outbox.replay(cx.app(), id_of(&id)?).await
            }
        })
        .async_function(
            "resolve(id: string, reason: string)",
            move |cx: CallCx, id: String, reason: String| {
                let outbox = close.clone();
                async move {
                    check(&cx)?;
                    let resolution =
                        Resolution::from_word(&reason).ok_or_else(|| invalid_resolution(&reason))?;
                    resolve(&*outbox, cx.app(), id_of(&id)?, resolution).await
                }
            },
        )
}
