//! Compiled scripts and modules, kept while they are in use.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};

use super::compile::{Compiled, Toolbox};
use super::outline::Outline;
use crate::execution::{Failure, FailureClass};
use crate::script::{ScriptKind, ScriptRecord};
use crate::{AppId, ScriptId, metric};

/// What a compilation came to. Failures are kept like successes: what is broken is compiled once.
type Compilation<T> = Arc<OnceCell<Result<Arc<T>, Failure>>>;

/// An LRU of compilations, each good for one exact version of one script; all callers that miss together wait for one
/// compilation.
pub(super) struct Kept<K: Hash + Eq, T> {
    entries: Mutex<Entries<K, T>>,
}

struct Entries<K: Hash + Eq, T> {
    lru: LruCache<K, Entry<T>>,
    weight: usize,
}

struct Entry<T> {
    of: (ScriptId, u64),
    weight: usize,
    compilation: Compilation<T>,
}

/// Most memory that a cache may take, by estimate.
const MAX_WEIGHT: usize = 64 << 20;

/// What a syntax tree weighs for each byte of source, by measurement of ordinary scripts, and what its engine
/// adds.
const WEIGHT_PER_BYTE: usize = 24;
const ENGINE_WEIGHT: usize = 4 << 10;

/// Compilations at once: the parser has no progress callback, so hostile sources may keep every turn busy for
/// seconds, but never more than these threads.
const COMPILERS: usize = 2;

impl<K: Hash + Eq, T> Kept<K, T> {
    pub(super) fn new(size: NonZeroUsize) -> Self {
        Kept { entries: Mutex::new(Entries { lru: LruCache::new(size), weight: 0 }) }
    }

    /// The compilation if it is here. Does not wait.
    pub(super) fn peek(&self, key: &K, script: &ScriptRecord) -> Option<Result<Arc<T>, Failure>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.lru.get(key).filter(|entry| entry.of == (script.id, script.version))?;
        entry.compilation.get().cloned()
    }

    /// The place of a compilation, and whether it is a new one.
    pub(super) fn entry(&self, key: K, script: &ScriptRecord) -> (Compilation<T>, bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (script.id, script.version);
        if let Some(entry) = entries.lru.get(&key)
            && entry.of == of
        {
            return (entry.compilation.clone(), false);
        }
        let weight = ENGINE_WEIGHT + script.source.len() * WEIGHT_PER_BYTE;
        let compilation = Compilation::default();
        let entry = Entry { of, weight, compilation: compilation.clone() };
        entries.weight += weight;
        if let Some((_, old)) = entries.lru.push(key, entry) {
            entries.weight -= old.weight;
        }
        while entries.weight > MAX_WEIGHT && entries.lru.len() > 1 {
            if let Some((_, old)) = entries.lru.pop_lru() {
                entries.weight -= old.weight;
            }
        }
        (compilation, true)
    }
}

/// Where compiling happens: on threads for blocking work, with large stacks, a few at a time.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    runtime: Handle,
    turns: Arc<Semaphore>,
}

impl Compiler {
    /// On the threads for blocking work of this runtime.
    pub(crate) fn new(runtime: Handle) -> Self {
        Compiler { runtime, turns: Arc::new(Semaphore::new(COMPILERS)) }
    }

    /// Runs the parser where it can take its time and its stack.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(_turn) = self.turns.clone().acquire_owned().await else {
            return Err(Failure::new(FailureClass::Cancelled, "the host is shutting down"));
        };
        match self.runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                tracing::error!("the compiler panicked");
                Err(Failure::new(FailureClass::Internal, "a defect in the compiler"))
            }
            Err(_) => Err(Failure::new(FailureClass::Cancelled, "the host is shutting down")),
        }
    }
}

/// Compiled scripts by id.
pub(crate) struct ScriptCache {
    toolbox: Arc<Toolbox>,
    kept: Kept<ScriptId, Compiled>,
    compiler: Compiler,
}

impl ScriptCache {
    pub(crate) fn new(toolbox: Arc<Toolbox>, size: NonZeroUsize, compiler: Compiler) -> Self {
        ScriptCache { toolbox, kept: Kept::new(size), compiler }
    }

    /// The names that scripts reach through `name::` whatever they import.
    pub(crate) fn reserved_names(&self) -> impl Iterator<Item = &str> {
        self.toolbox.module_names()
    }

    /// The compiled script if it is here. Does not wait.
    pub(crate) fn peek(&self, script: &ScriptRecord) -> Option<Result<Arc<Compiled>, Failure>> {
        let found = self.kept.peek(&script.id, script);
        if found.is_some() {
            metric::count!("picloud_script_cache_hits_total");
        }
        found
    }

    /// The compiled script, compiling it if need be.
    pub(crate) async fn get(&self, script: &Arc<ScriptRecord>) -> Result<Arc<Compiled>, Failure> {
        let (compilation, is_new) = self.kept.entry(script.id, script);
        if is_new {
            metric::count!("picloud_script_cache_misses_total");
        }
        let compile = async {
            let (toolbox, script) = (self.toolbox.clone(), script.clone());
            self.compiler.run(move || toolbox.compile(&script).map(Arc::new)).await
        };
        compilation.get_or_init(|| compile).await.clone()
    }

    /// Compiles a script or a module of `app` that is about to be used, so that its first user does not wait. One that
    /// does not compile tells its first user.
    pub(crate) async fn warm(&self, app: AppId, script: &Arc<ScriptRecord>) {
        match (script.kind, self.toolbox.library()) {
            (ScriptKind::Module, Some(library)) => drop(library.get(&self.toolbox, app, script).await),
            (ScriptKind::Module, None) => {}
            (ScriptKind::Endpoint, _) => drop(self.get(script).await),
        }
    }

    /// Compiles a source, checks that it is what its kind says, and forgets it but for what it names.
    pub(crate) async fn check_source(&self, source: String, kind: ScriptKind) -> Result<Outline, Failure> {
        let toolbox = self.toolbox.clone();
        let check = move || toolbox.check(&source, kind, toolbox.limits()).map(|(ast, _)| Outline::of(&ast));
        self.compiler.run(check).await
    }
}

impl std::fmt::Debug for ScriptCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptCache").finish_non_exhaustive()
    }
}
