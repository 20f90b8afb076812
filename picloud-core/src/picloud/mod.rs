//! The handle: builder, start, shutdown.

mod app;
mod collections;
mod config;
mod control;
mod secrets;
mod self_test;
mod sweep;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub use app::{Accepted, App, AppTransaction, Script};
#[cfg(feature = "files")]
pub use collections::FilesCollection;
pub use collections::{DocsCollection, KvCollection};
pub use config::PicloudConfig;
use control::{Control, unless_ended};
pub use secrets::AppSecrets;
pub use sweep::RetentionConfig;

use crate::app::{AppRecord, AppResolver, AppSlug, AppState, Apps};
use crate::authz::{Principal, PrincipalResolver};
use crate::backend::Backend;
use crate::engine::cache::{Compiler, ScriptCache};
use crate::engine::compile::Toolbox;
use crate::engine::library::Library;
use crate::engine::{Reference, SDK_VERSION, ScriptModule};
use crate::execution::{ExecutionLog, ExecutionLogSink};
use crate::executor::LocalExecutor;
#[cfg(feature = "files")]
use crate::files::{BlobStore, Files};
use crate::guard::{self, Door, FanoutSource};
use crate::outbox::{Courier, Dispatcher};
use crate::pubsub::{Broadcast, Hub, Listener};
use crate::script::invoke::{self, Invoker};
use crate::services::Services;
use crate::{AppId, Error, ErrorKind, Result, alloc};

/// A running picloud: apps, scripts, services and the threads that run them.
///
/// Cloning is cheap; all clones are one. When the last one is dropped without
/// [`shutdown`](Picloud::shutdown), the threads are told to end and not waited for.
///
/// ```
/// use std::time::Duration;
/// use picloud_core::Picloud;
/// use picloud_core::script::Bundle;
/// use picloud_memory::MemoryBackend;
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cloud = Picloud::builder(MemoryBackend::new()).start().await?;
/// let app = cloud.create_app("shop").await?;
/// app.deploy(&Bundle::new().file("greet", "`hello ${ctx.request.body.name}`")?).await?;
///
/// let answer: String = app.script("greet")?.call(&serde_json::json!({ "name": "ada" })).await?;
/// assert_eq!(answer, "hello ada");
///
/// cloud.shutdown(Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Picloud {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    services: Services,
    #[cfg(feature = "files")]
    files: Files,
    broadcast: Arc<dyn Broadcast>,
    hub: Arc<Hub>,
    door: Door,
    apps: Arc<Apps>,
    cache: Arc<ScriptCache>,
    executor: LocalExecutor,
    dispatcher: Arc<Dispatcher>,
    log: ExecutionLog,
    reference: Reference,
    principals: Option<Arc<dyn PrincipalResolver>>,
    resolver: Option<Arc<dyn AppResolver>>,
    config: PicloudConfig,
    control: Control,
    closing: AtomicBool,
}

/// What a [`Picloud`] is made of. Everything but the backend has a default.
pub struct PicloudBuilder {
    backend: Arc<dyn Backend>,
    config: PicloudConfig,
    modules: Vec<ScriptModule>,
    principals: Option<Arc<dyn PrincipalResolver>>,
    resolver: Option<Arc<dyn AppResolver>>,
    sink: Option<Arc<dyn ExecutionLogSink>>,
    services: Services,
    #[cfg(feature = "files")]
    blobs: Option<Arc<dyn BlobStore>>,
    #[cfg(feature = "http")]
    http: Option<crate::http::HttpConfig>,
    #[cfg(feature = "secrets")]
    secrets: Option<crate::secrets::SecretKeys>,
}

impl PicloudBuilder {
    /// Settings.
    #[must_use]
    pub fn config(mut self, config: PicloudConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds functions of the host's that scripts can call.
    #[must_use]
    pub fn script_module(mut self, module: ScriptModule) -> Self {
        self.modules.push(module);
        self
    }

    /// Who sends requests. Default: everybody is anonymous.
    #[must_use]
    pub fn principals(mut self, resolver: impl PrincipalResolver) -> Self {
        self.principals = Some(Arc::new(resolver));
        self
    }

    /// Which app a request belongs to. Default: the only app there is; 404 when there are several.
    #[must_use]
    pub fn app_resolver(mut self, resolver: impl AppResolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Where execution records go. Default: the backend.
    #[must_use]
    pub fn execution_log(mut self, sink: impl ExecutionLogSink) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Replaces single services: takes those of the backend and answers those to use. The guard comes on top. A
    /// replacement that stores no outbox rows ([`CallCx::fanout`](crate::CallCx::fanout)) fires no events.
    #[must_use]
    pub fn services(mut self, replace: impl FnOnce(Services) -> Services) -> Self {
        self.services = replace(self.services);
        self
    }

    /// Where the bytes of files are kept. Default: as [`PicloudConfig::files`] says.
    #[cfg(feature = "files")]
    #[must_use]
    pub fn blobs(mut self, blobs: Arc<dyn BlobStore>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    /// Lets scripts send requests to other servers, within what the configuration allows. Without this they get
    /// `http.not_enabled`. Takes the place of whatever [`services`](Self::services) put there.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, config: crate::http::HttpConfig) -> Self {
        self.http = Some(config);
        self
    }

    /// Lets apps have secrets, kept by the backend, sealed under keys of the host's. Without this they get
    /// `secrets.not_enabled`. Takes the place of whatever [`services`](Self::services) put there.
    #[cfg(feature = "secrets")]
    #[must_use]
    pub fn secrets(mut self, keys: crate::secrets::SecretKeys) -> Self {
        self.secrets = Some(keys);
        self
    }

    /// Loads the apps, starts the threads, and makes sure that this build of the interpreter can be stopped.
    ///
    /// # Errors
    /// A script module with a bad name or signature, a backend that does not answer, a system without room for
    /// threads, and builds in which a script could not be contained (`panic = "abort"`, an interpreter compiled
    /// without limits); `http.no_certificates`.
    pub async fn start(self) -> Result<Picloud> {
        let mut config = self.config;
        if !alloc::is_counting() {
            tracing::warn!(
                "memory of scripts is not counted: install picloud_core::alloc::CountingAllocator as the global allocator; \
                 until then limits on sizes are halved"
            );
            config.limits.halve_sizes();
        }
        let clock = self.backend.clock();
        let catalog = self.backend.catalog();
        let apps = Arc::new(Apps::load(catalog.clone()).await?);
        let log = ExecutionLog::new(config.execution_log.clone());
        let door = Door {
            source: apps.clone() as Arc<dyn FanoutSource>,
            max_depth: config.triggers.max_depth,
            log: log.clone(),
        };
        #[cfg(feature = "files")]
        let (records, blobs) = match self.blobs {
            Some(blobs) => (self.services.files.clone(), blobs),
            None => (self.services.files.clone(), config.files.open().await?),
        };
        let bare = self.services;
        #[cfg(feature = "http")]
        let bare = match self.http {
            Some(config) => {
                let client = crate::http::HttpClient::new(config)?;
                Services { http: Arc::new(client), ..bare }
            }
            None => bare,
        };
        #[cfg(feature = "secrets")]
        let bare = match self.secrets {
            Some(keys) => {
                let sealed = crate::secrets::SealedSecrets::new(keys, self.backend.secrets());
                Services { secrets: Arc::new(sealed), ..bare }
            }
            None => bare,
        };
        let services = guard::guarded(bare, &door);
        #[cfg(feature = "files")]
        let files = Files::new(services.files.clone(), blobs.clone(), config.files.max_file_bytes);
        let broadcast = guard::guarded_broadcast(self.backend.broadcast());
        let hub = Arc::new(Hub::new(config.subscriptions.clone()));
        broadcast.listen(&(hub.clone() as Arc<dyn Listener>)).await?;
        let control = Control::start()?;
        let invoker = Arc::new(Invoker::default());
        let mut modules = vec![
            crate::log::script_module(),
            crate::kv::script_module(services.kv.clone()),
            crate::docs::script_module(services.docs.clone()),
            crate::pubsub::script_module(services.pubsub.clone(), broadcast.clone()),
            crate::queue::script_module(services.queue.clone()),
            crate::dead_letters::script_module(self.backend.outbox(), config.triggers.max_depth),
            #[cfg(feature = "files")]
            crate::files::script_module(files.clone()),
            invoke::module(invoker.clone()),
            crate::http::script_module(services.http.clone()),
            crate::secrets::script_module(services.secrets.clone()),
        ];
        #[cfg(feature = "utilities")]
        modules.extend(crate::utilities::script_modules(control.handle()));
        modules.extend(self.modules);
        let reference = Reference::of(&modules);
        let compiler = Compiler::new(control.handle().clone());
        let library = Library::new(apps.clone(), config.module_cache_size, compiler.clone());
        let toolbox = Toolbox::new(config.limits.clone(), modules)?.with_library(library);
        let cache = Arc::new(ScriptCache::new(Arc::new(toolbox), config.script_cache_size, compiler));
        let sink = self.sink.unwrap_or_else(|| self.backend.executions());
        control.spawn_writer(log.clone(), sink);
        control.spawn(apps.clone().follow(control.ending()));
        control.spawn(end_with_apps(hub.clone(), apps.clone(), control.ending()));
        control.spawn(sweep::sweep(
            self.backend.outbox(),
            self.backend.executions(),
            clock.clone(),
            config.retention.clone(),
            control.ending(),
        ));
        #[cfg(feature = "files")]
        control.spawn(sweep::sweep_files(
            records,
            blobs,
            clock.clone(),
            (config.files.orphans_after, config.retention.every),
            control.ending(),
        ));
        let executor =
            LocalExecutor::start(config.executor.clone(), cache.clone(), clock.clone(), log.clone())?;
        invoker.connect(apps.clone(), executor.downgrade());
        let courier = Courier {
            apps: apps.clone(),
            executor: executor.clone(),
            principals: self.principals.clone(),
            retry: config.triggers.retry,
            max_depth: config.triggers.max_depth,
            clock: clock.clone(),
            next_thread: Arc::default(),
        };
        let dispatcher = Dispatcher::new(self.backend.outbox(), courier, clock, config.dispatcher.clone());
        let cloud = Picloud {
            inner: Arc::new(Inner {
                backend: self.backend,
                services,
                #[cfg(feature = "files")]
                files,
                broadcast,
                hub,
                door,
                apps,
                cache,
                executor,
                dispatcher,
                log,
                reference,
                principals: self.principals,
                resolver: self.resolver,
                config,
                control,
                closing: AtomicBool::new(false),
            }),
        };
        self_test::run(&cloud).await?;
        // Last: events of earlier runs begin as soon as this node is whole.
        cloud.inner.dispatcher.start(cloud.inner.control.handle());
        Ok(cloud)
    }
}

impl fmt::Debug for PicloudBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PicloudBuilder")
            .field("backend", &self.backend)
            .field("modules", &self.modules)
            .finish_non_exhaustive()
    }
}

impl Picloud {
    /// Begins with a backend.
    pub fn builder(backend: impl Backend) -> PicloudBuilder {
        let services = Services::from_backend(&backend);
        PicloudBuilder {
            backend: Arc::new(backend),
            config: PicloudConfig::default(),
            modules: Vec::new(),
            principals: None,
            resolver: None,
            sink: None,
            services,
            #[cfg(feature = "files")]
            blobs: None,
            #[cfg(feature = "http")]
            http: None,
            #[cfg(feature = "secrets")]
            secrets: None,
        }
    }

    /// Creates an app.
    ///
    /// # Errors
    /// `app.invalid_slug`, `app.slug_taken`, and those of the backend.
    pub async fn create_app(&self, slug: &str) -> Result<App> {
        let record = AppRecord {
            id: AppId::new(),
            slug: AppSlug::new(slug)?,
            created_at: self.inner.backend.clock().now(),
        };
        self.inner.backend.catalog().create_app(&record).await?;
        self.inner.apps.reload(record.id).await?;
        Ok(self.app(record.id))
    }

    /// The app with this slug; created if there is none. For programs that set themselves up.
    ///
    /// # Errors
    /// `app.invalid_slug`, and those of the backend.
    pub async fn ensure_app(&self, slug: &str) -> Result<App> {
        if let Some(app) = self.app_by_slug(slug) {
            return Ok(app);
        }
        match self.create_app(slug).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.inner.apps.refresh().await?;
                self.app_by_slug(slug).ok_or(error)
            }
            created => created,
        }
    }

    /// A handle to an app, for host code. The app need not exist: calls then answer `app.not_found`.
    pub fn app(&self, id: AppId) -> App {
        App::new(self.clone(), id)
    }

    /// The app with this slug, if this node knows one.
    pub fn app_by_slug(&self, slug: &str) -> Option<App> {
        self.inner.apps.by_slug(slug).map(|state| self.app(state.record.id))
    }

    /// Reads the app that a request belongs to: the one that the host's resolver names, or the only one there is.
    /// `None` when there is no such app. `read` runs on the hot path and sees one snapshot: it must not wait.
    pub fn resolve_app<R>(
        &self,
        host: &str,
        headers: &http::HeaderMap,
        read: impl FnOnce(&AppState) -> R,
    ) -> Option<R> {
        let app = match &self.inner.resolver {
            Some(resolver) => Some(resolver.resolve(host, headers)?),
            None => None,
        };
        self.inner.apps.read_in_place(app, read)
    }

    /// Who sent a request with these headers. A failing look-up is logged and counts as anonymous: public
    /// traffic goes on while a store is down.
    pub async fn resolve_principal(&self, headers: &http::HeaderMap) -> Option<Arc<Principal>> {
        let resolver = self.inner.principals.as_ref()?;
        match resolver.resolve(headers).await {
            Ok(principal) => principal.map(Arc::new),
            Err(error) => {
                tracing::warn!(%error, "the principal could not be resolved; the request counts as anonymous");
                None
            }
        }
    }

    /// Whether somebody was named who knows callers by their headers; without, all are anonymous.
    pub fn resolves_principals(&self) -> bool {
        self.inner.principals.is_some()
    }

    /// The apps as this node sees them.
    pub fn apps(&self) -> &Arc<Apps> {
        &self.inner.apps
    }

    /// Runs scripts.
    pub fn executor(&self) -> &LocalExecutor {
        &self.inner.executor
    }

    /// The services, guarded: with the checks that scripts meet.
    pub fn services(&self) -> &Services {
        &self.inner.services
    }

    /// The files of all apps, records and bytes together, guarded as the services are.
    #[cfg(feature = "files")]
    pub fn files(&self) -> &Files {
        &self.inner.files
    }

    /// The settings in force.
    pub fn config(&self) -> &PicloudConfig {
        &self.inner.config
    }

    /// The records of executions on their way to the sink.
    pub fn execution_log(&self) -> &ExecutionLog {
        &self.inner.log
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    pub(crate) fn broadcast(&self) -> &dyn Broadcast {
        &*self.inner.broadcast
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// How many listen on this node, as [`App::subscribe`] and clients with an open stream do.
    pub fn subscribers(&self) -> usize {
        self.inner.hub.subscribers()
    }

    /// Ends every [`Subscription`](crate::pubsub::Subscription), and takes no more: for hosts whose own server waits for
    /// open responses when it stops. [`shutdown`](Self::shutdown) does it as well.
    pub fn end_streams(&self) {
        self.inner.hub.close();
    }

    pub(crate) fn cache(&self) -> &ScriptCache {
        &self.inner.cache
    }

    pub(crate) fn door(&self) -> &Door {
        &self.inner.door
    }

    /// Whether this node can serve.
    ///
    /// # Errors
    /// Why it cannot: `closed` once shutdown has begun, `executor.stuck` when an executor thread does not take its turns,
    /// or the backend's answer.
    pub async fn ready(&self) -> Result<()> {
        if self.inner.closing.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "closed", "this node is shutting down"));
        }
        self.inner.executor.responds().await?;
        self.inner.backend.ready().await
    }

    /// Completes when no event is due and none is being handled, those that handlers caused included. What waits for its
    /// time (a retry, say) is left to wait: move the clock, and call it again. For tests of host applications.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picloud_core::Picloud;
    /// use picloud_core::script::Bundle;
    /// use picloud_memory::MemoryBackend;
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (backend, clock) = MemoryBackend::with_test_clock();
    /// let cloud = Picloud::builder(backend).start().await?;
    /// let app = cloud.create_app("shop").await?;
    /// let source = r#"
    ///     //! on kv orders insert
    ///     if ctx.event.attempt == 1 { throw "not yet"; }
    ///     kv::collection("seen").set(ctx.event.kv.key, ctx.event.attempt);
    /// "#;
    /// app.deploy(&Bundle::new().file("audit", source)?).await?;
    ///
    /// app.kv("orders")?.set("42", &"two apples").await?;
    /// cloud.run_until_idle().await?;
    /// assert_eq!(app.kv("seen")?.get::<i64>("42").await?, None);
    ///
    /// // The handler failed and is tried again after about a second.
    /// clock.advance(Duration::from_secs(2));
    /// cloud.run_until_idle().await?;
    /// assert_eq!(app.kv("seen")?.get::<i64>("42").await?, Some(2));
    /// # cloud.shutdown(Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `dispatcher.disabled` in a process that handles no events; `closed` once shutdown has begun.
    pub async fn run_until_idle(&self) -> Result<()> {
        if !self.inner.config.dispatcher.enabled {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "dispatcher.disabled",
                "this process handles no events: dispatcher.enabled is false",
            ));
        }
        self.inner.dispatcher.idle().await
    }

    /// What scripts here can call, our modules and the host's, for people and editors.
    pub fn reference(&self) -> &Reference {
        &self.inner.reference
    }

    /// The versions of the five surfaces, as `GET /version` answers them.
    pub fn version(&self) -> Version {
        Version {
            product: env!("CARGO_PKG_VERSION"),
            sdk: SDK_VERSION,
            api: 1,
            schema: self.inner.backend.schema_version(),
            wire: 1,
            public_base_url: self.inner.config.public_base_url.clone(),
        }
    }

    /// Refuses new executions, waits up to `deadline` for those under way, ends what is left, hands the last
    /// records to the sink, and joins every thread. Calling it again does nothing.
    ///
    /// Dropping the future abandons the wait, not the shutdown.
    pub async fn shutdown(&self, deadline: Duration) {
        if self.inner.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        // A task of its own: whoever gives up waiting does not stop it half way.
        let cloud = self.clone();
        if tokio::spawn(async move { cloud.shut_down(deadline).await }).await.is_err() {
            tracing::error!("the shutdown panicked, or its runtime ended before it");
        }
    }

    async fn shut_down(&self, deadline: Duration) {
        let inner = &self.inner;
        inner.hub.close();
        inner.dispatcher.stop();
        inner.executor.shutdown(deadline).await;
        inner.executor.end();
        // The threads hand over their last records before they end.
        let executor = inner.executor.clone();
        join("executor", move || executor.join()).await;
        inner.dispatcher.finish().await;
        inner.control.drain(&inner.log).await;
        inner.control.end();
        let ending = self.inner.clone();
        join("control", move || ending.control.join()).await;
        inner.backend.close().await;
    }
}

/// Ends the subscriptions of apps that are deleted, until the end.
async fn end_with_apps(hub: Arc<Hub>, apps: Arc<Apps>, mut ending: watch::Receiver<bool>) {
    let mut changes = apps.changes();
    while let Some(Ok(())) = unless_ended(&mut ending, changes.changed()).await {
        hub.keep_apps(|app| apps.get(app).is_some());
    }
}

/// How long to wait for a thread that was told to end: one that is stuck in a host's function is left behind.
const JOIN: Duration = Duration::from_secs(10);

async fn join(what: &'static str, work: impl FnOnce() + Send + 'static) {
    match tokio::time::timeout(JOIN, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::error!(what, "joining the threads panicked"),
        Err(_) => tracing::error!(what, "a thread does not end; it is left behind"),
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.hub.close();
        self.dispatcher.stop();
        self.executor.end();
        self.control.end();
    }
}

impl fmt::Debug for Picloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picloud")
            .field("backend", &self.inner.backend)
            .field("executor", &self.inner.executor)
            .finish_non_exhaustive()
    }
}

/// The versions of the five surfaces.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Version {
    /// All crates, in lockstep.
    pub product: &'static str,
    /// What scripts see.
    pub sdk: &'static str,
    /// The HTTP API.
    pub api: u32,
    /// The latest migration of the backend.
    pub schema: u32,
    /// Payloads in the outbox and between nodes.
    pub wire: u32,
    /// The host's public address, if it said so.
    pub public_base_url: Option<String>,
}
