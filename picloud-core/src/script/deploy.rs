//! Deploying a bundle: from files to one change set, applied all at once or not at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::advice::Advice;
use super::bundle::{Bundle, File};
use super::directive::{self, Directives, RouteDirective};
use super::indexes::Indexes;
use super::{
    Change, DeployError, DeployProblem, DeployReport, DeployedRoute, DeployedTrigger, ModuleName, Owner,
    ScriptImports, ScriptKind, ScriptName, ScriptRecord, limits,
};
use crate::app::Apps;
use crate::catalog::{AppSnapshot, Catalog, CatalogChange};
use crate::docs::DocsService;
use crate::engine::ScriptSandbox;
use crate::engine::cache::ScriptCache;
use crate::engine::outline::Outline;
use crate::execution::{Failure, FailureClass, Position};
use crate::guard::{ATTEMPTS, app_busy, no_such_app};
use crate::outbox::Fanout;
use crate::queue::QueueName;
use crate::route::{self, DispatchMode, PathPattern, RouteRecord};
use crate::trigger::{Registrant, RetryPolicy, TriggerKind, TriggerRecord};
use crate::{AppId, CallCx, Clock, Error, RouteId, ScriptId, Timestamp, TriggerId};

/// A file that was read and found right.
pub(super) struct Checked<'a> {
    pub(super) file: &'a File,
    pub(super) directives: Directives,
    /// Which other scripts it names.
    pub(super) outline: Outline,
}

impl Checked<'_> {
    pub(super) fn kind(&self) -> ScriptKind {
        if self.directives.is_module { ScriptKind::Module } else { ScriptKind::Endpoint }
    }
}

/// Where deployments go, and what checks them.
pub(crate) struct Deployer<'a> {
    pub(crate) apps: &'a Apps,
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) cache: &'a ScriptCache,
    pub(crate) clock: &'a dyn Clock,
    /// Where indexes are declared, and as whom.
    pub(crate) docs: &'a dyn DocsService,
    pub(crate) cx: &'a CallCx,
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
        let indexes = Indexes::of(&checked).map_err(DeployError::Invalid)?;
        for _ in 0..ATTEMPTS {
            let snapshot = self.catalog.snapshot(app).await?.ok_or_else(|| no_such_app(app))?;
            let plan = Plan::new(&snapshot, bundle.bundle_name(), self).of(&checked)?;
            match self.catalog.apply(app, &plan.changes, snapshot.revision).await {
                Err(error) if Fanout::is_stale(&error) => continue,
                Err(error) => return Err(error.into()),
                Ok(revision) => {
                    self.warm(app, &plan.changes).await;
                    let mut report = DeployReport { revision, ..plan.report };
                    if let Err(error) = self.apps.reload(app).await {
                        // It is stored: to answer an error would be to say that nothing has changed.
                        report
                            .warnings
                            .push(format!("stored, but not live on this node until it can read it: {error}"));
                    }
                    indexes.declare(self.docs, self.cx, &mut report).await;
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
            let mut this = Checked { file, directives, outline: Outline::default() };
            if this.kind() == ScriptKind::Module {
                let wrong = ModuleName::new(file.name.as_str()).and_then(|name| self.check_reserved(&name));
                problems.extend(wrong.err().map(|error| of_file(file, &error)));
            }
            let known = live.as_ref().and_then(|live| live.script(file.name.as_str()));
            let is_new = known.is_none_or(|known| *known.source != *file.source);
            // One that is as it was is compiled again only if it may name others.
            if is_new || ["import", "invoke"].iter().any(|word| file.source.contains(word)) {
                match self.cache.check_source(file.source.clone(), this.kind()).await {
                    Ok(outline) => this.outline = outline,
                    Err(failure) if failure.class == FailureClass::Compile => {
                        problems.push(of_compiler(file, failure))
                    }
                    Err(failure) => return Err(DeployError::Failed(Error::internal(failure.to_string()))),
                }
            }
            checked.push(this);
        }
        problems.extend(Indexes::of(&checked).err().into_iter().flatten());
        if problems.is_empty() { Ok(checked) } else { Err(DeployError::Invalid(problems)) }
    }

    /// A module may not be named like what scripts reach through `name::` anyway.
    fn check_reserved(&self, name: &ModuleName) -> Result<(), Error> {
        if self.cache.reserved_names().all(|reserved| reserved != name.as_str()) {
            return Ok(());
        }
        let text = format!("{:?} is the name of a module that every script has", name.as_str());
        Err(Error::invalid("module.reserved_name", text))
    }

    /// Compiles what is about to go live, so that the first request does not.
    async fn warm(&self, app: AppId, changes: &[CatalogChange]) {
        for change in changes {
            if let CatalogChange::PutScript(script) = change {
                // It compiled a moment ago; if it does not now, its first request tells.
                self.cache.warm(app, &Arc::new(script.clone())).await;
            }
        }
    }
}

fn of_file(file: &File, error: &Error) -> DeployProblem {
    DeployProblem {
        file: file.path.clone(),
        position: None,
        code: error.code().to_owned(),
        message: error.message().to_owned(),
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
            CatalogChange::PutRoute(_) | CatalogChange::PutTrigger(_) | CatalogChange::PutImports(_) => 3,
        });
        self.problems.extend(limits::problems(snapshot, &self.directed, checked));
        let advice = Advice::new(snapshot, &gone, checked);
        self.problems.extend(advice.problems());
        let mut report = std::mem::take(&mut self.report);
        report.warnings.extend(advice.warnings(&report, &self.routes, checked));
        self.report = report;
        if self.problems.is_empty() { Ok(self) } else { Err(DeployError::Invalid(self.problems)) }
    }

    fn script(&mut self, checked: &'a Checked<'a>, existing: Option<&ScriptRecord>) {
        let Checked { file, directives, .. } = checked;
        if let Some(old) = existing
            && checked.kind() == ScriptKind::Module
        {
            self.check_unused(file, old);
        }
        let record = match existing {
            Some(old) if *old.source == *file.source && old.timeout_seconds == directives.timeout_seconds => {
                self.report.unchanged.push(file.name.clone());
                old.clone()
            }
            Some(old) => {
                let new = ScriptRecord {
                    source: file.source.as_str().into(),
                    kind: checked.kind(),
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
                    kind: checked.kind(),
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
        self.imports(checked, record.id);
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
    }

    /// A script with routes or triggers that this folder does not take away cannot become a module.
    fn check_unused(&mut self, file: &File, script: &ScriptRecord) {
        let routes = self.routes.iter().filter(|(route, _)| route.script == script.id).count();
        let stays =
            |trigger: &&TriggerRecord| trigger.script == script.id && trigger.owner != Owner::Directive;
        let triggers = self.snapshot.triggers.iter().filter(stays).count();
        if routes + triggers > 0 {
            self.problems.push(DeployProblem {
                file: file.path.clone(),
                position: None,
                code: "script.in_use".into(),
                message: format!(
                    "it cannot become a module: routes that this folder did not make lead to it: {routes}, triggers: \
                     {triggers}"
                ),
            });
        }
    }

    /// Says what a script imports, if that was not known.
    fn imports(&mut self, checked: &Checked<'_>, script: ScriptId) {
        // What is no name of a module is none of a script's either.
        let names = checked.outline.imports.iter().filter_map(|import| ModuleName::new(&import.name).ok());
        let imports = ScriptImports::new(script, names);
        let known = self.snapshot.imports.iter().find(|known| known.script == script);
        if known.map_or(!imports.modules.is_empty(), |known| *known != imports) {
            self.changes.push(CatalogChange::PutImports(imports));
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
            // Messages of a queue wait for its trigger: it goes on only as that of the same queue.
            let of_kind = |trigger: &&TriggerRecord| match (&trigger.kind, &wanted.kind) {
                (TriggerKind::Queue(old), TriggerKind::Queue(new)) => old.queue == new.queue,
                (old, new) => old.as_str() == new.as_str(),
            };
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
