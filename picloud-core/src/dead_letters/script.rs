//! What scripts see of dead letters: `dead_letters::{list, get, count, replay, resolve}`.

use std::sync::Arc;

use rhai::Dynamic;
use serde::Serialize;

use super::{check, invalid_resolution, resolve};
use crate::engine::{IntoScript, ScriptModule, convert};
use crate::outbox::{
    DeadLetter, DeadLetterError, DeadLetterListOptions, DeadLetterReason, Outbox, Resolution,
};
use crate::page::Cursor;
use crate::{CallCx, Error, ErrorKind, EventId, Json, Result, ScriptId, Timestamp, TriggerId};

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
            resolution: letter.resolution,
            resolved_at: letter.resolved_at,
        }
    }
}

/// A letter with its event, which may nest deeper than other answers and is converted as `ctx.event` is.
struct Whole(Option<DeadLetter>);

impl IntoScript for Whole {
    fn to_script(&self) -> Result<Dynamic> {
        let Some(letter) = &self.0 else { return Ok(Dynamic::UNIT) };
        let event = convert::from_payload(&letter.row.payload)?;
        let mut told = convert::from_payload(&Json::from_value(&Letter::from(letter.clone()))?)?;
        if let Ok(mut map) = told.as_map_mut() {
            map.insert("event".into(), event);
        }
        Ok(told)
    }
}

/// Most letters that a script gets at once: each is read whole.
const MAX_LISTED: usize = 50;

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
/// An event that is sent again is one deeper than who sends it, so that letters which replay themselves come to an end.
pub(crate) fn module(outbox: Arc<dyn Outbox>, max_depth: u32) -> ScriptModule {
    let (list, get, count, replay, close) =
        (outbox.clone(), outbox.clone(), outbox.clone(), outbox.clone(), outbox);
    ScriptModule::new("dead_letters")
        .doc("Events that were given up. What is here needs the right `AppDeadLetterManage`: handlers have it if whoever registered them does, as the host does for the folders that it deploys, and so have callers whom the host knows as administrators of the app.")
        .async_function(
            "list(options?: #{ unresolved, cursor, limit }) -> #{ items, cursor }",
            move |cx: CallCx, options: Option<DeadLetterListOptions>| {
                let outbox = list.clone();
                async move {
                    check(&cx)?;
                    let mut options = options.unwrap_or_default();
                    options.limit = Some(options.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED));
                    let page = outbox.dead_letters(cx.app(), &options).await?;
                    let items = page.items.into_iter().map(Letter::from).collect();
                    Ok::<_, Error>(Listed { items, cursor: page.cursor })
                }
            },
        )
        .async_function("get(id: string) -> map", move |cx: CallCx, id: String| {
            let outbox = get.clone();
            async move {
                check(&cx)?;
                let Ok(id) = id_of(&id) else { return Ok(Whole(None)) };
                Ok::<_, Error>(Whole(outbox.dead_letter(cx.app(), id).await?))
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
                let depth = cx.trigger_depth() + 1;
                if depth > max_depth {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "dead_letters.too_deep",
                        format!("{depth} events would lie between the first cause and this one, more than max_depth: {max_depth}"),
                    ));
                }
                outbox.replay(cx.app(), id_of(&id)?, depth).await
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
        .about("list", "A page of letters, the newest first, at most 50: `#{ id, source, trigger_id, script_id, attempts, reason, error, first_at, last_at, resolution, resolved_at }`. Throws `forbidden`, as all of these do, without the right.")
        .about("get", "One letter with its `event`, or `()`.")
        .about("count", "How many letters are open.")
        .about("replay", "Sends the event again under the same id, with no attempt counted, and closes the letter as `replayed`; if it is given up again, the letter is open again. Throws `dead_letters.not_found`, `dead_letters.already_resolved`, `dead_letters.target_gone`, `dead_letters.too_deep`.")
        .about("resolve", "Closes a letter as `\"ignored\"` or `\"handled_by_script\"`. Throws `dead_letters.not_found`, `dead_letters.already_resolved`, `dead_letters.invalid_resolution`.")
}
