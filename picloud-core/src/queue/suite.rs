//! The contract of [`QueueService`](super::QueueService), and of [`Outbox`](crate::outbox::Outbox) as far as it is about
//! messages of queues, sentence by sentence.

mod order;
mod send;

use std::sync::Arc;
use std::time::Duration;

use super::{QueueEvent, QueueKey, QueueName, QueueService, QueueTrigger, SEND, SendOptions};
use crate::authz::PrincipalKind;
use crate::catalog::CatalogChange;
use crate::conformance::{Case, World};
use crate::outbox::{
    Claimed, DeadLetterReason, Fanout, FanoutRow, Outbox, OutboxRow, Revision, Settlement, Verdict, WorkerId,
};
use crate::route::DispatchMode;
use crate::script::Owner;
use crate::trigger::{Registrant, RetryPolicy, TriggerKind, TriggerRecord};
use crate::{AppId, CallCx, CxInner, Error, EventId, ExecutionId, Json, Result, ScriptId, TriggerId};

pub(crate) fn cases() -> Vec<Case> {
    [send::cases(), order::cases()].concat()
}

/// A queue of a new app, with its consumer, and a worker.
struct Queue {
    world: World,
    queue: Arc<dyn QueueService>,
    outbox: Arc<dyn Outbox>,
    app: AppId,
    revision: Revision,
    name: QueueName,
    consumer: FanoutRow,
    worker: WorkerId,
}

impl Queue {
    async fn new(world: World, concurrency: u32) -> Result<Self> {
        let (queue, outbox, app) = (world.backend().queue(), world.backend().outbox(), world.app().await?);
        let (script, name) = (crate::catalog::suite::script(&world, "consumer")?, QueueName::new("jobs")?);
        let consumer = FanoutRow { op: SEND, trigger: TriggerId::new(), script: script.id };
        let watched = QueueTrigger { concurrency, ..QueueTrigger::new(name.clone()) };
        let trigger = TriggerRecord {
            id: consumer.trigger,
            script: script.id,
            kind: TriggerKind::Queue(watched),
            enabled: true,
            dispatch_mode: DispatchMode::Async,
            retry: RetryPolicy::default(),
            registered_by: Registrant { kind: PrincipalKind::Host, id: "host".into() },
            owner: Owner::Api,
            created_at: world.now(),
        };
        let changes = [CatalogChange::PutScript(script), CatalogChange::PutTrigger(trigger)];
        let revision = world.backend().catalog().apply(app, &changes, Revision(0)).await?;
        let worker = WorkerId::new();
        assert!(outbox.beat(worker).await?);
        Ok(Queue { world, queue, outbox, app, revision, name, consumer, worker })
    }

    fn cx(&self, rows: Vec<FanoutRow>) -> CallCx {
        let mut inner = CxInner::new(self.app);
        inner.clock = self.world.backend().clock();
        inner.trigger_depth = 2;
        inner.execution = Some(ExecutionId::new());
        CallCx::from(inner).with_fanout(Arc::new(Fanout { revision: Some(self.revision), rows }))
    }

    /// Sends a message to the consumer; answers its id.
    async fn send(&self, message: &str, options: &SendOptions) -> Result<EventId> {
        let (cx, message) = (self.cx(vec![self.consumer.clone()]), Json::parse(message)?);
        let sent = self.queue.send(&cx, &self.name, &message, options).await?;
        sent.ok_or_else(|| Error::internal("the message was not stored"))
    }

    /// Sends one message for each of these options; answers their ids.
    async fn send_all(&self, options: &[SendOptions]) -> Result<Vec<EventId>> {
        let mut ids = Vec::new();
        for options in options {
            ids.push(self.send("1", options).await?);
        }
        Ok(ids)
    }

    async fn waiting(&self) -> Result<Vec<OutboxRow>> {
        self.outbox.waiting(self.app, 1_000).await
    }

    /// Makes due what may be, and claims it.
    async fn claim(&self) -> Result<Vec<Claimed>> {
        self.outbox.promote(false).await?;
        self.outbox.claim(self.worker, 1_000).await
    }

    /// The ids of what may be handled now.
    async fn take(&self) -> Result<Vec<EventId>> {
        Ok(self.claim().await?.iter().map(|claimed| claimed.row.id).collect())
    }

    async fn settle(&self, claimed: &Claimed, verdict: Verdict) -> Result<()> {
        let settlement = Settlement { id: claimed.row.id, claim: claimed.claim, verdict };
        let lost = self.outbox.settle(self.worker, &[settlement]).await?;
        assert_eq!(lost, [], "the row was with the worker");
        Ok(())
    }

    /// Handles one message after the other, as they come; answers their ids.
    async fn drain(&self) -> Result<Vec<EventId>> {
        let mut handled = Vec::new();
        loop {
            let claimed = self.claim().await?;
            if claimed.is_empty() {
                return Ok(handled);
            }
            for claimed in claimed {
                handled.push(claimed.row.id);
                self.settle(&claimed, Verdict::Done).await?;
            }
        }
    }
}

fn key(text: &str) -> Result<SendOptions> {
    Ok(SendOptions::default().key(QueueKey::new(text)?))
}

fn dedupe(text: &str) -> Result<SendOptions> {
    Ok(SendOptions::default().dedupe_key(QueueKey::new(text)?))
}

fn plain() -> SendOptions {
    SendOptions::default()
}

fn dead() -> Verdict {
    Verdict::Dead { reason: DeadLetterReason::Failed, error: "no luck".into(), handlers: Vec::new() }
}

/// As long as a case lets a message wait.
const SECOND: Duration = Duration::from_secs(1);

/// Longer than [`SECOND`].
const PAST_SECOND: Duration = Duration::from_millis(1_200);
