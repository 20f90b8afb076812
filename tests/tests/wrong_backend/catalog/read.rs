//! What is read of apps.

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::authz::PrincipalKind;
use picloud_core::catalog::AppSnapshot;
use picloud_core::engine::ScriptSandbox;
use picloud_core::outbox::Revision;
use picloud_core::route::RouteMethod;
use picloud_core::script::{Owner, ScriptImports, ScriptKind, ScriptName, ScriptRecord};
use picloud_core::trigger::{Backoff, RetryPolicy, TriggerKind};
use picloud_core::{AppId, Result, ScriptId, Timestamp};

use super::{Wrong, WrongCatalog};

/// Sources are cut here.
const SHORT: usize = 10_000;

impl WrongCatalog {
    pub(super) async fn wrong_snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>> {
        let Some(mut found) = self.app(app).await? else {
            let made_up = AppRecord {
                id: app,
                slug: AppSlug::new(app.to_string())?,
                created_at: Timestamp::UNIX_EPOCH,
            };
            return Ok(self.is(Wrong::UnknownAppsAreEmpty).then_some(AppSnapshot {
                app: made_up,
                revision: Revision(0),
                scripts: Vec::new(),
                routes: Vec::new(),
                triggers: Vec::new(),
                imports: Vec::new(),
            }));
        };
        match self.wrong {
            Some(Wrong::NewAppsAreAtRevisionOne) => found.revision = found.revision.max(Revision(1)),
            Some(Wrong::ScriptsAreOrderedLikeWords) => {
                found.scripts.sort_by_key(|script| script.name.as_str().to_lowercase());
            }
            Some(Wrong::RoutesAreListedBackwards) => found.routes.reverse(),
            Some(Wrong::TriggersAreListedBackwards) => found.triggers.reverse(),
            Some(Wrong::ImportsAreListedBackwards) => found.imports.reverse(),
            Some(Wrong::ImportsAreOutOfOrder) => {
                found.imports.iter_mut().for_each(|imports| imports.modules.reverse());
            }
            Some(Wrong::ImportsOfNothingAreListed) => {
                found.imports.extend(found.scripts.iter().map(|script| ScriptImports::new(script.id, [])));
            }
            Some(Wrong::TheFirstVersionStays) => {
                for script in &mut found.scripts {
                    let versions = self.versions_of(app, script.id).await?;
                    *script = versions.last().unwrap_or(script).clone();
                }
            }
            _ => (),
        }
        self.rewrite(&mut found);
        Ok(Some(found))
    }

    fn rewrite(&self, app: &mut AppSnapshot) {
        for script in &mut app.scripts {
            match self.wrong {
                Some(Wrong::SourcesAreTrimmed) => script.source = script.source.trim().into(),
                Some(Wrong::ScriptsForgetTheOwner) => script.owner = Owner::Api,
                Some(Wrong::ScriptsForgetTheSandbox) => script.sandbox = ScriptSandbox::default(),
                Some(Wrong::LongSourcesAreCut) => {
                    script.source = script.source[..script.source.floor_char_boundary(SHORT)].into();
                }
                _ => (),
            }
        }
        for route in &mut app.routes {
            match self.wrong {
                Some(Wrong::RoutesForgetTheHost) => route.host = None,
                Some(Wrong::RoutesForgetTheMethod) => route.method = RouteMethod::Any,
                _ => (),
            }
        }
        for trigger in &mut app.triggers {
            match (self.wrong, &mut trigger.kind) {
                (Some(Wrong::TriggersForgetTheOperations), TriggerKind::Kv(kv)) => kv.ops.clear(),
                (Some(Wrong::TriggersForgetTheRetry), _) => trigger.retry = RetryPolicy::default(),
                (Some(Wrong::TriggersForgetTheRegistrant), _) => {
                    trigger.registered_by.kind = PrincipalKind::Host;
                }
                (Some(Wrong::TriggersForgetTheOwner), _) => trigger.owner = Owner::Api,
                (Some(Wrong::TriggersAreEnabled), _) => trigger.enabled = true,
                (Some(Wrong::BackoffIsExponential), _) => trigger.retry.backoff = Backoff::Exponential,
                _ => (),
            }
        }
    }

    /// The versions as they are.
    async fn versions_of(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>> {
        self.inner.versions(app, script).await
    }

    pub(super) async fn wrong_versions(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>> {
        let mut versions = self.versions_of(app, script).await?;
        match self.wrong {
            Some(Wrong::VersionsAreOldestFirst) => versions.reverse(),
            Some(Wrong::TenVersionsAreKept) => versions.truncate(10),
            Some(Wrong::EveryPutIsAVersion) => {
                let notes = self.notes();
                let put = notes.put.iter().rev().filter(|(of, put)| (*of, put.id) == (app, script));
                versions = put.map(|(_, put)| put.clone()).collect();
            }
            Some(Wrong::VersionsAreForEveryApp) => {
                for other in self.others(app).await? {
                    versions.extend(self.versions_of(other.app.id, script).await?);
                }
            }
            Some(Wrong::UnknownScriptsHaveAVersion) if versions.is_empty() => versions.push(ScriptRecord {
                id: script,
                name: ScriptName::new("unknown")?,
                kind: ScriptKind::Endpoint,
                source: "".into(),
                version: 1,
                sandbox: ScriptSandbox::default(),
                timeout_seconds: None,
                owner: Owner::Api,
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
            }),
            _ => (),
        }
        Ok(versions)
    }
}
