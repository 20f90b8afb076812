//! What one execution has used, and the one check of it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::fiber::stack_address;
use super::limits::Limits;
use crate::alloc;
use crate::execution::{Allowance, Failure, FailureClass, LimitExceeded};

/// How long a fiber runs before others get their turn.
pub(crate) const TIME_SLICE: Duration = Duration::from_micros(200);

/// How long an attempt on a thread of the host's may take. As with every slice one operation may overrun it.
pub(crate) const ATTEMPT_SLICE: Duration = Duration::from_micros(50);

/// Operations between two looks at the clock, while they are cheap: sixteen cost as much as looking once. One
/// operation can cost milliseconds, too; a slice that was overrun by its own length shortens the way to the next look
/// to one operation, and looks that find nothing amiss lengthen it again.
const CLOCK_EVERY: u32 = 16;

/// Operations after which a stack is trimmed without looking how deep it was. Dropping, cloning and comparing deep
/// values goes deep where nothing is counted; but each level of such a value took an operation to build.
const SHALLOW_OPERATIONS: u64 = 1_000;

/// Stack that must be left for natives that cannot be interrupted (drop, clone and comparison of deep values).
const RED_ZONE: usize = 192 << 20;

/// Why an execution must end. Sticky: once set, every operation and every host call ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Operations,
    Memory,
    Stack,
    /// A text was too long where the interpreter would have swallowed the error.
    StringSize,
    Timeout,
    Cancelled,
    Shutdown,
    /// An attempt that is to be handed over. Nobody is told: the script begins anew.
    GivenUp,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// The time slice is over.
    Yield,
    Stop,
}

/// Counters of one execution. Thread-bound like its fiber, hence cells.
#[derive(Debug)]
pub(crate) struct Budget {
    operations: Cell<u64>,
    max_operations: u64,
    clock_in: Cell<u32>,
    clock_every: Cell<u32>,
    deadline: Instant,
    slice_end: Cell<Instant>,
    stop: Cell<Option<Stop>>,
    stack_floor: usize,
    stack_low: Cell<usize>,
    max_memory: i64,
    /// What the fiber held when it last gave control back.
    held: Cell<i64>,
    /// The thread's counter when the fiber was last resumed.
    at_resume: Cell<i64>,
    peak: Cell<i64>,
    attempt: bool,
}

impl Budget {
    /// `allowance` is what another execution leaves to this one.
    pub(crate) fn new(
        limits: &Limits,
        allowance: Option<&Allowance>,
        deadline: Instant,
        stack_lowest: usize,
    ) -> Self {
        let (operations, memory, until) = allowance.map_or((u64::MAX, u64::MAX, deadline), |allowance| {
            (allowance.operations, allowance.memory, allowance.deadline)
        });
        let deadline = deadline.min(until);
        Budget {
            operations: Cell::new(0),
            max_operations: limits.max_operations.min(operations),
            clock_in: Cell::new(CLOCK_EVERY),
            clock_every: Cell::new(CLOCK_EVERY),
            deadline,
            slice_end: Cell::new(deadline),
            stop: Cell::new(None),
            stack_floor: stack_lowest + RED_ZONE,
            stack_low: Cell::new(usize::MAX),
            max_memory: i64::try_from(limits.max_memory.min(memory)).unwrap_or(i64::MAX),
            held: Cell::new(0),
            at_resume: Cell::new(0),
            peak: Cell::new(0),
            attempt: false,
        }
    }

    /// The same for an attempt: it has one short slice and ends with it.
    pub(crate) fn for_attempt(self) -> Self {
        Budget { attempt: true, ..self }
    }

    /// Whether the script is only tried.
    pub(crate) fn is_attempt(&self) -> bool {
        self.attempt
    }

    /// Ends an attempt that would do something others can see; answers whether it is one.
    pub(crate) fn give_up(&self) -> bool {
        if self.attempt {
            self.stop(Stop::GivenUp);
        }
        self.attempt
    }

    /// Called right before the fiber gets control.
    pub(crate) fn begin_slice(&self, now: Instant) {
        self.slice_end.set(now + if self.attempt { ATTEMPT_SLICE } else { TIME_SLICE });
        self.at_resume.set(alloc::live());
    }

    /// When the slice that runs is over.
    pub(crate) fn slice_end(&self) -> Instant {
        self.slice_end.get()
    }

    /// Goes on with the slice that was to end at `end`: a call that did not have to wait is part of it.
    pub(crate) fn continue_slice(&self, end: Instant) {
        self.slice_end.set(end);
    }

    /// Called right after the fiber gave control back.
    pub(crate) fn end_slice(&self) {
        self.held.set(self.memory());
    }

    fn memory(&self) -> i64 {
        self.held.get() + alloc::live() - self.at_resume.get()
    }

    /// What the execution held when it last gave control back.
    pub(crate) fn held(&self) -> i64 {
        self.held.get()
    }

    /// What the execution holds now, to be handed to [`settle`](Self::settle).
    pub(crate) fn mark(&self) -> i64 {
        self.memory()
    }

    /// Says that of what was allocated and freed since `mark` only `kept` bytes are the script's. The rest is the
    /// host's: arguments on their way into a service, a future that the executor drops.
    pub(crate) fn settle(&self, mark: i64, kept: i64) {
        self.held.set(self.held.get() + mark + kept - self.memory());
    }

    /// One more operation.
    #[inline]
    pub(crate) fn tick(&self) -> Verdict {
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        if self.stop.get().is_some() {
            return Verdict::Stop;
        }
        if operations > self.max_operations {
            return self.stop(Stop::Operations);
        }
        let here = stack_address();
        if here < self.stack_low.get() {
            self.stack_low.set(here);
            if here < self.stack_floor {
                return self.stop(Stop::Stack);
            }
        }
        let memory = self.memory();
        if memory > self.peak.get() {
            self.peak.set(memory);
            if memory > self.max_memory {
                return self.stop(Stop::Memory);
            }
        }
        let left = self.clock_in.get() - 1;
        if left > 0 {
            self.clock_in.set(left);
            return Verdict::Go;
        }
        let now = Instant::now();
        let late = now.saturating_duration_since(self.slice_end.get());
        let every = if late > TIME_SLICE { 1 } else { (self.clock_every.get() * 2).min(CLOCK_EVERY) };
        self.clock_every.set(every);
        self.clock_in.set(every);
        if now >= self.deadline {
            return self.stop(Stop::Timeout);
        }
        match now >= self.slice_end.get() {
            true if self.attempt => self.stop(Stop::GivenUp),
            true => Verdict::Yield,
            false => Verdict::Go,
        }
    }

    /// Ends the execution for `why`, unless it is ending for another reason already.
    pub(crate) fn stop(&self, why: Stop) -> Verdict {
        if self.stop.get().is_none() {
            // What stopped it may have grown since the last operation, or before the first.
            if matches!(why, Stop::Memory) {
                self.peak.set(self.peak.get().max(self.memory()));
            }
            self.stop.set(Some(why));
        }
        Verdict::Stop
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stop.get()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// What an execution that this one waits for may use.
    pub(crate) fn allowance(&self, depth: u32) -> Allowance {
        Allowance {
            deadline: self.deadline,
            operations: self.max_operations.saturating_sub(self.operations.get()),
            memory: self.memory_left(),
            depth,
        }
    }

    /// Counts what such an execution used. One that ended with the deadline takes this one along, before it can go on.
    pub(crate) fn use_up(&self, operations: u64) -> Verdict {
        self.operations.set(self.operations.get().saturating_add(operations));
        if self.operations.get() > self.max_operations {
            self.stop(Stop::Operations)
        } else if Instant::now() >= self.deadline {
            self.stop(Stop::Timeout)
        } else {
            Verdict::Go
        }
    }

    /// Bytes of memory that may still be used; what enlarges a value checks this before the work.
    pub(crate) fn memory_left(&self) -> u64 {
        u64::try_from(self.max_memory - self.memory()).unwrap_or(0)
    }

    /// Most bytes held at once; 0 where memory is not counted.
    pub(crate) fn peak_memory(&self) -> u64 {
        u64::try_from(self.peak.get()).unwrap_or(0)
    }

    /// Whether the stack may have been used so deeply that its memory should go back to the system.
    pub(crate) fn used_deep_stack(&self, stack_base: usize) -> bool {
        if self.operations.get() > SHALLOW_OPERATIONS {
            return true;
        }
        stack_base.saturating_sub(self.stack_low.get()) > 128 << 10 && self.stack_low.get() != usize::MAX
    }

    /// What the caller is told.
    pub(crate) fn failure(&self, why: Stop, limits: &Limits) -> Failure {
        let budget = |limit: &str, max: u64, text: String| Failure {
            limit: Some(LimitExceeded { limit: limit.into(), max }),
            ..Failure::new(FailureClass::Budget, text)
        };
        match why {
            Stop::Operations => budget(
                "max_operations",
                self.max_operations,
                format!("the script used more than max_operations: {} operations", self.max_operations),
            ),
            Stop::Memory => budget(
                "max_memory",
                self.max_memory.cast_unsigned(),
                format!(
                    "the script held {} bytes, more than max_memory: {}",
                    self.peak_memory(),
                    self.max_memory
                ),
            ),
            Stop::Stack => budget(
                "stack",
                (super::fiber::STACK_BYTES - RED_ZONE) as u64,
                "the script recursed too deeply".into(),
            ),
            Stop::StringSize => budget(
                "max_string_size",
                limits.max_string_size,
                format!("a value is too large as text: max_string_size: {}", limits.max_string_size),
            ),
            Stop::Timeout => Failure::new(FailureClass::Timeout, "the script ran past its deadline"),
            Stop::Cancelled => Failure::new(FailureClass::Cancelled, "the caller went away"),
            Stop::Shutdown => Failure::new(FailureClass::Cancelled, "the host is shutting down"),
            Stop::GivenUp => Failure::new(FailureClass::Internal, "an attempt that was given up"),
        }
    }
}
