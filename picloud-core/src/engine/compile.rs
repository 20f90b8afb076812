//! Sources to something that runs: the shared modules of an instance, and one immutable engine per script.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rhai::{AST, Engine, EvalAltResult, ImmutableString, Module, OptimizationLevel, Scope, Shared};

use super::import::Resolver;
use super::library::{CompiledModule, Library};
use super::limits::{Limits, MAX_TIMEOUT_SECONDS};
use super::module::Built;
use super::{ScriptModule, failure, fiber, natives, outline, run};
use crate::execution::{Failure, FailureClass, Invocation};
use crate::log::LogLevel;
use crate::script::{MAX_SOURCE_BYTES, ScriptKind, ScriptRecord, is_module};
use crate::{Error, Result};

/// What all engines of an instance share. Built once at start.
pub(crate) struct Toolbox {
    limits: Limits,
    globals: Vec<Shared<Module>>,
    modules: Vec<Built>,
    library: Option<Arc<Library>>,
}

impl Toolbox {
    /// # Errors
    /// A module with a bad name or signature, or two of one name.
    pub(crate) fn new(limits: Limits, modules: Vec<ScriptModule>) -> Result<Self> {
        let mut globals = natives::packages();
        globals.push(natives::module());
        globals.push(super::sleep::module());
        let mut built: Vec<Built> = Vec::with_capacity(modules.len());
        for module in modules {
            let module = module.build()?;
            if built.iter().any(|other| other.name == module.name) {
                return Err(Error::invalid(
                    "script_module.name_taken",
                    format!("two script modules are named {:?}", module.name),
                ));
            }
            built.push(module);
        }
        Ok(Toolbox { limits, globals, modules: built, library: None })
    }

    /// The same with modules to import. Without, every import is of a module that does not exist.
    pub(crate) fn with_library(self, library: Library) -> Self {
        Toolbox { library: Some(Arc::new(library)), ..self }
    }

    /// The modules that scripts can import.
    pub(crate) fn library(&self) -> Option<&Arc<Library>> {
        self.library.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The names that scripts reach through `name::`.
    pub(crate) fn module_names(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|module| module.name.as_str())
    }

    /// The names of those among them that can hand a script values larger than it may build.
    fn sources(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter(|module| !module.small).map(|module| module.name.as_str())
    }

    /// An engine with these limits. Takes a fraction of a microsecond: everything big in it is shared.
    fn engine(&self, limits: &Limits, reach: Reach) -> Engine {
        let mut engine = Engine::new_raw();
        // The optimizer has no progress callback, and a panic of its own on constant maps.
        engine.set_optimization_level(OptimizationLevel::None);
        // The interner is behind one lock and would serialise the executor threads.
        engine.set_max_strings_interned(0);
        engine.disable_symbol("eval");
        engine.set_module_resolver(Resolver);
        for module in &self.globals {
            engine.register_global_module(module.clone());
        }
        for Built { name, module, .. } in &self.modules {
            engine.register_static_module(name, module.clone());
        }
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (strings, arrays, maps) = match reach {
            Reach::Strict => (limits.max_string_size, limits.max_array_size, limits.max_map_size),
            Reach::Wide => {
                let most = limits.max_blob_size;
                (
                    limits.max_string_size.max(most),
                    // The interpreter adds up what is in one map, and some maps have their body twice.
                    limits.max_array_size.max(most.saturating_mul(2)).saturating_add(HEADROOM),
                    limits.max_map_size.max(most / 16),
                )
            }
        };
        engine.set_max_functions(MAX_FUNCTIONS);
        engine
            .set_max_operations(0)
            .set_max_string_size(size(strings))
            .set_max_array_size(size(arrays))
            .set_max_map_size(size(maps))
            .set_max_call_levels(size(limits.max_call_levels))
            .set_max_expr_depths(size(limits.max_expr_depth), size(limits.max_expr_depth / 2));
        engine.on_progress(run::on_progress);
        engine.on_print(|text| {
            fiber::current(|run| run.say(LogLevel::Info, text, None));
        });
        engine.on_debug(|text, _, _| {
            fiber::current(|run| run.say(LogLevel::Trace, text, None));
        });
        #[allow(
            deprecated,
            reason = "marked so to say that it is volatile; our tests pin what we use of it"
        )]
        engine.on_var(|name, index, context| {
            // Only where no parameter or local has that name: at the top level `ctx` is a constant of the scope.
            if name != "ctx" || index != 0 || context.scope().contains("ctx") {
                return Ok(None);
            }
            Ok::<_, Box<EvalAltResult>>(fiber::current(|run| run.ctx()))
        });
        engine
    }

    /// Compiles a script. Takes time quadratic in the source at worst: never on a thread that serves.
    pub(crate) fn compile(self: &Arc<Self>, script: &ScriptRecord) -> Result<Compiled, Failure> {
        if script.kind == ScriptKind::Module {
            return Err(Failure::new(FailureClass::Compile, is_module(&script.name).to_string()));
        }
        let limits = self.limits.merged(&script.sandbox);
        let (ast, names) = self.check(&script.source, script.kind, &limits)?;
        let seconds = script.timeout_seconds.unwrap_or(limits.timeout_seconds).clamp(1, MAX_TIMEOUT_SECONDS);
        let reach = if names.outside { Reach::Wide } else { Reach::Strict };
        Ok(Compiled {
            ast,
            timeout: Duration::from_secs(u64::from(seconds)),
            engine: self.engine(&limits, reach),
            reach,
            wide: OnceLock::new(),
            hand_overs: AtomicU32::new(0),
            toolbox: Arc::clone(self),
            limits,
            names,
            script_id: script.id.to_string().into(),
            script_name: script.name.as_str().into(),
        })
    }

    /// Compiles a module, and checks once more that it is one. As [`compile`](Self::compile) takes its time.
    pub(crate) fn compile_module(&self, module: &ScriptRecord) -> Result<CompiledModule, Failure> {
        let limits = self.limits.merged(&module.sandbox);
        let (mut ast, _) = self.check(&module.source, ScriptKind::Module, &limits)?;
        // What errors inside it are told with.
        ast.set_source(module.name.as_str());
        let finished = match outline::is_static(&ast) {
            true => {
                let engine = self.engine(&limits, Reach::Strict);
                let made = Module::eval_ast_as_new(Scope::new(), &ast, &engine);
                Some(made.map_err(|error| failure::of_script(&error, &limits, None))?.into())
            }
            false => None,
        };
        Ok(CompiledModule { functions: ast.iter_functions().count(), ast, finished })
    }

    /// Parses and checks a source.
    pub(crate) fn check(
        &self,
        source: &str,
        kind: ScriptKind,
        limits: &Limits,
    ) -> Result<(AST, Names), Failure> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Failure::new(
                FailureClass::Compile,
                format!("a source has at most {MAX_SOURCE_BYTES} bytes, this one has {}", source.len()),
            ));
        }
        let names = Names::of(source, self.sources());
        let mut ast = self
            .engine(limits, Reach::Strict)
            .compile(source)
            .map_err(|error| failure::of_parser(source, &error))?;
        ast.clear_source();
        if kind == ScriptKind::Module {
            outline::check_module(&ast)?;
        }
        Ok((ast, names))
    }
}

/// Elements that stand beside the largest blobs in one value: cookies of a response, say.
const HEADROOM: u64 = 10_000;

/// Most functions and closures of a script: the parser takes quadratic time in them.
const MAX_FUNCTIONS: usize = 1_000;

/// Executions that are handed over at once after an attempt was given up. So a script that always calls the host is
/// tried in vain once in a while, and one that seldom does is not judged by that for ever.
const HAND_OVERS: u32 = 64;

/// Longest body that an attempt parses, and longest result that it writes: tens of microseconds.
pub(crate) const ATTEMPT_BYTES: usize = 8 << 10;

/// How large the values are that an engine's own checks let pass.
///
/// The interpreter applies its size limits to whatever it touches, also to what came in from outside, counts a
/// blob as an array, and sums up what is nested. So a script that can be handed large values gets an engine
/// whose own limits are raised to those of the sources; what it builds itself is then bounded by our natives
/// and by the memory budget. A script that cannot gets exactly the limits as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Strict,
    Wide,
}

/// Which parts of `ctx` a source names; only those are made. Found in the text, not in the syntax tree: naming one in
/// a comment costs a fraction of a microsecond, missing one would cost an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Names {
    /// `ctx` at all.
    pub(crate) ctx: bool,
    /// Imports something.
    pub(crate) imports: bool,
    parts: u32,
    /// Calls something that can hand it values larger than it may build, or handles blobs.
    pub(crate) outside: bool,
}

macro_rules! parts {
    ($($part:ident $word:literal)*) => {
        /// A part of `ctx`, or of `ctx.request`.
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Part { $($part,)* }

        const PARTS: &[(Part, &str)] = &[$((Part::$part, $word),)*];
    };
}

parts! {
    SdkVersion "sdk_version"
    ExecutionId "execution_id"
    RequestId "request_id"
    AppId "app_id"
    ScriptId "script_id"
    ScriptName "script_name"
    InvocationType "invocation_type"
    TriggerDepth "trigger_depth"
    Principal "principal"
    Request "request"
    Method "method"
    Host "host"
    Path "path"
    Rest "rest"
    Params "params"
    Query "query"
    Headers "headers"
    Body "body"
    BodyRaw "body_raw"
    Event "event"
}

impl Names {
    /// `sources` are the modules whose answers may be larger than what a script may build.
    fn of<'a>(source: &str, mut sources: impl Iterator<Item = &'a str>) -> Self {
        let imports = source.contains("import");
        let ctx = source.contains("ctx") || imports;
        // `ctx` or `request` as a whole value (passed on, indexed, iterated) may reach any of its parts.
        let whole = imports || used_whole(source, "ctx") || used_whole(source, "request");
        let named = PARTS.iter().filter(|(_, word)| ctx && (whole || source.contains(word)));
        let parts = named.fold(0, |parts, (part, _)| parts | 1 << *part as u32);
        Names {
            ctx,
            imports,
            parts,
            outside: imports || source.contains("blob") || sources.any(|module| source.contains(module)),
        }
    }

    pub(crate) fn has(self, part: Part) -> bool {
        self.parts & 1 << part as u32 != 0
    }
}

/// Whether `word` stands somewhere without a property access right behind it.
fn used_whole(source: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(word).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let rest = &source[at + word.len()..];
        if before.is_some_and(is_word) || rest.starts_with(is_word) {
            return false;
        }
        let rest = rest.trim_start().trim_start_matches('?');
        !rest.strip_prefix('.').is_some_and(|rest| {
            let rest = rest.trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            // A method on the map sees all of it.
            !name.is_empty() && !rest[name.len()..].trim_start().starts_with('(')
        })
    })
}

/// A script ready to run: its syntax tree, and the engine with its limits. Shared by all executions.
pub(crate) struct Compiled {
    pub(crate) ast: AST,
    pub(crate) limits: Limits,
    pub(crate) timeout: Duration,
    pub(crate) names: Names,
    /// What `ctx` says of the script, made once.
    pub(crate) script_id: ImmutableString,
    pub(crate) script_name: ImmutableString,
    engine: Engine,
    reach: Reach,
    wide: OnceLock<Engine>,
    /// How many of the next executions are handed over without an attempt.
    hand_overs: AtomicU32,
    toolbox: Arc<Toolbox>,
}

impl Compiled {
    /// The modules that the script can import.
    pub(super) fn library(&self) -> Option<&Arc<Library>> {
        self.toolbox.library()
    }

    pub(super) fn toolbox(&self) -> &Arc<Toolbox> {
        &self.toolbox
    }

    /// The engine for this invocation: one with raised limits if what comes in is larger than the script's own.
    pub(crate) fn engine_for(&self, invocation: &Invocation) -> &Engine {
        let incoming = incoming(invocation);
        let least = self.limits.max_string_size.min(self.limits.max_array_size).min(self.limits.max_map_size);
        let names_it = self.names.has(Part::Body) || self.names.has(Part::Event);
        if self.reach == Reach::Wide || !names_it || (incoming as u64) <= least {
            return &self.engine;
        }
        self.wide.get_or_init(|| self.toolbox.engine(&self.limits, Reach::Wide))
    }

    /// Whether an attempt of this invocation on a thread of the host's is likely to come to an end.
    pub(crate) fn may_attempt(&self, invocation: &Invocation) -> bool {
        let names_it = self.names.has(Part::Body) || self.names.has(Part::Event);
        if names_it && incoming(invocation) > ATTEMPT_BYTES {
            return false;
        }
        // Threads that count at once may lose a count, which does not matter; a script that is never given up is only
        // read here.
        let left = self.hand_overs.load(Ordering::Relaxed);
        if left > 0 {
            self.hand_overs.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// Remembers that an attempt was in vain.
    pub(crate) fn gave_up(&self) {
        self.hand_overs.store(HAND_OVERS, Ordering::Relaxed);
    }
}

/// Bytes of what `ctx` may have to parse.
fn incoming(invocation: &Invocation) -> usize {
    invocation.request.as_ref().map_or(0, |request| request.body.len())
        + invocation.payload.as_ref().map_or(0, crate::Json::len)
        + invocation.event.as_ref().map_or(0, |event| event.payload.len())
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("limits", &self.limits)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let modules: Vec<_> = self.module_names().collect();
        f.debug_struct("Toolbox")
            .field("limits", &self.limits)
            .field("modules", &modules)
            .finish_non_exhaustive()
    }
}
