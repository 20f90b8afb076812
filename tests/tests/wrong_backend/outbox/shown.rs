//! What is told of rows.

use picloud_core::outbox::{Claimed, DeadLetter, DeadLetterReason, EventKind, OutboxRow, WorkerId};
use picloud_core::{ExecutionId, Json, RequestId, ScriptId, Timestamp, TraceId, TriggerId};

use super::{Held, Wrong, WrongOutbox};

impl WrongOutbox {
    /// What a worker is told of a row that it got.
    pub(super) fn show(&self, worker: WorkerId, claimed: Claimed) -> Claimed {
        let (id, claim) = (claimed.row.id, claimed.claim);
        let mut shown = Claimed { row: self.row(claimed.row.clone()), ..claimed };
        let mut notes = self.notes();
        let turns = notes.turns.entry((id, worker)).or_default();
        *turns += 1;
        match self.wrong {
            Some(Wrong::AttemptsCountFromZero) => shown.attempt -= 1,
            Some(Wrong::AttemptsAreNotCounted) => shown.attempt = 1,
            Some(Wrong::TheClaimIsTheAttempt) => shown.claim = shown.attempt.into(),
            Some(Wrong::ClaimsCountByWorker) => shown.claim = *turns,
            _ => (),
        }
        notes.claims.insert((id, shown.claim), claim);
        notes.held.insert(id, Held { worker, claim, shown: shown.clone() });
        shown
    }

    /// A row as it is read.
    pub(super) fn row(&self, mut row: OutboxRow) -> OutboxRow {
        let is_of_a_write = !self.notes().enqueued.contains(&row.id);
        match self.wrong {
            Some(Wrong::RowsForgetTheTrigger) => row.trigger = None,
            Some(Wrong::RowsForgetTheParent) => row.parent = None,
            Some(Wrong::RowsForgetTheTrace) => row.trace = TraceId::new(),
            Some(Wrong::RowsForgetTheRequest) => row.request = RequestId::new(),
            Some(Wrong::RowsForgetTheScript) => row.script = ScriptId::new(),
            Some(Wrong::RowsForgetTheDepth) => row.trigger_depth = 0,
            Some(Wrong::RowsForgetTheTime) => row.occurred_at = Timestamp::UNIX_EPOCH,
            Some(Wrong::EveryRowIsOfKv) => row.kind = EventKind::Kv,
            Some(Wrong::EveryRowIsOfARequest) => row.kind = EventKind::Http,
            Some(Wrong::TriggersAreMadeUp) => row.trigger = row.trigger.or_else(|| Some(TriggerId::new())),
            Some(Wrong::ParentsAreMadeUp) => row.parent = row.parent.or_else(|| Some(ExecutionId::new())),
            Some(Wrong::PayloadsLoseTheirFloats) => {
                row.payload = Json::from_canonical(row.payload.as_str().replace(".0", ""));
            }
            Some(Wrong::DepthIsNotRaised) if is_of_a_write => row.trigger_depth -= 1,
            _ => (),
        }
        row
    }

    /// A dead letter as it is read.
    pub(super) fn letter(&self, mut letter: DeadLetter) -> DeadLetter {
        match self.wrong {
            Some(Wrong::LettersForgetTheReason) => letter.reason = DeadLetterReason::Failed,
            Some(Wrong::LettersForgetTheError) => letter.error.clear(),
            Some(Wrong::LettersForgetTheAttempts) => letter.attempts = 1,
            Some(Wrong::LettersForgetTheTrigger) => letter.row.trigger = None,
            Some(Wrong::LettersForgetTheTime) => letter.died_at = Timestamp::UNIX_EPOCH,
            _ => (),
        }
        letter
    }
}
