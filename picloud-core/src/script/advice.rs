//! What a deployment is told about how its scripts hang together: imports that go in circles, and what a person should
//! look at. Only what is certain: a name that is made at run time may be any.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::bundle::File;
use super::deploy::Checked;
use super::graph::{self, Node, Wrong};
use super::{
    DeployProblem, DeployReport, MAX_IMPORT_DEPTH, ModuleName, Owner, ScriptImports, ScriptKind, ScriptRecord,
};
use crate::ScriptId;
use crate::catalog::AppSnapshot;
use crate::execution::Position;
use crate::route::RouteRecord;

/// The app as it will be, by the names of its scripts.
pub(super) struct Advice<'a> {
    nodes: BTreeMap<String, Node>,
    files: HashMap<&'a str, &'a Checked<'a>>,
    snapshot: &'a AppSnapshot,
    /// Who imports each name.
    importers: HashMap<&'a str, Vec<&'a str>>,
    invoked: HashSet<&'a str>,
    /// Some script imports, or invokes, what is only known when it runs. Of a script that is not of this bundle only the names
    /// of its imports are known.
    imports_more: bool,
    invokes_more: bool,
}

impl<'a> Advice<'a> {
    /// `gone` are the scripts that the deployment removes.
    pub(super) fn new(
        snapshot: &'a AppSnapshot,
        gone: &HashSet<ScriptId>,
        checked: &'a [Checked<'a>],
    ) -> Self {
        let files: HashMap<&str, &Checked<'_>> =
            checked.iter().map(|checked| (checked.file.name.as_str(), checked)).collect();
        let known: HashMap<ScriptId, &ScriptImports> =
            snapshot.imports.iter().map(|imports| (imports.script, imports)).collect();
        let others: Vec<&ScriptRecord> = snapshot
            .scripts
            .iter()
            .filter(|script| !gone.contains(&script.id) && !files.contains_key(script.name.as_str()))
            .collect();
        let outlines = || checked.iter().map(|checked| &checked.outline);
        let mut advice = Advice {
            nodes: BTreeMap::new(),
            files,
            snapshot,
            importers: HashMap::new(),
            invoked: outlines().flat_map(|outline| &outline.invokes).map(String::as_str).collect(),
            imports_more: outlines().any(|outline| outline.imports_more)
                || others.iter().any(|script| script.source.contains("import")),
            invokes_more: outlines().any(|outline| outline.invokes_more)
                || others.iter().any(|script| script.source.contains("invoke")),
        };
        for script in &others {
            let modules = known.get(&script.id).into_iter().flat_map(|imports| &imports.modules);
            advice.add(script.name.as_str(), script.kind, modules.map(ModuleName::as_str));
        }
        for checked in checked {
            let imports = checked.outline.imports.iter().map(|import| import.name.as_str());
            advice.add(checked.file.name.as_str(), checked.kind(), imports);
        }
        advice
    }

    fn add(&mut self, name: &'a str, kind: ScriptKind, imports: impl Iterator<Item = &'a str>) {
        let mut node = Node { is_module: kind == ScriptKind::Module, imports: Vec::new() };
        for import in imports {
            node.imports.push(import.to_owned());
            self.importers.entry(import).or_default().push(name);
        }
        self.nodes.insert(name.to_owned(), node);
    }

    /// What makes the deployment impossible.
    pub(super) fn problems(&self) -> Vec<DeployProblem> {
        graph::wrongs(&self.nodes).into_iter().filter_map(|wrong| self.problem(wrong)).collect()
    }

    /// Told at the first import of a chain that stands in a file of the bundle; what is wrong without one is not its fault.
    fn problem(&self, wrong: Wrong) -> Option<DeployProblem> {
        let chain = wrong.chain();
        let mut pairs = chain.iter().zip(chain.iter().skip(1)).enumerate();
        let (at, checked, name) =
            pairs.find_map(|(at, (from, to))| Some((at, *self.files.get(from.as_str())?, to)))?;
        let (code, message) = match &wrong {
            Wrong::Circle(names) => {
                // Told from the file on that the reader looks at; the first name stands at the end as well.
                let ring = names.get(1..).unwrap_or_default();
                let turned = ring.iter().cycle().skip(at + ring.len() - 1).take(ring.len() + 1);
                let turned: Vec<_> = turned.map(String::as_str).collect();
                ("module.cycle", format!("modules import each other in a circle: {}", turned.join(" → ")))
            }
            Wrong::TooDeep(names) => (
                "module.too_deep",
                format!("modules import each other deeper than {MAX_IMPORT_DEPTH}: {}", names.join(" → ")),
            ),
        };
        Some(DeployProblem {
            file: checked.file.path.clone(),
            position: place(checked, name),
            code: code.into(),
            message,
        })
    }

    /// What a person should look at. `routes` are those of the app as it will be.
    pub(super) fn warnings(
        &self,
        report: &DeployReport,
        routes: &[(RouteRecord, Option<(&File, Position)>)],
        checked: &[Checked<'_>],
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for removed in &report.removed {
            if let Some(importers) = self.importers.get(removed.as_str())
                && !self.nodes.contains_key(removed.as_str())
            {
                let mut importers = importers.clone();
                importers.sort_unstable();
                let importers = importers.join(", ");
                warnings.push(format!(
                    "{removed} is removed and still imported by {importers}: they fail at their next call"
                ));
            }
        }
        let by_name: HashMap<&str, ScriptId> =
            self.snapshot.scripts.iter().map(|script| (script.name.as_str(), script.id)).collect();
        let answers: BTreeSet<ScriptId> = routes.iter().map(|(route, _)| route.script).collect();
        let directed: BTreeSet<&str> = checked
            .iter()
            .filter(|checked| {
                !checked.directives.routes.is_empty() || !checked.directives.triggers.is_empty()
            })
            .map(|checked| checked.file.name.as_str())
            .collect();
        let handles: BTreeSet<ScriptId> = self
            .snapshot
            .triggers
            .iter()
            .filter(|trigger| trigger.owner != Owner::Directive)
            .map(|trigger| trigger.script)
            .collect();
        for checked in checked {
            let (name, path) = (checked.file.name.as_str(), &checked.file.path);
            for import in &checked.outline.imports {
                let what = match self.nodes.get(&import.name) {
                    Some(node) if node.is_module => continue,
                    Some(_) => "which is no module",
                    None => "which the app does not have",
                };
                let place = import.at.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
                let imported: String = import.name.chars().take(80).collect();
                warnings.push(format!(
                    "{path}{place}: imports {imported:?}, {what}: it fails when it comes there"
                ));
            }
            if checked.kind() == ScriptKind::Module {
                if !self.imports_more && !self.importers.contains_key(name) {
                    warnings.push(format!("{path}: no script imports this module"));
                }
                continue;
            }
            let id = by_name.get(name);
            let is_reached = directed.contains(name)
                || id.is_some_and(|id| answers.contains(id) || handles.contains(id))
                || self.invokes_more
                || self.invoked.contains(name);
            if !is_reached {
                warnings.push(format!(
                    "{path}: no route and no trigger leads to it; only a call by the host or by its id runs it"
                ));
            }
        }
        warnings
    }
}

/// Where a file imports a module.
fn place(checked: &Checked<'_>, module: &str) -> Option<Position> {
    checked.outline.imports.iter().find(|import| import.name == module)?.at
}
