//! Compiled scripts, kept while they are in use.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};

use super::compile::{Compiled, Toolbox};
use crate::execution::{Failure, FailureClass};
use crate::script::{ScriptKind, ScriptRecord};
use crate::{ScriptId, metric};

type Compilation = Arc<OnceCell<Result<Arc<Compiled>, Failure>>>;

struct Entry {
    version: u64,
    weight: usize,
    compilation: Compilation,
}

/// An LRU cache of compiled scripts, keyed by script and good for one exact version; all callers that miss
/// together wait for one compilation. Failures are kept like successes: a broken script is compiled once.
pub(crate) struct ScriptCache {
    toolbox: Arc<Toolbox>,
    entries: Mutex<Entries>,
    /// The runtime whose blocking threads compile.
    compiler: Handle,
    turns: Arc<Semaphore>,
}

struct Entries {
    lru: LruCache<ScriptId, Entry>,
    weight: usize,
}

/// Most memory that cached scripts may take, by estimate.
const MAX_WEIGHT: usize = 64 << 20;

/// What a syntax tree weighs for each byte of source, by measurement of ordinary scripts, and what its engine
/// adds.
const WEIGHT_PER_BYTE: usize = 24;
const ENGINE_WEIGHT: usize = 4 << 10;

/// Compilations at once: the parser has no progress callback, so hostile sources may keep every turn busy for
/// seconds, but never more than these threads.
const COMPILERS: usize = 2;

impl ScriptCache {
    pub(crate) fn new(toolbox: Arc<Toolbox>, size: NonZeroUsize, compiler: Handle) -> Self {
        ScriptCache {
            toolbox,
            entries: Mutex::new(Entries { lru: LruCache::new(size), weight: 0 }),
            compiler,
            turns: Arc::new(Semaphore::new(COMPILERS)),
        }
    }

    /// The compiled script if it is here. Does not wait.
    pub(crate) fn peek(&self, script: &ScriptRecord) -> Option<Result<Arc<Compiled>, Failure>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.lru.get(&script.id).filter(|entry| entry.version == script.version)?;
        let found = entry.compilation.get().cloned();
        if found.is_some() {
            metric::count!("picloud_script_cache_hits_total");
        }
        found
    }

    /// The compiled script, compiling it if need be.
    pub(crate) async fn get(&self, script: &Arc<ScriptRecord>) -> Result<Arc<Compiled>, Failure> {
        let compilation = self.entry(script);
        compilation.get_or_init(|| self.compile(script.clone())).await.clone()
    }

    fn entry(&self, script: &ScriptRecord) -> Compilation {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.lru.get(&script.id)
            && entry.version == script.version
        {
            return entry.compilation.clone();
        }
        metric::count!("picloud_script_cache_misses_total");
        let weight = ENGINE_WEIGHT + script.source.len() * WEIGHT_PER_BYTE;
        let compilation = Compilation::default();
        let entry = Entry { version: script.version, weight, compilation: compilation.clone() };
        entries.weight += weight;
        if let Some((_, old)) = entries.lru.push(script.id, entry) {
            entries.weight -= old.weight;
        }
        while entries.weight > MAX_WEIGHT && entries.lru.len() > 1 {
            if let Some((_, old)) = entries.lru.pop_lru() {
                entries.weight -= old.weight;
            }
        }
        compilation
    }

    async fn compile(&self, script: Arc<ScriptRecord>) -> Result<Arc<Compiled>, Failure> {
        self.off_thread(move |toolbox| toolbox.compile(&script).map(Arc::new)).await
    }

    /// Compiles a source and forgets it: would it run?
    pub(crate) async fn check_source(&self, source: String, kind: ScriptKind) -> Result<(), Failure> {
        self.off_thread(move |toolbox| toolbox.check(&source, kind, toolbox.limits()).map(drop)).await
    }

    /// Runs the parser where it can take its time and its stack.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Toolbox>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(_turn) = self.turns.clone().acquire_owned().await else {
            return Err(Failure::new(FailureClass::Cancelled, "the host is shutting down"));
        };
        let toolbox = self.toolbox.clone();
        match self.compiler.spawn_blocking(move || work(&toolbox)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                tracing::error!("the compiler panicked");
                Err(Failure::new(FailureClass::Internal, "a defect in the compiler"))
            }
            Err(_) => Err(Failure::new(FailureClass::Cancelled, "the host is shutting down")),
        }
    }
}

impl std::fmt::Debug for ScriptCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptCache").finish_non_exhaustive()
    }
}
