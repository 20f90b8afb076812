//! `import "name" as n`: from the name to a module of the script's own app.
//!
//! Nothing is read from storage: the app's scripts are in its snapshot, which an execution takes hold of when it begins
//! and keeps to its end, so that it never sees two versions of a module. A module that is not compiled yet is waited for
//! like a host call.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::library::{CompiledModule, Library};
use super::run::{self, Run};
use super::{fiber, natives};
use crate::app::AppState;
use crate::execution::{Failure, FailureClass};
use crate::script::{MAX_IMPORT_DEPTH, ScriptKind, ScriptRecord};
use crate::{Error, ErrorKind};

/// Most modules of one execution. What an app can write down is bounded by the chain; names made at run time are not.
const MAX_MODULES: usize = 256;

/// Functions that are put into a module in about the time of one operation.
const FUNCTIONS_PER_OPERATION: usize = 8;

type Imported = Result<Shared<Module>, Box<EvalAltResult>>;

/// The modules of one execution.
#[derive(Default)]
pub(super) struct Imports {
    /// The app as it was when the execution began.
    app: OnceCell<Arc<AppState>>,
    loaded: RefCell<BTreeMap<String, Shared<Module>>>,
    /// The modules that are being loaded, each imported by the one before.
    loading: RefCell<Vec<String>>,
}

impl Imports {
    /// Takes hold of the app.
    pub(super) fn begin(&self, library: &Library, app: crate::AppId) {
        if let Some(state) = library.source().app(app) {
            let _ = self.app.set(state);
        }
    }

    /// Lets go of everything. On the fiber, since modules hold values of the script's.
    pub(super) fn end(&self) {
        drop(self.loaded.take());
    }

    /// `main → a → b → name`, from the one that imports `from` on.
    fn chain(run: &Run, from: usize, name: &str) -> String {
        let loading = run.imports.loading.borrow();
        let names = std::iter::once(run.invocation.script.name.as_str())
            .chain(loading.iter().map(String::as_str))
            .chain([name]);
        names.skip(from).collect::<Vec<_>>().join(" → ")
    }
}

/// The resolver of every engine. What differs between executions is reached through the current fiber.
pub(super) struct Resolver;

impl ModuleResolver for Resolver {
    fn resolve(&self, engine: &Engine, _source: Option<&str>, name: &str, at: Position) -> Imported {
        import(engine, name).map_err(|mut error| {
            if error.position().is_none() {
                error.set_position(at);
            }
            error
        })
    }
}

/// What is to be done for an import.
enum Step {
    Done(Shared<Module>),
    Refused(Error),
    /// The app is not known here.
    Read(Arc<Library>),
    Compile(Arc<Library>, Arc<ScriptRecord>),
    Load(Arc<CompiledModule>),
}

fn import(engine: &Engine, name: &str) -> Imported {
    loop {
        // What the look-up allocates and frees is not the script's.
        let step = fiber::current(|run| {
            let mark = run.budget.mark();
            let step = step(run, name);
            run.budget.settle(mark, 0);
            step
        });
        match step {
            None => return Err(run::thrown(&Error::internal("an import outside an execution"))),
            Some(Step::Done(module)) => return Ok(module),
            Some(Step::Refused(error)) => return Err(run::thrown(&error)),
            Some(Step::Load(compiled)) => return load(engine, name, &compiled),
            Some(Step::Read(library)) => read(library)?,
            Some(Step::Compile(library, script)) => compile(library, script)?,
        }
    }
}

fn step(run: &Run, name: &str) -> Step {
    let imports = &run.imports;
    if let Some(module) = imports.loaded.borrow().get(name) {
        return Step::Done(module.clone());
    }
    let at = imports.loading.borrow().iter().position(|loading| loading == name);
    if let Some(at) = at {
        let chain = Imports::chain(run, at + 1, name);
        return refuse("module.cycle", format!("modules import each other in a circle: {chain}"));
    }
    if imports.loading.borrow().len() >= MAX_IMPORT_DEPTH {
        let chain = Imports::chain(run, 0, name);
        return refuse(
            "module.too_deep",
            format!("modules import each other deeper than {MAX_IMPORT_DEPTH}: {chain}"),
        );
    }
    if imports.loaded.borrow().len() >= MAX_MODULES {
        return refuse("module.too_many", format!("an execution imports at most {MAX_MODULES} modules"));
    }
    let missing = |what: &str| {
        let by = match imports.loading.borrow().len() {
            0 => String::new(),
            _ => format!(" ({})", Imports::chain(run, 0, name)),
        };
        // A name may be as long as a text may be.
        let name: String = name.chars().take(80).collect();
        format!("{what} {name:?}{by}")
    };
    let Some(library) = run.compiled.library() else {
        return not_found(missing("there is no module"));
    };
    let Some(app) = imports.app.get() else { return Step::Read(library.clone()) };
    let Some(script) = app.script(name) else { return not_found(missing("the app has no module")) };
    if script.kind != ScriptKind::Module {
        return refuse(
            "module.is_endpoint",
            missing("only modules can be imported, and this script is none:"),
        );
    }
    match library.peek(run.invocation.app, &script) {
        Some(Ok(compiled)) => Step::Load(compiled),
        Some(Err(failure)) => Step::Refused(broken(name, &failure)),
        None => Step::Compile(library.clone(), script),
    }
}

fn refuse(code: &'static str, message: String) -> Step {
    Step::Refused(Error::invalid(code, message))
}

fn not_found(message: String) -> Step {
    Step::Refused(Error::not_found("module.not_found", message))
}

/// What a script is told of a module that cannot be had; whatever is not its author's fault only the host's log is told.
fn broken(name: &str, failure: &Failure) -> Error {
    if failure.class == FailureClass::Compile {
        return Error::invalid("module.invalid", format!("in module {name:?}: {failure}"));
    }
    if failure.class != FailureClass::Cancelled {
        tracing::error!(module = name, %failure, "a module could not be compiled");
    }
    unavailable()
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "module.unavailable", "the modules of the app cannot be had now")
}

/// Waiting is for executions on threads of the executor's.
fn check_attempt() -> Result<(), Box<EvalAltResult>> {
    match fiber::current(|run| run.budget.give_up()) {
        Some(true) => Err(EvalAltResult::ErrorTerminated(rhai::Dynamic::UNIT, Position::NONE).into()),
        _ => Ok(()),
    }
}

fn read(library: Arc<Library>) -> Result<(), Box<EvalAltResult>> {
    check_attempt()?;
    let Some(app) = fiber::current(|run| run.invocation.app) else { return Ok(()) };
    let source = library.source().clone();
    let read = run::wait(async move { source.read(app).await })?;
    if let Err(error) = read {
        tracing::error!(%app, error = %error.with_causes(), "the modules of an app cannot be read");
        return Err(run::thrown(&unavailable()));
    }
    let known = fiber::current(|run| {
        let mark = run.budget.mark();
        run.imports.begin(&library, app);
        run.budget.settle(mark, 0);
        run.imports.app.get().is_some()
    });
    match known {
        Some(true) => Ok(()),
        // It was deleted while its script runs.
        _ => Err(run::thrown(&Error::not_found(
            "module.not_found",
            "the app is gone, and its modules with it",
        ))),
    }
}

fn compile(library: Arc<Library>, script: Arc<ScriptRecord>) -> Result<(), Box<EvalAltResult>> {
    check_attempt()?;
    let Some((toolbox, app)) = fiber::current(|run| (run.compiled.toolbox().clone(), run.invocation.app))
    else {
        return Ok(());
    };
    let name = script.name.to_shared();
    let compiled = run::wait(async move { library.get(&toolbox, app, &script).await })?;
    match compiled {
        // Found by the next look, unless it was pushed out in between: then compiled again.
        Ok(_) => Ok(()),
        Err(failure) => Err(run::thrown(&broken(&name, &failure))),
    }
}

/// Makes the module of this execution.
fn load(engine: &Engine, name: &str, compiled: &CompiledModule) -> Imported {
    let module = match &compiled.finished {
        Some(module) => module.clone(),
        None => {
            for _ in 0..compiled.functions / FUNCTIONS_PER_OPERATION {
                natives::turn().map_err(|error| run::thrown(&error))?;
            }
            fiber::current(|run| run.imports.loading.borrow_mut().push(name.to_owned()));
            // A scope of its own: it sees nothing of who imports it.
            let made = Module::eval_ast_as_new(Scope::new(), &compiled.ast, engine);
            fiber::current(|run| run.imports.loading.borrow_mut().pop());
            let module = made.map_err(|error| {
                if error.is_system_exception() {
                    return error;
                }
                EvalAltResult::ErrorInModule(name.to_owned(), error, Position::NONE).into()
            })?;
            module.into()
        }
    };
    fiber::current(|run| run.imports.loaded.borrow_mut().insert(name.to_owned(), module.clone()));
    Ok(module)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use async_trait::async_trait;
    use tokio::runtime::Handle;

    use super::*;
    use crate::AppId;
    use crate::engine::cache::Compiler;
    use crate::engine::compile::Toolbox;
    use crate::engine::library::ModuleSource;
    use crate::executor::LocalExecutor;
    use crate::executor::tests::{executor, executor_of, failure, value};

    /// A store that is down, or that knows no app.
    #[derive(Debug)]
    struct Source(Option<Error>);

    #[async_trait]
    impl ModuleSource for Source {
        fn app(&self, _app: AppId) -> Option<Arc<AppState>> {
            None
        }

        async fn read(&self, _app: AppId) -> crate::Result<()> {
            tokio::task::yield_now().await;
            self.0.clone().map_or(Ok(()), Err)
        }
    }

    fn executor_with(source: Source) -> LocalExecutor {
        let library = Library::new(Arc::new(source), NonZeroUsize::MIN, Compiler::new(Handle::current()));
        let toolbox = Toolbox::new(crate::engine::Limits::default(), Vec::new()).unwrap();
        executor_of(toolbox.with_library(library), crate::executor::GateConfig::default())
    }

    #[tokio::test]
    async fn what_a_store_says_is_not_for_scripts() {
        let down =
            Error::new(ErrorKind::Unavailable, "postgres.unavailable", "db.internal:5432 refuses picloud");
        let executor = executor_with(Source(Some(down.with("password", "secret"))));
        let told = failure(&executor, "import \"m\" as m; 1").await;
        assert_eq!(told.message, "module.unavailable: the modules of the app cannot be had now");
        let seen = "let c = (); try { import \"m\" as m; } catch (e) { c = e; } c";
        assert_eq!(
            value(&executor, seen).await,
            r#"{"code":"module.unavailable","message":"the modules of the app cannot be had now"}"#
        );
    }

    #[tokio::test]
    async fn an_app_that_is_gone_has_no_modules() {
        let told = failure(&executor_with(Source(None)), "import \"m\" as m; 1").await;
        assert_eq!(told.message, "module.not_found: the app is gone, and its modules with it");
    }

    #[tokio::test]
    async fn without_a_library_there_are_no_modules() {
        let told = failure(&executor(), "import \"m\" as m; 1").await;
        assert_eq!(told.message, "module.not_found: there is no module \"m\"");
    }
}
