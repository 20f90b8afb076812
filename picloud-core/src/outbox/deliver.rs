//! From a claimed row to what becomes of it: who runs, as whom, and what the outcome means.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::dispatcher::Settled;
use super::{Claimed, DeadLetterReason, EventKind, Settlement, Verdict, WorkerId, request};
use crate::app::{AppState, Apps};
use crate::authz::{Principal, PrincipalKind, PrincipalResolver};
use crate::execution::{EventDelivery, FailureClass, Invocation, Outcome};
use crate::executor::LocalExecutor;
use crate::ids::random_u16;
use crate::trigger::{Registrant, RetryPolicy, TriggerKind};
use crate::{ExecutionId, metric};

/// How soon an event is tried again for which there was no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// How soon an event is tried again that this process does not understand or cannot look up.
const NOT_HERE: Duration = Duration::from_secs(5);

/// How long an executor thread starts handlers before it lets others have a turn.
const TURN: Duration = Duration::from_micros(200);

/// A row that this process has. Dropped without a verdict it is released: its handler did not begin.
pub(super) struct Delivery {
    claimed: Claimed,
    worker: WorkerId,
    settled: Option<mpsc::UnboundedSender<Settled>>,
}

impl Delivery {
    pub(super) fn new(claimed: Claimed, worker: WorkerId, settled: mpsc::UnboundedSender<Settled>) -> Self {
        Delivery { claimed, worker, settled: Some(settled) }
    }

    pub(super) fn settle(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        if let Some(settled) = self.settled.take() {
            let settlement = Settlement { id: self.claimed.row.id, claim: self.claimed.claim, verdict };
            // Nobody there to settle it: the row is given back when this worker retires, or taken over.
            let _ = settled.send((self.worker, settlement));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.send(Verdict::Release { after: Duration::ZERO });
    }
}

/// Delivers events. Knows apps, executor and principals; knows nothing of storage.
pub(crate) struct Courier {
    pub(crate) apps: Arc<Apps>,
    pub(crate) executor: LocalExecutor,
    pub(crate) principals: Option<Arc<dyn PrincipalResolver>>,
    /// For what has no trigger, or one that is not to be found.
    pub(crate) retry: RetryPolicy,
    pub(crate) next_thread: Arc<AtomicUsize>,
}

impl Courier {
    /// Spreads deliveries over the executor threads.
    pub(super) fn hand_out(self: &Arc<Self>, deliveries: Vec<Delivery>) {
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
        let verdict = self.deliver(&delivery.claimed).await;
        delivery.settle(verdict);
    }

    /// Runs the handler of a row. What becomes of the row follows from what the handler came to.
    pub(super) async fn deliver(&self, claimed: &Claimed) -> Verdict {
        match self.prepare(claimed).await {
            Ok((invocation, retry)) => {
                let outcome = self.executor.run(invocation).await;
                verdict_of(claimed, &outcome, &retry)
            }
            Err(verdict) => verdict,
        }
    }

    async fn prepare(&self, claimed: &Claimed) -> Result<(Invocation, RetryPolicy), Verdict> {
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
        let mut invocation = Invocation::new(row.app, script).event(EventDelivery::from(claimed));
        match row.kind {
            EventKind::Unknown => return Err(not_here()),
            EventKind::Http => {
                let (request, sender) = request::from_payload(&row.payload).map_err(|error| {
                    Verdict::Dead { reason: DeadLetterReason::Failed, error: error.to_string() }
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
            EventKind::Kv | EventKind::Docs | EventKind::Files | EventKind::Pubsub | EventKind::Cron => {
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
            Ok(_) => Err(dead(
                claimed,
                DeadLetterReason::RegistrantInvalid,
                format!(
                    "{:?}, as whom the script would run, is gone or has no role in the app any more",
                    registrant.id
                ),
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
        if claimed.attempt >= retry.max_attempts {
            return dead(claimed, DeadLetterReason::Crash, "the process died while the handler ran".into());
        }
        Verdict::Retry { after: retry.wait_with(claimed.attempt, random_u16()) }
    }
}

fn not_here() -> Verdict {
    Verdict::Release { after: NOT_HERE }
}

/// Longest text of a failure that is kept with a dead letter, in bytes.
const MAX_ERROR_BYTES: usize = 4_096;

fn dead(claimed: &Claimed, reason: DeadLetterReason, error: String) -> Verdict {
    metric::count!("picloud_outbox_dead_letters_total");
    // A script chooses the text; databases do not take every character.
    let mut error = error.replace('\0', "\u{fffd}");
    error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
    tracing::warn!(
        app = %claimed.row.app, event = %claimed.row.id, attempts = claimed.attempt, %reason, error,
        "an event was given up: it is a dead letter now"
    );
    Verdict::Dead { reason, error }
}

/// Nobody wants the event any more.
fn gone(what: &'static str, claimed: &Claimed) -> Verdict {
    metric::count!("picloud_outbox_dropped_total");
    tracing::info!(app = %claimed.row.app, event = %claimed.row.id, "an event was dropped: {what} is gone");
    Verdict::Drop
}

fn verdict_of(claimed: &Claimed, outcome: &Outcome, retry: &RetryPolicy) -> Verdict {
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
        _ if claimed.attempt >= retry.max_attempts => {
            dead(claimed, DeadLetterReason::Failed, failure.to_string())
        }
        _ => {
            metric::count!("picloud_outbox_retries_total");
            Verdict::Retry { after: retry.wait_with(claimed.attempt, random_u16()) }
        }
    }
}
