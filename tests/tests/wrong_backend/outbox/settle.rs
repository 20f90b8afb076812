//! What becomes of rows.

use std::collections::BTreeMap;
use std::time::Duration;

use picloud_core::Result;
use picloud_core::outbox::{
    DeadLetter, DeadLetterReason, OutboxRow, Resolution, Settlement, Verdict, WorkerId,
};

use super::{Held, Wrong, WrongOutbox, YEAR};

impl WrongOutbox {
    pub(super) async fn settle_wrongly(
        &self,
        worker: WorkerId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settlement>> {
        let mut batch = settlements.to_vec();
        match self.wrong {
            Some(Wrong::OneOfABatchCounts) => batch.truncate(1),
            Some(Wrong::OneVerdictForTheBatch) => {
                let first = batch.first().map(|settlement| settlement.verdict.clone());
                batch
                    .iter_mut()
                    .for_each(|settlement| settlement.verdict.clone_from(first.as_ref().unwrap()));
            }
            Some(Wrong::ABatchIsAllOrNothing) if batch.iter().any(|one| !self.is_with(worker, one)) => {
                return Ok(batch);
            }
            Some(Wrong::TheLastOfABatchCounts) => {
                let last: BTreeMap<_, _> =
                    batch.iter().map(|one| ((one.id, one.claim), one.clone())).collect();
                batch = last.into_values().collect();
            }
            Some(Wrong::AnEmptyBatchIsForAll) if batch.is_empty() => {
                let held: Vec<Held> = self.notes().held.values().cloned().collect();
                self.put_back(held, Verdict::Done).await?;
            }
            _ => (),
        }
        let mut lost = Vec::new();
        for settlement in batch {
            if !self.settle_one(worker, &settlement).await? {
                lost.push(settlement);
            }
        }
        Ok(match self.wrong {
            Some(Wrong::LossesAreNotReported) => Vec::new(),
            Some(Wrong::EverythingIsReported) => settlements.to_vec(),
            _ => lost,
        })
    }

    /// Whether the row is with the worker under that claim.
    fn is_with(&self, worker: WorkerId, settlement: &Settlement) -> bool {
        let notes = self.notes();
        let held = notes.held.get(&settlement.id);
        held.is_some_and(|held| held.worker == worker && held.shown.claim == settlement.claim)
    }

    /// Settles one; answers whether it counted.
    async fn settle_one(&self, worker: WorkerId, settlement: &Settlement) -> Result<bool> {
        let Settlement { id, claim, verdict } = settlement.clone();
        let (mut owner, mut real) = (worker, self.notes().claims.get(&(id, claim)).copied().unwrap_or(claim));
        let held = self.notes().held.get(&id).cloned();
        match (self.wrong, &held) {
            (Some(Wrong::TheWorkerIsIgnored), Some(held)) => owner = held.worker,
            (Some(Wrong::TheClaimIsIgnored), Some(held)) => real = held.claim,
            (Some(Wrong::NothingIsFenced), Some(held)) => (owner, real) = (held.worker, held.claim),
            (Some(Wrong::HeirsCannotSettle), _) if self.notes().taken.contains(&id) => return Ok(false),
            _ => (),
        }
        let row = held.map(|held| held.shown.row);
        if let Verdict::HandlerFailed { letter } = &verdict {
            self.notes().failed.insert(*letter);
        }
        let verdict = match (self.wrong, verdict) {
            (Some(Wrong::DoneLeavesTheRow), Verdict::Done)
            | (Some(Wrong::RetryLeavesTheRowWithItsWorker), Verdict::Retry { .. }) => return Ok(true),
            (Some(Wrong::RetryLosesTheRow), Verdict::Retry { .. })
            | (Some(Wrong::ReleaseLosesTheRow), Verdict::Release { .. })
            | (Some(Wrong::TheDeadAreForgotten), Verdict::Dead { .. }) => Verdict::Done,
            (Some(Wrong::DropBuries), Verdict::Drop) => {
                Verdict::Dead { reason: DeadLetterReason::Failed, error: String::new(), handlers: Vec::new() }
            }
            (Some(Wrong::RetryGivesTheAttemptBack), Verdict::Retry { after }) => Verdict::Release { after },
            (Some(Wrong::ReleaseKeepsTheAttempt), Verdict::Release { after }) => Verdict::Retry { after },
            (Some(Wrong::RetryIsDueAtOnce), Verdict::Retry { .. }) => {
                Verdict::Retry { after: Duration::ZERO }
            }
            (Some(Wrong::RetryIsNeverDue), Verdict::Retry { .. }) => Verdict::Retry { after: YEAR },
            (Some(Wrong::ReleaseIsDueAtOnce), Verdict::Release { .. }) => {
                Verdict::Release { after: Duration::ZERO }
            }
            (Some(Wrong::TheDeadStay), Verdict::Dead { reason, error, .. }) => {
                self.write_letter(row.clone(), reason, error);
                Verdict::Release { after: Duration::ZERO }
            }
            (Some(Wrong::HandlersAreForgotten), Verdict::Dead { reason, error, .. }) => {
                Verdict::Dead { reason, error, handlers: Vec::new() }
            }
            (Some(Wrong::HandlersAreStoredAnyway), Verdict::Dead { handlers, .. }) => {
                for row in &handlers {
                    self.inner.enqueue(row).await?;
                }
                Verdict::Dead { reason: DeadLetterReason::Failed, error: String::new(), handlers: Vec::new() }
            }
            (Some(Wrong::FailedHandlersAreDone), Verdict::HandlerFailed { .. }) => Verdict::Done,
            (Some(Wrong::FailedHandlersStay), Verdict::HandlerFailed { letter }) => {
                if let Some(row) = &row {
                    self.inner.resolve(row.app, letter, Resolution::HandlerFailed).await?;
                }
                return Ok(true);
            }
            (Some(Wrong::FailedHandlersCloseAnyLetter), Verdict::HandlerFailed { letter }) => {
                for app in self.apps() {
                    drop(self.inner.resolve(app, letter, Resolution::HandlerFailed).await);
                }
                Verdict::Done
            }
            (_, verdict) => verdict,
        };
        let lost =
            self.inner.settle(owner, &[Settlement { id, claim: real, verdict: verdict.clone() }]).await?;
        match (self.wrong, verdict) {
            (Some(Wrong::EveryDeathIsALetter), Verdict::Dead { reason, error, .. }) if !lost.is_empty() => {
                self.write_letter(row, reason, error);
                return Ok(true);
            }
            _ => (),
        }
        if lost.is_empty() && !self.is(Wrong::EveryDeathIsALetter) {
            self.notes().held.remove(&id);
        }
        Ok(lost.is_empty())
    }

    fn write_letter(&self, row: Option<OutboxRow>, reason: DeadLetterReason, error: String) {
        if let Some(row) = row {
            let letter = DeadLetter::new(row, 1, reason, error, self.clock.now());
            self.notes().letters.push(letter);
        }
    }
}
