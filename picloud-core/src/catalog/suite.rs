//! The contract of [`Catalog`](super::Catalog), sentence by sentence.

mod apply;
mod apps;
mod imports;
mod isolation;
mod scripts;
pub(crate) mod triggers;

use std::sync::Arc;

use super::{AppSnapshot, Catalog, CatalogChange};
use crate::conformance::{Case, World};
use crate::engine::ScriptSandbox;
use crate::outbox::Revision;
use crate::route::{DispatchMode, RouteMethod, RouteRecord};
use crate::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
use crate::{AppId, Error, Result, RouteId, ScriptId};

pub(crate) fn cases() -> Vec<Case> {
    [apps::cases(), apply::cases(), scripts::cases(), triggers::cases(), imports::cases(), isolation::cases()]
        .concat()
}

/// A script, version 1.
pub(crate) fn script(world: &World, name: &str) -> Result<ScriptRecord> {
    Ok(ScriptRecord {
        id: ScriptId::new(),
        name: ScriptName::new(name)?,
        kind: ScriptKind::Endpoint,
        source: "40 + 2".into(),
        version: 1,
        sandbox: ScriptSandbox::default(),
        timeout_seconds: None,
        owner: Owner::Api,
        created_at: world.now(),
        updated_at: world.now(),
    })
}

/// A route to `script`.
fn route(world: &World, script: ScriptId, path: &str) -> RouteRecord {
    RouteRecord {
        id: RouteId::new(),
        script,
        method: RouteMethod::Any,
        host: None,
        path: path.to_owned(),
        dispatch_mode: DispatchMode::Sync,
        owner: Owner::Api,
        created_at: world.now(),
    }
}

/// A new app and its catalog.
struct Catalogued {
    catalog: Arc<dyn Catalog>,
    app: AppId,
}

impl Catalogued {
    async fn new(world: &World) -> Result<Self> {
        Ok(Catalogued { catalog: world.backend().catalog(), app: world.app().await? })
    }

    async fn snapshot(&self) -> Result<AppSnapshot> {
        self.catalog.snapshot(self.app).await?.ok_or_else(|| Error::internal("the app has no snapshot"))
    }

    async fn revision(&self) -> Result<Revision> {
        Ok(self.snapshot().await?.revision)
    }

    /// Applies the changes to whatever is there.
    async fn apply(&self, changes: &[CatalogChange]) -> Result<Revision> {
        self.catalog.apply(self.app, changes, self.revision().await?).await
    }

    /// Fails unless the changes are refused with `code` and leave the app as it was.
    async fn assert_refused(&self, changes: &[CatalogChange], expected: Revision, code: &str) -> Result<()> {
        let before = self.snapshot().await?;
        let answer = self.catalog.apply(self.app, changes, expected).await;
        let found = answer.as_ref().map_err(Error::code);
        assert_eq!(found, Err(code), "the answer is {answer:?}");
        assert_eq!(self.snapshot().await?, before, "the refused changes left a trace");
        Ok(())
    }

    /// The names of the scripts, in the order of the snapshot.
    async fn names(&self) -> Result<Vec<String>> {
        Ok(self.snapshot().await?.scripts.iter().map(|script| script.name.to_string()).collect())
    }

    /// The paths of the routes, sorted.
    async fn paths(&self) -> Result<Vec<String>> {
        let mut paths: Vec<_> = self.snapshot().await?.routes.into_iter().map(|route| route.path).collect();
        paths.sort();
        Ok(paths)
    }
}
