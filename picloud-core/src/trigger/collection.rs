//! Triggers that watch what is written to collections: of kv, and of every other room that has collections.

use std::collections::HashMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::CollectionGlob;
use crate::outbox::FanoutRow;
use crate::{CollectionName, ScriptId, TriggerId};

/// What can happen to something in a collection, such as `insert`.
pub trait CollectionOp: Copy + PartialEq + fmt::Debug + Serialize + DeserializeOwned + 'static {
    /// Every one.
    const ALL: &'static [Self];

    /// The word that scripts, triggers and outbox rows use.
    fn as_str(self) -> &'static str;
}

/// Watches what is written to collections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "Op: CollectionOp")]
pub struct CollectionTrigger<Op> {
    /// The collections.
    pub collection: CollectionGlob,
    /// The operations; none means any.
    #[serde(default)]
    pub ops: Vec<Op>,
}

impl<Op: CollectionOp> CollectionTrigger<Op> {
    fn rows(&self, trigger: TriggerId, script: ScriptId) -> impl Iterator<Item = FanoutRow> {
        let watched = Op::ALL.iter().filter(|op| self.ops.is_empty() || self.ops.contains(op));
        watched.map(move |op| FanoutRow { op: op.as_str(), trigger, script })
    }
}

impl<Op: CollectionOp> fmt::Display for CollectionTrigger<Op> {
    /// As a directive spells it: `orders:* insert,update`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.collection, f)?;
        let ops: Vec<_> = self.ops.iter().map(|op| op.as_str()).collect();
        if ops.is_empty() { Ok(()) } else { write!(f, " {}", ops.join(",")) }
    }
}

/// The triggers of one room, laid out for matching: rows for all operations that each of them watches.
#[derive(Debug, Default)]
pub(super) struct CollectionTable {
    exact: HashMap<CollectionName, Vec<FanoutRow>>,
    globs: Vec<(CollectionGlob, Vec<FanoutRow>)>,
}

impl CollectionTable {
    pub(super) fn add<Op: CollectionOp>(
        &mut self,
        watched: &CollectionTrigger<Op>,
        trigger: TriggerId,
        script: ScriptId,
    ) {
        let rows = watched.rows(trigger, script);
        match watched.collection.exact() {
            Some(name) => self.exact.entry(name.clone()).or_default().extend(rows),
            None => self.globs.push((watched.collection.clone(), rows.collect())),
        }
    }

    pub(super) fn matching(&self, collection: &CollectionName) -> Vec<FanoutRow> {
        let globs = self.globs.iter().filter(|(glob, _)| glob.matches(collection));
        let mut rows: Vec<_> = globs.flat_map(|(_, rows)| rows).cloned().collect();
        rows.extend(self.exact.get(collection).into_iter().flatten().cloned());
        rows
    }
}
