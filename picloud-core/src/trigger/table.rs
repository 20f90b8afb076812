//! The triggers of one app, laid out for matching.

use std::collections::HashMap;
use std::sync::Arc;

use super::{TriggerKind, TriggerRecord};
use crate::kv::KvOp;
use crate::outbox::{EventSource, Fanout, FanoutRow, Revision};
use crate::{CollectionName, TriggerId};

/// Matches writes against an app's triggers. Immutable, part of the app's snapshot.
#[derive(Debug)]
pub(crate) struct TriggerTable {
    revision: Revision,
    by_id: HashMap<TriggerId, Arc<TriggerRecord>>,
    /// Rows of triggers that watch one collection, for all operations that they watch.
    kv_exact: HashMap<CollectionName, Vec<FanoutRow>>,
    /// The others.
    kv_globs: Vec<(Arc<TriggerRecord>, Vec<FanoutRow>)>,
    /// What a write takes along that nothing matches: shared, so that it costs nothing.
    nothing: Arc<Fanout>,
}

const ALL_OPS: [KvOp; 3] = [KvOp::Insert, KvOp::Update, KvOp::Delete];

impl TriggerTable {
    pub(crate) fn build(revision: Revision, triggers: impl IntoIterator<Item = TriggerRecord>) -> Self {
        let mut table = TriggerTable {
            revision,
            by_id: HashMap::new(),
            kv_exact: HashMap::new(),
            kv_globs: Vec::new(),
            nothing: Arc::new(Fanout { revision: Some(revision), rows: Vec::new() }),
        };
        for trigger in triggers {
            let trigger = Arc::new(trigger);
            if trigger.enabled {
                table.add(&trigger);
            }
            table.by_id.insert(trigger.id, trigger);
        }
        table
    }

    fn add(&mut self, trigger: &Arc<TriggerRecord>) {
        match &trigger.kind {
            TriggerKind::Kv(kv) => {
                let rows = ALL_OPS
                    .iter()
                    .filter(|op| kv.ops.is_empty() || kv.ops.contains(op))
                    .map(|op| FanoutRow { op: op.as_str(), trigger: trigger.id, script: trigger.script });
                match kv.collection.exact() {
                    Some(name) => self.kv_exact.entry(name.clone()).or_default().extend(rows),
                    None => self.kv_globs.push((trigger.clone(), rows.collect())),
                }
            }
            TriggerKind::Unknown => {}
        }
    }

    /// A trigger by id, whether it is enabled or not.
    pub(crate) fn get(&self, id: TriggerId) -> Option<&Arc<TriggerRecord>> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TriggerRecord>> {
        self.by_id.values()
    }

    /// The rows that a write must take along.
    pub(crate) fn fanout(&self, source: &EventSource<'_>) -> Arc<Fanout> {
        match source {
            EventSource::Kv { collection, .. } => {
                let exact = self.kv_exact.get(*collection);
                let globs = self.kv_globs.iter().filter(|(trigger, _)| match &trigger.kind {
                    TriggerKind::Kv(kv) => kv.collection.matches(collection),
                    TriggerKind::Unknown => false,
                });
                let mut rows: Vec<FanoutRow> = globs.flat_map(|(_, rows)| rows).cloned().collect();
                rows.extend(exact.into_iter().flatten().cloned());
                if rows.is_empty() {
                    return self.nothing.clone();
                }
                Arc::new(Fanout { revision: Some(self.revision), rows })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::authz::PrincipalKind;
    use crate::kv::Key;
    use crate::route::DispatchMode;
    use crate::script::Owner;
    use crate::trigger::{KvTrigger, Registrant, RetryPolicy};
    use crate::{ScriptId, Timestamp};

    fn trigger(glob: &str, ops: Vec<KvOp>, enabled: bool) -> TriggerRecord {
        TriggerRecord {
            id: TriggerId::new(),
            script: ScriptId::new(),
            kind: TriggerKind::Kv(KvTrigger { collection: glob.parse().unwrap(), ops }),
            enabled,
            dispatch_mode: DispatchMode::Async,
            retry: RetryPolicy::default(),
            registered_by: Registrant { kind: PrincipalKind::Host, id: "host".into() },
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn any_trigger() -> impl Strategy<Value = TriggerRecord> {
        let globs = prop::sample::select(vec!["*", "a:*", "a:b:*", "a", "a:b", "b"]);
        let ops = prop::sample::subsequence(ALL_OPS.to_vec(), 0..=3);
        (globs, ops, prop::bool::weighted(0.8)).prop_map(|(glob, ops, enabled)| trigger(glob, ops, enabled))
    }

    proptest! {
        /// The table against the plain reading of what a trigger says.
        #[test]
        fn what_matches_is_what_each_trigger_says(
            triggers in prop::collection::vec(any_trigger(), 0..8),
            name in prop::sample::select(vec!["a", "b", "a:b", "a:b:c", "a:", "c"]),
        ) {
            let collection = CollectionName::new(name).unwrap();
            let key = Key::new("k").unwrap();
            let mut wanted: Vec<(TriggerId, &str)> = Vec::new();
            for trigger in triggers.iter().filter(|trigger| trigger.enabled) {
                if let TriggerKind::Kv(kv) = &trigger.kind && kv.collection.matches(&collection) {
                    let ops = if kv.ops.is_empty() { ALL_OPS.to_vec() } else { kv.ops.clone() };
                    wanted.extend(ops.iter().map(|op| (trigger.id, op.as_str())));
                }
            }
            let table = TriggerTable::build(Revision(7), triggers);
            let fanout = table.fanout(&EventSource::Kv { collection: &collection, key: &key });
            prop_assert_eq!(fanout.revision, Some(Revision(7)));
            let mut found: Vec<_> = fanout.rows.iter().map(|row| (row.trigger, row.op)).collect();
            wanted.sort();
            found.sort();
            prop_assert_eq!(found, wanted);
        }
    }
}
