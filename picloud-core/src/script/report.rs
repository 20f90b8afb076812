//! What a deployment did, or why it did nothing.

use std::fmt;

use super::ScriptName;
use crate::docs::filter::Path;
use crate::execution::Position;
use crate::outbox::Revision;
use crate::route::{DispatchMode, RouteRecord};
use crate::trigger::TriggerRecord;
use crate::{CollectionName, Error, ErrorKind};

/// What a deployment did. `Display` is the report for people.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DeployReport {
    /// The app's revision now.
    pub revision: Revision,
    /// Scripts that are new.
    pub created: Vec<ScriptName>,
    /// Scripts with a new version.
    pub updated: Vec<ScriptName>,
    /// Scripts without a change.
    pub unchanged: Vec<ScriptName>,
    /// Scripts that are gone, since their file is gone.
    pub removed: Vec<ScriptName>,
    /// Every route of the bundle's scripts, and those that are gone.
    pub routes: Vec<DeployedRoute>,
    /// Every trigger of the bundle's scripts, and those that are gone.
    pub triggers: Vec<DeployedTrigger>,
    /// Every index that the bundle's scripts name and the app has now.
    pub indexes: Vec<DeployedIndex>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

impl DeployReport {
    /// Whether anything is different from before.
    pub fn changed(&self) -> bool {
        !(self.created.is_empty() && self.updated.is_empty() && self.removed.is_empty())
            || self.routes.iter().any(|route| route.change != Change::Kept)
            || self.triggers.iter().any(|trigger| trigger.change != Change::Kept)
            || self.indexes.iter().any(|index| index.change != Change::Kept)
    }
}

/// A route of a deployed script.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeployedRoute {
    /// The route.
    pub route: RouteRecord,
    /// The script that answers.
    pub script: ScriptName,
    /// What became of it.
    pub change: Change,
}

/// A trigger of a deployed script.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeployedTrigger {
    /// The trigger.
    pub trigger: TriggerRecord,
    /// The script that handles its events.
    pub script: ScriptName,
    /// What became of it.
    pub change: Change,
}

/// A declared index that scripts of the bundle name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeployedIndex {
    /// The collection of documents.
    pub collection: CollectionName,
    /// What it is of.
    pub path: Path,
    /// Whether it is new. It is never [`Change::Removed`]: others may need it, so only
    /// [`DocsCollection::drop_index`](crate::DocsCollection::drop_index) removes it.
    pub change: Change,
}

/// What a deployment did to a route, a trigger or an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new, or other than before.
    Added,
    /// It is as before.
    Kept,
    /// It is gone.
    Removed,
}

impl fmt::Display for DeployReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |names: &[ScriptName]| names.iter().map(ScriptName::as_str).collect::<Vec<_>>().join(", ");
        for (what, scripts) in
            [("created", &self.created), ("updated", &self.updated), ("removed", &self.removed)]
        {
            if !scripts.is_empty() {
                writeln!(f, "{what}: {}", names(scripts))?;
            }
        }
        if !self.unchanged.is_empty() {
            let plural = if self.unchanged.len() == 1 { "" } else { "s" };
            writeln!(f, "unchanged: {} script{plural}", self.unchanged.len())?;
        }
        let mark = |change| match change {
            Change::Added => '+',
            Change::Kept => ' ',
            Change::Removed => '-',
        };
        for route in &self.routes {
            let mark = mark(route.change);
            let target = format!("{}{}", route.route.host.as_deref().unwrap_or(""), route.route.path);
            let mode = if route.route.dispatch_mode == DispatchMode::Async { " (async)" } else { "" };
            let method = route.route.method.to_string();
            writeln!(f, "  {mark} {method:<7} {target:<28} -> {}{mode}", route.script)?;
        }
        for trigger in &self.triggers {
            let (mark, what) = (mark(trigger.change), trigger.trigger.kind.to_string());
            writeln!(f, "  {mark} on {what:<33} -> {}", trigger.script)?;
        }
        for index in &self.indexes {
            // Keys may be anything, also what a terminal would obey.
            let (mark, path) = (mark(index.change), index.path.to_string());
            writeln!(f, "  {mark} index {} {}", index.collection, path.escape_debug())?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// One mistake in a bundle.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeployProblem {
    /// The file, with its path in the folder.
    pub file: String,
    /// Where in the file.
    pub position: Option<Position>,
    /// A stable code, such as `route.conflict`.
    pub code: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for DeployProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Why a deployment did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The bundle has mistakes: all that were found, by file and line.
    #[error("{}", list(.0))]
    Invalid(Vec<DeployProblem>),
    /// It could not be applied.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl DeployError {
    /// The mistakes, if it was the bundle's fault.
    pub fn problems(&self) -> &[DeployProblem] {
        match self {
            DeployError::Invalid(problems) => problems,
            DeployError::Failed(_) => &[],
        }
    }
}

impl From<DeployError> for Error {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Failed(error) => error,
            DeployError::Invalid(_) => {
                Error::new(ErrorKind::InvalidInput, "deploy.invalid", error.to_string())
            }
        }
    }
}

fn list(problems: &[DeployProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
