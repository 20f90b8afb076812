//! An attempt to run a script on the thread that asks for it, which is not one of the executor's.
//!
//! Handing a script over and its answer back wakes two threads, which costs more than a short script. So a thread of the
//! host's first tries by itself, for [`ATTEMPT_SLICE`] at most. A script that ends within it has its answer. One that
//! calls the host, prints, or goes on for longer is given up: what it did so far is forgotten, and it is handed over and
//! begins anew. That is sound because nothing it did was visible to anybody: an attempt ends *before* the first function
//! of a [`ScriptModule`](crate::engine::ScriptModule) gets control, and scripts have no other way out.
//!
//! A script is given up like any other that must end, by a sticky [`Stop`]: it winds up at its next operation, its fiber
//! never suspends, and its stack can be used again. Its compiled form remembers, so that the next ones are handed over
//! at once.
//!
//! [`ATTEMPT_SLICE`]: crate::engine::budget::ATTEMPT_SLICE

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::task::take_apart;
use super::{Start, outcome_of};
use crate::ExecutionId;
use crate::engine::budget::{Budget, Stop};
use crate::engine::fiber::{self, Fiber, Resumed, Stack};
use crate::engine::run::{self, Run};
use crate::execution::{Failure, FailureClass, Outcome};
use crate::held::Held;

thread_local! {
    /// The stack of the last attempt on this thread. One is enough: an attempt runs to its end, and none begins inside
    /// another.
    static SPARE: Cell<Option<Stack>> = const { Cell::new(None) };
}

/// Runs the script here and now, if that is possible and it ends soon. Gives it back to be handed over otherwise.
pub(super) fn attempt(start: Start) -> Result<Box<Outcome>, Start> {
    // A host's function that polls an execution does so on the fiber of another: attempts could nest, and the memory of
    // the inner one would count as the outer one's.
    if fiber::current(|_| ()).is_some() || std::thread::panicking() {
        return Err(start);
    }
    if !start.compiled.may_attempt(&start.invocation) {
        return Err(start);
    }
    // No stack where the system has no room; no place for one on a thread that is ending.
    let Some(stack) = SPARE.try_with(Cell::take).ok().and_then(|spare| spare.or_else(|| Stack::new().ok()))
    else {
        return Err(start);
    };

    let Start { shared, permit, compiled, invocation } = start;
    let started = Instant::now();
    let started_at = shared.clock.now();
    let stack_base = stack.top();
    let (deadline, allowance) = (started + compiled.timeout, invocation.allowance.as_ref());
    let budget = Budget::new(&compiled.limits, allowance, deadline, stack.lowest()).for_attempt();
    let run = Run::new(budget, Held::new(compiled), invocation, Held::new(shared.clock.clone()));
    let mut fiber = Fiber::new(stack, run, Run::evaluate);
    fiber.data().budget.begin_slice(started);
    let resumed = fiber.resume();
    fiber.data().budget.end_slice();

    let given_up = fiber.data().budget.stopped() == Some(Stop::GivenUp);
    // What is not at its end has no result, and its stack is not used again.
    let result = match resumed {
        Resumed::Done(result) => Some(result),
        Resumed::Panicked(_) if given_up => None,
        Resumed::Panicked(payload) => {
            let failure = run::panicked(payload.as_ref());
            let run = take_apart(fiber, &permit, stack_base, false, drop);
            return Ok(Box::new(
                run.map_or_else(lost, |run| outcome_of(&shared, run, Err(failure), started, started_at)),
            ));
        }
        // Cannot be: nothing suspends in an attempt. Dropping the fiber unwinds it.
        Resumed::Suspended(_) => None,
    };
    let run = take_apart(fiber, &permit, stack_base, result.is_some(), |stack| {
        let _ = SPARE.try_with(|spare| spare.set(Some(stack)));
    });
    match (run, result) {
        (Some(run), Some(result)) if !given_up => {
            Ok(Box::new(outcome_of(&shared, run, result, started, started_at)))
        }
        (Some(run), _) => {
            run.compiled.gave_up();
            Err(Start { shared, permit, compiled: Arc::clone(&run.compiled), invocation: run.invocation })
        }
        (None, _) => Ok(Box::new(lost())),
    }
}

/// Cannot be: the fiber's own hold on its data ends with the fiber.
fn lost() -> Outcome {
    Outcome::refused(ExecutionId::new(), Failure::new(FailureClass::Internal, "held after its end"))
}
