//! The side door by which execution records leave: bounded, batched, off the path of the request.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{ExecutionLogSink, ExecutionRecord};
use crate::metric;

/// How execution records are collected for their sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionLogConfig {
    /// Most records that wait; further ones are dropped and counted. Default: 10 000.
    pub capacity: NonZeroUsize,
    /// Most bytes of memory that waiting records take; further ones are dropped and counted. Default: 64 MiB.
    pub max_bytes: usize,
    /// About how many records make a batch. Default: 500.
    pub max_batch: NonZeroUsize,
    /// How long a record waits for company, so that a busy server wakes its writer a hundred times a second and not
    /// for every request. Default: 10 ms.
    pub linger: Duration,
}

impl Default for ExecutionLogConfig {
    fn default() -> Self {
        let at_least_one = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        ExecutionLogConfig {
            capacity: at_least_one(10_000),
            max_bytes: 64 << 20,
            max_batch: at_least_one(500),
            linger: Duration::from_millis(10),
        }
    }
}

enum Item {
    /// With what they weigh.
    Records(Vec<ExecutionRecord>, usize),
    Flush(oneshot::Sender<()>),
    Close,
}

struct Inner {
    config: ExecutionLogConfig,
    items: mpsc::UnboundedSender<Item>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Item>>>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
    collectors: Mutex<Option<Collectors>>,
}

/// Threads that collect records, and how they are asked to hand them over.
type Collectors = (Vec<Handle>, fn());

/// How long to wait for a thread to hand over what it collected.
const PATIENCE: Duration = Duration::from_secs(1);

/// Execution records on their way to the sink. Cloning is cheap.
#[derive(Clone)]
pub struct ExecutionLog {
    inner: Arc<Inner>,
}

impl ExecutionLog {
    /// An empty buffer; [`run`](Self::run) empties it.
    pub(crate) fn new(config: ExecutionLogConfig) -> Self {
        let (items, inbox) = mpsc::unbounded_channel();
        let inbox = Mutex::new(Some(inbox));
        ExecutionLog {
            inner: Arc::new(Inner {
                config,
                items,
                inbox,
                waiting: AtomicUsize::new(0),
                waiting_bytes: AtomicUsize::new(0),
                dropped: AtomicU64::new(0),
                collectors: Mutex::new(None),
            }),
        }
    }

    /// Hands over records without waiting; drops them, and counts, when too many wait.
    pub(crate) fn record(&self, records: Vec<ExecutionRecord>) {
        let (inner, count) = (&self.inner, records.len());
        let weight = records.iter().map(ExecutionRecord::weight).sum();
        let waiting = inner.waiting.fetch_add(count, Ordering::Relaxed) + count;
        let bytes = inner.waiting_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        let full = waiting > inner.config.capacity.get() || bytes > inner.config.max_bytes;
        if full && count > 1 {
            // One by one, as far as they go.
            self.left(count, weight);
            records.into_iter().for_each(|record| self.record(vec![record]));
            return;
        }
        if full || inner.items.send(Item::Records(records, weight)).is_err() {
            self.left(count, weight);
            inner.dropped.fetch_add(count as u64, Ordering::Relaxed);
            metric::count!("picloud_execution_records_dropped_total");
        }
    }

    fn left(&self, count: usize, weight: usize) {
        self.inner.waiting.fetch_sub(count, Ordering::Relaxed);
        self.inner.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Names the threads that collect records before they hand them over, and how they are asked to.
    pub(crate) fn collectors(&self, threads: Vec<Handle>, hand_over: fn()) {
        *self.inner.collectors.lock().unwrap_or_else(PoisonError::into_inner) = Some((threads, hand_over));
    }

    /// Completes when every thread has handed over what it collected, or does not answer.
    pub(crate) async fn collect(&self) {
        let collectors = self.inner.collectors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((threads, hand_over)) = collectors else { return };
        for thread in threads {
            // An error means that the thread has ended: it handed over what it had. One that is stuck in a host's
            // function is not waited for.
            let asked = thread.spawn(async move { hand_over() });
            let _ = tokio::time::timeout(PATIENCE, asked).await;
        }
    }

    /// How many records were dropped: the buffer was full, or the sink failed.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    /// Completes when every record handed over so far has been offered to the sink.
    pub async fn flush(&self) {
        self.collect().await;
        let (done, is_done) = oneshot::channel();
        if self.inner.items.send(Item::Flush(done)).is_ok() {
            // An error means that the writer has ended, and with it all it had.
            let _ = is_done.await;
        }
    }

    /// Lets [`run`](Self::run) end after what it has.
    pub(crate) fn close(&self) {
        // Nobody to tell means that it has ended.
        let _ = self.inner.items.send(Item::Close);
    }

    /// Hands batches to the sink until [`close`](Self::close).
    pub(crate) async fn run(self, sink: Arc<dyn ExecutionLogSink>) {
        let inbox = self.inner.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut inbox) = inbox else { return };
        let mut closed = false;
        let mut losses = Losses::default();
        while !closed {
            let Some(first) = inbox.recv().await else { return };
            let mut taken = Taken::default();
            let may_wait = self.take(first, &mut taken);
            if may_wait && self.inner.waiting.load(Ordering::Relaxed) < self.inner.config.max_batch.get() {
                tokio::time::sleep(self.inner.config.linger).await;
            }
            while taken.records < self.inner.config.max_batch.get()
                && let Ok(item) = inbox.try_recv()
            {
                self.take(item, &mut taken);
            }
            closed = taken.closed;
            self.write(sink.as_ref(), taken, &mut losses).await;
        }
        // What came after the end was asked for.
        inbox.close();
        let mut taken = Taken::default();
        while let Ok(item) = inbox.try_recv() {
            self.take(item, &mut taken);
        }
        self.write(sink.as_ref(), taken, &mut losses).await;
        if losses.untold > 0 {
            tracing::warn!(records = losses.untold, "execution records were lost: their sink failed");
        }
    }

    /// Sorts an item; answers whether it can wait for company.
    fn take(&self, item: Item, taken: &mut Taken) -> bool {
        match item {
            Item::Records(records, weight) => {
                self.left(records.len(), weight);
                taken.records += records.len();
                taken.parts.push(records);
                return true;
            }
            Item::Flush(done) => taken.flushed.push(done),
            Item::Close => taken.closed = true,
        }
        false
    }

    async fn write(&self, sink: &dyn ExecutionLogSink, taken: Taken, losses: &mut Losses) {
        self.write_batch(sink, taken.parts, losses).await;
        for flushed in taken.flushed {
            // Whoever asked may have gone.
            let _ = flushed.send(());
        }
    }

    async fn write_batch(
        &self,
        sink: &dyn ExecutionLogSink,
        parts: Vec<Vec<ExecutionRecord>>,
        losses: &mut Losses,
    ) {
        let mut parts = parts.into_iter();
        let Some(mut batch) = parts.next() else { return };
        batch.reserve_exact(parts.as_slice().iter().map(Vec::len).sum());
        parts.for_each(|part| batch.extend(part));
        let records = batch.len() as u64;
        match sink.write(batch).await {
            Ok(()) => {
                if let Some(records) = losses.end(Instant::now()) {
                    tracing::info!(records, "execution records are written again; so many more were lost");
                }
            }
            Err(error) => {
                self.inner.dropped.fetch_add(records, Ordering::Relaxed);
                metric::count!("picloud_execution_log_failures_total");
                if let Some(records) = losses.add(records, Instant::now()) {
                    let error = error.with_causes();
                    tracing::warn!(%error, records, "execution records were lost: their sink failed");
                }
            }
        }
    }
}

/// What was taken out of the inbox at once.
#[derive(Default)]
struct Taken {
    parts: Vec<Vec<ExecutionRecord>>,
    records: usize,
    flushed: Vec<oneshot::Sender<()>>,
    closed: bool,
}

/// What was lost since it was last told: a sink that is away for a while is told of now and then, not with every batch.
#[derive(Default)]
struct Losses {
    told_at: Option<Instant>,
    /// That it fails was told, and not yet that it works again.
    is_told: bool,
    untold: u64,
}

impl Losses {
    const BETWEEN: Duration = Duration::from_secs(10);

    /// Adds records; answers how many to tell of, if it is time to.
    fn add(&mut self, records: u64, now: Instant) -> Option<u64> {
        self.untold += records;
        if !self.is_due(now) {
            return None;
        }
        self.told_at = Some(now);
        self.is_told = true;
        Some(std::mem::take(&mut self.untold))
    }

    /// The sink works; answers how many were lost that were not told of, if there is something to tell.
    fn end(&mut self, now: Instant) -> Option<u64> {
        let is_news = std::mem::take(&mut self.is_told) || (self.untold > 0 && self.is_due(now));
        is_news.then(|| std::mem::take(&mut self.untold))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= Losses::BETWEEN)
    }
}

impl fmt::Debug for ExecutionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionLog")
            .field("waiting", &self.inner.waiting.load(Ordering::Relaxed))
            .field("dropped", &self.dropped())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::{Failure, FailureClass, Invocation, Outcome};
    use crate::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
    use crate::{AppId, Error, Result, ScriptId, Timestamp};

    fn record() -> ExecutionRecord {
        let script = ScriptRecord {
            id: ScriptId::new(),
            name: ScriptName::new("test").unwrap(),
            kind: ScriptKind::Endpoint,
            source: "1".into(),
            version: 1,
            sandbox: Default::default(),
            timeout_seconds: None,
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let invocation = Invocation::new(AppId::new(), Arc::new(script));
        let outcome = Outcome::refused(invocation.execution, Failure::new(FailureClass::Runtime, "no"));
        ExecutionRecord::new(&invocation, &outcome, Timestamp::UNIX_EPOCH)
    }

    /// Counts batches and records; fails when told to.
    #[derive(Debug, Default)]
    struct Counting {
        batches: Mutex<Vec<usize>>,
        broken: bool,
    }

    #[async_trait::async_trait]
    impl ExecutionLogSink for Counting {
        async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
            self.batches.lock().unwrap().push(records.len());
            if self.broken { Err(Error::internal("no room")) } else { Ok(()) }
        }
    }

    fn log(capacity: usize, max_batch: usize) -> ExecutionLog {
        let at_least_one = |n| NonZeroUsize::new(n).unwrap();
        let config = ExecutionLogConfig {
            capacity: at_least_one(capacity),
            max_batch: at_least_one(max_batch),
            ..ExecutionLogConfig::default()
        };
        ExecutionLog::new(config)
    }

    #[tokio::test]
    async fn records_reach_the_sink_in_batches_and_closing_loses_none() {
        let (log, sink) = (log(100, 10), Arc::new(Counting::default()));
        (0..25).for_each(|_| log.record(vec![record()]));
        log.close();
        log.clone().run(sink.clone()).await;
        assert_eq!(*sink.batches.lock().unwrap(), [10, 10, 5]);
        assert_eq!(log.dropped(), 0);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let (log, sink) = (log(10, 100), Arc::new(Counting::default()));
        (0..25).for_each(|_| log.record(vec![record()]));
        log.close();
        log.clone().run(sink.clone()).await;
        assert_eq!(sink.batches.lock().unwrap().iter().sum::<usize>(), 10);
        assert_eq!(log.dropped(), 15);
    }

    #[tokio::test]
    async fn long_logs_are_bounded_by_their_bytes() {
        let config = ExecutionLogConfig { max_bytes: 10_000, ..ExecutionLogConfig::default() };
        let log = ExecutionLog::new(config);
        let mut heavy = record();
        heavy.error = Some("x".repeat(9_000));
        (0..5).for_each(|_| log.record(vec![heavy.clone()]));
        assert_eq!(log.dropped(), 4);
    }

    #[tokio::test]
    async fn a_failing_sink_loses_its_batch_and_nothing_else() {
        let (log, sink) = (log(100, 10), Arc::new(Counting { broken: true, ..Counting::default() }));
        (0..15).for_each(|_| log.record(vec![record()]));
        log.close();
        log.clone().run(sink.clone()).await;
        assert_eq!(*sink.batches.lock().unwrap(), [10, 5]);
        assert_eq!(log.dropped(), 15);
    }

    #[test]
    fn losses_are_told_now_and_then_and_with_their_end() {
        let (mut losses, begin) = (Losses::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(losses.end(begin), None);
        assert_eq!(losses.add(3, begin), Some(3));
        assert_eq!((losses.add(4, at(1)), losses.add(5, at(9))), (None, None));
        assert_eq!(losses.add(6, at(10)), Some(15));
        assert_eq!(losses.add(7, at(11)), None);
        assert_eq!((losses.end(at(12)), losses.end(at(30))), (Some(7), None));
        // One that works every other time is told of no more often.
        assert_eq!((losses.add(1, at(13)), losses.end(at(14))), (None, None));
        assert_eq!(losses.end(at(20)), Some(1));
        assert_eq!(losses.add(2, at(21)), Some(2));
    }

    #[tokio::test]
    async fn a_flush_waits_for_what_was_handed_over() {
        let (log, sink) = (log(100, 10), Arc::new(Counting::default()));
        let writer = tokio::spawn(log.clone().run(sink.clone()));
        (0..7).for_each(|_| log.record(vec![record()]));
        log.flush().await;
        assert_eq!(sink.batches.lock().unwrap().iter().sum::<usize>(), 7);
        log.close();
        writer.await.unwrap();
    }
}
