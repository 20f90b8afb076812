//! What scripts see of each other: `scripts::invoke(name, payload)`.
//!
//! The invoked script is an execution of its own: with its own place at the gate, its own record, and `ctx` of its own. But
//! its caller waits for it, so it lives on what its caller has left: the deadline, the operations, and the memory. Without
//! that, a script could multiply its limits by invoking itself.

use std::sync::{Arc, OnceLock};

use rhai::Dynamic;

use super::{ScriptKind, is_module};
use crate::app::Apps;
use crate::engine::budget::Verdict;
use crate::engine::{IntoScript, Raw, ScriptModule, convert, fiber};
use crate::execution::{Allowance, Answer, FailureClass, Invocation, Outcome};
use crate::executor::WeakExecutor;
use crate::{CallCx, Error, ErrorKind, Json, Result};

/// How many executions may wait for each other.
const MAX_DEPTH: u32 = 8;

/// Runs scripts for scripts.
#[derive(Default)]
pub(crate) struct Invoker {
    /// Set when the executor is there, which is made after its scripts' functions. Weak, since it holds them.
    place: OnceLock<(Arc<Apps>, WeakExecutor)>,
}

impl Invoker {
    pub(crate) fn connect(&self, apps: Arc<Apps>, executor: WeakExecutor) {
        let _ = self.place.set((apps, executor));
    }

    /// The invocation of a script for the one that runs on this fiber.
    fn invocation(
        &self,
        cx: &CallCx,
        name: &str,
        payload: Option<Json>,
    ) -> Result<(Invocation, WeakExecutor)> {
        let (apps, executor) =
            self.place.get().ok_or_else(|| Error::internal("scripts were invoked too early"))?;
        let allowance = fiber::current(|run| {
            let depth = run.invocation.allowance.as_ref().map_or(0, |allowance| allowance.depth);
            run.budget.allowance(depth + 1)
        });
        let allowance = allowance.ok_or_else(|| Error::internal("scripts::invoke outside an execution"))?;
        if allowance.depth > MAX_DEPTH {
            return Err(too_deep(&allowance).with("script", name));
        }
        let script = apps.get(cx.app()).and_then(|app| app.script(name)).ok_or_else(|| {
            let name: String = name.chars().take(140).collect();
            Error::not_found("scripts.not_found", format!("the app has no script {name:?}"))
        })?;
        if script.kind == ScriptKind::Module {
            let error = is_module(&script.name);
            return Err(Error::invalid("scripts.is_module", error.message()).with("script", &script.name));
        }
        let mut invocation = Invocation::new(cx.app(), script);
        invocation.payload = payload;
        invocation.principal = cx.principal().cloned();
        invocation.request_id = cx.request();
        invocation.trace = cx.trace();
        invocation.parent = cx.execution();
        invocation.trigger_depth = cx.trigger_depth();
        invocation.allowance = Some(allowance);
        Ok((invocation, executor.clone()))
    }
}

/// What an invocation costs its caller in operations, whatever becomes of it: an execution and a record of it are work, too.
const PRICE: u64 = 1_000;

fn too_deep(allowance: &Allowance) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "scripts.depth_exceeded",
        format!("scripts invoke each other deeper than {MAX_DEPTH}"),
    )
    .with("depth", allowance.depth)
}

/// What an invoked script came to, as its caller sees it.
struct Invoked(Result<Outcome>, String);

impl IntoScript for Invoked {
    fn to_script(&self) -> Result<Dynamic> {
        let Invoked(outcome, name) = self;
        let outcome = outcome.as_ref().map_err(Clone::clone)?;
        let used = outcome.operations.saturating_add(PRICE);
        if let Some(Verdict::Stop) = fiber::current(|run| run.budget.use_up(used)) {
            // Of no account: the execution ends.
            return Err(Error::new(ErrorKind::Cancelled, "cancelled", "the execution is ending"));
        }
        let failure = match &outcome.result {
            Ok(Answer::Value(value)) => return convert::from_json(value),
            Ok(Answer::Response(_)) => {
                return Err(Error::internal("an invocation was answered with a response"));
            }
            Err(failure) => failure,
        };
        let code = match failure.class {
            FailureClass::Overloaded => "scripts.overloaded",
            _ => "scripts.failed",
        };
        Err(Error::new(ErrorKind::Unavailable, code, failure.to_string())
            .with("script", name)
            .with("class", failure.class.as_str())
            .with("execution_id", outcome.execution))
    }
}

/// The script module `scripts`.
pub(crate) fn module(invoker: Arc<Invoker>) -> ScriptModule {
    ScriptModule::new("scripts")
        .doc("Runs other scripts of the app, and waits for their answers.")
        .async_function(
            "invoke(name: string, payload?: any) -> any",
            move |cx: CallCx, name: String, payload: Raw| {
                // On the caller's fiber, where its budget is at hand.
                let begun = invoker.invocation(&cx, &name, payload.0);
                async move {
                    let outcome = match begun.map(|(invocation, executor)| executor.run(invocation)) {
                        Ok(Some(running)) => Ok(running.await),
                        Ok(None) => {
                            Err(Error::new(ErrorKind::Closed, "closed", "this node is shutting down"))
                        }
                        Err(error) => Err(error),
                    };
                    Invoked(outcome, name)
                }
            },
        )
        .about("invoke", "Runs another script of the app, with `payload` as its `ctx.request.body`, and answers its answer. It runs on what the caller has left: deadline, operations, memory. Throws `scripts.not_found`, `scripts.is_module`, `scripts.depth_exceeded` (more than eight wait for each other), `scripts.overloaded`, and `scripts.failed` with `class` and `execution_id` of the one that failed.")
}
