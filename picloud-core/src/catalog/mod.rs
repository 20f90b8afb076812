//! The catalog: what an app consists of, besides its data, and the one way in which it changes.

#[cfg(feature = "conformance")]
pub(crate) mod suite;

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::app::AppRecord;
use crate::outbox::Revision;
use crate::route::RouteRecord;
use crate::script::{ScriptImports, ScriptRecord};
use crate::trigger::TriggerRecord;
use crate::{AppId, Error, ErrorKind, Result, RouteId, ScriptId, TriggerId};

/// All of one app at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct AppSnapshot {
    /// The app.
    pub app: AppRecord,
    /// Grows with every applied change set.
    pub revision: Revision,
    /// Its scripts, ordered by name.
    pub scripts: Vec<ScriptRecord>,
    /// Its routes, ordered by id.
    pub routes: Vec<RouteRecord>,
    /// Its triggers, ordered by id.
    pub triggers: Vec<TriggerRecord>,
    /// Which modules its scripts import, ordered by script; those that import nothing are not listed.
    pub imports: Vec<ScriptImports>,
}

/// One step of a change set.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CatalogChange {
    /// Creates a script, or replaces the one with this id by a newer version. Old versions are kept. One of the
    /// version that is stored (a rename, say) takes its place.
    PutScript(ScriptRecord),
    /// Removes a script, its versions, its routes, its triggers and what it imports.
    DeleteScript(ScriptId),
    /// Creates a route, or replaces the one with this id.
    PutRoute(RouteRecord),
    /// Removes a route.
    DeleteRoute(RouteId),
    /// Creates a trigger, or replaces the one with this id.
    PutTrigger(TriggerRecord),
    /// Removes a trigger. What waits for it in the outbox is dropped when its turn comes.
    DeleteTrigger(TriggerId),
    /// Says what a script imports, in place of what was said before.
    PutImports(ScriptImports),
}

/// Stores apps, scripts, routes, triggers, and who imports whom.
///
/// # Contract
///
/// - `apply` does all of a change set or nothing; readers see the app before or after, never between.
/// - It does nothing and answers [`stale_revision`] when the app's revision is not the expected one, so of
///   two concurrent change sets that expect the same revision exactly one succeeds.
/// - The steps take effect in order. Steps may not leave two scripts of one name ([`name_taken`]), nor a route,
///   a trigger or imports of a script that does not exist ([`no_such_script`]). Of several such faults a name is told
///   first, then a route, then a trigger, then imports.
/// - What others import is theirs: it stays when a script of that name comes or goes.
/// - Deleting what does not exist is not an error.
/// - An empty change set that expects the right revision succeeds and changes nothing, not even the revision.
/// - A script's versions are kept until the script is deleted.
/// - Apps do not see each other: names are unique per app, and ids of another app are as if they did not exist.
/// - After every successful `apply` and `create_app`, on whichever node, [`changes`](Catalog::changes) of every
///   node changes.
#[async_trait]
pub trait Catalog: Debug + Send + Sync + 'static {
    /// Stores a new app, at revision 0.
    ///
    /// # Errors
    /// [`slug_taken`] when another app has the slug.
    async fn create_app(&self, app: &AppRecord) -> Result<()>;

    /// Every app with its revision, ordered by id.
    async fn apps(&self) -> Result<Vec<(AppRecord, Revision)>>;

    /// All of one app; `None` when there is no such app.
    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>>;

    /// Changes an app. The answer is the new revision.
    async fn apply(&self, app: AppId, changes: &[CatalogChange], expected: Revision) -> Result<Revision>;

    /// The versions of a script that are kept, newest first; empty when there is no such script in the app.
    async fn versions(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>>;

    /// A number that changes whenever any app may have changed, on this node or another.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The app changed since the caller looked: look again and repeat.
pub fn stale_revision(expected: Revision, found: Revision) -> Error {
    Error::new(ErrorKind::Conflict, "catalog.stale_revision", "the app was changed by somebody else")
        .with("expected", expected.0)
        .with("found", found.0)
}

/// The slug belongs to another app.
pub fn slug_taken(slug: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "app.slug_taken", format!("another app has the slug {slug:?}"))
}

/// The name belongs to another script of the app.
pub fn name_taken(name: &str) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "script.name_taken",
        format!("another script of the app is named {name:?}"),
    )
}

/// A route, a trigger or an import (`what`) is of a script that the app does not have: `route.no_such_script`,
/// `trigger.no_such_script`, `import.no_such_script`.
pub fn no_such_script(what: &str, script: ScriptId) -> Error {
    Error::invalid(format!("{what}.no_such_script"), format!("every {what} needs a script of its own app"))
        .with("script", script)
}
