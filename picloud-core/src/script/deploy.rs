//! Deploying a bundle: from files to one change set, applied all at once or not at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::bundle::{Bundle, File};
use super::directive::{self, Directives, RouteDirective};
use super::{
    Change, DeployError, DeployProblem, DeployReport, DeployedRoute, DeployedTrigger, Owner, ScriptKind,
    ScriptName, ScriptRecord,
};
use crate::app::Apps;
use crate::catalog::{AppSnapshot, Catalog, CatalogChange};
use crate::engine::ScriptSandbox;
use crate::engine::cache::ScriptCache;
use crate::execution::{Failure, FailureClass, Position};
use crate::guard::{ATTEMPTS, app_busy, no_such_app};
use crate::outbox::Fanout;
use crate::queue::QueueName;
use crate::route::{self, DispatchMode, PathPattern, RouteRecord};
use crate::trigger::{Registrant, RetryPolicy, TriggerKind, TriggerRecord};
use crate::{AppId, Clock, Error, RouteId, ScriptId, Timestamp, TriggerId};

/// A file that was read and found right.
struct Checked<'a> {
    file: &'a File,
    directives: Directives,
}

/// Where deployments go, and what checks them.
pub(crate) struct Deployer<'a> {
    pub(crate) apps: &'a Apps,
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) cache: &'a ScriptCache,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) reserved: &'a [String],
    /// What triggers get.
    pub(crate) retry: RetryPolicy,
    /// As whom they run.
    pub(crate) registered_by: Registrant,
}

impl Deployer<'_> {
    /// Deploys a bundle; live when this returns.
    pub(crate) async fn deploy(&self, app: AppId, bundle: &Bundle) -> Result<DeployReport, DeployError> {
        let checked = self.check(app, bundle).await?;
        for _ in 0..ATTEMPTS {
            let snapshot = self.catalog.snapshot(app).await?.ok_or_else(|| no_such_app(app))?;
            let plan = Plan::new(&snapshot, bundle.bundle_name(), self).of(&checked)?;
            match self.catalog.apply(app, &plan.changes, snapshot.revision).await {
                Err(error) if Fanout::is_stale(&error) => continue,
                Err(error) => return Err(error.into()),
                Ok(revision) => {
                    self.warm(&plan.changes).await;
                    let mut report = DeployReport { revision, ..plan.report };
                    if let Err(error) = self.apps.reload(app).await {
                        // It is stored: to answer an error would be to say that nothing has changed.
                        report
                            .warnings
                            .push(format!("stored, but not live on this node until it can read it: {error}"));
                    }
                    return Ok(report);
                }
            }
        }
        Err(DeployError::Failed(app_busy(ATTEMPTS)))
    }

    /// Compiles every file whose text is new and reads its directives; every mistake of every file is found.
    async fn check<'a>(&self, app: AppId, bundle: &'a Bundle) -> Result<Vec<Checked<'a>>, DeployError> {
        let live = self.apps.get(app);
        let (mut checked, mut problems) = (Vec::new(), Vec::new());
        for file in bundle.files() {
            let (directives, mistakes) = directive::parse(&file.source);
            problems.extend(mistakes.into_iter().map(|mistake| DeployProblem {
                file: file.path.clone(),
                position: Some(mistake.at),
                code: mistake.code.into_owned(),
                message: mistake.message,
            }));
            let known = live.as_ref().and_then(|live| live.script(file.name.as_str()));
            if known.is_none_or(|known| *known.source != *file.source) {
                match self.cache.check_source(file.source.clone(), ScriptKind::Endpoint).await {
                    Ok(()) => {}
                    Err(failure) if failure.class == FailureClass::Compile => {
                        problems.push(of_compiler(file, failure))
                    }
                    Err(failure) => return Err(DeployError::Failed(Error::internal(failure.to_string()))),
                }
            }
            checked.push(Checked { file, directives });
        }
        if problems.is_empty() { Ok(checked) } else { Err(DeployError::Invalid(problems)) }
    }

    /// Compiles what is about to go live, so that the first request does not.
    async fn warm(&self, changes: &[CatalogChange]) {
        for change in changes {
            if let CatalogChange::PutScript(script) = change {
                // It compiled a moment ago; if it does not now, its first request tells.
                drop(self.cache.get(&Arc::new(script.clone())).await);
            }
        }
    }
}

fn of_compiler(file: &File, failure: Failure) -> DeployProblem {
    DeployProblem {
        file: file.path.clone(),
        position: failure.position,
        code: "compile".into(),
        message: failure.message,
    }
}

/// A change set in the making.
struct Plan<'a> {
    snapshot: &'a AppSnapshot,
    owner: Owner,
    now: Timestamp,
    deployer: &'a Deployer<'a>,
    changes: Vec<CatalogChange>,
    report: DeployReport,
    problems: Vec<DeployProblem>,
    /// The routes as they will be, with who wants them: a file, or nobody in this bundle.
    routes: Vec<(RouteRecord, Option<(&'a File, Position)>)>,
    /// Scripts whose directives are read anew, or that go.
    directed: HashSet<ScriptId>,
    /// The queues that this folder consumes, with who does.
    queues: HashMap<&'a QueueName, (&'a File, Position)>,
}

impl<'a> Plan<'a> {
    fn new(snapshot: &'a AppSnapshot, folder: &str, deployer: &'a Deployer<'a>) -> Self {
        Plan {
            snapshot,
            owner: Owner::Folder(folder.to_owned()),
            now: deployer.clock.now(),
            deployer,
            changes: Vec::new(),
            report: DeployReport::default(),
            problems: Vec::new(),
            routes: Vec::new(),
            directed: HashSet::new(),
            queues: HashMap::new(),
        }
    }

    fn of(mut self, checked: &'a [Checked<'a>]) -> Result<Self, DeployError> {
        let snapshot = self.snapshot;
        let by_name: HashMap<&str, &ScriptRecord> =
            snapshot.scripts.iter().map(|script| (script.name.as_str(), script)).collect();
        let wanted: HashSet<&str> = checked.iter().map(|checked| checked.file.name.as_str()).collect();
        let (mut kept, mut gone) = (HashSet::new(), HashSet::new());
        for script in snapshot.scripts.iter().filter(|script| script.owner == self.owner) {
            if wanted.contains(script.name.as_str()) {
                kept.insert(script.id)
            } else {
                gone.insert(script.id)
            };
        }
        self.directed = kept.union(&gone).copied().collect();
        // What goes goes first, so that its names and routes are free.
        for script in snapshot.scripts.iter().filter(|script| gone.contains(&script.id)) {
            self.changes.push(CatalogChange::DeleteScript(script.id));
            self.report.removed.push(script.name.clone());
            for route in snapshot.routes.iter().filter(|route| route.script == script.id) {
                self.tell(route, &script.name, Change::Removed);
            }
            for trigger in snapshot.triggers.iter().filter(|trigger| trigger.script == script.id) {
                self.tell_trigger(trigger, &script.name, Change::Removed);
            }
        }
        // What stays whatever the files say: their own directives are read anew, one by one.
        let stays = |route: &&RouteRecord| {
            let directed = route.owner == Owner::Directive && kept.contains(&route.script);
            !directed && !gone.contains(&route.script)
        };
        self.routes.extend(snapshot.routes.iter().filter(stays).map(|route| (route.clone(), None)));
        for checked in checked {
            match by_name.get(checked.file.name.as_str()) {
                Some(script) if script.owner != self.owner => self.problems.push(DeployProblem {
                    file: checked.file.path.clone(),
                    position: None,
                    code: "script.name_taken".into(),
                    message: format!(
                        "the app has a script {:?} that this folder did not deploy",
                        script.name.as_str()
                    ),
                }),
                existing => self.script(checked, existing.copied()),
            }
        }
        // Steps take effect in order: names and routes are given up before they are taken.
        self.changes.sort_by_key(|change| match change {
            CatalogChange::DeleteScript(_) => 0,
            CatalogChange::DeleteRoute(_) | CatalogChange::DeleteTrigger(_) => 1,
            CatalogChange::PutScript(_) => 2,
            CatalogChange::PutRoute(_) | CatalogChange::PutTrigger(_) => 3,
        });
        if self.problems.is_empty() { Ok(self) } else { Err(DeployError::Invalid(self.problems)) }
    }

    fn script(&mut self, checked: &'a Checked<'a>, existing: Option<&ScriptRecord>) {
        let Checked { file, directives } = checked;
        let record = match existing {
            Some(old) if *old.source == *file.source && old.timeout_seconds == directives.timeout_seconds => {
                self.report.unchanged.push(file.name.clone());
                old.clone()
            }
            Some(old) => {
                let new = ScriptRecord {
                    source: file.source.as_str().into(),
                    version: old.version + 1,
                    timeout_seconds: directives.timeout_seconds,
                    updated_at: self.now,
                    ..old.clone()
                };
                self.changes.push(CatalogChange::PutScript(new.clone()));
                self.report.updated.push(file.name.clone());
                new
            }
            None => {
                let new = ScriptRecord {
                    id: ScriptId::new(),
                    name: file.name.clone(),
                    kind: ScriptKind::Endpoint,
                    source: file.source.as_str().into(),
                    version: 1,
                    sandbox: ScriptSandbox::default(),
                    timeout_seconds: directives.timeout_seconds,
                    owner: self.owner.clone(),
                    created_at: self.now,
                    updated_at: self.now,
                };
                self.changes.push(CatalogChange::PutScript(new.clone()));
                self.report.created.push(file.name.clone());
                new
            }
        };
        let mut old: Vec<&RouteRecord> = self
            .snapshot
            .routes
            .iter()
            .filter(|route| route.script == record.id && route.owner == Owner::Directive)
            .collect();
        // Before the new ones: a route that changes its shape must not conflict with what it was.
        for wanted in &directives.routes {
            let kept = old.iter().position(|route| same(route, wanted)).map(|at| old.remove(at));
            self.route(file, &record, wanted, kept);
        }
        for gone in old {
            self.changes.push(CatalogChange::DeleteRoute(gone.id));
            self.tell(gone, &record.name, Change::Removed);
        }
        self.triggers(file, directives, &record);
        let has_route = self.routes.iter().any(|(route, _)| route.script == record.id);
        let by_others = self.snapshot.triggers.iter();
        let has_trigger = !directives.triggers.is_empty()
            || by_others
                .filter(|trigger| trigger.owner != Owner::Directive)
                .any(|trigger| trigger.script == record.id);
        if !has_route && !has_trigger {
            self.report.warnings.push(format!(
                "{}: no route and no trigger leads to it; only a call by the host or by its id runs it",
                file.path
            ));
        }
    }

    /// The triggers of a script. One whose directive was changed keeps its id, so that what waits for it is not lost.
    fn triggers(&mut self, file: &'a File, directives: &'a Directives, script: &ScriptRecord) {
        let mine =
            |trigger: &&TriggerRecord| trigger.script == script.id && trigger.owner == Owner::Directive;
        let mut old: Vec<&TriggerRecord> = self.snapshot.triggers.iter().filter(mine).collect();
        let mut new = Vec::new();
        for wanted in &directives.triggers {
            if let TriggerKind::Queue(queue) = &wanted.kind {
                self.consume(file, wanted.at, &queue.queue, script);
            }
            match old.iter().position(|trigger| trigger.kind == wanted.kind) {
                Some(at) => self.tell_trigger(old.remove(at), &script.name, Change::Kept),
                None => new.push(wanted),
            }
        }
        for wanted in new {
            let of_kind = |trigger: &&TriggerRecord| trigger.kind.as_str() == wanted.kind.as_str();
            let changed = old.iter().position(of_kind).map(|at| old.remove(at));
            let record = match changed {
                Some(changed) => {
                    TriggerRecord { kind: wanted.kind.clone(), created_at: self.now, ..changed.clone() }
                }
                None => TriggerRecord {
                    id: TriggerId::new(),
                    script: script.id,
                    kind: wanted.kind.clone(),
                    enabled: true,
                    dispatch_mode: DispatchMode::Async,
                    retry: self.deployer.retry,
                    registered_by: self.deployer.registered_by.clone(),
                    owner: Owner::Directive,
                    created_at: self.now,
                },
            };
            self.changes.push(CatalogChange::PutTrigger(record.clone()));
            self.tell_trigger(&record, &script.name, Change::Added);
        }
        for gone in old {
            self.changes.push(CatalogChange::DeleteTrigger(gone.id));
            self.tell_trigger(gone, &script.name, Change::Removed);
        }
    }

    /// A queue has one consumer: what another deployed, or another file of this folder, is not taken over.
    fn consume(&mut self, file: &'a File, at: Position, queue: &'a QueueName, script: &ScriptRecord) {
        let elsewhere = self.snapshot.triggers.iter().filter(|trigger| {
            let directed = trigger.owner == Owner::Directive && self.directed.contains(&trigger.script);
            !directed && trigger.script != script.id
                || trigger.script == script.id && trigger.owner != Owner::Directive
        });
        let taken_by = elsewhere
            .filter(|trigger| matches!(&trigger.kind, TriggerKind::Queue(other) if other.queue == *queue))
            .map(|_| "a script that this folder did not deploy".to_owned())
            .next()
            .or_else(|| {
                self.queues.get(queue).map(|(file, at)| format!("{}:{}:{}", file.path, at.line, at.column))
            });
        match taken_by {
            Some(other) => self.problems.push(DeployProblem {
                file: file.path.clone(),
                position: Some(at),
                code: "trigger.queue_taken".to_owned(),
                message: format!("the queue {queue} has a consumer already: {other}"),
            }),
            None => drop(self.queues.insert(queue, (file, at))),
        }
    }

    fn tell_trigger(&mut self, trigger: &TriggerRecord, script: &ScriptName, change: Change) {
        let deployed = DeployedTrigger { trigger: trigger.clone(), script: script.clone(), change };
        self.report.triggers.push(deployed);
    }

    fn route(
        &mut self,
        file: &'a File,
        script: &ScriptRecord,
        wanted: &RouteDirective,
        kept: Option<&RouteRecord>,
    ) {
        let problem = |code: &str, message: String| DeployProblem {
            file: file.path.clone(),
            position: Some(wanted.at),
            code: code.to_owned(),
            message,
        };
        let record = kept.cloned().unwrap_or_else(|| RouteRecord {
            id: RouteId::new(),
            script: script.id,
            method: wanted.method.clone(),
            host: wanted.host.clone(),
            path: wanted.path.clone(),
            dispatch_mode: wanted.dispatch_mode,
            owner: Owner::Directive,
            created_at: self.now,
        });
        let reserved = PathPattern::parse(&wanted.path)
            .map_err(Error::from)
            .and_then(|pattern| route::check_reserved(&pattern, self.deployer.reserved));
        if let Err(error) = reserved {
            self.problems.push(problem(error.code(), error.message().to_owned()));
            return;
        }
        if let Some(other) = route::find_conflict(&record, self.routes.iter().map(|(route, _)| route)) {
            let other_id = other.id;
            let place =
                self.routes.iter().find(|(route, _)| route.id == other_id).and_then(|(_, place)| *place);
            let place = match place {
                Some((file, at)) => format!("{}:{}:{}", file.path, at.line, at.column),
                None => "a route that this folder did not deploy".to_owned(),
            };
            let message = format!(
                "the route {} {}{} conflicts with {} {}{}, of {place}",
                record.method,
                record.host.as_deref().unwrap_or(""),
                record.path,
                other.method,
                other.host.as_deref().unwrap_or(""),
                other.path,
            );
            self.problems.push(problem("route.conflict", message));
            return;
        }
        let change = if kept.is_some() { Change::Kept } else { Change::Added };
        if kept.is_none() {
            self.changes.push(CatalogChange::PutRoute(record.clone()));
        }
        self.tell(&record, &script.name, change);
        self.routes.push((record, Some((file, wanted.at))));
    }

    fn tell(&mut self, route: &RouteRecord, script: &ScriptName, change: Change) {
        self.report.routes.push(DeployedRoute { route: route.clone(), script: script.clone(), change });
    }
}

fn same(route: &RouteRecord, wanted: &RouteDirective) -> bool {
    route.method == wanted.method
        && route.host == wanted.host
        && route.path == wanted.path
        && route.dispatch_mode == wanted.dispatch_mode
}
