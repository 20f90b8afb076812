//! One execution, from inside: what natives of the interpreter reach while a script runs.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, Map, Position, Scope};

use super::budget::{Budget, Verdict};
use super::compile::Compiled;
use super::fiber::{self, Suspend};
use super::import::Imports;
use super::{ctx, failure, response};
use crate::execution::{Answer, Failure, FailureClass, Invocation};
use crate::held::Held;
use crate::log::{LogBuffer, LogLevel, LogLine};
use crate::{CallCx, Clock, CxInner, Error, Json, Result};

/// A future that a script waits for. Polled and dropped by the owner of the fiber.
pub(crate) type HostCall = Pin<Box<dyn Future<Output = ()>>>;

/// The data of one execution. Reached through [`fiber::current`]; never leaves its thread.
pub(crate) struct Run {
    pub(crate) budget: Budget,
    pub(crate) compiled: Held<Compiled>,
    pub(crate) invocation: Box<Invocation>,
    clock: Held<dyn Clock>,
    call: RefCell<Option<HostCall>>,
    cx: OnceCell<CallCx>,
    log: OnceCell<Arc<LogBuffer>>,
    /// For reads inside functions, where the scope's constant is not visible.
    ctx: OnceCell<Dynamic>,
    pub(super) imports: Imports,
    /// What the script held before it began, and what of it is the result.
    began: Cell<i64>,
    answered: Cell<i64>,
}

impl Run {
    pub(crate) fn new(
        budget: Budget,
        compiled: Held<Compiled>,
        invocation: Box<Invocation>,
        clock: Held<dyn Clock>,
    ) -> Self {
        Run {
            budget,
            compiled,
            invocation,
            clock,
            call: RefCell::new(None),
            cx: OnceCell::new(),
            log: OnceCell::new(),
            ctx: OnceCell::new(),
            imports: Imports::default(),
            began: Cell::new(0),
            answered: Cell::new(0),
        }
    }

    /// Takes the future that the script left when it suspended.
    pub(crate) fn take_call(&self) -> Option<HostCall> {
        self.call.borrow_mut().take()
    }

    /// The log, if anything was logged.
    pub(crate) fn log(&self) -> Option<&Arc<LogBuffer>> {
        self.log.get()
    }

    fn log_buffer(&self) -> &Arc<LogBuffer> {
        self.log.get_or_init(|| Arc::new(LogBuffer::new()))
    }

    /// The context of this execution's service calls.
    fn cx(&self) -> CallCx {
        self.cx
            .get_or_init(|| {
                let invocation = &self.invocation;
                CallCx::from(CxInner {
                    app: invocation.app,
                    principal: invocation.principal.clone(),
                    script: Some((invocation.script.id, invocation.script.name.to_shared())),
                    execution: Some(invocation.execution),
                    request: invocation.request_id,
                    trace: invocation.trace,
                    trigger_depth: invocation.trigger_depth,
                    deadline: Some(self.budget.deadline()),
                    clock: Arc::clone(&self.clock),
                    log: Some(self.log_buffer().clone()),
                })
            })
            .clone()
    }

    /// Bytes that are still there after the script has ended, its result aside: what it tied into cycles.
    pub(crate) fn leaked(&self) -> u64 {
        u64::try_from(self.budget.held() - self.began.get() - self.answered.get()).unwrap_or(0)
    }

    /// Adds a line to the execution's log, and hands it to `tracing`.
    pub(crate) fn say(&self, level: LogLevel, message: &str, data: Option<Json>) {
        // Whoever listens to `tracing` would hear it twice.
        if self.budget.give_up() {
            return;
        }
        let mark = self.budget.mark();
        self.say_unsettled(level, message, data);
        self.budget.settle(mark, 0);
    }

    fn say_unsettled(&self, level: LogLevel, message: &str, data: Option<Json>) {
        let (app, script, execution) =
            (self.invocation.app, &self.invocation.script.name, self.invocation.execution);
        macro_rules! forward {
            ($level:ident) => {
                tracing::$level!(target: "picloud::script", %app, %script, %execution, data = data.as_ref().map(Json::as_str), "{message}")
            };
        }
        match level {
            LogLevel::Trace => forward!(trace),
            LogLevel::Info => forward!(info),
            LogLevel::Warn => forward!(warn),
            LogLevel::Error => forward!(error),
        }
        self.log_buffer().push(LogLine { at: self.clock.now(), level, message: message.to_owned(), data });
    }

    /// What `ctx` is inside functions.
    pub(crate) fn ctx(&self) -> Dynamic {
        let mark = self.budget.mark();
        let ctx = self.ctx.get_or_init(|| ctx::build(self));
        self.budget.settle(mark, 0);
        ctx.clone()
    }

    /// Runs the script to its end. Called on the fiber's stack; so is the drop of everything it made.
    pub(crate) fn evaluate(&self) -> Result<Answer, Failure> {
        let engine = self.compiled.engine_for(&self.invocation);
        self.began.set(self.budget.mark());
        if self.compiled.names.imports
            && let Some(library) = self.compiled.library()
        {
            self.imports.begin(library, self.invocation.app);
        }
        let mut scope = Scope::new();
        if self.compiled.names.ctx {
            scope.push_constant_dynamic("ctx", ctx::build(self));
        }
        let result = engine.eval_ast_with_scope::<Dynamic>(&mut scope, &self.compiled.ast);
        let mark = self.budget.mark();
        let answer = self.answer(&result);
        self.answered.set(self.budget.mark() - mark);
        self.imports.end();
        answer
    }

    fn answer(&self, result: &Result<Dynamic, Box<EvalAltResult>>) -> Result<Answer, Failure> {
        if let Some(why) = self.budget.stopped() {
            return Err(self.budget.failure(why, &self.compiled.limits));
        }
        let wants_response = self.invocation.request.is_some();
        match result {
            Ok(value) if wants_response => response::from_value(value).map(Answer::Response),
            Ok(value) => response::json(value).map(Answer::Value),
            Err(error) => match failure::thrown_response(error).filter(|_| wants_response) {
                Some(value) => response::from_value(&value).map(Answer::Response),
                None => Err(failure::of_script(error, &self.compiled.limits, Some(&self.compiled.ast))),
            },
        }
    }
}

/// Stops a script where it stands; scripts cannot catch it.
fn terminated() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
}

/// The interpreter's progress callback: the one check of budget, deadline, cancellation, memory and stack.
pub(crate) fn on_progress(_operations: u64) -> Option<Dynamic> {
    match fiber::current(|run| run.budget.tick()) {
        None | Some(Verdict::Go) => None,
        Some(Verdict::Stop) => Some(Dynamic::UNIT),
        Some(Verdict::Yield) => {
            fiber::suspend(Suspend::Preempted);
            // The one who resumed may have asked the script to stop.
            fiber::current(|run| run.budget.stopped()).flatten().map(|_| Dynamic::UNIT)
        }
    }
}

/// The call context for a host call that begins.
pub(crate) fn call_cx(label: &str) -> Result<CallCx, Box<EvalAltResult>> {
    let cx = fiber::current(|run| {
        run.budget.give_up();
        run.budget.stopped().is_none().then(|| run.cx())
    });
    match cx {
        Some(Some(cx)) => Ok(cx),
        Some(None) => Err(terminated()),
        None => Err(thrown(&Error::internal(format!("{label} was called outside an execution")))),
    }
}

/// Runs a function of the host's for the script, and sees to it that only its answer counts as the script's memory.
pub(crate) fn host_call(
    label: &str,
    call: impl FnOnce(CallCx) -> Result<Result<Given, Error>, Box<EvalAltResult>>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let mark = fiber::current(|run| run.budget.mark());
    let given = match call(call_cx(label)?)? {
        Ok(given) => given,
        Err(error) => Given::of(|| Err::<Dynamic, _>(thrown(&error))),
    };
    if let Some(mark) = mark {
        fiber::current(|run| run.budget.settle(mark, given.bytes));
    }
    given.value
}

/// What a function of the host's gives to the script, and how much memory that is.
#[derive(Debug)]
pub struct Given {
    value: Result<Dynamic, Box<EvalAltResult>>,
    bytes: i64,
}

impl Given {
    /// Makes the value, and measures it.
    pub(crate) fn of(make: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>) -> Self {
        let mark = fiber::current(|run| run.budget.mark()).unwrap_or(0);
        let value = make();
        let now = fiber::current(|run| run.budget.mark()).unwrap_or(0);
        Given { value, bytes: now - mark }
    }
}

/// Suspends the script until `future` is ready.
pub(crate) fn wait<F: Future + 'static>(future: F) -> Result<F::Output, Box<EvalAltResult>> {
    let answer = Rc::new((Cell::new(None), Cell::new(false)));
    let slot = Rc::clone(&answer);
    let call: HostCall = Box::pin(async move {
        let mut future = std::pin::pin!(future);
        let output = std::future::poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() {
                slot.1.set(true);
            }
            polled
        });
        slot.0.set(Some(output.await));
    });
    let slice_end = fiber::current(|run| {
        *run.call.borrow_mut() = Some(call);
        run.budget.slice_end()
    });
    fiber::suspend(Suspend::Call);
    let (answer, waited) = (&answer.0, answer.1.get());
    let stopped = fiber::current(|run| {
        // A call that was ready at once gave nobody else a turn: a script that makes nothing but such calls would run
        // for ever in fresh slices.
        if let Some(slice_end) = slice_end.filter(|_| !waited) {
            run.budget.continue_slice(slice_end);
        }
        // Still there if nobody took it: the thread is panicking, or there is no fiber.
        run.call.borrow_mut().take();
        run.budget.stopped().is_some()
    });
    match answer.take() {
        Some(value) if stopped == Some(false) => Ok(value),
        _ => Err(terminated()),
    }
}

/// A service's error as a script sees it: a thrown map `#{ code, message, … }`.
pub(crate) fn thrown(error: &Error) -> Box<EvalAltResult> {
    let mut map = Map::new();
    map.insert("code".into(), error.code().to_owned().into());
    map.insert("message".into(), error.message().to_owned().into());
    for (name, value) in error.context() {
        map.insert(name.into(), value.to_owned().into());
    }
    EvalAltResult::ErrorRuntime(Dynamic::from_map(map), Position::NONE).into()
}

/// A failure of the class `internal` for a panic.
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Failure {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("(no text)"), "a script execution panicked");
    Failure::new(FailureClass::Internal, "a defect in a function of the host ended the script")
}
