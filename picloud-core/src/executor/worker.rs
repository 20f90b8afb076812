//! An executor thread: its runtime, its executions, and the queue of those that used up their slice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::gate::Permit;
use super::task::{Task, Turn};
use super::{Shared, record_refused};
use crate::engine::budget::Stop;
use crate::engine::compile::Compiled;
use crate::engine::fiber::Stack;
use crate::execution::{ExecutionRecord, Failure, FailureClass, Invocation, Outcome};
use crate::held::Held;
use crate::script::ScriptRecord;
use crate::{Clock, ExecutionId, ScriptId};

/// Names an execution on its thread. The generation tells a slot's tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    index: usize,
    generation: u64,
}

#[derive(Default)]
struct Slot {
    generation: u64,
    occupied: bool,
    /// Absent while it runs, and after its end.
    task: Option<Task>,
    /// Its turn comes with the background queue.
    queued: bool,
    waker: Option<Waker>,
    outcome: Option<Box<Outcome>>,
}

impl Slot {
    /// Takes note of who is to be woken at the end.
    fn note_waker(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// The state of an executor thread.
struct Worker {
    executor: u64,
    index: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    background: VecDeque<Key>,
    /// The task that works the background queue off.
    background_waker: Option<Waker>,
    stacks: Vec<Stack>,
    active: Arc<AtomicUsize>,
    /// What executions share, held once per thread: counting references to it across threads would cost more than a
    /// short script.
    shared: Option<(Held<Shared>, Held<dyn Clock>)>,
    scripts: [Option<(ScriptId, u64, Resident)>; RESIDENTS],
    /// Records that wait to be handed over together.
    records: Vec<ExecutionRecord>,
}

/// Most records that a thread hands over at once. It does so when it has nothing else to do, too, so that a record
/// waits long only where others follow quickly.
const RECORDS: usize = 64;

/// A compiled script that this thread has at hand.
pub(super) type Resident = Held<Compiled>;

/// Compiled scripts that a thread keeps at hand, beside the cache of all; so many may outlive their place there.
const RESIDENTS: usize = 16;

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// Makes this thread an executor thread.
pub(super) fn install(executor: u64, index: usize, active: Arc<AtomicUsize>) {
    let worker = Worker {
        executor,
        index,
        slots: Vec::new(),
        free: Vec::new(),
        background: VecDeque::new(),
        background_waker: None,
        stacks: Vec::new(),
        active,
        shared: None,
        scripts: Default::default(),
        records: Vec::new(),
    };
    WORKER.with_borrow_mut(|slot| *slot = Some(worker));
}

/// Ends every execution that is left on this thread, and makes it an ordinary thread again.
pub(super) fn uninstall() {
    while let Some((key, task)) = take_any() {
        end(key, Box::new(task.abort(Stop::Shutdown)));
    }
    hand_over();
    let worker = WORKER.with_borrow_mut(Option::take);
    drop(worker);
}

/// Which of the executor's threads this is, if it is one.
pub(super) fn here(executor: u64) -> Option<usize> {
    let here = WORKER.try_with(|worker| {
        let worker = worker.try_borrow().ok()?;
        worker.as_ref().filter(|worker| worker.executor == executor).map(|worker| worker.index)
    });
    // A thread that is being torn down is nobody's.
    here.ok().flatten()
}

/// Keeps a record for the next time that this thread hands over; gives it back where nobody would.
pub(super) fn collect(executor: u64, record: ExecutionRecord) -> Option<ExecutionRecord> {
    let mut record = Some(record);
    let full = with(|worker| {
        // Another executor's thread would give it to another log.
        if worker.shared.is_some() && worker.executor == executor {
            worker.records.extend(record.take());
        }
        worker.records.len() >= RECORDS
    });
    if full == Some(true) {
        hand_over();
    }
    record
}

/// Hands over the records that this thread has collected.
pub(super) fn hand_over() {
    let collected = with(|worker| {
        let (shared, _) = worker.shared.as_ref().filter(|_| !worker.records.is_empty())?;
        let next = Vec::with_capacity(RECORDS);
        Some((shared.clone(), std::mem::replace(&mut worker.records, next)))
    });
    if let Some((shared, records)) = collected.flatten() {
        shared.log.record(records);
    }
}

/// Runs `f` on the thread's state. Never while a fiber runs: nothing of ours is borrowed across a resume.
fn with<R>(f: impl FnOnce(&mut Worker) -> R) -> Option<R> {
    // A thread of the host's that is being torn down has no such state any more.
    WORKER.try_with(|worker| worker.borrow_mut().as_mut().map(f)).ok().flatten()
}

fn hold(shared: &Arc<Shared>) -> (Held<Shared>, Held<dyn Clock>) {
    (Held::new(shared.clone()), Held::new(shared.clock.clone()))
}

/// Where a script stands among those at hand. Ids made one after the other differ in their last bytes.
fn place_of(script: ScriptId) -> usize {
    script.as_uuid().as_bytes().last().map_or(0, |byte| usize::from(*byte) % RESIDENTS)
}

/// The compiled script, if this thread has it at hand.
pub(super) fn resident(script: &ScriptRecord) -> Option<Resident> {
    with(|worker| match worker.scripts.get(place_of(script.id)) {
        Some(Some((id, version, compiled))) if (*id, *version) == (script.id, script.version) => {
            Some(compiled.clone())
        }
        _ => None,
    })
    .flatten()
}

/// Keeps a compiled script at hand.
pub(super) fn settle(compiled: Arc<Compiled>, script: &ScriptRecord) -> Resident {
    if let Some(resident) = resident(script) {
        return resident;
    }
    let resident = Held::new(compiled);
    let replaced = with(|worker| {
        let place = worker.scripts.get_mut(place_of(script.id))?;
        place.replace((script.id, script.version, resident.clone()))
    });
    // Outside: dropping a syntax tree is not for a borrowed thread-local.
    drop(replaced);
    resident
}

/// Puts an execution on this thread; it starts with its first poll.
pub(super) fn start(
    shared: &Arc<Shared>,
    permit: Permit,
    compiled: Resident,
    invocation: Box<Invocation>,
) -> Result<(usize, Key), Box<Outcome>> {
    let (spare, local) = with(|worker| {
        let local = worker.shared.get_or_insert_with(|| hold(shared)).clone();
        (worker.stacks.pop(), local)
    })
    .unwrap_or_else(|| (None, hold(shared)));
    let stack = match spare.map_or_else(Stack::new, Ok) {
        Ok(stack) => stack,
        Err(error) => {
            tracing::warn!(%error, "no stack for another execution: address space, mappings or overcommit policy");
            let failure =
                Failure::new(FailureClass::Overloaded, "the system has no room for another execution");
            return Err(Box::new(record_refused(shared, invocation, failure)));
        }
    };
    let (local, clock) = local;
    let task = Task::new(local, clock, permit, stack, compiled, invocation);
    let key = with(|worker| {
        worker.active.fetch_add(1, Ordering::Relaxed);
        let index = worker.free.pop().unwrap_or_else(|| {
            worker.slots.push(Slot::default());
            worker.slots.len() - 1
        });
        let slot = worker.slots.get_mut(index)?;
        slot.occupied = true;
        slot.task = Some(task);
        Some((worker.index, Key { index, generation: slot.generation }))
    });
    key.flatten().ok_or_else(|| {
        Box::new(Outcome::refused(
            ExecutionId::new(),
            Failure::new(FailureClass::Internal, "not an executor thread"),
        ))
    })
}

impl Worker {
    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.index).filter(|slot| slot.generation == key.generation && slot.occupied)
    }

    fn free(&mut self, key: Key) {
        if let Some(slot) = self.slot(key) {
            *slot = Slot { generation: key.generation + 1, ..Slot::default() };
            self.free.push(key.index);
            self.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Polls an execution on its own thread.
pub(super) fn poll(key: Key, cx: &mut Context<'_>) -> Poll<Box<Outcome>> {
    enum State {
        Ready(Box<Outcome>),
        Later,
        Turn(Task),
    }
    let state = with(|worker| {
        let slot = worker.slot(key)?;
        if let Some(outcome) = slot.outcome.take() {
            worker.free(key);
            return Some(State::Ready(outcome));
        }
        if slot.queued {
            slot.note_waker(cx);
            return Some(State::Later);
        }
        slot.task.take().map(State::Turn)
    });
    match state.flatten() {
        Some(State::Ready(outcome)) => Poll::Ready(outcome),
        Some(State::Later) => Poll::Pending,
        Some(State::Turn(task)) => match turn(key, task, cx) {
            Some(outcome) => {
                with(|worker| worker.free(key));
                Poll::Ready(outcome)
            }
            None => {
                // Not before: most end with their first turn. Nobody else on this thread looked in between.
                with(|worker| worker.slot(key).map(|slot| slot.note_waker(cx)));
                Poll::Pending
            }
        },
        None => Poll::Ready(Box::new(Outcome::refused(
            ExecutionId::new(),
            Failure::new(FailureClass::Cancelled, "the host is shutting down"),
        ))),
    }
}

/// Gives a task a turn and puts it where it belongs afterwards; answers its outcome if it ended.
fn turn(key: Key, mut task: Task, cx: &mut Context<'_>) -> Option<Box<Outcome>> {
    let mut stacks = with(|worker| std::mem::take(&mut worker.stacks)).unwrap_or_default();
    let turn = task.turn(cx, &mut stacks);
    let mut task = Some(task);
    let outcome = with(|worker| {
        // Executions that ran inside this one (a host function that blocks on another) may have left some.
        stacks.append(&mut worker.stacks);
        worker.stacks = stacks;
        let preempted = matches!(turn, Turn::Preempted);
        match turn {
            Turn::Done(outcome) => Some(outcome),
            Turn::Waiting | Turn::Preempted => {
                if let Some(slot) = worker.slot(key) {
                    slot.task = task.take();
                    slot.queued = preempted;
                }
                if preempted {
                    worker.background.push_back(key);
                    if let Some(waker) = worker.background_waker.take() {
                        waker.wake();
                    }
                }
                None
            }
        }
    })
    .flatten();
    // Here and not above: what it drops may reach for this thread's state.
    drop(task);
    outcome
}

/// Stores an outcome for whoever waits for it.
fn end(key: Key, outcome: Box<Outcome>) {
    let waker = with(|worker| {
        let slot = worker.slot(key)?;
        slot.queued = false;
        slot.outcome = Some(outcome);
        slot.waker.take()
    });
    if let Some(waker) = waker.flatten() {
        waker.wake();
    }
}

/// Works off the queue of executions that used up their slice: one slice, then everything else gets its turn,
/// fresh and woken executions, sockets and timers first.
pub(super) async fn background() {
    loop {
        let (key, task, waker) = std::future::poll_fn(|cx| {
            let next = with(|worker| {
                while let Some(key) = worker.background.pop_front() {
                    if let Some(slot) = worker.slot(key)
                        && let Some(task) = slot.task.take()
                    {
                        return Some((key, task, slot.waker.clone()));
                    }
                }
                worker.background_waker = Some(cx.waker().clone());
                None
            });
            next.flatten().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        slice(key, task, waker);
        // With scripts in this queue the thread is never idle.
        hand_over();
        tokio::task::yield_now().await;
    }
}

fn slice(key: Key, task: Task, waker: Option<Waker>) {
    // The future that the script may wait for next must wake whoever waits for the script.
    let waker = waker.unwrap_or_else(|| Waker::noop().clone());
    if let Some(outcome) = turn(key, task, &mut Context::from_waker(&waker)) {
        end(key, outcome);
    }
}

/// The caller has gone: ends the execution, or lets it run on for its own sake.
pub(super) fn abandon(key: Key, detach: bool) {
    if detach && tokio::runtime::Handle::try_current().is_ok() {
        // Owned by this thread's runtime, counted by the gate, ended by `uninstall` at the latest.
        tokio::spawn(std::future::poll_fn(move |cx| poll(key, cx).map(drop)));
        return;
    }
    let task = with(|worker| worker.slot(key).and_then(|slot| slot.task.take())).flatten();
    if let Some(task) = task {
        drop(task.abort(Stop::Cancelled));
    }
    with(|worker| worker.free(key));
}

/// Asks every execution on this thread to end.
pub(super) fn stop_all(why: Stop) {
    let wakers = with(|worker| {
        let mut wakers = Vec::new();
        for slot in &mut worker.slots {
            if let Some(task) = &mut slot.task {
                task.stop(why);
                wakers.extend(slot.waker.clone());
            }
        }
        wakers
    });
    wakers.into_iter().flatten().for_each(Waker::wake);
}

fn take_any() -> Option<(Key, Task)> {
    with(|worker| {
        worker.slots.iter_mut().enumerate().find_map(|(index, slot)| {
            slot.task.take().map(|task| (Key { index, generation: slot.generation }, task))
        })
    })
    .flatten()
}
