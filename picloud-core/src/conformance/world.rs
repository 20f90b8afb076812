//! The world of one case.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Collection, Documents, Records};
use crate::app::{AppRecord, AppSlug};
use crate::catalog::CatalogChange;
use crate::kv::KvService;
use crate::outbox::{FanoutRow, OutboxRow, Revision};
use crate::{
    AppId, Backend, CallCx, CxInner, Error, Json, Result, RouteId, Services, Timestamp, Transaction,
};

type Hook<I, O> = Box<dyn Fn(I) -> Pin<Box<dyn Future<Output = O> + Send>> + Send + Sync>;

/// A backend, and what a case does to it from outside.
pub struct World {
    backend: Arc<dyn Backend>,
    pass_time: Option<Hook<Duration, ()>>,
    outbox_rows: Option<Hook<AppId, Vec<(FanoutRow, Json)>>>,
    other_node: Option<Hook<(), Arc<dyn Backend>>>,
    /// Where collections are written to, if not directly.
    within: Mutex<Option<Box<dyn Transaction>>>,
}

impl World {
    /// A world in which time passes by itself and the outbox is read through the backend.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        World { backend, pass_time: None, outbox_rows: None, other_node: None, within: Mutex::new(None) }
    }

    /// Lets time pass by calling `hook`: for backends whose clock can be moved. Without it cases wait for the
    /// backend's clock; none needs more than a few seconds.
    #[must_use]
    pub fn on_pass_time<F>(mut self, hook: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.pass_time = Some(Box::new(move |duration| Box::pin(hook(duration))));
        self
    }

    /// Shows the outbox in another way than [`Outbox::waiting`](crate::outbox::Outbox::waiting): `hook` answers the rows
    /// of an app that wait to be delivered, in any order, each as it was handed over with the payload of its event. For
    /// backends that are wrong on purpose.
    #[must_use]
    pub fn on_outbox_rows<F>(mut self, hook: impl Fn(AppId) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<(FanoutRow, Json)>> + Send + 'static,
    {
        self.outbox_rows = Some(Box::new(move |app| Box::pin(hook(app))));
        self
    }

    /// Makes another node of the same world by calling `hook`: a second backend on the same stores. Without it the backend
    /// is its own other node, as it is where all nodes are in one process.
    #[must_use]
    pub fn on_other_node<F>(mut self, hook: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Backend>> + Send + 'static,
    {
        self.other_node = Some(Box::new(move |()| Box::pin(hook())));
        self
    }

    /// Another node.
    pub(crate) async fn other_node(&self) -> Arc<dyn Backend> {
        match &self.other_node {
            Some(hook) => hook(()).await,
            None => self.backend.clone(),
        }
    }

    /// A new transaction.
    pub(crate) async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        self.backend.transaction().await
    }

    /// The same world, whose collections are those of one transaction.
    pub(crate) async fn within_transaction(self) -> Result<Self> {
        let within = Mutex::new(Some(self.transaction().await?));
        Ok(World { within, ..self })
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) async fn pass_time(&self, duration: Duration) {
        match &self.pass_time {
            Some(hook) => hook(duration).await,
            None => self.backend.clock().sleep(duration).await,
        }
    }

    /// The rows of an app that wait to be delivered. Ends the transaction that the collections are in, if they are in
    /// one: its rows are not to be seen before.
    pub(crate) async fn outbox_rows(&self, app: AppId) -> Result<Vec<(FanoutRow, Json)>> {
        let within = self.within.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(within) = within {
            within.commit().await?;
        }
        match &self.outbox_rows {
            Some(hook) => Ok(hook(app).await),
            None => {
                let rows = self.backend.outbox().waiting(app, MOST_ROWS).await?;
                rows.into_iter().map(handed_over).collect()
            }
        }
    }

    /// The time now, as precisely as every backend can keep it.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.backend.clock().now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// An app that is not stored yet, with a slug of its own.
    pub(crate) fn unsaved_app(&self) -> Result<AppRecord> {
        let id = AppId::new();
        Ok(AppRecord { id, slug: AppSlug::new(format!("case-{id}"))?, created_at: self.now() })
    }

    /// A new app.
    pub(crate) async fn app(&self) -> Result<AppId> {
        let app = self.unsaved_app()?;
        self.backend.catalog().create_app(&app).await?;
        Ok(app.id)
    }

    /// Changes a new app: its revision is another one then.
    pub(crate) async fn change_app(&self, app: AppId) -> Result<Revision> {
        let script = crate::catalog::suite::script(self, "a script")?;
        let changes = [CatalogChange::PutScript(script), CatalogChange::DeleteRoute(RouteId::new())];
        self.backend.catalog().apply(app, &changes, Revision(0)).await
    }

    /// A collection of a new app.
    pub(crate) async fn collection(&self) -> Result<Collection> {
        self.collection_of(self.app().await?)
    }

    /// The same collection of any app.
    pub(crate) fn collection_of(&self, app: AppId) -> Result<Collection> {
        self.collection_in(self.services().kv, app)
    }

    /// The services that cases use: those of the transaction, if there is one.
    fn services(&self) -> Services {
        let within = self.within.lock().unwrap_or_else(PoisonError::into_inner);
        within.as_ref().map_or_else(|| Services::from_backend(&*self.backend), |within| within.services())
    }

    /// A collection of documents of a new app.
    pub(crate) async fn documents(&self) -> Result<Documents> {
        self.documents_of(self.app().await?)
    }

    /// The same collection of documents of any app.
    pub(crate) fn documents_of(&self, app: AppId) -> Result<Documents> {
        self.documents_in(&self.services(), app)
    }

    /// The same collection of documents of any app, by these services.
    pub(crate) fn documents_in(&self, services: &Services, app: AppId) -> Result<Documents> {
        Documents::new(services.docs.clone(), self.cx(app), "things")
    }

    /// A collection of files of a new app.
    pub(crate) async fn files(&self) -> Result<Records> {
        Records::new(self.services().files, self.cx(self.app().await?), "things")
    }

    pub(crate) fn cx(&self, app: AppId) -> CallCx {
        let mut inner = CxInner::new(app);
        inner.clock = self.backend.clock();
        CallCx::from(inner)
    }

    /// The same collection of any app, by this service.
    pub(crate) fn collection_in(&self, kv: Arc<dyn KvService>, app: AppId) -> Result<Collection> {
        Collection::new(kv, self.cx(app), "things")
    }
}

/// More than any case stores.
const MOST_ROWS: usize = 10_000;

/// What a write handed over, as its row tells.
fn handed_over(row: OutboxRow) -> Result<(FanoutRow, Json)> {
    let payload: serde_json::Value = row.payload.to_value()?;
    let op = match payload.get("op").and_then(serde_json::Value::as_str) {
        Some("insert") => "insert",
        Some("update") => "update",
        Some("delete") => "delete",
        Some("create") => "create",
        other => return Err(Error::internal(format!("the payload of a row has the op {other:?}"))),
    };
    let trigger = row.trigger.ok_or_else(|| Error::internal("a row without a trigger"))?;
    Ok((FanoutRow { op, trigger, script: row.script }, row.payload))
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("backend", &self.backend).finish_non_exhaustive()
    }
}
