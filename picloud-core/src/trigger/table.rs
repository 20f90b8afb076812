//! The triggers of one app, laid out for matching.

use std::collections::HashMap;
use std::sync::Arc;

use super::collection::CollectionTable;
use super::{TriggerKind, TriggerRecord};
use crate::dead_letters::DeadLetterTrigger;
use crate::outbox::{EventSource, Fanout, FanoutRow, OutboxRow, Revision};
use crate::pubsub::{PUBLISH, TopicPattern};
use crate::queue::{QueueName, SEND};
use crate::script::ScriptName;
use crate::{ScriptId, TriggerId};

/// Matches writes against an app's triggers. Immutable, part of the app's snapshot.
#[derive(Debug)]
pub(crate) struct TriggerTable {
    revision: Revision,
    by_id: HashMap<TriggerId, Arc<TriggerRecord>>,
    kv: CollectionTable,
    docs: CollectionTable,
    files: CollectionTable,
    pubsub: Vec<(TopicPattern, FanoutRow)>,
    queues: HashMap<QueueName, FanoutRow>,
    dead_letters: Vec<(DeadLetterTrigger, TriggerId, ScriptId)>,
    /// What a write takes along that nothing matches: shared, so that it costs nothing.
    nothing: Arc<Fanout>,
}

impl TriggerTable {
    pub(crate) fn build(revision: Revision, triggers: impl IntoIterator<Item = TriggerRecord>) -> Self {
        let mut table = TriggerTable {
            revision,
            by_id: HashMap::new(),
            kv: CollectionTable::default(),
            docs: CollectionTable::default(),
            files: CollectionTable::default(),
            pubsub: Vec::new(),
            queues: HashMap::new(),
            dead_letters: Vec::new(),
            nothing: Arc::new(Fanout { revision: Some(revision), rows: Vec::new() }),
        };
        for trigger in triggers {
            if trigger.enabled {
                table.add(&trigger);
            }
            table.by_id.insert(trigger.id, Arc::new(trigger));
        }
        table
    }

    fn add(&mut self, trigger: &TriggerRecord) {
        let (id, script) = (trigger.id, trigger.script);
        match &trigger.kind {
            TriggerKind::Kv(kv) => self.kv.add(kv, id, script),
            TriggerKind::Docs(docs) => self.docs.add(docs, id, script),
            TriggerKind::Files(files) => self.files.add(files, id, script),
            TriggerKind::Pubsub(pubsub) => {
                self.pubsub.push((pubsub.topic.clone(), FanoutRow { op: PUBLISH, trigger: id, script }));
            }
            TriggerKind::Queue(queue) => {
                // There is one at most: a deployment refuses a second.
                self.queues.entry(queue.queue.clone()).or_insert(FanoutRow { op: SEND, trigger: id, script });
            }
            TriggerKind::DeadLetter(letters) => self.dead_letters.push((letters.clone(), id, script)),
            // The scheduler looks for these by itself.
            TriggerKind::Cron(_) | TriggerKind::Unknown => {}
        }
    }

    /// A trigger by id, whether it is enabled or not.
    pub(crate) fn get(&self, id: TriggerId) -> Option<&Arc<TriggerRecord>> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TriggerRecord>> {
        self.by_id.values()
    }

    /// Whether any trigger consumes a queue, enabled or not.
    pub(crate) fn has_queues(&self) -> bool {
        self.by_id.values().any(|trigger| matches!(trigger.kind, TriggerKind::Queue(_)))
    }

    /// Who handles it when an event is given up whose script has this name.
    pub(crate) fn dead_letter_handlers(
        &self,
        row: &OutboxRow,
        script: Option<&ScriptName>,
    ) -> impl Iterator<Item = (TriggerId, ScriptId)> {
        let watching = self.dead_letters.iter().filter(move |(letters, ..)| letters.matches(row, script));
        watching.map(|(_, trigger, script)| (*trigger, *script))
    }

    /// The rows that a write must take along.
    pub(crate) fn fanout(&self, source: &EventSource<'_>) -> Arc<Fanout> {
        let rows = match source {
            EventSource::Kv { collection, .. } => self.kv.matching(collection),
            EventSource::Docs { collection } => self.docs.matching(collection),
            EventSource::Files { collection } => self.files.matching(collection),
            EventSource::Pubsub { topic } => {
                let matching = self.pubsub.iter().filter(|(pattern, _)| pattern.matches(topic));
                matching.map(|(_, row)| row.clone()).collect()
            }
            EventSource::Queue { queue } => self.queues.get(*queue).cloned().into_iter().collect(),
        };
        if rows.is_empty() {
            return self.nothing.clone();
        }
        Arc::new(Fanout { revision: Some(self.revision), rows })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::CollectionName;
    use crate::Timestamp;
    use crate::authz::PrincipalKind;
    use crate::kv::{Key, KvOp};
    use crate::route::DispatchMode;
    use crate::script::Owner;
    use crate::trigger::{CollectionOp, KvTrigger, Registrant, RetryPolicy};

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
        let ops = prop::sample::subsequence(KvOp::ALL.to_vec(), 0..=3);
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
                    let ops = if kv.ops.is_empty() { KvOp::ALL.to_vec() } else { kv.ops.clone() };
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
