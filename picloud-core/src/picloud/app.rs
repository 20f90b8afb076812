//! An app, as host code uses it.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "files")]
use super::FilesCollection;
use super::{AppSecrets, DocsCollection, KvCollection, Picloud};
use crate::app::AppState;
use crate::authz::{Capability, Principal};
use crate::catalog::{AppSnapshot, CatalogChange};
use crate::engine::ScriptSandbox;
use crate::execution::{Answer, HttpRequest, HttpResponse, Invocation, Outcome};
#[cfg(feature = "files")]
use crate::files::Files;
use crate::guard::{self, ATTEMPTS, app_busy, no_such_app};
use crate::outbox::{self, DeadLetter, DeadLetterListOptions, EventKind, Fanout, OutboxRow, Resolution};
use crate::page::Page;
use crate::pubsub::{EventStream, Subscription, Topic};
use crate::queue::{QueueName, SendOptions};
use crate::route::{DispatchMode, RouteMatch, normalize_path};
use crate::script::deploy::Deployer;
use crate::script::{
    Bundle, DeployError, DeployReport, Owner, ScriptKind, ScriptName, ScriptRecord, is_module,
};
use crate::trigger::{Registrant, RetryPolicy, TriggerKind, TriggerRecord};
use crate::{
    AppId, CallCx, CxInner, Error, ErrorKind, EventId, ExecutionId, Json, RequestId, Result, Services,
    Timestamp, TraceId, Transaction, TriggerId,
};

/// An app, for host code: deploy scripts, run them, use its services. Calls are made by the host: no principal,
/// no deadline. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct App {
    cloud: Picloud,
    id: AppId,
}

impl App {
    pub(super) fn new(cloud: Picloud, id: AppId) -> Self {
        App { cloud, id }
    }

    /// The id.
    pub fn id(&self) -> AppId {
        self.id
    }

    /// The app as this node sees it.
    ///
    /// # Errors
    /// `app.not_found`.
    pub fn state(&self) -> Result<Arc<AppState>> {
        self.cloud.apps().get(self.id).ok_or_else(|| no_such_app(self.id))
    }

    /// The context of a call by the host.
    pub fn cx(&self) -> CallCx {
        let mut inner = CxInner::new(self.id);
        inner.clock = self.cloud.backend().clock();
        inner.principal = Some(Arc::new(Principal::host(self.id)));
        inner.into()
    }

    /// Makes the app's deployed scripts and routes those of `bundle`, all at once or not at all, and live when this
    /// returns. What was made by other means is left alone.
    ///
    /// Then the indexes that scripts name and that are missing are declared. They are filled in the background; one that
    /// could not be declared is a warning in the report, and the next deployment tries again. None is ever dropped.
    ///
    /// # Errors
    /// [`DeployError`] with every mistake found, by file, line and column; nothing has changed then.
    pub async fn deploy(&self, bundle: &Bundle) -> Result<DeployReport, DeployError> {
        let backend = self.cloud.backend();
        let (catalog, clock, cx) = (backend.catalog(), backend.clock(), self.cx());
        let deployer = Deployer {
            apps: self.cloud.apps(),
            catalog: catalog.as_ref(),
            cache: self.cloud.cache(),
            clock: clock.as_ref(),
            docs: self.cloud.services().docs.as_ref(),
            cx: &cx,
            reserved: &self.cloud.config().reserved_prefixes,
            retry: self.cloud.config().triggers.retry,
            registered_by: Registrant::from(&Principal::host(self.id)),
        };
        deployer.deploy(self.id, bundle).await
    }

    /// A script by name.
    ///
    /// # Errors
    /// `app.not_found`, `script.not_found`.
    pub fn script(&self, name: &str) -> Result<Script> {
        let record = self.state()?.script(name).ok_or_else(|| no_such_script(name))?;
        Ok(Script { app: self.clone(), record })
    }

    /// The scripts that import a module by name, in order of their names. A name that the app does not have is fine: these
    /// are then the scripts that wait for it.
    ///
    /// # Errors
    /// `app.not_found`.
    pub fn importers(&self, module: &str) -> Result<Vec<ScriptName>> {
        let importers = self.state()?.importers(module);
        Ok(importers.iter().map(|script| script.name.clone()).collect())
    }

    /// Gives a script limits of its own, within the instance's [ceiling](crate::PicloudConfig::ceiling). Makes a new
    /// version; deploying the script again keeps them.
    ///
    /// # Errors
    /// `sandbox.above_ceiling` and `sandbox.zero`, naming the field; `script.not_found`; those of the backend.
    pub async fn set_sandbox(&self, name: &str, sandbox: ScriptSandbox) -> Result<Script> {
        self.cloud.config().ceiling.check(&sandbox)?;
        let now = self.cloud.backend().clock().now();
        self.change(|snapshot| {
            let old = snapshot.scripts.iter().find(|script| script.name.as_str() == name);
            let old = old.ok_or_else(|| no_such_script(name))?.clone();
            let version = old.version + 1;
            let new = ScriptRecord { sandbox: sandbox.clone(), version, updated_at: now, ..old };
            Ok(vec![CatalogChange::PutScript(new)])
        })
        .await?;
        self.script(name)
    }

    /// Changes the app by what `plan` makes of it as it is; planned anew when somebody else changed it meanwhile. Live on
    /// this node when it returns.
    async fn change(&self, plan: impl Fn(&AppSnapshot) -> Result<Vec<CatalogChange>>) -> Result<()> {
        let catalog = self.cloud.backend().catalog();
        for _ in 0..ATTEMPTS {
            let snapshot = catalog.snapshot(self.id).await?.ok_or_else(|| no_such_app(self.id))?;
            match catalog.apply(self.id, &plan(&snapshot)?, snapshot.revision).await {
                Err(error) if Fanout::is_stale(&error) => continue,
                Err(error) => return Err(error),
                Ok(_) => return self.cloud.apps().reload(self.id).await,
            }
        }
        Err(app_busy(ATTEMPTS))
    }

    /// Makes a script handle events. `retry` `None` takes the host's defaults; the handler runs as `registrant`, looked
    /// up at each run.
    ///
    /// # Errors
    /// `script.not_found`, `script.is_module`, `trigger.unknown_kind`, `trigger.invalid_retry`, those of
    /// [`CronTrigger::check`](crate::trigger::CronTrigger::check), `forbidden` when the registrant may not manage
    /// triggers of this app; those of the backend.
    pub async fn create_trigger(
        &self,
        script: &str,
        kind: TriggerKind,
        retry: Option<RetryPolicy>,
        registrant: &Principal,
    ) -> Result<TriggerId> {
        if kind == TriggerKind::Unknown {
            return Err(Error::invalid(
                "trigger.unknown_kind",
                "a trigger needs a kind that this version knows",
            ));
        }
        if !registrant.allows(Capability::AppManageTriggers, Some(self.id)) {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "forbidden",
                "AppManageTriggers is needed to register a trigger",
            )
            .with("principal", &registrant.name));
        }
        let retry = retry.unwrap_or(self.cloud.config().triggers.retry);
        retry.check()?;
        kind.check()?;
        let (id, now) = (TriggerId::new(), self.cloud.backend().clock().now());
        self.change(|snapshot| {
            let target = snapshot.scripts.iter().find(|found| found.name.as_str() == script);
            if let TriggerKind::Queue(queue) = &kind
                && let Some(taken) = queue.consumer(&snapshot.triggers)
            {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "trigger.queue_taken",
                    format!("the queue {} has a consumer already", queue.queue),
                )
                .with("trigger", taken.id));
            }
            let target = target.ok_or_else(|| no_such_script(script))?;
            if target.kind == ScriptKind::Module {
                return Err(is_module(&target.name));
            }
            Ok(vec![CatalogChange::PutTrigger(TriggerRecord {
                id,
                script: target.id,
                kind: kind.clone(),
                enabled: true,
                dispatch_mode: DispatchMode::Async,
                retry,
                registered_by: Registrant::from(registrant),
                owner: Owner::Api,
                created_at: now,
            })])
        })
        .await?;
        Ok(id)
    }

    /// Lets a trigger match, or not. What waits for a disabled one still runs.
    ///
    /// # Errors
    /// `trigger.not_found`; those of the backend.
    pub async fn enable_trigger(&self, id: TriggerId, enabled: bool) -> Result<()> {
        let now = self.cloud.backend().clock().now();
        self.change(|snapshot| {
            let old = snapshot.triggers.iter().find(|trigger| trigger.id == id);
            let old = old.ok_or_else(|| no_such_trigger(id))?;
            // What passed while it was disabled is not made up for.
            let created_at = if enabled && !old.enabled { now } else { old.created_at };
            Ok(vec![CatalogChange::PutTrigger(TriggerRecord { enabled, created_at, ..old.clone() })])
        })
        .await
    }

    /// Removes a trigger. What waits for it is dropped when its turn comes.
    ///
    /// # Errors
    /// `trigger.not_found`; those of the backend.
    pub async fn delete_trigger(&self, id: TriggerId) -> Result<()> {
        self.change(|snapshot| {
            let known = snapshot.triggers.iter().any(|trigger| trigger.id == id);
            if known { Ok(vec![CatalogChange::DeleteTrigger(id)]) } else { Err(no_such_trigger(id)) }
        })
        .await
    }

    /// Events of this app that were given up, newest first.
    ///
    /// # Errors
    /// `dead_letters.invalid_cursor`; those of the backend.
    pub async fn dead_letters(&self, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>> {
        self.cloud.backend().outbox().dead_letters(self.id, options).await
    }

    /// How many events were given up and are neither replayed nor resolved.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn open_dead_letters(&self) -> Result<u64> {
        self.cloud.backend().outbox().open_dead_letters(self.id).await
    }

    /// Sends the event of a dead letter again, with all its attempts before it.
    ///
    /// # Errors
    /// `dead_letters.not_found`, `dead_letters.already_resolved`, `dead_letters.target_gone`; those of the backend.
    pub async fn replay(&self, id: EventId) -> Result<()> {
        self.cloud.backend().outbox().replay(self.id, id, 0).await
    }

    /// Closes a dead letter.
    ///
    /// # Errors
    /// `dead_letters.not_found`, `dead_letters.already_resolved`; `dead_letters.invalid_resolution` for
    /// [`Resolution::Replayed`], which only [`replay`](Self::replay) makes true; those of the backend.
    pub async fn resolve(&self, id: EventId, resolution: Resolution) -> Result<()> {
        crate::dead_letters::resolve(&*self.cloud.backend().outbox(), self.id, id, resolution).await
    }

    /// Events of this app that wait or are being handled, oldest first.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn waiting_events(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.cloud.backend().outbox().waiting(self.id, limit).await
    }

    /// Begins a transaction: writes through it, and the events that they cause, commit together or not at all. It may
    /// stay open for [`MAX_TRANSACTION`](crate::MAX_TRANSACTION).
    ///
    /// ```
    /// # use picloud_core::Picloud;
    /// # use picloud_memory::MemoryBackend;
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cloud = Picloud::builder(MemoryBackend::new()).start().await?;
    /// # let app = cloud.create_app("shop").await?;
    /// let tx = app.transaction().await?;
    /// tx.kv("stock")?.increment("apples", -2).await?;
    /// tx.kv("orders")?.set("42", &"two apples").await?;
    /// assert_eq!(app.kv("orders")?.get::<String>("42").await?, None);
    ///
    /// tx.commit().await?;
    /// assert_eq!(app.kv("orders")?.get::<String>("42").await?.as_deref(), Some("two apples"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn transaction(&self) -> Result<AppTransaction> {
        let inner = self.cloud.backend().transaction().await?;
        let services = guard::guarded(inner.services(), self.cloud.door());
        Ok(AppTransaction {
            #[cfg(feature = "files")]
            files: self.cloud.files().inside(services.files.clone()),
            inner,
            services,
            cx: self.cx(),
        })
    }

    /// Takes a request to be handled later: stored when this returns, and then run, retried and given up like any event.
    /// `request` is as a route hands it over, path and parameters included.
    ///
    /// # Errors
    /// `json.invalid` when a part that is text holds a NUL character; those of the backend.
    pub async fn accept(
        &self,
        script: &ScriptRecord,
        request: &HttpRequest,
        principal: Option<&Principal>,
    ) -> Result<Accepted> {
        let (id, request_id) = (EventId::new(), RequestId::new());
        let accepted_at = self.cloud.backend().clock().now();
        let row = OutboxRow {
            id,
            app: self.id,
            kind: EventKind::Http,
            trigger: None,
            script: script.id,
            payload: outbox::request::to_payload(request, principal)?,
            trigger_depth: 0,
            trace: TraceId::from_uuid(*request_id.as_uuid()),
            request: request_id,
            parent: None,
            occurred_at: accepted_at,
        };
        self.cloud.backend().outbox().enqueue(&row).await?;
        Ok(Accepted { accepted_at, execution_id: ExecutionId::from_uuid(*id.as_uuid()) })
    }

    /// Sends a request to the script whose route matches it, by the host, path and method in it, and waits for the
    /// answer: the way of a request without the server. The path is normalised first; `params` and `rest` are filled in.
    ///
    /// # Errors
    /// `route.invalid_path`, `route.not_found`, `route.method_not_allowed`; `script.failed` with the failure as its
    /// source.
    pub async fn request(&self, mut request: HttpRequest) -> Result<HttpResponse> {
        let state = self.state()?;
        let path = normalize_path(&request.path).map_err(|error| {
            Error::invalid("route.invalid_path", error.to_string()).with("path", &request.path)
        })?;
        let mut later = false;
        let record = match state.routes().find(&request.host, &path, &request.method) {
            RouteMatch::Found { route, params, rest } => {
                (request.params, request.rest) = (params, rest);
                later = route.dispatch_mode == DispatchMode::Async;
                state.script_by_id(route.script)
            }
            RouteMatch::MethodNotAllowed { allow } | RouteMatch::Options { allow } => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "route.method_not_allowed",
                    format!("this path answers {allow}, not {}", request.method),
                ));
            }
            RouteMatch::NotFound => None,
        };
        let record = record.ok_or_else(|| {
            Error::not_found("route.not_found", "no route for this path").with("path", &request.path)
        })?;
        request.path = path.into_string();
        if later {
            return self.accept(&record, &request, None).await?.into_response();
        }
        Script { app: self.clone(), record }.request(request).await
    }

    /// The app's secrets.
    ///
    /// ```
    /// # use picloud_core::Picloud;
    /// # use picloud_memory::MemoryBackend;
    /// # #[cfg(feature = "secrets")]
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use picloud_core::secrets::SecretKeys;
    ///
    /// let key = [7; 32]; // from where the host keeps its own
    /// let cloud = Picloud::builder(MemoryBackend::new()).secrets(SecretKeys::new("2026", &key)?).start().await?;
    /// let app = cloud.create_app("shop").await?;
    /// app.secrets().set("mail", "key-123", ["api.mail.example"]).await?;
    /// assert_eq!(app.secrets().list().await?[0].name.as_str(), "mail");
    /// # Ok(()) }
    /// # #[cfg(not(feature = "secrets"))] fn main() {}
    /// ```
    pub fn secrets(&self) -> AppSecrets {
        AppSecrets::new(self.cloud.services(), self.cx())
    }

    /// Publishes a message to every trigger whose pattern matches the topic; answers how many these are. It is stored
    /// when this returns.
    ///
    /// # Errors
    /// `pubsub.invalid_topic`, `pubsub.message_too_large`, `json.invalid`, and those of the backend.
    pub async fn publish(&self, topic: &str, message: &(impl Serialize + ?Sized)) -> Result<u64> {
        publish(self.cloud.services(), &self.cx(), topic, message).await
    }

    /// Sends a message to the script that consumes the queue; answers its id, `None` only where a loop was cut. It is stored
    /// when this returns.
    ///
    /// # Errors
    /// `queue.no_consumer`, `queue.invalid_name`, `queue.invalid_delay`, `queue.message_too_large`, `json.invalid`, and those
    /// of the backend.
    pub async fn send(
        &self,
        queue: &str,
        message: &(impl Serialize + ?Sized),
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        send(self.cloud.services(), &self.cx(), queue, message, options).await
    }

    /// Publishes a message to whoever listens just now, on any node: at most once, and stored nowhere. Messages that one
    /// caller publishes one after the other are heard in that order.
    ///
    /// # Errors
    /// `pubsub.invalid_topic`, `pubsub.message_too_large` above
    /// [`MAX_EPHEMERAL_BYTES`](crate::pubsub::MAX_EPHEMERAL_BYTES), `json.invalid`, and `pubsub.overloaded` while too much
    /// is on its way to other nodes; nobody hears it then.
    pub fn publish_ephemeral(&self, topic: &str, message: &(impl Serialize + ?Sized)) -> Result<()> {
        let (topic, message) = (Topic::new(topic)?, Json::from_value(message)?);
        self.cloud.broadcast().publish_ephemeral(&self.cx(), &topic, &message)
    }

    /// Listens to what [`publish_ephemeral`](Self::publish_ephemeral) and scripts publish from now on. `stream` says which
    /// topics: it may be the answer of a script, as [`HttpResponse::stream`] has it. Nobody is asked whether they may hear
    /// it: the script that answered it did so.
    ///
    /// ```
    /// # use picloud_core::Picloud;
    /// # use picloud_memory::MemoryBackend;
    /// use picloud_core::pubsub::{EventStream, Heard};
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cloud = Picloud::builder(MemoryBackend::new()).start().await?;
    /// # let app = cloud.create_app("shop").await?;
    /// let mut orders = app.subscribe(&EventStream::new(["order.*"])?)?;
    /// app.publish_ephemeral("order.paid", &42)?;
    ///
    /// let Some(Heard::Message(paid)) = orders.next().await else { panic!("it is there") };
    /// assert_eq!((paid.topic.as_str(), paid.message.as_str()), ("order.paid", "42"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `app.not_found`, `pubsub.too_many_subscribers`, and `closed` once [`Picloud::end_streams`] or shutdown was called.
    pub fn subscribe(&self, stream: &EventStream) -> Result<Subscription> {
        let subscription = self.cloud.hub().subscribe(self.id, stream)?;
        // Afterwards: an app that goes meanwhile ends what is there.
        self.state()?;
        Ok(subscription)
    }

    /// A collection of the app's KV.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    pub fn kv(&self, collection: &str) -> Result<KvCollection> {
        KvCollection::new(self.cloud.services(), self.cx(), collection)
    }

    /// A collection of the app's documents.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    pub fn docs(&self, collection: &str) -> Result<DocsCollection> {
        DocsCollection::new(self.cloud.services(), self.cx(), collection)
    }

    /// A collection of the app's files.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    #[cfg(feature = "files")]
    pub fn files(&self, collection: &str) -> Result<FilesCollection> {
        FilesCollection::new(self.cloud.files().clone(), self.cx(), collection)
    }
}

#[cfg(feature = "files")]
impl App {
    /// A response with all bytes of its file, if it has one.
    async fn with_file(&self, mut response: HttpResponse) -> Result<HttpResponse> {
        let Some(file) = response.file.take() else { return Ok(response) };
        let answer = self.cloud.files().respond(&file, response.status, response.headers).await?;
        let mut body = Vec::new();
        if let Some(mut source) = answer.body {
            while let Some(piece) = source.next().await? {
                body.extend_from_slice(&piece);
            }
        }
        Ok(HttpResponse::new(answer.status, answer.headers, body.into()))
    }
}

/// A request that was taken to be handled later: what a `202` answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// When it was stored.
    pub accepted_at: Timestamp,
    /// The execution, as the execution log will name its first attempt.
    pub execution_id: ExecutionId,
}

impl Accepted {
    /// The response: `202` with a JSON body.
    ///
    /// # Errors
    /// None that are known.
    pub fn into_response(self) -> Result<HttpResponse> {
        let body = Json::from_value(&self)?;
        let json = http::HeaderValue::from_static("application/json");
        let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, json)]);
        Ok(HttpResponse::new(http::StatusCode::ACCEPTED, headers, body.as_str().to_owned().into()))
    }
}

/// An open transaction of an app, for host code. Dropped without [`commit`](AppTransaction::commit) it leaves nothing.
#[derive(Debug)]
pub struct AppTransaction {
    inner: Box<dyn Transaction>,
    services: Services,
    #[cfg(feature = "files")]
    files: Files,
    cx: CallCx,
}

async fn publish(
    services: &Services,
    cx: &CallCx,
    topic: &str,
    message: &(impl Serialize + ?Sized),
) -> Result<u64> {
    let (topic, message) = (Topic::new(topic)?, Json::from_value(message)?);
    services.pubsub.publish_durable(cx, &topic, &message).await
}

async fn send(
    services: &Services,
    cx: &CallCx,
    queue: &str,
    message: &(impl Serialize + ?Sized),
    options: &SendOptions,
) -> Result<Option<EventId>> {
    let (queue, message) = (QueueName::new(queue)?, Json::from_value(message)?);
    services.queue.send(cx, &queue, &message, options).await
}

impl AppTransaction {
    /// As [`App::send`], inside: nobody gets it before the commit.
    ///
    /// # Errors
    /// As [`App::send`].
    pub async fn send(
        &self,
        queue: &str,
        message: &(impl Serialize + ?Sized),
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        send(&self.services, &self.cx, queue, message, options).await
    }

    /// As [`App::publish`], inside: nobody hears of it before the commit.
    ///
    /// # Errors
    /// As [`App::publish`].
    pub async fn publish(&self, topic: &str, message: &(impl Serialize + ?Sized)) -> Result<u64> {
        publish(&self.services, &self.cx, topic, message).await
    }

    /// A collection of the app's KV, inside.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    pub fn kv(&self, collection: &str) -> Result<KvCollection> {
        KvCollection::new(&self.services, self.cx.clone(), collection)
    }

    /// A collection of the app's documents, inside.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    pub fn docs(&self, collection: &str) -> Result<DocsCollection> {
        DocsCollection::new(&self.services, self.cx.clone(), collection)
    }

    /// A collection of the app's files, inside: bytes are stored at once, and found by others after the commit. Bytes that
    /// nothing refers to afterwards are left to the [sweep](crate::files::sweep()).
    ///
    /// # Errors
    /// `collection.invalid_name`.
    #[cfg(feature = "files")]
    pub fn files(&self, collection: &str) -> Result<FilesCollection> {
        FilesCollection::new(self.files.clone(), self.cx.clone(), collection)
    }

    /// The services, inside, guarded as those of the app.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Makes everything permanent and visible, with the events of all of it.
    ///
    /// # Errors
    /// `tx.closed` when it was open for too long; those of the backend.
    pub async fn commit(self) -> Result<()> {
        self.inner.commit().await
    }
}

/// A script at the version that was current when it was looked up.
#[derive(Debug, Clone)]
pub struct Script {
    app: App,
    record: Arc<ScriptRecord>,
}

impl Script {
    /// The script as it is stored.
    pub fn record(&self) -> &Arc<ScriptRecord> {
        &self.record
    }

    /// An invocation of the script, to be changed and handed to [`Script::execute`].
    pub fn invocation(&self) -> Invocation {
        Invocation::new(self.app.id, self.record.clone())
    }

    fn check_kind(&self) -> Result<()> {
        if self.record.kind == ScriptKind::Module { Err(is_module(&self.record.name)) } else { Ok(()) }
    }

    /// Runs the script, whatever it comes to. A module comes to a failure of class `compile`.
    pub async fn execute(&self, invocation: Invocation) -> Outcome {
        self.app.cloud.executor().run(invocation).await
    }

    /// Runs the script with a payload, its `ctx.request.body`, and reads its answer.
    ///
    /// # Errors
    /// `script.failed` with the failure as its source, `script.is_module`, `json.mismatch` when the answer has another shape.
    pub async fn call<T: DeserializeOwned>(&self, payload: &(impl Serialize + ?Sized)) -> Result<T> {
        self.check_kind()?;
        let payload = Json::from_value(payload)?;
        let outcome = self.execute(self.invocation().payload(payload)).await;
        match outcome.result {
            Ok(Answer::Value(value)) => value.to_value(),
            Ok(Answer::Response(_)) => Err(Error::internal("a call was answered with a response")),
            Err(failure) => Err(failed(&self.record, failure)),
        }
    }

    /// Runs the script with a request, as if a route had matched it.
    ///
    /// # Errors
    /// `script.failed` with the failure as its source, `script.is_module`.
    pub async fn request(&self, request: HttpRequest) -> Result<HttpResponse> {
        self.check_kind()?;
        let outcome = self.execute(self.invocation().request(request)).await;
        match outcome.result {
            #[cfg(feature = "files")]
            Ok(Answer::Response(response)) => self.app.with_file(response).await,
            #[cfg(not(feature = "files"))]
            Ok(Answer::Response(response)) => Ok(response),
            Ok(Answer::Value(_)) => Err(Error::internal("a request was answered with a value")),
            Err(failure) => Err(failed(&self.record, failure)),
        }
    }
}

fn no_such_trigger(id: TriggerId) -> Error {
    Error::not_found("trigger.not_found", "the app has no such trigger").with("trigger", id)
}

fn no_such_script(name: &str) -> Error {
    Error::not_found("script.not_found", "the app has no script of that name").with("name", name)
}

fn failed(script: &ScriptRecord, failure: crate::execution::Failure) -> Error {
    Error::new(ErrorKind::Internal, "script.failed", failure.to_string())
        .with("script", &script.name)
        .caused_by(failure)
}
