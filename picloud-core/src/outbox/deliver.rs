//! From a claimed row to what becomes of it: who runs, as whom, and what the outcome means.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::dispatcher::Settled;
use super::{Claimed, DeadLetterReason, EventKind, OutboxRow, Settlement, Verdict, WorkerId, request};
use crate::app::{AppState, Apps};
use crate::authz::{Principal, PrincipalKind, PrincipalResolver};
use crate::dead_letters::{DeadLetterEvent, letter_of};
use crate::execution::{EventDelivery, FailureClass, Invocation, Outcome};
use crate::executor::LocalExecutor;
use crate::ids::random_u16;
use crate::queue::batch_payload;
use crate::trigger::{Registrant, RetryPolicy, TriggerKind};
use crate::{AppId, Clock, EventId, ExecutionId, TriggerId, metric};

/// How soon an event is tried again for which there was no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// How soon an event is tried again that this process does not understand or cannot look up.
const NOT_HERE: Duration = Duration::from_secs(5);

/// How long an executor thread starts handlers before it lets others have a turn.
const TURN: Duration = Duration::from_micros(200);

/// Most bytes of messages that one execution handles, so that they fit beside each other into its memory.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Rows that this process has and that one execution handles: one, or a batch of a queue. Dropped without a verdict they are
/// released: their handler did not begin.
pub(super) struct Delivery {
    batch: Vec<Claimed>,
    worker: WorkerId,
    settled: mpsc::UnboundedSender<Settled>,
}

impl Delivery {
    pub(super) fn new(claimed: Claimed, worker: WorkerId, settled: mpsc::UnboundedSender<Settled>) -> Self {
        Delivery { batch: vec![claimed], worker, settled }
    }

    /// Takes another message of the same queue along, if one execution may handle both; else it is answered.
    fn add(&mut self, mut other: Delivery, most: usize) -> Option<Delivery> {
        let bytes = |delivery: &Delivery| {
            delivery.batch.iter().map(|claimed| claimed.row.payload.len()).sum::<usize>()
        };
        if self.batch.len() >= most || bytes(self) + bytes(&other) > MAX_BATCH_BYTES {
            return Some(other);
        }
        self.batch.append(&mut other.batch);
        None
    }

    /// Settles each row by its verdict.
    pub(super) fn settle(mut self, verdicts: Vec<Verdict>) {
        for (claimed, verdict) in std::mem::take(&mut self.batch).into_iter().zip(verdicts) {
            self.send(&claimed, verdict);
        }
    }

    fn send(&self, claimed: &Claimed, verdict: Verdict) {
        let settlement = Settlement { id: claimed.row.id, claim: claimed.claim, verdict };
        let of_queue = claimed.row.kind == EventKind::Queue;
        // Nobody there to settle it: the row is given back when this worker retires, or taken over.
        let _ = self.settled.send(Settled { worker: self.worker, settlement, of_queue });
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        for claimed in std::mem::take(&mut self.batch) {
            self.send(&claimed, Verdict::Release { after: Duration::ZERO });
        }
    }
}

/// Delivers events. Knows apps, executor and principals; knows nothing of storage.
pub(crate) struct Courier {
    pub(crate) apps: Arc<Apps>,
    pub(crate) executor: LocalExecutor,
    pub(crate) principals: Option<Arc<dyn PrincipalResolver>>,
    /// For what has no trigger, or one that is not to be found.
    pub(crate) retry: RetryPolicy,
    /// How many events may lie between the first cause and a handler.
    pub(crate) max_depth: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) next_thread: Arc<AtomicUsize>,
}

impl Courier {
    /// Spreads deliveries over the executor threads.
    pub(super) fn hand_out(self: &Arc<Self>, deliveries: Vec<Delivery>) {
        let deliveries = self.batched(deliveries);
        let threads = self.executor.runtimes().count().max(1);
        let mut shares: Vec<Vec<Delivery>> = std::iter::repeat_with(Vec::new).take(threads).collect();
        let first = self.next_thread.fetch_add(deliveries.len(), Ordering::Relaxed);
        for (at, delivery) in deliveries.into_iter().enumerate() {
            if let Some(share) = shares.get_mut((first + at) % threads) {
                share.push(delivery);
            }
        }
        for (runtime, share) in self.executor.runtimes().zip(shares) {
            if !share.is_empty() {
                let courier = self.clone();
                // Ends with the executor: what it has not begun then is released by being dropped.
                drop(runtime.spawn(courier.work_through(share)));
            }
        }
    }

    /// Puts messages together that one execution handles.
    fn batched(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let mut batched: Vec<Delivery> = Vec::with_capacity(deliveries.len());
        // The batch of each consumer that may take more.
        let mut open: HashMap<(AppId, Option<TriggerId>), usize> = HashMap::new();
        for delivery in deliveries {
            let Some(first) = delivery.batch.first() else { continue };
            let consumer = (first.row.app, first.row.trigger);
            if first.row.kind != EventKind::Queue {
                batched.push(delivery);
                continue;
            }
            let rest = match open.get(&consumer).and_then(|at| batched.get_mut(*at)) {
                Some(last) => last.add(delivery, self.batch_of(last)),
                None => Some(delivery),
            };
            if let Some(rest) = rest {
                open.insert(consumer, batched.len());
                batched.push(rest);
            }
        }
        batched
    }

    /// How many messages the execution of a delivery handles at most; 1 when the handler takes them one by one.
    fn batch_of(&self, delivery: &Delivery) -> usize {
        let find = || {
            let row = &delivery.batch.first()?.row;
            let app = self.apps.get(row.app)?;
            match &app.trigger(row.trigger?)?.kind {
                TriggerKind::Queue(queue) => queue.batch.and_then(|batch| usize::try_from(batch).ok()),
                _ => None,
            }
        };
        find().unwrap_or(1)
    }

    /// Begins one delivery after the other, on an executor thread. Most handlers end with their first turn; those that
    /// wait go on as tasks of their own.
    async fn work_through(self: Arc<Self>, deliveries: Vec<Delivery>) {
        let mut turn = Instant::now();
        for delivery in deliveries {
            let mut running: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(self.clone().deliver_and_settle(delivery));
            let is_over = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_ready())).await;
            if !is_over {
                drop(tokio::spawn(running));
            }
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
    }

    async fn deliver_and_settle(self: Arc<Self>, delivery: Delivery) {
        let verdicts = self.deliver(&delivery.batch).await;
        delivery.settle(verdicts);
    }

    /// Runs the handler of rows, once for all of them. What becomes of each follows from what the handler came to.
    pub(super) async fn deliver(&self, batch: &[Claimed]) -> Vec<Verdict> {
        let Some((first, rest)) = batch.split_first() else { return Vec::new() };
        match self.prepare(first, rest).await {
            Ok((invocation, retry)) => {
                let execution = invocation.execution;
                let outcome = self.executor.run(invocation).await;
                batch.iter().map(|claimed| self.verdict_of(claimed, &outcome, &retry, execution)).collect()
            }
            Err(verdict) => {
                let mut verdicts = vec![verdict];
                for claimed in rest {
                    verdicts.extend(Box::pin(self.deliver(std::slice::from_ref(claimed))).await);
                }
                verdicts
            }
        }
    }

    async fn prepare(
        &self,
        claimed: &Claimed,
        rest: &[Claimed],
    ) -> Result<(Invocation, RetryPolicy), Verdict> {
        let row = &claimed.row;
        let app = self.app_with(claimed).await?;
        let (retry, registrant) = match row.trigger {
            None => (self.retry, None),
            Some(id) => match app.trigger(id) {
                Some(trigger) if trigger.kind == TriggerKind::Unknown => return Err(not_here()),
                Some(trigger) => (trigger.retry, Some(trigger.registered_by.clone())),
                None => return Err(gone("its trigger", claimed)),
            },
        };
        let script = app.script_by_id(row.script).ok_or_else(|| gone("its script", claimed))?;
        let mut delivery = EventDelivery::from(claimed);
        let batches = match row.trigger.and_then(|id| app.trigger(id)).map(|trigger| &trigger.kind) {
            Some(TriggerKind::Queue(queue)) => queue.batch.is_some(),
            _ => false,
        };
        if !batches && !rest.is_empty() {
            // The consumer takes them one by one since a moment ago.
            return Err(Verdict::Release { after: Duration::ZERO });
        }
        if batches {
            let batch: Vec<Claimed> = std::iter::once(claimed).chain(rest).cloned().collect();
            delivery.payload = batch_payload(&batch)
                .map_err(|error| self.give_up(claimed, DeadLetterReason::Failed, error.to_string(), None))?;
        }
        let mut invocation = Invocation::new(row.app, script).event(delivery);
        match row.kind {
            EventKind::Unknown => return Err(not_here()),
            EventKind::Http => {
                let (request, sender) = request::from_payload(&row.payload).map_err(|error| {
                    self.give_up(claimed, DeadLetterReason::Failed, error.to_string(), None)
                })?;
                invocation = invocation.request(request);
                invocation.principal = match sender {
                    // An end user is who the host said at the time; nothing hangs on it.
                    Some(principal) if principal.kind == PrincipalKind::Caller => Some(Arc::new(principal)),
                    Some(principal) => {
                        Some(self.principal_now(claimed, &Registrant::from(&principal)).await?)
                    }
                    None => None,
                };
            }
            EventKind::Kv
            | EventKind::Docs
            | EventKind::Files
            | EventKind::Pubsub
            | EventKind::Queue
            | EventKind::Cron
            | EventKind::DeadLetter => {
                if let Some(registrant) = registrant {
                    invocation.principal = Some(self.principal_now(claimed, &registrant).await?);
                }
            }
        }
        if claimed.attempt == 1 && !claimed.replayed {
            // So that whoever was promised this id finds it in the execution log.
            invocation.execution = ExecutionId::from_uuid(*row.id.as_uuid());
        }
        invocation.trace = row.trace;
        invocation.request_id = row.request;
        invocation.parent = row.parent;
        invocation.trigger_depth = row.trigger_depth;
        Ok((invocation, retry))
    }

    /// The app as this node sees it; read again if the row speaks of something that it does not know.
    async fn app_with(&self, claimed: &Claimed) -> Result<Arc<AppState>, Verdict> {
        let row = &claimed.row;
        let knows = |app: &AppState| {
            row.trigger.is_none_or(|id| app.trigger(id).is_some()) && app.script_by_id(row.script).is_some()
        };
        if let Some(app) = self.apps.get(row.app).filter(|app| knows(app)) {
            return Ok(app);
        }
        if let Err(error) = self.apps.reload(row.app).await {
            tracing::warn!(%error, app = %row.app, event = %row.id, "an event waits since its app cannot be read");
            return Err(not_here());
        }
        self.apps.get(row.app).ok_or_else(|| gone("its app", claimed))
    }

    /// Who a principal is now, with the roles of now.
    async fn principal_now(
        &self,
        claimed: &Claimed,
        registrant: &Registrant,
    ) -> Result<Arc<Principal>, Verdict> {
        let app = claimed.row.app;
        if registrant.kind == PrincipalKind::Host {
            return Ok(Arc::new(Principal::host(app)));
        }
        let found = match &self.principals {
            Some(resolver) => resolver.by_id(&registrant.id).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(principal))
                if principal.kind != PrincipalKind::Caller && principal.role_in(app).is_some() =>
            {
                Ok(Arc::new(principal))
            }
            Ok(_) => Err(self.give_up(
                claimed,
                DeadLetterReason::RegistrantInvalid,
                format!(
                    "{:?}, as whom the script would run, is gone or has no role in the app any more",
                    registrant.id
                ),
                None,
            )),
            Err(error) => {
                tracing::warn!(%error, registrant = registrant.id, event = %claimed.row.id, "an event waits since its principal cannot be looked up");
                Err(not_here())
            }
        }
    }

    /// What becomes of a row whose process died: the attempt was counted.
    pub(super) fn after_crash(&self, claimed: &Claimed) -> Verdict {
        let app = self.apps.get(claimed.row.app);
        let trigger =
            claimed.row.trigger.and_then(|id| app.as_ref().and_then(|app| app.trigger(id).cloned()));
        let retry = trigger.map_or(self.retry, |trigger| trigger.retry);
        if claimed.attempt >= retry.max_attempts || claimed.row.kind == EventKind::DeadLetter {
            let error = "the process died while the handler ran".to_owned();
            return self.give_up(claimed, DeadLetterReason::Crash, error, None);
        }
        Verdict::Retry { after: retry.wait_with(claimed.attempt, random_u16()) }
    }

    fn verdict_of(
        &self,
        claimed: &Claimed,
        outcome: &Outcome,
        retry: &RetryPolicy,
        execution: ExecutionId,
    ) -> Verdict {
        let failure = match &outcome.result {
            Ok(_) => return Verdict::Done,
            Err(failure) => failure,
        };
        match failure.class {
            FailureClass::Overloaded => {
                // Not all at one moment again.
                let after = NO_ROOM + NO_ROOM.mul_f64(f64::from(random_u16()) / f64::from(u16::MAX));
                Verdict::Release { after }
            }
            // Stopped by shutdown: nobody's fault, so it is never a dead letter for that. An attempt that began stays
            // counted all the same: it may have done something.
            FailureClass::Cancelled if outcome.began => Verdict::Retry { after: Duration::ZERO },
            FailureClass::Cancelled => Verdict::Release { after: Duration::ZERO },
            _ if claimed.attempt >= retry.max_attempts || claimed.row.kind == EventKind::DeadLetter => {
                self.give_up(claimed, DeadLetterReason::Failed, failure.to_string(), Some(execution))
            }
            _ => {
                metric::count!("picloud_outbox_retries_total");
                Verdict::Retry { after: retry.wait_with(claimed.attempt, random_u16()) }
            }
        }
    }

    /// The end of an event: a dead letter, or, of a handler of dead letters, the end of its letter.
    fn give_up(
        &self,
        claimed: &Claimed,
        reason: DeadLetterReason,
        error: String,
        execution: Option<ExecutionId>,
    ) -> Verdict {
        let row = &claimed.row;
        // A script chooses the text; databases do not take every character.
        let mut error = error.replace('\0', "\u{fffd}");
        error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
        if row.kind == EventKind::DeadLetter {
            metric::count!("picloud_outbox_failed_handlers_total");
            tracing::warn!(
                app = %row.app, event = %row.id, %reason, error, "a handler of a dead letter failed; it is not tried again"
            );
            return letter_of(&row.payload).map_or(Verdict::Drop, |letter| Verdict::HandlerFailed { letter });
        }
        metric::count!("picloud_outbox_dead_letters_total");
        tracing::warn!(
            app = %row.app, event = %row.id, attempts = claimed.attempt, %reason, error,
            "an event was given up: it is a dead letter now"
        );
        let handlers = self.handlers(claimed, reason, &error, execution);
        Verdict::Dead { reason, error, handlers }
    }

    /// The events for those who handle dead letters.
    fn handlers(
        &self,
        claimed: &Claimed,
        reason: DeadLetterReason,
        error: &str,
        execution: Option<ExecutionId>,
    ) -> Vec<OutboxRow> {
        let row = &claimed.row;
        let mut found = self.apps.get(row.app).map(|app| app.dead_letter_handlers(row)).unwrap_or_default();
        if found.is_empty() {
            return Vec::new();
        }
        if found.len() > MAX_HANDLERS {
            tracing::warn!(app = %row.app, event = %row.id, handlers = found.len(), "a dead letter is told to {MAX_HANDLERS} of its handlers only");
            found.truncate(MAX_HANDLERS);
        }
        let trigger_depth = row.trigger_depth.saturating_add(1);
        if trigger_depth > self.max_depth {
            metric::count!("picloud_outbox_loops_total");
            tracing::warn!(
                app = %row.app, event = %row.id, trigger_depth,
                "handlers of a dead letter are not run: too many events lie between the first cause and this one"
            );
            return Vec::new();
        }
        let now = self.clock.now();
        let payload = DeadLetterEvent {
            id: row.id,
            source: row.kind,
            trigger_id: row.trigger,
            script_id: row.script,
            attempts: claimed.attempt,
            reason,
            error,
            first_at: row.occurred_at,
            last_at: now,
            event: &row.payload,
        }
        .to_json();
        let told = found.into_iter().map(|(trigger, script)| OutboxRow {
            id: EventId::new(),
            kind: EventKind::DeadLetter,
            trigger: Some(trigger),
            script,
            payload: payload.clone(),
            trigger_depth,
            parent: execution,
            occurred_at: now,
            ..row.clone()
        });
        told.collect()
    }
}

fn not_here() -> Verdict {
    Verdict::Release { after: NOT_HERE }
}

/// Most triggers that are told of one dead letter.
const MAX_HANDLERS: usize = 16;

/// Longest text of a failure that is kept with a dead letter, in bytes.
const MAX_ERROR_BYTES: usize = 4_096;

/// Nobody wants the event any more.
fn gone(what: &'static str, claimed: &Claimed) -> Verdict {
    metric::count!("picloud_outbox_dropped_total");
    tracing::info!(app = %claimed.row.app, event = %claimed.row.id, "an event was dropped: {what} is gone");
    Verdict::Drop
}
