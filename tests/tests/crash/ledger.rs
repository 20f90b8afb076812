//! What was meant and what was acknowledged, kept outside of the process that dies.

use std::collections::BTreeSet;

use crate::child::Found;

#[derive(Default)]
pub(crate) struct Ledger {
    intended: BTreeSet<String>,
    stored: BTreeSet<String>,
}

impl Ledger {
    /// Takes a line of the child's: `intend COLLECTION KEY`, `stored COLLECTION KEY`.
    pub(crate) fn note(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("intend", what)) => self.intended.insert(what.to_owned()),
            Some(("stored", what)) => self.stored.insert(what.to_owned()),
            _ => panic!("the child says {line:?}"),
        };
    }

    /// Fails when anything acknowledged was lost, or anything was half done.
    pub(crate) fn hold_against(&self, found: &Found) -> Result<(), String> {
        let mut wrong = Vec::new();
        let orders = found.orders.iter().map(|key| format!("orders {key}"));
        let present: BTreeSet<String> =
            orders.chain(found.doomed.iter().map(|key| format!("doomed {key}"))).collect();
        wrong.extend(self.stored.difference(&present).map(|what| format!("lost: {what}")));
        wrong.extend(present.difference(&self.intended).map(|what| format!("from nowhere: {what}")));
        let both = |key: &String| ["one", "two"].map(|handler| format!("{handler}:{key}"));
        let wanted: BTreeSet<String> = found.orders.iter().flat_map(both).collect();
        wrong.extend(wanted.difference(&found.done).map(|what| format!("not handled: {what}")));
        wrong.extend(found.done.difference(&wanted).map(|what| format!("handled, but not stored: {what}")));
        let repeated = found.runs.iter().filter(|(_, times)| **times != 1);
        wrong.extend(repeated.map(|(attempt, times)| format!("attempt {attempt} ran {times} times")));
        let dead: BTreeSet<&String> = found.dead.iter().collect();
        if dead.len() != found.dead.len() {
            wrong.push("an event is a dead letter twice".to_owned());
        }
        wrong.extend(
            found.doomed.iter().filter(|key| !dead.contains(key)).map(|key| format!("no dead letter: {key}")),
        );
        wrong.extend(
            dead.iter()
                .filter(|key| !found.doomed.contains(**key))
                .map(|key| format!("a dead letter of nothing: {key}")),
        );
        let retried = found.runs.keys().filter(|attempt| !attempt.ends_with(":1")).count();
        println!(
            "{} writes acknowledged of {} intended; {} stored, {} handled, {} runs of which {retried} repeated, {} dead letters",
            self.stored.len(),
            self.intended.len(),
            present.len(),
            found.done.len(),
            found.runs.len(),
            found.dead.len(),
        );
        if self.intended.is_empty() {
            wrong.push("nothing was written".to_owned());
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{} things are wrong: {:#?}", wrong.len(), wrong.get(..20).unwrap_or(&wrong)))
        }
    }
}
