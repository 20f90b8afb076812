//! The rows that this process has, and who has too many of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Claimed, Except, Settlement};
use crate::{AppId, EventId, ScriptId};

/// A script, or an app, has too many rows when it has so many times as many as there is room for. One app alone gets four
/// fifths of all places, two get four ninths each, and so on: whoever comes next always finds some. And a script gets less
/// than its app may, so that there is room for its other scripts.
const SCRIPT_TIMES_FREE: usize = 2;
const APP_TIMES_FREE: usize = 4;

/// Rows by their claims: whoever was taken over may have one of which it is told a second time.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    claims: HashMap<(EventId, u64), (AppId, ScriptId)>,
    apps: HashMap<AppId, usize>,
    scripts: HashMap<ScriptId, usize>,
}

impl Held {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that this process got.
    pub(super) fn add(&self, claimed: &[Claimed]) {
        let mut rows = self.rows();
        for Claimed { row, claim, .. } in claimed {
            if rows.claims.insert((row.id, *claim), (row.app, row.script)).is_none() {
                *rows.apps.entry(row.app).or_default() += 1;
                *rows.scripts.entry(row.script).or_default() += 1;
            }
        }
    }

    /// Rows that were settled.
    pub(super) fn remove(&self, settlements: &[Settlement]) {
        let mut rows = self.rows();
        for Settlement { id, claim, .. } in settlements {
            if let Some((app, script)) = rows.claims.remove(&(*id, *claim)) {
                take_one(&mut rows.apps, app);
                take_one(&mut rows.scripts, script);
            }
        }
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<EventId> {
        self.rows().claims.keys().map(|(id, _)| *id).collect()
    }

    /// How many more rows may come while there is room for `free`, even if all of them are of the script that has most.
    pub(super) fn headroom(&self, free: usize) -> usize {
        let most = self.rows().scripts.values().copied().max().unwrap_or_default();
        // Each one that comes also takes from what is free.
        free.saturating_mul(SCRIPT_TIMES_FREE).saturating_sub(most).div_ceil(SCRIPT_TIMES_FREE + 1)
    }

    /// Who gets no more while there is room for `free` only.
    pub(super) fn greedy(&self, free: usize) -> Except {
        let rows = self.rows();
        // Mostly there is room enough, and nobody needs to be looked at.
        if rows.claims.len() < free.saturating_mul(SCRIPT_TIMES_FREE) {
            return Except::default();
        }
        Except {
            apps: with_more(&rows.apps, free.saturating_mul(APP_TIMES_FREE)),
            scripts: with_more(&rows.scripts, free.saturating_mul(SCRIPT_TIMES_FREE)),
        }
    }
}

fn take_one<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn with_more<K: Copy>(counts: &HashMap<K, usize>, most: usize) -> Vec<K> {
    counts.iter().filter(|(_, count)| **count >= most).map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{EventKind, OutboxRow, Verdict};
    use crate::{Json, RequestId, Timestamp, TraceId};

    fn claimed(app: AppId, script: ScriptId, count: usize) -> Vec<Claimed> {
        let one = |_| {
            let row = OutboxRow {
                id: EventId::new(),
                app,
                kind: EventKind::Kv,
                trigger: None,
                script,
                payload: Json::from_canonical("{}"),
                trigger_depth: 1,
                trace: TraceId::new(),
                request: RequestId::new(),
                parent: None,
                occurred_at: Timestamp::UNIX_EPOCH,
            };
            Claimed { row, attempt: 1, claim: 1, replayed: false }
        };
        (0..count).map(one).collect()
    }

    fn settled(claimed: &[Claimed]) -> Vec<Settlement> {
        let of = |claimed: &Claimed| Settlement {
            id: claimed.row.id,
            claim: claimed.claim,
            verdict: Verdict::Done,
        };
        claimed.iter().map(of).collect()
    }

    #[test]
    fn one_alone_gets_most_and_leaves_room_for_others() {
        let (held, app, script) = (Held::default(), AppId::new(), ScriptId::new());
        let mut free = 150;
        while held.greedy(free) == Except::default() {
            held.add(&claimed(app, script, 1));
            free -= 1;
        }
        assert_eq!((free, held.greedy(free)), (50, Except { apps: Vec::new(), scripts: vec![script] }));
        // Another script of the app, until the app has enough; and still others.
        held.add(&claimed(app, ScriptId::new(), 20));
        assert_eq!(held.greedy(30), Except { apps: vec![app], scripts: vec![script] });
        let other = claimed(AppId::new(), ScriptId::new(), 9);
        held.add(&other);
        assert_eq!(held.greedy(30 - 9).apps, [app], "and the other one goes on");
        held.remove(&settled(&other));
        assert_eq!(held.ids().len(), 120);
    }

    #[test]
    fn as_many_may_come_as_make_nobody_greedy() {
        for places in 1..200 {
            let (held, app, script) = (Held::default(), AppId::new(), ScriptId::new());
            let mut free = places;
            loop {
                let headroom = held.headroom(free);
                assert!(headroom <= free);
                if headroom == 0 {
                    break;
                }
                held.add(&claimed(app, script, headroom));
                free -= headroom;
            }
            let count = places - free;
            assert!(count >= places * 2 / 3 && count <= places * 2 / 3 + 2, "{count} of {places}");
        }
    }

    #[test]
    fn many_scripts_of_one_app_are_one_app() {
        let (held, app) = (Held::default(), AppId::new());
        (0..80).for_each(|_| held.add(&claimed(app, ScriptId::new(), 1)));
        assert_eq!(held.greedy(20), Except { apps: vec![app], scripts: Vec::new() });
    }

    #[test]
    fn a_claim_is_counted_once_and_removed_once() {
        let (held, rows) = (Held::default(), claimed(AppId::new(), ScriptId::new(), 3));
        held.add(&rows);
        held.add(&rows);
        assert_eq!(held.ids().len(), 3);
        held.remove(&settled(&rows[..2]));
        held.remove(&settled(&rows[..2]));
        assert_eq!(held.ids(), [rows[2].row.id]);
        held.remove(&settled(&rows));
        assert_eq!(held.greedy(0), Except::default());
    }
}
