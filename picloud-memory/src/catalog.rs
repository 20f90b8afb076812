//! Apps, scripts and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picloud_core::app::AppRecord;
use picloud_core::catalog::{
    AppSnapshot, Catalog, CatalogChange, name_taken, no_such_script, slug_taken, stale_revision,
};
use picloud_core::outbox::Revision;
use picloud_core::route::RouteRecord;
use picloud_core::script::{ScriptImports, ScriptRecord};
use picloud_core::trigger::{TriggerKind, TriggerRecord};
use picloud_core::{AppId, Error, ErrorKind, Result, RouteId, ScriptId, TriggerId, async_trait};
use tokio::sync::watch;

use crate::tables::Shared;

/// One app. Cheap enough to clone, so that a change set is tried on a copy.
#[derive(Debug, Clone)]
pub(crate) struct App {
    record: AppRecord,
    pub(crate) revision: Revision,
    scripts: BTreeMap<ScriptId, Versions>,
    routes: BTreeMap<RouteId, RouteRecord>,
    triggers: BTreeMap<TriggerId, TriggerRecord>,
    /// What scripts import; nothing for those that import nothing.
    imports: BTreeMap<ScriptId, ScriptImports>,
}

/// The versions of a script by number, never empty.
type Versions = BTreeMap<u64, ScriptRecord>;

impl App {
    /// Whether a trigger of this script is there and enabled.
    pub(crate) fn may_fire(&self, trigger: TriggerId, script: ScriptId) -> bool {
        self.triggers.get(&trigger).is_some_and(|trigger| trigger.enabled && trigger.script == script)
    }

    /// How many messages a trigger handles at one time, if it is there and consumes a queue.
    pub(crate) fn concurrency(&self, trigger: TriggerId) -> Option<usize> {
        match &self.triggers.get(&trigger)?.kind {
            TriggerKind::Queue(queue) => usize::try_from(queue.concurrency).ok(),
            _ => None,
        }
    }

    /// Whether a trigger, if there is one, and a script are there.
    pub(crate) fn has_target(&self, trigger: Option<TriggerId>, script: ScriptId) -> bool {
        trigger.is_none_or(|trigger| self.triggers.contains_key(&trigger))
            && self.scripts.contains_key(&script)
    }

    /// The scripts at their latest version.
    fn scripts(&self) -> impl Iterator<Item = &ScriptRecord> {
        self.scripts.values().filter_map(|versions| versions.values().next_back())
    }

    fn take(&mut self, change: &CatalogChange) -> Result<()> {
        match change {
            CatalogChange::PutScript(script) => {
                self.scripts.entry(script.id).or_default().insert(script.version, script.clone());
            }
            CatalogChange::DeleteScript(id) => {
                self.scripts.remove(id);
                self.routes.retain(|_, route| route.script != *id);
                self.triggers.retain(|_, trigger| trigger.script != *id);
                self.imports.remove(id);
            }
            CatalogChange::PutRoute(route) => {
                self.routes.insert(route.id, route.clone());
            }
            CatalogChange::DeleteRoute(id) => {
                self.routes.remove(id);
            }
            CatalogChange::PutTrigger(trigger) => {
                self.triggers.insert(trigger.id, trigger.clone());
            }
            CatalogChange::DeleteTrigger(id) => {
                self.triggers.remove(id);
            }
            CatalogChange::PutImports(imports) => {
                self.imports.remove(&imports.script);
                if !imports.modules.is_empty() {
                    self.imports.insert(imports.script, imports.clone());
                }
            }
            other => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "catalog.unsupported_change",
                    format!("the memory backend does not know the change {other:?}"),
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        if let Some(second) = self.scripts().find(|script| !names.insert(&script.name)) {
            return Err(name_taken(second.name.as_str()));
        }
        let routes = self.routes.values().map(|route| ("route", route.script));
        let triggers = self.triggers.values().map(|trigger| ("trigger", trigger.script));
        let imports = self.imports.keys().map(|script| ("import", *script));
        match routes.chain(triggers).chain(imports).find(|(_, script)| !self.scripts.contains_key(script)) {
            Some((what, script)) => Err(no_such_script(what, script)),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct MemoryCatalog(pub(crate) Arc<Shared>);

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn create_app(&self, app: &AppRecord) -> Result<()> {
        let mut tables = self.0.lock();
        if tables.apps.values().any(|other| other.record.slug == app.slug) {
            return Err(slug_taken(app.slug.as_str()));
        }
        if tables.apps.contains_key(&app.id) {
            return Err(Error::new(ErrorKind::AlreadyExists, "app.id_taken", "another app has the id")
                .with("app", app.id));
        }
        let new = App {
            record: app.clone(),
            revision: Revision(0),
            scripts: BTreeMap::new(),
            routes: BTreeMap::new(),
            triggers: BTreeMap::new(),
            imports: BTreeMap::new(),
        };
        tables.apps.insert(app.id, new);
        drop(tables);
        self.0.changed();
        Ok(())
    }

    async fn apps(&self) -> Result<Vec<(AppRecord, Revision)>> {
        Ok(self.0.lock().apps.values().map(|app| (app.record.clone(), app.revision)).collect())
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>> {
        Ok(self.0.lock().apps.get(&app).map(|app| {
            let mut scripts: Vec<_> = app.scripts().cloned().collect();
            scripts.sort_by(|a, b| a.name.cmp(&b.name));
            AppSnapshot {
                app: app.record.clone(),
                revision: app.revision,
                scripts,
                routes: app.routes.values().cloned().collect(),
                triggers: app.triggers.values().cloned().collect(),
                imports: app.imports.values().cloned().collect(),
            }
        }))
    }

    async fn apply(&self, app: AppId, changes: &[CatalogChange], expected: Revision) -> Result<Revision> {
        let mut tables = self.0.lock();
        let current = tables
            .apps
            .get_mut(&app)
            .ok_or_else(|| Error::not_found("app.not_found", "there is no such app").with("app", app))?;
        if current.revision != expected {
            return Err(stale_revision(expected, current.revision));
        }
        if changes.is_empty() {
            return Ok(expected);
        }
        let mut next = current.clone();
        changes.iter().try_for_each(|change| next.take(change))?;
        next.check()?;
        next.revision = Revision(expected.0 + 1);
        *current = next;
        drop(tables);
        self.0.changed();
        Ok(Revision(expected.0 + 1))
    }

    async fn versions(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>> {
        let tables = self.0.lock();
        let versions = tables.apps.get(&app).and_then(|app| app.scripts.get(&script));
        Ok(versions.map(|versions| versions.values().rev().cloned().collect()).unwrap_or_default())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}
