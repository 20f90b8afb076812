//! Running scripts: the [`Executor`] seam, and the executor of this process.

mod attempt;
#[cfg(test)]
mod attempt_tests;
mod gate;
mod probe;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod worker;

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use gate::GateConfig;
use gate::{Full, Gate, Permit};

use crate::engine::budget::Stop;
use crate::engine::cache::ScriptCache;
use crate::engine::compile::Compiled;
use crate::engine::run::Run;
use crate::execution::{
    Answer, ExecutionLog, ExecutionRecord, Failure, FailureClass, Invocation, LimitExceeded, Outcome,
    RequestSummary, ResponseSummary,
};
use crate::log::LogLines;
use crate::{AppId, Clock, Error, ErrorKind, ExecutionId, Result, Timestamp, metric};
use worker::Resident;

/// Runs a script and answers what it came to.
///
/// # Contract
///
/// - It always answers: whatever a script does is an [`Outcome`], not an error and not a panic.
/// - It never waits for room: without any the outcome has class `overloaded` and nothing ran.
/// - Dropping the future ends the script at its next operation or host call, unless the invocation asked to be
///   [detached](Invocation::detach_on_drop).
/// - Every outcome is recorded.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Runs a script.
    async fn execute(&self, invocation: Invocation) -> Outcome;
}

/// A [`LocalExecutor`] for what it holds itself, such as a function of its scripts.
#[derive(Clone)]
pub(crate) struct WeakExecutor(Weak<Shared>);

impl WeakExecutor {
    /// As [`LocalExecutor::run`]; `None` when the executor is gone.
    pub(crate) fn run(&self, invocation: Invocation) -> Option<Execute> {
        Some(Execute { state: State::New(self.0.upgrade()?, Box::new(invocation)) })
    }
}

/// How a [`LocalExecutor`] is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutorConfig {
    /// Executor threads; scripts run on these. Default: one per core.
    pub threads: NonZeroUsize,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        ExecutorConfig { threads, gate: GateConfig::default() }
    }
}

/// What the threads of an executor share.
pub(crate) struct Shared {
    id: u64,
    gate: Arc<Gate>,
    cache: Arc<ScriptCache>,
    pub(crate) clock: Arc<dyn Clock>,
    log: ExecutionLog,
    closing: AtomicBool,
    threads: Vec<Thread>,
}

struct Thread {
    handle: Handle,
    active: Arc<AtomicUsize>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What an executor thread is asked to do.
enum Order {
    Run(Box<Start>, oneshot::Sender<Box<Outcome>>),
    /// The caller of an execution on that thread waits on another thread from now on.
    Adopt(Here, oneshot::Sender<Box<Outcome>>),
    StopAll(Stop),
    End,
}

/// An execution that may begin: admitted and compiled.
struct Start {
    shared: Arc<Shared>,
    permit: Permit,
    compiled: Arc<Compiled>,
    invocation: Box<Invocation>,
}

/// The executor of this process: scripts on fibers, on a few threads of its own.
///
/// A future of [`run`](LocalExecutor::run) that is first polled on one of its threads runs the script right
/// there. Elsewhere the script is tried for some microseconds on the thread that polls, and handed over if it does not
/// end by then or calls a function of the host's.
#[derive(Clone)]
pub struct LocalExecutor {
    shared: Arc<Shared>,
    joins: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl LocalExecutor {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread or runtime.
    pub(crate) fn start(
        mut config: ExecutorConfig,
        cache: Arc<ScriptCache>,
        clock: Arc<dyn Clock>,
        log: ExecutionLog,
    ) -> Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let possible = probe::max_stacks();
        if possible < config.gate.max_executions {
            tracing::warn!(
                asked = config.gate.max_executions,
                possible,
                "this system has room for fewer executions at once than configured"
            );
            config.gate.max_executions = possible;
        }
        let (mut threads, mut joins) = (Vec::new(), Vec::new());
        for index in 0..config.threads.get() {
            let (orders, inbox) = mpsc::unbounded_channel();
            let (ready, is_ready) = std::sync::mpsc::channel();
            let active = Arc::new(AtomicUsize::new(0));
            let counter = active.clone();
            let join = std::thread::Builder::new()
                .name(format!("picloud-exec-{index}"))
                .spawn(move || thread_main(id, index, counter, inbox, &ready))
                .map_err(|error| Error::internal("no executor thread").caused_by(error))?;
            let handle = is_ready.recv().map_err(|_| Error::internal("an executor thread did not start"))?;
            let handle = handle
                .map_err(|error| Error::internal("no runtime for an executor thread").caused_by(error))?;
            threads.push(Thread { handle, active, orders });
            joins.push(join);
        }
        log.collectors(
            threads.iter().map(|thread: &Thread| thread.handle.clone()).collect(),
            worker::hand_over,
        );
        let gate = Arc::new(Gate::new(config.gate));
        let shared =
            Arc::new(Shared { id, gate, cache, clock, log, closing: AtomicBool::new(false), threads });
        Ok(LocalExecutor { shared, joins: Arc::new(Mutex::new(joins)) })
    }

    /// Runs a script. As [`Executor::execute`], without the box.
    pub fn run(&self, invocation: Invocation) -> Execute {
        Execute { state: State::New(self.shared.clone(), Box::new(invocation)) }
    }

    pub(crate) fn downgrade(&self) -> WeakExecutor {
        WeakExecutor(Arc::downgrade(&self.shared))
    }

    /// The runtimes of the executor threads, for those who want to serve where scripts run.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.shared.threads.iter().map(|thread| &thread.handle)
    }

    /// Whether every thread takes its turns.
    ///
    /// # Errors
    /// `executor.stuck` when one does not answer within a second: something on it blocks or does not end.
    pub(crate) async fn responds(&self) -> Result<()> {
        let asked: Vec<_> = self.runtimes().map(|runtime| runtime.spawn(async {})).collect();
        let answers = async {
            for asked in asked {
                // An error means that the thread ends: shutdown has begun, which is for others to tell.
                let _ = asked.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), answers).await.map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                "executor.stuck",
                "an executor thread has not answered for a second",
            )
        })
    }

    /// Executions under way, running and waiting ones alike.
    pub fn in_flight(&self) -> usize {
        self.shared.gate.inside()
    }

    /// The limits in force, after the start-up probe.
    pub fn gate(&self) -> &GateConfig {
        self.shared.gate.config()
    }

    /// Refuses new executions, waits up to `deadline` for those under way, ends the rest, and joins the threads.
    pub(crate) async fn shutdown(&self, deadline: Duration) {
        self.shared.closing.store(true, Ordering::Release);
        if tokio::time::timeout(deadline, self.shared.gate.wait_idle()).await.is_err() {
            tracing::warn!(executions = self.in_flight(), "ending executions that did not finish in time");
            self.order_all(|| Order::StopAll(Stop::Shutdown));
            // They end at their next operation or host call; what does not is unwound when its thread ends.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.gate.wait_idle()).await;
        }
    }

    /// Tells the threads to end, without waiting: what still runs is stopped.
    pub(crate) fn end(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.order_all(|| Order::StopAll(Stop::Shutdown));
        self.order_all(|| Order::End);
    }

    /// Waits for the threads to end, after [`end`](Self::end). Blocks.
    pub(crate) fn join(&self) {
        let joins = std::mem::take(&mut *self.joins.lock().unwrap_or_else(PoisonError::into_inner));
        for join in joins {
            if join.join().is_err() {
                tracing::error!("an executor thread panicked");
            }
        }
    }

    fn order_all(&self, order: impl Fn() -> Order) {
        for thread in &self.shared.threads {
            // A thread that is gone has nothing left to do.
            let _ = thread.orders.send(order());
        }
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    async fn execute(&self, invocation: Invocation) -> Outcome {
        self.run(invocation).await
    }
}

impl fmt::Debug for LocalExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutor")
            .field("threads", &self.shared.threads.len())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Builds, drives and drops the runtime of an executor thread, all on that thread.
fn thread_main(
    id: u64,
    index: usize,
    active: Arc<AtomicUsize>,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    ready: &std::sync::mpsc::Sender<std::io::Result<Handle>>,
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(worker::hand_over).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let counter = active.clone();
    worker::install(id, index, active);
    let _ = ready.send(Ok(runtime.handle().clone()));
    runtime.block_on(async {
        let background = tokio::spawn(worker::background());
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Run(start, reply) => {
                    // Counted from here on by the execution itself.
                    counter.fetch_sub(1, Ordering::Relaxed);
                    handed_over(*start, reply).await;
                }
                Order::Adopt(here, reply) => drop(tokio::spawn(adopted(here, reply))),
                Order::StopAll(why) => worker::stop_all(why),
                Order::End => break,
            }
        }
        background.abort();
    });
    // Tasks that hold executions go first, then what is left of executions: fibers end on their own thread.
    drop(runtime);
    worker::uninstall();
}

/// An execution whose caller is on another thread. Most end with their first turn: those need no task of their own.
async fn handed_over(start: Start, reply: oneshot::Sender<Box<Outcome>>) {
    let Start { shared, permit, compiled, invocation } = start;
    let compiled = worker::settle(compiled, &invocation.script);
    let mut here = match Here::begin(shared, permit, compiled, invocation) {
        Ok(here) => here,
        Err(outcome) => return drop(reply.send(outcome)),
    };
    match std::future::poll_fn(|cx| Poll::Ready(worker::poll(here.key, cx))).await {
        Poll::Ready(outcome) => {
            here.over = true;
            let _ = reply.send(outcome);
        }
        Poll::Pending => drop(tokio::spawn(adopted(here, reply))),
    }
}

/// Drives an execution for a caller on another thread. One that goes away is noticed through its end of the
/// channel.
async fn adopted(mut here: Here, mut reply: oneshot::Sender<Box<Outcome>>) {
    let outcome = std::future::poll_fn(|cx| {
        if let Poll::Ready(outcome) = worker::poll(here.key, cx) {
            here.over = true;
            return Poll::Ready(Some(outcome));
        }
        if !here.detach && reply.poll_closed(cx).is_ready() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    if let Some(outcome) = outcome {
        let _ = reply.send(outcome);
    }
}

/// An execution that began on some executor thread. Dropped before its end, it ends the execution, there.
struct Here {
    shared: Arc<Shared>,
    thread: usize,
    key: worker::Key,
    detach: bool,
    over: bool,
}

impl Here {
    /// Begins on this thread, which must be one of the executor's.
    fn begin(
        shared: Arc<Shared>,
        permit: Permit,
        compiled: Resident,
        invocation: Box<Invocation>,
    ) -> Result<Self, Box<Outcome>> {
        let detach = invocation.detach_on_drop;
        let (thread, key) = worker::start(&shared, permit, compiled, invocation)?;
        Ok(Here { shared, thread, key, detach, over: false })
    }

    fn is_mine(&self) -> bool {
        worker::here(self.shared.id) == Some(self.thread)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.is_mine() {
            worker::abandon(self.key, self.detach);
        } else if let Some(thread) = self.shared.threads.get(self.thread) {
            // The other half of the channel is gone: the owner notices and drops its own `Here`, over there.
            let here = Here {
                shared: self.shared.clone(),
                thread: self.thread,
                key: self.key,
                detach: self.detach,
                over: false,
            };
            if let Err(mpsc::error::SendError(Order::Adopt(mut here, _))) =
                thread.orders.send(Order::Adopt(here, oneshot::channel().0))
            {
                // That thread has ended, and its executions with it.
                here.over = true;
            }
        }
    }
}

enum State {
    New(Arc<Shared>, Box<Invocation>),
    Compiling(Arc<Shared>, Permit, Box<Invocation>, Compiling),
    Here(Here),
    There(oneshot::Receiver<Box<Outcome>>),
    Over,
}

type Compiling = Pin<Box<dyn Future<Output = Result<Arc<Compiled>, Failure>> + Send>>;

/// The future of [`LocalExecutor::run`].
#[must_use = "a script runs when its future is polled"]
pub struct Execute {
    state: State,
}

fn admit(shared: &Shared, app: AppId) -> Result<Permit, Failure> {
    if shared.closing.load(Ordering::Acquire) {
        return Err(Failure::new(FailureClass::Cancelled, "the host is shutting down"));
    }
    let config = shared.gate.config();
    shared.gate.enter(app).map_err(|full| match full {
        Full::Leaked => {
            let max = config.max_leaked_memory;
            let text = format!(
                "closures that capture what holds them have leaked more than max_leaked_memory: {max} bytes; the app is \
                 stopped until the host restarts"
            );
            Failure {
                limit: Some(LimitExceeded { limit: "max_leaked_memory".into(), max }),
                ..Failure::new(FailureClass::Budget, text)
            }
        }
        Full::Process => Failure::new(
            FailureClass::Overloaded,
            format!("{} executions are under way, the most at once (max_executions)", config.max_executions),
        ),
        Full::App => Failure::new(
            FailureClass::Overloaded,
            format!(
                "{} executions of this app are under way, the most at once (max_executions_per_app)",
                config.max_executions_per_app
            ),
        ),
    })
}

/// The first step of an execution: admitted, compiled, and begun where it will run.
fn begin(shared: Arc<Shared>, invocation: Box<Invocation>) -> Result<State, Box<Outcome>> {
    let permit = match admit(&shared, invocation.app) {
        Ok(permit) => permit,
        Err(failure) => return Err(Box::new(record_refused(&shared, invocation, failure))),
    };
    let is_here = worker::here(shared.id).is_some();
    if is_here && let Some(compiled) = worker::resident(&invocation.script) {
        return Here::begin(shared, permit, compiled, invocation).map(State::Here);
    }
    match shared.cache.peek(&invocation.script) {
        Some(Ok(compiled)) => place(Start { shared, permit, compiled, invocation }),
        Some(Err(failure)) => Err(Box::new(record_refused(&shared, invocation, failure))),
        None => {
            let (cache, script) = (shared.cache.clone(), invocation.script.clone());
            let compiling = Box::pin(async move { cache.get(&script).await });
            Ok(State::Compiling(shared, permit, invocation, compiling))
        }
    }
}

/// Begins on this thread if it is one of the executor's. Else tries it here, and then begins on the executor's thread
/// with the least to do.
fn place(start: Start) -> Result<State, Box<Outcome>> {
    if worker::here(start.shared.id).is_some() {
        let Start { shared, permit, compiled, invocation } = start;
        let compiled = worker::settle(compiled, &invocation.script);
        return Here::begin(shared, permit, compiled, invocation).map(State::Here);
    }
    let start = match attempt::attempt(start) {
        Ok(outcome) => return Err(outcome),
        Err(start) => start,
    };
    let (reply, outcome) = oneshot::channel();
    let idlest = start.shared.threads.iter().min_by_key(|thread| thread.active.load(Ordering::Relaxed));
    if let Some(thread) = idlest {
        // Counted here already, so that a burst spreads before the threads get to it.
        thread.active.fetch_add(1, Ordering::Relaxed);
        let orders = thread.orders.clone();
        let _ = orders.send(Order::Run(Box::new(start), reply));
    }
    Ok(State::There(outcome))
}

impl Future for Execute {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::New(shared, invocation) => match begin(shared, invocation) {
                    Ok(state) => self.state = state,
                    Err(outcome) => return Poll::Ready(*outcome),
                },
                State::Compiling(shared, permit, invocation, mut compiling) => {
                    match compiling.as_mut().poll(cx) {
                        Poll::Pending => {
                            self.state = State::Compiling(shared, permit, invocation, compiling);
                            return Poll::Pending;
                        }
                        Poll::Ready(Err(failure)) => {
                            return Poll::Ready(record_refused(&shared, invocation, failure));
                        }
                        Poll::Ready(Ok(compiled)) => {
                            match place(Start { shared, permit, compiled, invocation }) {
                                Ok(state) => self.state = state,
                                Err(outcome) => return Poll::Ready(*outcome),
                            }
                        }
                    }
                }
                State::Here(mut here) if here.is_mine() => match worker::poll(here.key, cx) {
                    Poll::Ready(outcome) => {
                        here.over = true;
                        return Poll::Ready(*outcome);
                    }
                    Poll::Pending => {
                        self.state = State::Here(here);
                        return Poll::Pending;
                    }
                },
                State::Here(here) => {
                    let (reply, outcome) = oneshot::channel();
                    let orders = here.shared.threads.get(here.thread).map(|thread| thread.orders.clone());
                    if let Some(orders) = orders {
                        let _ = orders.send(Order::Adopt(here, reply));
                    }
                    self.state = State::There(outcome);
                }
                State::There(mut outcome) => match Pin::new(&mut outcome).poll(cx) {
                    Poll::Pending => {
                        self.state = State::There(outcome);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(outcome)) => return Poll::Ready(*outcome),
                    Poll::Ready(Err(_)) => return Poll::Ready(lost()),
                },
                State::Over => return Poll::Ready(lost()),
            }
        }
    }
}

/// The thread that ran the script has ended.
fn lost() -> Outcome {
    Outcome::refused(ExecutionId::new(), Failure::new(FailureClass::Cancelled, "the host is shutting down"))
}

impl fmt::Debug for Execute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute").finish_non_exhaustive()
    }
}

/// The outcome of an execution that never began, recorded.
fn record_refused(shared: &Shared, invocation: Box<Invocation>, failure: Failure) -> Outcome {
    let outcome = Outcome::refused(invocation.execution, failure);
    // An event for which there is no room now is tried again: it has not been run yet.
    let comes_again = invocation.event.is_some()
        && outcome.result.as_ref().is_err_and(|failure| {
            matches!(failure.class, FailureClass::Overloaded | FailureClass::Cancelled)
        });
    if !comes_again {
        record(shared, invocation, &outcome, shared.clock.now());
    }
    outcome
}

/// The outcome of an execution that ended, recorded.
fn outcome_of(
    shared: &Shared,
    run: Run,
    result: Result<Answer, Failure>,
    started: Instant,
    at: Timestamp,
) -> Outcome {
    let outcome = Outcome {
        execution: run.invocation.execution,
        result,
        began: true,
        log: run.log().map_or_else(LogLines::default, |log| log.take()),
        operations: run.budget.operations(),
        duration: started.elapsed(),
        peak_memory: run.budget.peak_memory(),
    };
    record(shared, run.invocation, &outcome, at);
    outcome
}

fn record(shared: &Shared, mut invocation: Box<Invocation>, outcome: &Outcome, at: Timestamp) {
    if invocation.unrecorded {
        return;
    }
    metric::execution(outcome.result.as_ref().err().map(|failure| failure.class), outcome.duration);
    let request = invocation.request.take();
    let mut record = ExecutionRecord::new(&invocation, outcome, at);
    record.request = request.map(|request| RequestSummary {
        method: request.method,
        host: request.host,
        path: request.path,
        body_bytes: request.body.len() as u64,
    });
    if let Ok(Answer::Response(response)) = &outcome.result {
        record.response = Some(ResponseSummary {
            status: response.status.as_u16(),
            body_bytes: response
                .file
                .as_ref()
                .map_or(response.body.len() as u64, |answer| answer.file.record.info.size),
        });
    }
    if let Some(record) = worker::collect(shared.id, record) {
        shared.log.record(vec![record]);
    }
}
