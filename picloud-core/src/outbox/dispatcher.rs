//! The dispatcher: claims rows that are due, has them delivered, and settles them.
//!
//! Five tasks on the control thread. The *claimer* takes rows as long as there is room and hands them to the executor
//! threads ([`deliver`](super::deliver)). The *completer* collects what became of them and settles in batches. The
//! *keeper* shows that this worker is alive, and takes over from workers that are not. The *timekeeper* stores the events of
//! [schedules](super::schedule). The *promoter* makes messages of queues due.

mod claimer;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::deliver::{Courier, Delivery};
use super::held::Held;
use super::{Claimed, Outbox, Promoted, Settlement, WorkerId};
use crate::{Clock, Error, Result, Timestamp, jittered, metric};

/// How events are dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatcherConfig {
    /// Whether this process handles events. A process that does not still writes them. Default: true.
    pub enabled: bool,
    /// Most rows that this process has at once, running, waiting for an executor thread, or waiting to be settled. A
    /// handler that waits holds one. A script that holds twice, and an app that holds four times, as many as are left gets
    /// no further ones for the time being: one alone gets about two thirds and four fifths, give or take a batch, so that
    /// handlers which take long keep nobody else waiting. Default: 1 500.
    pub max_in_flight: usize,
    /// Most rows claimed or settled at once. Default: 200.
    pub batch: usize,
    /// How often the outbox is asked although nothing was noticed, give or take a quarter. It is what finds work when
    /// notices get lost. Default: 2 s.
    pub poll: Duration,
    /// How often this process shows that it is alive and looks for others that are not, give or take a quarter. Default:
    /// 1 s.
    pub heartbeat: Duration,
    /// After how long a silence a process counts as dead, and its rows are run again by others. Longer than four
    /// heartbeats, so that a process that is merely slow is not taken over. Default: 10 s.
    pub lease: Duration,
    /// How long a settlement waits for company. Default: 2 ms.
    pub linger: Duration,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        DispatcherConfig {
            enabled: true,
            max_in_flight: 1_500,
            batch: 200,
            poll: Duration::from_secs(2),
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            linger: Duration::from_millis(2),
        }
    }
}

/// After how many heartbeats to look whether this worker has rows that it does not know of.
const BEATS_IN_DOUBT: u32 = 30;

/// How long to wait before asking a store again that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// How long the last settlements may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// How often others are told of events, at most.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(1);

/// A settlement on its way to the store.
pub(super) struct Settled {
    /// This process may have become another worker since.
    pub(super) worker: WorkerId,
    pub(super) settlement: Settlement,
    /// The row is a message of a queue: its end makes room for another.
    pub(super) of_queue: bool,
}

pub(crate) struct Dispatcher {
    outbox: Arc<dyn Outbox>,
    courier: Arc<Courier>,
    clock: Arc<dyn Clock>,
    config: DispatcherConfig,
    worker: Mutex<WorkerId>,
    /// Rows that are with this process: how many, until they are settled or cannot be; and which, until they are settled.
    in_flight: AtomicUsize,
    held: Held,
    /// Rows may have become this worker's without its being told: an answer was lost.
    in_doubt: AtomicBool,
    /// While rows are on their way to this process.
    taking: tokio::sync::Mutex<()>,
    /// Something was settled.
    room: Notify,
    /// Messages of queues were settled.
    queue_settled: Notify,
    /// Somebody wants to know when nothing is left, or there is something to claim.
    asked: Notify,
    /// Nothing is claimed any more.
    closing: watch::Sender<bool>,
    /// Nothing is under way any more: until then this worker has to show that it is alive.
    over: watch::Sender<bool>,
    settled: mpsc::UnboundedSender<Settled>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Settled>>>,
    #[cfg(feature = "cron")]
    scheduler: super::schedule::Scheduler,
    idle_wanted: Mutex<Vec<oneshot::Sender<()>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Dispatcher {
    pub(crate) fn new(
        outbox: Arc<dyn Outbox>,
        courier: Courier,
        clock: Arc<dyn Clock>,
        config: DispatcherConfig,
    ) -> Arc<Self> {
        let (settled, inbox) = mpsc::unbounded_channel();
        Arc::new(Dispatcher {
            #[cfg(feature = "cron")]
            scheduler: super::schedule::Scheduler::new(outbox.clone(), courier.apps.clone(), clock.clone()),
            outbox,
            courier: Arc::new(courier),
            clock,
            config,
            worker: Mutex::new(WorkerId::new()),
            in_flight: AtomicUsize::new(0),
            held: Held::default(),
            in_doubt: AtomicBool::new(false),
            taking: tokio::sync::Mutex::default(),
            room: Notify::new(),
            queue_settled: Notify::new(),
            asked: Notify::new(),
            closing: watch::Sender::new(false),
            over: watch::Sender::new(false),
            settled,
            inbox: Mutex::new(Some(inbox)),
            idle_wanted: Mutex::default(),
            tasks: Mutex::default(),
            keeper: Mutex::default(),
        })
    }

    /// Starts the tasks on `runtime`.
    pub(crate) fn start(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if self.config.enabled {
            tasks.push(runtime.spawn(self.clone().claimer()));
            tasks.push(runtime.spawn(self.clone().completer()));
            tasks.push(runtime.spawn(self.clone().promoter()));
            #[cfg(feature = "cron")]
            tasks.push(runtime.spawn(self.clone().timekeeper()));
            let keeper = runtime.spawn(self.clone().keeper());
            *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        } else {
            tasks.push(runtime.spawn(self.clone().announcer()));
        }
    }

    /// Claims nothing any more. What is under way goes on.
    pub(crate) fn stop(&self) {
        self.closing.send_replace(true);
    }

    /// After [`stop`](Self::stop), and after executions have ended: settles what is left and gives back the rest.
    pub(crate) async fn finish(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = async |task: JoinHandle<()>| {
            if task.await.is_err() {
                tracing::error!("a task of the dispatcher panicked");
            }
        };
        let end = async {
            for task in tasks {
                ended(task).await;
            }
            self.over.send_replace(true);
            if let Some(keeper) = keeper {
                ended(keeper).await;
            }
            if self.config.enabled {
                self.outbox.retire(self.worker()).await?;
            }
            Ok::<(), Error>(())
        };
        match tokio::time::timeout(DRAIN, end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "events that this process had could not be given back; others take them over");
            }
            Err(_) => tracing::warn!("the last events were not settled in time; others take them over"),
        }
    }

    /// Completes when no row is due and none is with this process.
    pub(crate) async fn idle(&self) -> Result<()> {
        #[cfg(feature = "cron")]
        self.scheduler.tick(|| self.is_closing()).await?;
        let (tell, told) = oneshot::channel();
        self.idle_wanted().push(tell);
        self.asked.notify_one();
        told.await.map_err(|_| Error::new(crate::ErrorKind::Closed, "closed", "this node is shutting down"))
    }

    fn worker(&self) -> WorkerId {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Makes messages of queues due, apart from claims: a queue that takes long must not be in the way of other events.
    async fn promoter(self: Arc<Self>) {
        let mut notices = self.outbox.notices();
        let mut closing = self.closing.subscribe();
        let mut looked_at: Option<Timestamp> = None;
        loop {
            notices.mark_unchanged();
            let now = self.clock.now();
            let age = looked_at.map(|then| now.duration_since(then).unsigned_abs());
            let thoroughly = age.is_none_or(|age| age >= self.config.poll);
            if thoroughly {
                looked_at = Some(now);
            }
            let promoted = {
                let mut promoted = pin!(self.promote(thoroughly));
                let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
                std::future::poll_fn(|cx| match ended.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => promoted.as_mut().poll(cx).map(Some),
                })
                .await
            };
            let Some(promoted) = promoted else { return };
            let poll = jittered(self.config.poll);
            let wait = match promoted {
                Ok(promoted) => promoted.again.map_or(poll, |again| poll.min(again)),
                Err(error) => {
                    tracing::warn!(%error, "messages of queues could not be made due; trying again");
                    AFTER_FAILURE
                }
            };
            // What comes in a moment is done together.
            tokio::time::sleep(self.config.linger).await;
            let mut timer = pin!(self.clock.sleep(wait));
            let mut noticed = pin!(notices.changed());
            let mut settled = pin!(self.queue_settled.notified());
            let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
            std::future::poll_fn(|cx| {
                let over = ended.as_mut().poll(cx).is_ready()
                    || timer.as_mut().poll(cx).is_ready()
                    || noticed.as_mut().poll(cx).is_ready()
                    || settled.as_mut().poll(cx).is_ready();
                if over { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Without queues there is nothing to do, but for what a queue left that is gone.
    async fn promote(&self, thoroughly: bool) -> Result<Promoted> {
        if !thoroughly && !self.courier.apps.any_queues() {
            return Ok(Promoted::default());
        }
        let promoted = self.outbox.promote(thoroughly).await?;
        if promoted.count > 0 {
            self.asked.notify_one();
        }
        Ok(promoted)
    }

    fn idle_wanted(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.idle_wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing needs to be done unless something is noticed.
    async fn until_due(&self) -> Duration {
        let poll = jittered(self.config.poll);
        match self.outbox.next_due().await {
            // Just a little later, so that rounding does not make it a moment too early; and not at once, since what is
            // due and was not claimed is locked by somebody else.
            Ok(Some(due)) => poll.min(due + Duration::from_millis(1)),
            _ => poll,
        }
    }

    /// Waits for a notice, for the end, or for `at_most`; while somebody wants to know when nothing is left, also for room.
    async fn wait(&self, notices: &mut watch::Receiver<u64>, at_most: Duration) {
        let mut closing = self.closing.subscribe();
        let mut timer = pin!(self.clock.sleep(at_most));
        let mut noticed = pin!(notices.changed());
        let mut room = pin!(self.room.notified());
        let mut asked = pin!(self.asked.notified());
        let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
        let wants_room = !self.idle_wanted().is_empty();
        std::future::poll_fn(|cx| {
            let over = ended.as_mut().poll(cx).is_ready()
                || asked.as_mut().poll(cx).is_ready()
                || timer.as_mut().poll(cx).is_ready()
                || noticed.as_mut().poll(cx).is_ready()
                // Room is of no use without rows.
                || (wants_room && room.as_mut().poll(cx).is_ready());
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn rest(&self, duration: Duration) {
        self.wait(&mut self.outbox.notices(), duration).await;
    }

    fn tell_idle(&self) {
        let waiting = std::mem::take(&mut *self.idle_wanted());
        for waiting in waiting {
            // Whoever asked may have gone.
            let _ = waiting.send(());
        }
    }

    fn hand_out(&self, worker: WorkerId, rows: Vec<Claimed>) {
        if rows.is_empty() {
            return;
        }
        self.in_flight.fetch_add(rows.len(), Ordering::AcqRel);
        self.held.add(&rows);
        let deliveries =
            rows.into_iter().map(|claimed| Delivery::new(claimed, worker, self.settled.clone())).collect();
        self.courier.hand_out(deliveries);
    }

    /// Settles in batches until nothing is under way any more after the end.
    async fn completer(self: Arc<Self>) {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut inbox) = inbox else { return };
        let mut closing = self.closing.subscribe();
        loop {
            let first = {
                let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
                std::future::poll_fn(|cx| match inbox.poll_recv(cx) {
                    Poll::Ready(first) => Poll::Ready(first),
                    // What is under way is waited for, as long as whoever ends us has patience.
                    Poll::Pending if self.in_flight.load(Ordering::Acquire) == 0 => {
                        ended.as_mut().poll(cx).map(|()| None)
                    }
                    Poll::Pending => Poll::Pending,
                })
                .await
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            while batch.len() < self.config.batch {
                match inbox.try_recv() {
                    Ok(next) => batch.push(next),
                    // Everything that is under way is here: nobody else is coming.
                    Err(_) if batch.len() == self.in_flight.load(Ordering::Acquire) => break,
                    Err(_) => {
                        tokio::time::sleep(self.config.linger).await;
                        while batch.len() < self.config.batch
                            && let Ok(next) = inbox.try_recv()
                        {
                            batch.push(next);
                        }
                        break;
                    }
                }
            }
            let settled = batch.len();
            let frees_queues = batch.iter().any(|settled| settled.of_queue);
            self.settle(batch).await;
            self.in_flight.fetch_sub(settled, Ordering::AcqRel);
            if frees_queues {
                self.queue_settled.notify_one();
            }
            self.room.notify_one();
        }
    }

    async fn settle(&self, batch: Vec<Settled>) {
        let mut by_worker: Vec<(WorkerId, Vec<Settlement>)> = Vec::new();
        for Settled { worker, settlement, .. } in batch {
            match by_worker.iter_mut().find(|(known, _)| *known == worker) {
                Some((_, settlements)) => settlements.push(settlement),
                None => by_worker.push((worker, vec![settlement])),
            }
        }
        for (worker, settlements) in by_worker {
            self.settle_all(worker, settlements).await;
        }
    }

    /// Settles until everything is settled. What the store refuses is settled in ever smaller parts, so that one row does not
    /// keep others.
    async fn settle_all(&self, worker: WorkerId, settlements: Vec<Settlement>) {
        let mut parts = vec![(settlements, false)];
        while let Some((mut part, again)) = parts.pop() {
            match self.outbox.settle(worker, &part).await {
                Ok(lost) => {
                    self.held.remove(&part);
                    // Or the first time succeeded, and nobody heard of it.
                    for settlement in lost.into_iter().filter(|_| !again) {
                        metric::count!("picloud_outbox_lost_total");
                        tracing::warn!(event = %settlement.id, "an event was taken over while its handler ran here; it runs twice");
                    }
                }
                // The rows stay with this worker, and so with this process, for as long as it lives.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, events = part.len(), "handled events could not be settled; trying again");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    parts.push((part, true));
                }
                Err(error) if part.len() > 1 => {
                    tracing::warn!(%error, events = part.len(), "handled events could not be settled together; trying parts of them");
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([(rest, again), (part, again)]);
                }
                Err(error) => {
                    let event = part.first().map(|settlement| settlement.id.to_string()).unwrap_or_default();
                    tracing::error!(%error, event, "a handled event cannot be settled; it stays with this process until it ends, and runs again then");
                }
            }
        }
    }

    async fn register(&self) -> bool {
        match self.outbox.beat(self.worker()).await {
            Ok(true) => true,
            Ok(false) => {
                self.begin_anew();
                false
            }
            Err(error) => {
                tracing::warn!(%error, "this process could not be registered as a worker; trying again");
                false
            }
        }
    }

    /// This process was taken for dead. What it has is lost to it; it goes on as a new worker.
    fn begin_anew(&self) {
        tracing::warn!("this process was silent for too long and was taken over; it goes on as a new worker");
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = WorkerId::new();
    }

    /// Shows that this worker is alive, and takes over from those that are not.
    async fn keeper(self: Arc<Self>) {
        let mut beats: u32 = 0;
        while !self.rest_unless_over(jittered(self.config.heartbeat)).await {
            beats = beats.wrapping_add(1);
            if beats.is_multiple_of(BEATS_IN_DOUBT) {
                // Whatever it may have come from.
                self.in_doubt.store(true, Ordering::Release);
                self.asked.notify_one();
            }
            match self.outbox.beat(self.worker()).await {
                Ok(true) => {}
                Ok(false) => {
                    self.begin_anew();
                    self.register().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the heartbeat failed");
                    continue;
                }
            }
            if self.is_closing() {
                continue;
            }
            let worker = self.worker();
            // Not for longer than that: a claim that takes long must not keep this worker from showing that it is alive.
            let Ok(_taking) = tokio::time::timeout(self.config.heartbeat, self.taking.lock()).await else {
                continue;
            };
            if self.is_closing() {
                continue;
            }
            match self.outbox.take_over(worker, self.config.lease, self.config.batch).await {
                Ok(rows) => {
                    if !rows.is_empty() {
                        tracing::warn!(events = rows.len(), "taking over the events of a process that died");
                    }
                    self.in_flight.fetch_add(rows.len(), Ordering::AcqRel);
                    self.held.add(&rows);
                    for claimed in rows {
                        metric::count!("picloud_outbox_taken_over_total");
                        let verdict = self.courier.after_crash(&claimed);
                        Delivery::new(claimed, worker, self.settled.clone()).settle(vec![verdict]);
                    }
                }
                Err(error) => {
                    self.in_doubt.store(true, Ordering::Release);
                    tracing::warn!(%error, "looking for dead workers failed");
                }
            }
        }
    }

    /// Fires triggers by the clock.
    #[cfg(feature = "cron")]
    async fn timekeeper(self: Arc<Self>) {
        let mut changes = self.courier.apps.changes();
        let mut closing = self.closing.subscribe();
        loop {
            changes.mark_unchanged();
            let wait = match self.scheduler.tick(|| self.is_closing()).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "scheduled events could not be stored; trying again");
                    AFTER_FAILURE
                }
            };
            let mut timer = pin!(self.clock.sleep(wait));
            let mut changed = pin!(changes.changed());
            let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
            let goes_on = std::future::poll_fn(|cx| {
                if ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                let woken = timer.as_mut().poll(cx).is_ready() || changed.as_mut().poll(cx).is_ready();
                if woken { Poll::Ready(true) } else { Poll::Pending }
            })
            .await;
            if !goes_on {
                return;
            }
        }
    }

    /// Waits; answers whether the end came first.
    async fn rest_unless_over(&self, duration: Duration) -> bool {
        let mut over = self.over.subscribe();
        let ended = pin!(async { drop(over.wait_for(|over| *over).await) });
        unless(ended, self.clock.sleep(duration)).await.is_none()
    }

    /// In a process that handles no events: tells the others of those that are written here.
    async fn announcer(self: Arc<Self>) {
        let mut stored = self.outbox.stored();
        let mut closing = self.closing.subscribe();
        let mut ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
        loop {
            let noticed = unless(ended.as_mut(), stored.changed()).await;
            if !matches!(noticed, Some(Ok(()))) {
                return;
            }
            self.outbox.announce();
            // One announcement stands for all that is written in a moment: no write needs to wake this one before.
            if unless(ended.as_mut(), tokio::time::sleep(ANNOUNCE_EVERY)).await.is_none() {
                return;
            }
        }
    }
}

/// What `awaited` comes to; `None` if the end comes first.
async fn unless<R>(
    mut end: Pin<&mut impl Future<Output = ()>>,
    awaited: impl Future<Output = R>,
) -> Option<R> {
    let mut awaited = pin!(awaited);
    std::future::poll_fn(|cx| {
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        awaited.as_mut().poll(cx).map(Some)
    })
    .await
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher")
            .field("worker", &self.worker())
            .field("in_flight", &self.in_flight.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
