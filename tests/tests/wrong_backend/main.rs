//! The conformance suite catches every broken sentence of a contract.
//!
//! A backend that is wrong in one way at a time goes through the suite: the cases named for that way must fail. No way is
//! wrong enough to need none, and no case passes whatever the backend does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend;
mod catalog;
mod docs;
mod executions;
mod files;
mod kv;
mod outbox;
mod pubsub;
mod queue;
mod secrets;
mod transaction;
mod wrongs;

use std::collections::BTreeSet;

use libtest_mimic::{Arguments, Failed, Trial};
use picloud_core::conformance::{Case, cases};

use crate::backend::WrongWorlds;

/// In which way the backend is wrong, by room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Kv(kv::Wrong),
    Docs(docs::Wrong),
    Files(files::Wrong),
    Catalog(catalog::Wrong),
    Outbox(outbox::Wrong),
    Pubsub(pubsub::Wrong),
    Queue(queue::Wrong),
    Secrets(secrets::Wrong),
    Executions(executions::Wrong),
    Tx(transaction::Wrong),
}

impl Wrong {
    /// Every way, with the names of the cases that must notice it.
    fn all() -> Vec<(Wrong, Vec<String>)> {
        let known: BTreeSet<_> = cases().iter().map(Case::name).collect();
        let mut all = Vec::new();
        let mut room = |names: &[&str], wrong: Wrong, expected: &[&str]| {
            let mut full = Vec::new();
            for expected in expected {
                let candidates = names.iter().map(|room| format!("{room}::{expected}"));
                let found: Vec<_> = candidates.filter(|name| known.contains(name.as_str())).collect();
                assert!(!found.is_empty(), "there is no case {expected} for {wrong:?}");
                full.extend(found);
            }
            all.push((wrong, full));
        };
        // A service that is wrong outside is as wrong inside a transaction, and the same cases notice.
        for (wrong, expected) in kv::Wrong::ALL {
            room(&["kv", "kv_in_tx"], Wrong::Kv(*wrong), expected);
        }
        for (wrong, expected) in docs::Wrong::ALL {
            room(&["docs", "docs_in_tx"], Wrong::Docs(*wrong), expected);
        }
        for (wrong, expected) in files::Wrong::ALL {
            room(&["files", "files_in_tx"], Wrong::Files(*wrong), expected);
        }
        for (wrong, expected) in catalog::Wrong::ALL {
            room(&["catalog"], Wrong::Catalog(*wrong), expected);
        }
        for (wrong, expected) in pubsub::Wrong::ALL {
            room(&["pubsub"], Wrong::Pubsub(*wrong), expected);
        }
        for (wrong, expected) in queue::Wrong::ALL {
            room(&["queue"], Wrong::Queue(*wrong), expected);
        }
        for (wrong, expected) in secrets::Wrong::ALL {
            room(&["secrets"], Wrong::Secrets(*wrong), expected);
        }
        for (wrong, expected) in outbox::Wrong::ALL {
            room(&["outbox", "queue"], Wrong::Outbox(*wrong), expected);
        }
        for (wrong, expected) in executions::Wrong::ALL {
            room(&["executions"], Wrong::Executions(*wrong), expected);
        }
        for (wrong, expected) in transaction::Wrong::ALL {
            room(&["tx"], Wrong::Tx(*wrong), expected);
        }
        all
    }
}

fn is_caught(wrong: Wrong, expected: &[String]) -> Result<(), Failed> {
    assert!(!expected.is_empty(), "nobody catches {wrong:?}");
    let mut passed = Vec::new();
    for case in cases().into_iter().filter(|case| expected.iter().any(|name| name == case.name())) {
        if case.run(&WrongWorlds(Some(wrong))).is_ok() {
            passed.push(case.name());
        }
    }
    if passed.is_empty() { Ok(()) } else { Err(format!("{wrong:?} passes {passed:#?}").into()) }
}

fn what_is_not_wrong_passes() -> Result<(), Failed> {
    for case in cases() {
        case.run(&WrongWorlds(None)).map_err(|error| format!("{}: {error}", case.name()))?;
    }
    Ok(())
}

fn every_case_can_fail() -> Result<(), Failed> {
    let mut idle: Vec<_> = cases().iter().map(Case::name).collect();
    let caught: BTreeSet<_> = Wrong::all().into_iter().flat_map(|(_, expected)| expected).collect();
    idle.retain(|name| !caught.contains(*name));
    if idle.is_empty() { Ok(()) } else { Err(format!("nothing is wrong enough for {idle:#?}").into()) }
}

fn main() {
    let mut trials = vec![
        Trial::test("what_is_not_wrong_passes", what_is_not_wrong_passes),
        Trial::test("every_case_can_fail", every_case_can_fail),
    ];
    trials.extend(Wrong::all().into_iter().map(|(wrong, expected)| {
        Trial::test(format!("caught::{wrong:?}"), move || is_caught(wrong, &expected))
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
