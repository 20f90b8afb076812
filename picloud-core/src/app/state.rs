//! The apps as this node sees them: snapshots that requests read without locks.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::AppRecord;
use crate::catalog::{AppSnapshot, Catalog};
use crate::engine::library::ModuleSource;
use crate::guard::FanoutSource;
use crate::ids::IdMap;
use crate::outbox::{EventSource, Fanout, OutboxRow, Revision};
use crate::route::{RoutePatterns, RouteTable};
use crate::script::{ModuleName, ScriptRecord};
use crate::trigger::{TriggerRecord, TriggerTable};
use crate::{AppId, Result, ScriptId, TriggerId};

/// One app at one revision, laid out for requests. Immutable: a change makes a new one.
pub struct AppState {
    /// The app.
    pub record: AppRecord,
    /// The revision that this is.
    pub revision: Revision,
    scripts: IdMap<ScriptId, Arc<ScriptRecord>>,
    names: HashMap<Arc<str>, ScriptId>,
    routes: RouteTable,
    triggers: TriggerTable,
    has_queues: bool,
    imports: HashMap<ScriptId, Vec<ModuleName>>,
}

impl AppState {
    fn new(snapshot: AppSnapshot) -> Result<Self> {
        // A row that was changed behind our back must not take the whole app down.
        let valid = snapshot.routes.into_iter().filter(|route| match RoutePatterns::of(route) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(app = %snapshot.app.id, route = %route.id, %error, "a stored route is not valid and is passed over");
                false
            }
        });
        let routes = RouteTable::build(valid)?;
        let names = snapshot.scripts.iter().map(|script| (script.name.to_shared(), script.id)).collect();
        let scripts = snapshot.scripts.into_iter().map(|script| (script.id, Arc::new(script))).collect();
        let triggers = TriggerTable::build(snapshot.revision, snapshot.triggers);
        let has_queues = triggers.has_queues();
        let imports = snapshot.imports.into_iter().map(|imports| (imports.script, imports.modules)).collect();
        let (record, revision) = (snapshot.app, snapshot.revision);
        Ok(AppState { record, revision, scripts, names, routes, triggers, has_queues, imports })
    }

    /// The modules that a script imports by name, in order.
    pub fn imports(&self, script: ScriptId) -> &[ModuleName] {
        self.imports.get(&script).map_or(&[], Vec::as_slice)
    }

    /// The scripts that import `module` by name, in order of their names, whether or not the app has it.
    pub fn importers(&self, module: &str) -> Vec<Arc<ScriptRecord>> {
        let names_it = |script: &&Arc<ScriptRecord>| {
            self.imports(script.id).iter().any(|import| import.as_str() == module)
        };
        let mut importers: Vec<_> = self.scripts.values().filter(names_it).cloned().collect();
        importers.sort_by(|a, b| a.name.cmp(&b.name));
        importers
    }

    /// A script by name.
    pub fn script(&self, name: &str) -> Option<Arc<ScriptRecord>> {
        self.names.get(name).and_then(|id| self.scripts.get(id)).cloned()
    }

    /// A script by id.
    pub fn script_by_id(&self, id: ScriptId) -> Option<Arc<ScriptRecord>> {
        self.scripts.get(&id).cloned()
    }

    /// Every script, in no order.
    pub fn scripts(&self) -> impl Iterator<Item = &Arc<ScriptRecord>> {
        self.scripts.values()
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// Every trigger, in no order.
    pub fn triggers(&self) -> impl Iterator<Item = &Arc<TriggerRecord>> {
        self.triggers.iter()
    }

    /// Who handles it when an event is given up: triggers with their scripts.
    pub(crate) fn dead_letter_handlers(&self, row: &OutboxRow) -> Vec<(TriggerId, ScriptId)> {
        let script = self.scripts.get(&row.script).map(|script| &script.name);
        self.triggers.dead_letter_handlers(row, script).collect()
    }

    /// Whether any trigger consumes a queue.
    pub(crate) fn has_queues(&self) -> bool {
        self.has_queues
    }

    /// A trigger by id.
    pub fn trigger(&self, id: TriggerId) -> Option<&Arc<TriggerRecord>> {
        self.triggers.get(id)
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("record", &self.record)
            .field("revision", &self.revision)
            .field("scripts", &self.scripts.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Known {
    by_id: IdMap<AppId, Arc<AppState>>,
    by_slug: HashMap<String, AppId>,
    any_queues: bool,
}

impl Known {
    fn of(states: impl Iterator<Item = Arc<AppState>>) -> Self {
        let by_id: IdMap<_, _> = states.map(|state| (state.record.id, state)).collect();
        let by_slug = by_id.values().map(|state| (state.record.slug.to_string(), state.record.id)).collect();
        let any_queues = by_id.values().any(|state: &Arc<AppState>| state.has_queues());
        Known { by_id, by_slug, any_queues }
    }
}

/// All apps as this node sees them. Reading takes no lock; changes replace the whole.
pub struct Apps {
    catalog: Arc<dyn Catalog>,
    known: ArcSwap<Known>,
    /// Grows whenever something else is known.
    changes: watch::Sender<u64>,
    /// Held while reading the catalog, so that an older answer never replaces a newer one.
    reading: Mutex<()>,
}

impl Apps {
    /// Reads every app.
    pub(crate) async fn load(catalog: Arc<dyn Catalog>) -> Result<Self> {
        let changes = watch::Sender::new(0);
        let apps = Apps { catalog, known: ArcSwap::default(), changes, reading: Mutex::new(()) };
        apps.refresh().await?;
        Ok(apps)
    }

    /// An app by id.
    pub fn get(&self, app: AppId) -> Option<Arc<AppState>> {
        self.known.load().by_id.get(&app).cloned()
    }

    /// An app by slug.
    pub fn by_slug(&self, slug: &str) -> Option<Arc<AppState>> {
        let known = self.known.load();
        known.by_slug.get(slug).and_then(|id| known.by_id.get(id)).cloned()
    }

    /// A script of any app, with its app.
    pub fn script(&self, id: ScriptId) -> Option<(Arc<AppState>, Arc<ScriptRecord>)> {
        let known = self.known.load();
        known.by_id.values().find_map(|app| app.script_by_id(id).map(|script| (app.clone(), script)))
    }

    /// Whether any trigger of any app consumes a queue.
    pub(crate) fn any_queues(&self) -> bool {
        self.known.load().any_queues
    }

    /// The app, if there is exactly one.
    pub fn only(&self) -> Option<Arc<AppState>> {
        let known = self.known.load();
        if known.by_id.len() == 1 { known.by_id.values().next().cloned() } else { None }
    }

    /// Reads an app in place, without taking hold of it: for what is asked with every request. `app` `None` asks for
    /// the only one there is.
    pub(crate) fn read_in_place<R>(
        &self,
        app: Option<AppId>,
        read: impl FnOnce(&AppState) -> R,
    ) -> Option<R> {
        let known = self.known.load();
        let state = match app {
            Some(app) => known.by_id.get(&app),
            None if known.by_id.len() == 1 => known.by_id.values().next(),
            None => None,
        };
        state.map(|state| read(state))
    }

    /// Reads one app again and puts it in place.
    ///
    /// # Errors
    /// Those of the catalog; what was known stays in place.
    pub async fn reload(&self, app: AppId) -> Result<()> {
        let _reading = self.reading.lock().await;
        let state = self.read(app).await?;
        let known = self.known.load_full();
        let others = known.by_id.values().filter(|state| state.record.id != app).cloned();
        self.store(Known::of(others.chain(state)));
        Ok(())
    }

    /// Reads what changed, in whichever app.
    ///
    /// # Errors
    /// Those of the catalog; what was known stays in place.
    pub async fn refresh(&self) -> Result<()> {
        let _reading = self.reading.lock().await;
        let known = self.known.load_full();
        let mut states = Vec::new();
        for (record, revision) in self.catalog.apps().await? {
            match known.by_id.get(&record.id) {
                Some(state) if state.revision == revision && state.record == record => {
                    states.push(state.clone())
                }
                _ => states.extend(self.read(record.id).await?),
            }
        }
        self.store(Known::of(states.into_iter()));
        Ok(())
    }

    fn store(&self, known: Known) {
        self.known.store(Arc::new(known));
        self.changes.send_modify(|number| *number = number.wrapping_add(1));
    }

    /// A number that changes whenever something else is known.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every app.
    #[cfg(feature = "cron")]
    pub(crate) fn all(&self) -> Vec<Arc<AppState>> {
        self.known.load().by_id.values().cloned().collect()
    }

    async fn read(&self, app: AppId) -> Result<Option<Arc<AppState>>> {
        let snapshot = self.catalog.snapshot(app).await?;
        snapshot.map(|snapshot| AppState::new(snapshot).map(Arc::new)).transpose()
    }

    /// Follows the changes that any node makes, until `ending` becomes true.
    pub(crate) async fn follow(self: Arc<Self>, mut ending: watch::Receiver<bool>) {
        let mut changes = self.catalog.changes();
        let mut behind = false;
        loop {
            let go_on = {
                // An error means that the other side is gone: the end as well.
                let mut ended = pin!(async { drop(ending.wait_for(|ended| *ended).await) });
                let mut changed = pin!(changes.changed());
                let mut again = pin!(tokio::time::sleep(READ_AGAIN));
                std::future::poll_fn(|cx| {
                    if ended.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(false);
                    }
                    if behind && again.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(true);
                    }
                    changed.as_mut().poll(cx).map(|changed| changed.is_ok())
                })
                .await
            };
            if !go_on {
                return;
            }
            let read = self.refresh().await;
            behind = read.is_err();
            if let Err(error) = read {
                tracing::warn!(%error, "changes to the apps could not be read; this node goes on with what it knows");
            }
        }
    }
}

/// How soon changes that could not be read are tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);

#[async_trait]
impl FanoutSource for Apps {
    fn fanout(&self, app: AppId, source: &EventSource<'_>) -> Option<Arc<Fanout>> {
        self.known.load().by_id.get(&app).map(|state| state.triggers.fanout(source))
    }

    async fn reload(&self, app: AppId) -> Result<()> {
        Apps::reload(self, app).await
    }

    fn script(&self, app: AppId, script: ScriptId) -> Option<Arc<ScriptRecord>> {
        self.known.load().by_id.get(&app)?.script_by_id(script)
    }
}

#[async_trait]
impl ModuleSource for Apps {
    fn app(&self, app: AppId) -> Option<Arc<AppState>> {
        self.get(app)
    }

    async fn read(&self, app: AppId) -> Result<()> {
        self.reload(app).await
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps").field("known", &self.known.load().by_id.len()).finish_non_exhaustive()
    }
}
