//! One execution on its executor thread: fiber, future it waits for, and what happens at its end.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

use super::gate::Permit;
use super::worker::Resident;
use super::{Shared, outcome_of};
use crate::engine::budget::{Budget, Stop};
use crate::engine::fiber::{Fiber, Resumed, Stack, Suspend};
use crate::engine::run::{self, HostCall, Run};
use crate::execution::{Answer, Failure, FailureClass, Invocation, Outcome};
use crate::held::Held;
use crate::{Clock, ExecutionId, Timestamp};

/// What a turn came to.
pub(super) enum Turn {
    /// The script waits for its host call; the waker of the turn will be called.
    Waiting,
    /// The time slice is over.
    Preempted,
    Done(Box<Outcome>),
}

/// An execution under way. Made, driven and dropped on one executor thread.
pub(super) struct Task {
    fiber: Option<Fiber<Result<Answer, Failure>>>,
    call: Option<HostCall>,
    /// Set when the first host call has to wait; the deadline covers host calls too.
    deadline: Option<Pin<Box<Sleep>>>,
    shared: Held<Shared>,
    stack_base: usize,
    /// Until its first turn.
    is_new: bool,
    started: Instant,
    started_at: Timestamp,
    permit: Permit,
}

impl Task {
    pub(super) fn new(
        shared: Held<Shared>,
        clock: Held<dyn Clock>,
        permit: Permit,
        stack: Stack,
        compiled: Resident,
        invocation: Box<Invocation>,
    ) -> Self {
        let started = Instant::now();
        let started_at = shared.clock.now();
        let stack_base = stack.top();
        let (deadline, allowance) = (started + compiled.timeout, invocation.allowance.as_ref());
        let budget = Budget::new(&compiled.limits, allowance, deadline, stack.lowest());
        let run = Run::new(budget, compiled, invocation, clock);
        let fiber = Fiber::new(stack, run, Run::evaluate);
        Task {
            fiber: Some(fiber),
            call: None,
            deadline: None,
            shared,
            stack_base,
            is_new: true,
            started,
            started_at,
            permit,
        }
    }

    /// Asks the script to end at its next operation or host call.
    pub(super) fn stop(&mut self, why: Stop) {
        if let Some(fiber) = &self.fiber {
            fiber.data().budget.stop(why);
        }
    }

    /// Lets the script go on until it waits, its slice is over, or it ends.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, stacks: &mut Vec<Stack>) -> Turn {
        loop {
            let Some(fiber) = self.fiber.as_mut() else {
                // Cannot be: a task is dropped with its outcome. Answering beats panicking.
                return Turn::Done(Box::new(Outcome::refused(
                    ExecutionId::new(),
                    Failure::new(FailureClass::Internal, "resumed after its end"),
                )));
            };
            if let Some(call) = self.call.as_mut() {
                let stopped = fiber.data().budget.stopped().is_some();
                let polled = if stopped {
                    Ok(Poll::Ready(()))
                } else {
                    catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)))
                };
                if let Err(panic) = polled {
                    self.give_up_call();
                    return self.failed(panic.as_ref(), stacks);
                }
                if matches!(polled, Ok(Poll::Pending)) {
                    let deadline = fiber.data().budget.deadline();
                    let timer = self
                        .deadline
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
                    if timer.as_mut().poll(cx).is_pending() {
                        return Turn::Waiting;
                    }
                    fiber.data().budget.stop(Stop::Timeout);
                }
                // Dropped here, on the parent's stack.
                if let Some(panic) = self.give_up_call() {
                    return self.failed(panic.as_ref(), stacks);
                }
                continue;
            }
            let budget = &fiber.data().budget;
            // The first turn follows at once.
            let is_new = std::mem::take(&mut self.is_new);
            budget.begin_slice(if is_new { self.started } else { Instant::now() });
            let resumed = fiber.resume();
            fiber.data().budget.end_slice();
            match resumed {
                Resumed::Suspended(Suspend::Call) => self.call = fiber.data().take_call(),
                Resumed::Suspended(Suspend::Preempted) => return Turn::Preempted,
                Resumed::Done(result) => return Turn::Done(Box::new(self.finish(result, true, stacks))),
                Resumed::Panicked(payload) => {
                    return Turn::Done(Box::new(self.finish(
                        Err(run::panicked(payload.as_ref())),
                        false,
                        stacks,
                    )));
                }
            }
        }
    }

    /// Drops the future of the host call; answers its panic if that is what it did.
    fn give_up_call(&mut self) -> Option<Box<dyn Any + Send>> {
        let call = self.call.take();
        catch_unwind(AssertUnwindSafe(|| drop(call))).err()
    }

    /// The end of an execution whose host call panicked: the execution's, not the thread's.
    fn failed(&mut self, panic: &(dyn Any + Send), stacks: &mut Vec<Stack>) -> Turn {
        Turn::Done(Box::new(self.finish(Err(run::panicked(panic)), false, stacks)))
    }

    fn finish(
        &mut self,
        result: Result<Answer, Failure>,
        reuse_stack: bool,
        stacks: &mut Vec<Stack>,
    ) -> Outcome {
        let Some(fiber) = self.fiber.take() else {
            return Outcome::refused(ExecutionId::new(), Failure::new(FailureClass::Internal, "ended twice"));
        };
        let run = take_apart(fiber, &self.permit, self.stack_base, reuse_stack, |stack| {
            if stacks.len() < MAX_SPARE_STACKS {
                stacks.push(stack);
            }
        });
        match run {
            Some(run) => outcome_of(&self.shared, run, result, self.started, self.started_at),
            // Cannot be: the fiber's own hold on its data ends with the fiber.
            None => Outcome::refused(
                ExecutionId::new(),
                Failure::new(FailureClass::Internal, "held after its end"),
            ),
        }
    }

    /// Ends the script now: by asking it, and if it does not listen (a native that swallows the error) by
    /// unwinding its stack. Answers what it came to.
    pub(super) fn abort(mut self, why: Stop) -> Outcome {
        self.stop(why);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..ASKS {
            match self.turn(&mut cx, &mut Vec::new()) {
                Turn::Done(outcome) => return *outcome,
                Turn::Waiting | Turn::Preempted => {}
            }
        }
        let failure = Failure::new(FailureClass::Cancelled, "the script was ended by force");
        self.finish(Err(failure), false, &mut Vec::new())
    }
}

/// Ends a fiber: charges its app with what it leaked, and hands its stack to `keep`, without the memory of deep use.
///
/// Of one that is not at its end, or that panicked, nothing can be said, and its stack is not used again.
pub(super) fn take_apart(
    fiber: Fiber<Result<Answer, Failure>>,
    permit: &Permit,
    stack_base: usize,
    ended: bool,
    keep: impl FnOnce(Stack),
) -> Option<Run> {
    if ended && fiber.data().leaked() > 0 {
        permit.charge_leak(fiber.data().leaked());
    }
    let deep = fiber.data().budget.used_deep_stack(stack_base);
    let (run, stack) = fiber.into_parts();
    if let Some(mut stack) = stack.filter(|_| ended) {
        if deep {
            stack.trim();
        }
        keep(stack);
    }
    run
}

/// Stacks kept per thread for the next executions; more go back to the system.
const MAX_SPARE_STACKS: usize = 256;

/// How often a script is asked to end before it is made to.
const ASKS: usize = 16;

impl Drop for Task {
    fn drop(&mut self) {
        // A future that panics when it is dropped is its author's defect; the thread goes on.
        if let Some(panic) = self.give_up_call() {
            run::panicked(panic.as_ref());
        }
    }
}
