//! An app, as host code uses it.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Picloud;
use crate::app::AppState;
use crate::authz::Principal;
use crate::catalog::CatalogChange;
use crate::engine::ScriptSandbox;
use crate::execution::{Answer, HttpRequest, HttpResponse, Invocation, Outcome};
use crate::guard::{ATTEMPTS, app_busy, no_such_app};
use crate::kv::{Key, KvService, KvServiceExt, ListOptions, SetOptions};
use crate::outbox::Fanout;
use crate::page::Page;
use crate::route::{RouteMatch, normalize_path};
use crate::script::deploy::Deployer;
use crate::script::{Bundle, DeployError, DeployReport, ScriptRecord};
use crate::{AppId, CallCx, CollectionName, CxInner, Error, ErrorKind, Json, Result};

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
    /// # Errors
    /// [`DeployError`] with every mistake found, by file, line and column; nothing has changed then.
    pub async fn deploy(&self, bundle: &Bundle) -> Result<DeployReport, DeployError> {
        let backend = self.cloud.backend();
        let (catalog, clock) = (backend.catalog(), backend.clock());
        let deployer = Deployer {
            apps: self.cloud.apps(),
            catalog: catalog.as_ref(),
            cache: self.cloud.cache(),
            clock: clock.as_ref(),
            reserved: &self.cloud.config().reserved_prefixes,
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

    /// Gives a script limits of its own, within the instance's [ceiling](crate::PicloudConfig::ceiling). Makes a new
    /// version; deploying the script again keeps them.
    ///
    /// # Errors
    /// `sandbox.above_ceiling` and `sandbox.zero`, naming the field; `script.not_found`; those of the backend.
    pub async fn set_sandbox(&self, name: &str, sandbox: ScriptSandbox) -> Result<Script> {
        self.cloud.config().ceiling.check(&sandbox)?;
        let (catalog, clock) = (self.cloud.backend().catalog(), self.cloud.backend().clock());
        for _ in 0..ATTEMPTS {
            let snapshot = catalog.snapshot(self.id).await?.ok_or_else(|| no_such_app(self.id))?;
            let old = snapshot.scripts.into_iter().find(|script| script.name.as_str() == name);
            let old = old.ok_or_else(|| no_such_script(name))?;
            let version = old.version + 1;
            let new = ScriptRecord { sandbox: sandbox.clone(), version, updated_at: clock.now(), ..old };
            match catalog.apply(self.id, &[CatalogChange::PutScript(new)], snapshot.revision).await {
                Err(error) if Fanout::is_stale(&error) => continue,
                Err(error) => return Err(error),
                Ok(_) => {
                    self.cloud.apps().reload(self.id).await?;
                    return self.script(name);
                }
            }
        }
        Err(app_busy(ATTEMPTS))
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
        let record = match state.routes().find(&request.host, &path, &request.method) {
            RouteMatch::Found { route, params, rest } => {
                (request.params, request.rest) = (params, rest);
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
        Script { app: self.clone(), record }.request(request).await
    }

    /// A collection of the app's KV.
    ///
    /// # Errors
    /// `collection.invalid_name`.
    pub fn kv(&self, collection: &str) -> Result<KvCollection> {
        Ok(KvCollection {
            kv: self.cloud.services().kv.clone(),
            cx: self.cx(),
            name: CollectionName::new(collection)?,
        })
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

    /// Runs the script, whatever it comes to.
    pub async fn execute(&self, invocation: Invocation) -> Outcome {
        self.app.cloud.executor().run(invocation).await
    }

    /// Runs the script with a payload, its `ctx.request.body`, and reads its answer.
    ///
    /// # Errors
    /// `script.failed` with the failure as its source, `json.mismatch` when the answer has another shape.
    pub async fn call<T: DeserializeOwned>(&self, payload: &(impl Serialize + ?Sized)) -> Result<T> {
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
    /// `script.failed` with the failure as its source.
    pub async fn request(&self, request: HttpRequest) -> Result<HttpResponse> {
        let outcome = self.execute(self.invocation().request(request)).await;
        match outcome.result {
            Ok(Answer::Response(response)) => Ok(response),
            Ok(Answer::Value(_)) => Err(Error::internal("a request was answered with a value")),
            Err(failure) => Err(failed(&self.record, failure)),
        }
    }
}

fn no_such_script(name: &str) -> Error {
    Error::not_found("script.not_found", "the app has no script of that name").with("name", name)
}

fn failed(script: &ScriptRecord, failure: crate::execution::Failure) -> Error {
    Error::new(ErrorKind::Internal, "script.failed", failure.to_string())
        .with("script", &script.name)
        .caused_by(failure)
}

/// A collection of an app's KV, for host code: keys as text, values as anything that serde knows. The contract is
/// that of [`KvService`].
#[derive(Debug, Clone)]
pub struct KvCollection {
    kv: Arc<dyn KvService>,
    cx: CallCx,
    name: CollectionName,
}

impl KvCollection {
    /// The value, or `None`.
    ///
    /// # Errors
    /// `kv.invalid_key`, `json.mismatch`, and those of the backend.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.kv.get(&self.cx, &self.name, &Key::new(key)?).await?;
        value.map(|value| value.to_value()).transpose()
    }

    /// Whether the key is present.
    ///
    /// # Errors
    /// `kv.invalid_key`, and those of the backend.
    pub async fn has(&self, key: &str) -> Result<bool> {
        self.kv.has(&self.cx, &self.name, &Key::new(key)?).await
    }

    /// Writes a value, without a time to live.
    ///
    /// # Errors
    /// `kv.invalid_key`, `kv.value_too_large`, `json.invalid`, and those of the backend.
    pub async fn set(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.set_with(key, value, &SetOptions::default()).await
    }

    /// Writes a value, with options.
    ///
    /// # Errors
    /// As [`set`](Self::set), and `kv.invalid_ttl`.
    pub async fn set_with(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        options: &SetOptions,
    ) -> Result<()> {
        self.kv.set(&self.cx, &self.name, &Key::new(key)?, &Json::from_value(value)?, options).await
    }

    /// Removes an entry; answers whether it was present.
    ///
    /// # Errors
    /// `kv.invalid_key`, and those of the backend.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        self.kv.delete(&self.cx, &self.name, &Key::new(key)?).await
    }

    /// Adds to an integer and answers the sum.
    ///
    /// # Errors
    /// `kv.not_an_integer`, `kv.overflow`, `kv.invalid_key`, and those of the backend.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.kv.increment(&self.cx, &self.name, &Key::new(key)?, by).await
    }

    /// A page of entries in byte order of the key.
    ///
    /// # Errors
    /// `kv.invalid_cursor`, and those of the backend.
    pub async fn list(&self, options: &ListOptions) -> Result<Page<crate::kv::Entry>> {
        self.kv.list(&self.cx, &self.name, options).await
    }
}
