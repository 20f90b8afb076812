//! The wrong catalog: the memory backend's, except in one way.

mod read;
mod wrong;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::catalog::CatalogChange::{
    DeleteRoute, DeleteScript, DeleteTrigger, PutImports, PutRoute, PutScript, PutTrigger,
};
use picloud_core::catalog::{
    AppSnapshot, Catalog, CatalogChange, name_taken, no_such_script, stale_revision,
};
use picloud_core::outbox::Revision;
use picloud_core::script::{ScriptImports, ScriptName, ScriptRecord};
use picloud_core::{AppId, Error, Result, RouteId, ScriptId, TriggerId, async_trait};
use tokio::sync::watch;

pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongCatalog {
    wrong: Option<Wrong>,
    inner: Arc<dyn Catalog>,
    /// Never changes.
    silence: watch::Sender<u64>,
    notes: Mutex<Notes>,
}

/// What being wrong takes.
#[derive(Debug, Default)]
struct Notes {
    /// Every script that was ever put, in order.
    put: Vec<(AppId, ScriptRecord)>,
    names: BTreeMap<(AppId, ScriptName), ScriptId>,
}

impl WrongCatalog {
    pub(crate) fn new(inner: Arc<dyn Catalog>, wrong: Option<Wrong>) -> Self {
        WrongCatalog { wrong, inner, silence: watch::Sender::new(0), notes: Mutex::default() }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The app as it is.
    async fn app(&self, app: AppId) -> Result<Option<AppSnapshot>> {
        self.inner.snapshot(app).await
    }

    /// The other apps as they are.
    async fn others(&self, app: AppId) -> Result<Vec<AppSnapshot>> {
        let mut others = Vec::new();
        for (other, _) in self.inner.apps().await? {
            if other.id != app {
                others.extend(self.inner.snapshot(other.id).await?);
            }
        }
        Ok(others)
    }

    /// The changes as the memory backend gets them.
    async fn changes(&self, app: &AppSnapshot, changes: &[CatalogChange]) -> Result<Vec<CatalogChange>> {
        let mut changes = changes.to_vec();
        match self.wrong {
            Some(Wrong::DeletesLast) => {
                let is_delete = |change: &CatalogChange| {
                    matches!(change, DeleteScript(_) | DeleteRoute(_) | DeleteTrigger(_))
                };
                changes.sort_by_key(is_delete);
            }
            Some(Wrong::EmptyChangesMakeARevision) if changes.is_empty() => {
                changes.push(DeleteRoute(RouteId::new()));
            }
            Some(Wrong::DeletingWhatIsMissingIsAnError) => {
                let is_missing = |change: &CatalogChange| match change {
                    DeleteScript(id) => app.scripts.iter().all(|script| script.id != *id),
                    DeleteRoute(id) => app.routes.iter().all(|route| route.id != *id),
                    DeleteTrigger(id) => app.triggers.iter().all(|trigger| trigger.id != *id),
                    _ => false,
                };
                if changes.iter().any(is_missing) {
                    return Err(Error::not_found("catalog.not_found", "there is no such thing"));
                }
            }
            Some(Wrong::DeletingAScriptDoesNothing) => {
                changes.retain(|change| !matches!(change, DeleteScript(_)));
            }
            Some(Wrong::DeletingARouteDoesNothing) => {
                changes.retain(|change| !matches!(change, DeleteRoute(_)));
            }
            Some(Wrong::DeletingATriggerDoesNothing) => {
                changes.retain(|change| !matches!(change, DeleteTrigger(_)));
            }
            Some(Wrong::DeletingAScriptRemovesEverything)
                if changes.iter().any(|change| matches!(change, DeleteScript(_))) =>
            {
                changes.extend(app.routes.iter().map(|route| DeleteRoute(route.id)));
                changes.extend(app.triggers.iter().map(|trigger| DeleteTrigger(trigger.id)));
            }
            Some(Wrong::ImportsAddUp) => changes.iter_mut().for_each(|change| {
                if let PutImports(imports) = change {
                    let known = app.imports.iter().filter(|known| known.script == imports.script);
                    let both = known.flat_map(|known| &known.modules).chain(&imports.modules).cloned();
                    *imports = ScriptImports::new(imports.script, both);
                }
            }),
            Some(Wrong::DeletingAScriptRemovesAllImports)
                if changes.iter().any(|change| matches!(change, DeleteScript(_))) =>
            {
                let nothing = |imports: &ScriptImports| PutImports(ScriptImports::new(imports.script, []));
                changes.extend(app.imports.iter().map(nothing));
            }
            Some(Wrong::ImportsGoWithTheModule) => {
                let gone = |name: &str| {
                    changes.iter().any(|change| {
                        let script = app.scripts.iter().find(|script| script.name.as_str() == name);
                        matches!((change, script), (DeleteScript(id), Some(script)) if script.id == *id)
                    })
                };
                let mut kept = Vec::new();
                for imports in &app.imports {
                    let modules = imports.modules.iter().filter(|module| !gone(module.as_str())).cloned();
                    kept.push(PutImports(ScriptImports::new(imports.script, modules)));
                }
                changes.extend(kept);
            }
            Some(Wrong::NewVersionsImportNothing) => {
                let ids: Vec<_> = app.imports.iter().map(|imports| imports.script).collect();
                let put = |id: &ScriptId| {
                    changes.iter().any(|change| matches!(change, PutScript(script) if script.id == *id))
                };
                let forgotten: Vec<_> =
                    ids.into_iter().filter(put).map(|id| PutImports(ScriptImports::new(id, []))).collect();
                changes.extend(forgotten);
            }
            Some(Wrong::TheFirstRouteStays) => changes.retain(|change| match change {
                PutRoute(route) => app.routes.iter().all(|known| known.id != route.id),
                _ => true,
            }),
            Some(Wrong::TheFirstTriggerStays) => changes.retain(|change| match change {
                PutTrigger(trigger) => app.triggers.iter().all(|known| known.id != trigger.id),
                _ => true,
            }),
            Some(Wrong::RoutesAreAddedBeside) => changes.iter_mut().for_each(|change| {
                if let PutRoute(route) = change
                    && app.routes.iter().any(|known| known.id == route.id)
                {
                    route.id = RouteId::new();
                }
            }),
            Some(Wrong::TriggersAreAddedBeside) => changes.iter_mut().for_each(|change| {
                if let PutTrigger(trigger) = change
                    && app.triggers.iter().any(|known| known.id == trigger.id)
                {
                    trigger.id = TriggerId::new();
                }
            }),
            _ => (),
        }
        self.check_names(app, &changes).await?;
        Ok(changes)
    }

    /// Refuses names where a right catalog would not.
    async fn check_names(&self, app: &AppSnapshot, changes: &[CatalogChange]) -> Result<()> {
        let put = changes.iter().filter_map(|change| match change {
            PutScript(script) => Some(script),
            _ => None,
        });
        let others = self.others(app.app.id).await?;
        for script in put {
            let name = script.name.as_str();
            let of_others = || others.iter().flat_map(|other| &other.scripts);
            let is_taken = match self.wrong {
                Some(Wrong::NamesAreTakenForEver) => {
                    let key = (app.app.id, script.name.clone());
                    *self.notes().names.entry(key).or_insert(script.id) != script.id
                }
                Some(Wrong::NamesIgnoreCase) => {
                    let twins = |other: &ScriptRecord| {
                        other.id != script.id && other.name.as_str().to_lowercase() == name.to_lowercase()
                    };
                    let among = |change: &CatalogChange| matches!(change, PutScript(other) if twins(other));
                    app.scripts.iter().any(twins) || changes.iter().any(among)
                }
                Some(Wrong::NamesAreUniqueAcrossApps) => of_others().any(|other| other.name == script.name),
                Some(Wrong::IdsAreUniqueAcrossApps) => of_others().any(|other| other.id == script.id),
                _ => false,
            };
            if is_taken {
                return Err(name_taken(name));
            }
        }
        let triggers = || others.iter().flat_map(|other| &other.triggers);
        let is_known = |change: &CatalogChange| match change {
            PutTrigger(trigger) => triggers().any(|other| other.id == trigger.id),
            _ => false,
        };
        if self.is(Wrong::IdsAreUniqueAcrossApps) && changes.iter().any(is_known) {
            return Err(Error::invalid("trigger.id_taken", "another app has the id"));
        }
        Ok(())
    }

    /// Applies what others may not have.
    async fn spread(&self, app: AppId, changes: &[CatalogChange]) -> Result<()> {
        for other in self.others(app).await? {
            let mut reach = changes.to_vec();
            if self.is(Wrong::DeletesReachEveryApp) {
                reach.retain(|change| match change {
                    DeleteScript(id) => other.scripts.iter().any(|script| script.id == *id),
                    DeleteRoute(id) => other.routes.iter().any(|route| route.id == *id),
                    DeleteTrigger(id) => other.triggers.iter().any(|trigger| trigger.id == *id),
                    _ => false,
                });
            }
            self.inner.apply(other.app.id, &reach, other.revision).await?;
        }
        Ok(())
    }

    /// What a right catalog refused, done all the same or told in another way.
    async fn refused(&self, app: &AppSnapshot, changes: &[CatalogChange], error: Error) -> Result<Revision> {
        let id = app.app.id;
        match self.wrong {
            Some(Wrong::RefusedChangesMakeARevision) => {
                self.inner.apply(id, &[DeleteRoute(RouteId::new())], app.revision).await?;
            }
            Some(Wrong::NamesAreNotUnique) if error.code() == "script.name_taken" => {
                let mut changes = changes.to_vec();
                for change in &mut changes {
                    if let PutScript(script) = change {
                        script.name = ScriptName::new(script.id.to_string())?;
                    }
                }
                return self.inner.apply(id, &changes, app.revision).await;
            }
            Some(Wrong::DanglingRoutesAreDropped) if error.code() == "route.no_such_script" => {
                let mut changes = changes.to_vec();
                changes.retain(|change| !matches!(change, PutRoute(_)));
                return self.inner.apply(id, &changes, app.revision).await;
            }
            Some(Wrong::DanglingTriggersAreDropped) if error.code() == "trigger.no_such_script" => {
                let mut changes = changes.to_vec();
                changes.retain(|change| !matches!(change, PutTrigger(_)));
                return self.inner.apply(id, &changes, app.revision).await;
            }
            Some(Wrong::DanglingImportsAreDropped) if error.code() == "import.no_such_script" => {
                let mut changes = changes.to_vec();
                changes.retain(|change| !matches!(change, PutImports(_)));
                return self.inner.apply(id, &changes, app.revision).await;
            }
            Some(Wrong::ImportsAreToldFirst) => {
                let imports = changes.iter().find_map(|change| match change {
                    PutImports(imports) => Some(imports.script),
                    _ => None,
                });
                if let Some(script) = imports {
                    return Err(no_such_script("import", script));
                }
            }
            Some(Wrong::TriggersAreToldFirst) => {
                let trigger = changes.iter().find_map(|change| match change {
                    PutTrigger(trigger) => Some(trigger.script),
                    _ => None,
                });
                if let Some(script) = trigger {
                    return Err(no_such_script("trigger", script));
                }
            }
            _ => (),
        }
        Err(error)
    }
}

#[async_trait]
impl Catalog for WrongCatalog {
    async fn create_app(&self, app: &AppRecord) -> Result<()> {
        let answer = self.inner.create_app(app).await;
        let beside = AppRecord { slug: AppSlug::new(app.id.to_string())?, ..app.clone() };
        match (self.wrong, answer) {
            (Some(Wrong::SlugsAreNotUnique), Err(_)) => self.inner.create_app(&beside).await,
            (Some(Wrong::RefusedAppsAreStored), Err(error)) => {
                self.inner.create_app(&beside).await?;
                Err(error)
            }
            (_, answer) => answer,
        }
    }

    async fn apps(&self) -> Result<Vec<(AppRecord, Revision)>> {
        let mut apps = self.inner.apps().await?;
        match self.wrong {
            Some(Wrong::AppsAreListedBackwards) => apps.reverse(),
            Some(Wrong::AppsAreListedAtRevisionZero) => {
                apps.iter_mut().for_each(|(_, revision)| *revision = Revision(0));
            }
            _ => (),
        }
        Ok(apps)
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>> {
        self.wrong_snapshot(app).await
    }

    async fn apply(&self, app: AppId, changes: &[CatalogChange], expected: Revision) -> Result<Revision> {
        let Some(before) = self.app(app).await? else {
            return match self.inner.apply(app, changes, expected).await {
                Err(_) if self.is(Wrong::ChangesOfUnknownAppsAreIgnored) => Ok(Revision(1)),
                answer => answer,
            };
        };
        let expected = match self.wrong {
            // What it showed as 1.
            Some(Wrong::NewAppsAreAtRevisionOne) if expected == Revision(1) => before.revision,
            Some(Wrong::StaleChangesAreApplied) => before.revision,
            Some(Wrong::OnlyOldRevisionsAreStale) => expected.min(before.revision),
            Some(Wrong::EmptyChangesAreNeverStale) if changes.is_empty() => before.revision,
            _ => expected,
        };
        if expected != before.revision {
            return Err(stale_revision(expected, before.revision));
        }
        let changes = self.changes(&before, changes).await?;
        {
            let mut notes = self.notes();
            notes.put.extend(changes.iter().filter_map(|change| match change {
                PutScript(script) => Some((app, script.clone())),
                _ => None,
            }));
        }
        if self.is(Wrong::AppliesStepByStep) && !changes.is_empty() {
            let mut revision = expected;
            for change in changes {
                revision = self.inner.apply(app, &[change], revision).await?;
            }
            return Ok(revision);
        }
        // Another one may have come in between here.
        let mut answer = self.inner.apply(app, &changes, expected).await;
        while self.is(Wrong::StaleChangesAreApplied)
            && answer.as_ref().is_err_and(|error| error.code() == "catalog.stale_revision")
        {
            let now = self.app(app).await?.map_or(expected, |app| app.revision);
            answer = self.inner.apply(app, &changes, now).await;
        }
        if matches!(self.wrong, Some(Wrong::ChangesReachEveryApp | Wrong::DeletesReachEveryApp)) {
            self.spread(app, &changes).await?;
        }
        match answer {
            Ok(_) if self.is(Wrong::RevisionsDoNotGrow) => Ok(Revision(1)),
            Ok(_)
                if self.is(Wrong::ImportsMakeNoRevision)
                    && changes.iter().all(|change| matches!(change, PutImports(_))) =>
            {
                Ok(expected)
            }
            Ok(revision) => Ok(revision),
            Err(error) => self.refused(&before, &changes, error).await,
        }
    }

    async fn versions(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>> {
        self.wrong_versions(app, script).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        if self.is(Wrong::NothingIsTold) { self.silence.subscribe() } else { self.inner.changes() }
    }
}
