//! The dead letters room: what was given up, to be looked into, sent again or closed.
//!
//! Lacks `suite`: letters are kept by the [outbox](crate::outbox), with the rows that they were and may be again.

mod event;
mod script;
mod types;

pub use event::DeadLetterEvent;
pub(crate) use event::letter_of;
pub(crate) use script::module as script_module;
pub use types::DeadLetterTrigger;

use crate::authz::{Capability, PrincipalKind};
use crate::outbox::{Outbox, Resolution};
use crate::{AppId, CallCx, Error, ErrorKind, EventId, Result};

/// Lets through whoever may manage dead letters. Unlike other services this one is not open to anonymous callers: what is
/// in a letter was not theirs to see.
fn check(cx: &CallCx) -> Result<()> {
    match cx.principal() {
        Some(principal) if principal.kind != PrincipalKind::Caller => {
            cx.require(Capability::AppDeadLetterManage)
        }
        _ => Err(Error::new(
            ErrorKind::Forbidden,
            "forbidden",
            "dead letters are for a principal with AppDeadLetterManage, not for anonymous callers",
        )),
    }
}

/// Closes a letter by hand.
pub(crate) async fn resolve(
    outbox: &dyn Outbox,
    app: AppId,
    id: EventId,
    resolution: Resolution,
) -> Result<()> {
    if matches!(resolution, Resolution::Replayed | Resolution::HandlerFailed) {
        return Err(invalid_resolution(resolution.as_str()));
    }
    outbox.resolve(app, id, resolution).await
}

fn invalid_resolution(word: &str) -> Error {
    Error::invalid(
        "dead_letters.invalid_resolution",
        format!(
            "a dead letter is resolved as ignored or handled_by_script, not {:?}",
            word.chars().take(40).collect::<String>()
        ),
    )
}
