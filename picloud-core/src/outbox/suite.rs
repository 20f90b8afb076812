//! The contract of [`Outbox`](super::Outbox), sentence by sentence.

mod claim;
mod letters;
mod rows;
mod settle;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{
    Claimed, DeadLetter, DeadLetterListOptions, EventKind, Outbox, OutboxRow, Settlement, Verdict, WorkerId,
};
use crate::conformance::{Case, World};
use crate::{AppId, EventId, ExecutionId, Json, RequestId, Result, ScriptId, Timestamp, TraceId, TriggerId};

pub(crate) fn cases() -> Vec<Case> {
    [rows::cases(), claim::cases(), settle::cases(), letters::cases(), workers::cases()].concat()
}

/// Longer than any case takes.
const HOUR: Duration = Duration::from_secs(3_600);

/// A row of `app`, with something in every field.
fn row(app: AppId, now: Timestamp) -> OutboxRow {
    OutboxRow {
        id: EventId::new(),
        app,
        kind: EventKind::Kv,
        trigger: Some(TriggerId::new()),
        script: ScriptId::new(),
        payload: Json::from_canonical(r#"{"a":[1,1.0,"ü"],"op":"insert"}"#),
        trigger_depth: 3,
        trace: TraceId::new(),
        request: RequestId::new(),
        parent: Some(ExecutionId::new()),
        occurred_at: now,
    }
}

/// A new app with its outbox.
struct Events {
    world: World,
    outbox: Arc<dyn Outbox>,
    app: AppId,
}

impl Events {
    async fn new(world: World) -> Result<Self> {
        let (outbox, app) = (world.backend().outbox(), world.app().await?);
        Ok(Events { world, outbox, app })
    }

    fn row(&self) -> OutboxRow {
        row(self.app, self.world.now())
    }

    /// Stores `count` rows; answers their ids in order.
    async fn store(&self, count: usize) -> Result<Vec<EventId>> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let row = self.row();
            self.outbox.enqueue(&row).await?;
            ids.push(row.id);
        }
        Ok(ids)
    }

    /// A registered worker.
    async fn worker(&self) -> Result<WorkerId> {
        let worker = WorkerId::new();
        assert!(self.outbox.beat(worker).await?, "a new worker is not gone");
        Ok(worker)
    }

    async fn claim(&self, worker: WorkerId) -> Result<Vec<Claimed>> {
        self.outbox.claim(worker, 100).await
    }

    /// The only row there is, claimed.
    async fn claim_one(&self, worker: WorkerId) -> Result<Claimed> {
        let mut claimed = self.claim(worker).await?;
        assert_eq!(claimed.len(), 1, "one row is due: {claimed:?}");
        Ok(claimed.remove(0))
    }

    /// Settles one row; answers whether it was with the worker.
    async fn settle(&self, worker: WorkerId, claimed: &Claimed, verdict: Verdict) -> Result<bool> {
        let lost = self.outbox.settle(worker, &[settlement(claimed, verdict)]).await?;
        Ok(lost.is_empty())
    }

    async fn waiting(&self) -> Result<Vec<EventId>> {
        Ok(self.outbox.waiting(self.app, 100).await?.into_iter().map(|row| row.id).collect())
    }

    /// The newest dead letters of the app.
    async fn letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.letters_of(self.app, limit).await
    }

    async fn letters_of(&self, app: AppId, limit: usize) -> Result<Vec<DeadLetter>> {
        let options = DeadLetterListOptions { limit: Some(limit), ..DeadLetterListOptions::default() };
        Ok(self.outbox.dead_letters(app, &options).await?.items)
    }

    /// A worker that has one row, and is silent from then on.
    async fn dead_worker(&self) -> Result<(WorkerId, Claimed)> {
        let worker = self.worker().await?;
        self.store(1).await?;
        let claimed = self.claim_one(worker).await?;
        self.world.pass_time(PAST_LEASE).await;
        Ok((worker, claimed))
    }
}

/// Fails unless the number changes within a time that no working backend needs.
pub(crate) async fn assert_noticed(mut notices: watch::Receiver<u64>) {
    let noticed = tokio::time::timeout(Duration::from_secs(5), notices.changed()).await;
    assert!(noticed.is_ok_and(|noticed| noticed.is_ok()), "nothing was noticed");
}

const LEASE: Duration = Duration::from_secs(1);

/// Longer than [`LEASE`].
const PAST_LEASE: Duration = Duration::from_millis(1_200);

fn settlement(claimed: &Claimed, verdict: Verdict) -> Settlement {
    Settlement { id: claimed.row.id, claim: claimed.claim, verdict }
}

fn ids(claimed: &[Claimed]) -> Vec<EventId> {
    claimed.iter().map(|claimed| claimed.row.id).collect()
}

fn retry_now() -> Verdict {
    Verdict::Retry { after: Duration::ZERO }
}

fn release_now() -> Verdict {
    Verdict::Release { after: Duration::ZERO }
}
