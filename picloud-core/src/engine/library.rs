//! The modules of apps, compiled and kept: what `import` takes from.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use rhai::{AST, Shared};

use super::cache::{Compiler, Kept};
use super::compile::Toolbox;
use crate::app::AppState;
use crate::execution::Failure;
use crate::script::ScriptRecord;
use crate::{AppId, Result, metric};

/// Where the scripts of an app are looked up.
#[async_trait]
pub(crate) trait ModuleSource: std::fmt::Debug + Send + Sync + 'static {
    /// The app as this node knows it. Does not wait.
    fn app(&self, app: AppId) -> Option<Arc<AppState>>;

    /// Reads an app that this node does not know.
    async fn read(&self, app: AppId) -> Result<()>;
}

/// A module ready to be imported. Shared by all executions.
pub(crate) struct CompiledModule {
    pub(super) ast: AST,
    /// The finished module, if it is the same whoever imports it. Any other is made by each execution for itself: what its
    /// constants are may depend on the caller, and must not outlive the call.
    pub(super) finished: Option<Shared<rhai::Module>>,
    pub(super) functions: usize,
}

/// Compiled modules by app and name, good for one version.
pub(crate) struct Library {
    source: Arc<dyn ModuleSource>,
    kept: Kept<(AppId, Arc<str>), CompiledModule>,
    compiler: Compiler,
}

impl Library {
    pub(crate) fn new(source: Arc<dyn ModuleSource>, size: NonZeroUsize, compiler: Compiler) -> Self {
        Library { source, kept: Kept::new(size), compiler }
    }

    pub(super) fn source(&self) -> &Arc<dyn ModuleSource> {
        &self.source
    }

    /// The compiled module if it is here. Does not wait.
    pub(super) fn peek(
        &self,
        app: AppId,
        module: &ScriptRecord,
    ) -> Option<Result<Arc<CompiledModule>, Failure>> {
        let found = self.kept.peek(&(app, module.name.to_shared()), module);
        if found.is_some() {
            metric::count!("picloud_module_cache_hits_total");
        }
        found
    }

    /// The compiled module, compiling it if need be.
    pub(super) async fn get(
        &self,
        toolbox: &Arc<Toolbox>,
        app: AppId,
        module: &Arc<ScriptRecord>,
    ) -> Result<Arc<CompiledModule>, Failure> {
        let (compilation, is_new) = self.kept.entry((app, module.name.to_shared()), module);
        if is_new {
            metric::count!("picloud_module_cache_misses_total");
        }
        let compile = async {
            let (toolbox, module) = (toolbox.clone(), module.clone());
            self.compiler.run(move || toolbox.compile_module(&module).map(Arc::new)).await
        };
        compilation.get_or_init(|| compile).await.clone()
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("source", &self.source).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledModule").field("functions", &self.functions).finish_non_exhaustive()
    }
}
