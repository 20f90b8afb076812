//! The conformance suite catches every broken sentence of the KV contract.
//!
//! A KV service that is wrong in one way at a time goes through the suite: the cases named for that way must
//! fail. No way is wrong enough to need none, and no case passes whatever the backend does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kv;
mod list;
mod outbox;
mod values;
mod wrong;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use picloud_core::catalog::Catalog;
use picloud_core::conformance::{Case, Harness, World, cases};
use picloud_core::execution::ExecutionStore;
use picloud_core::kv::KvService;
use picloud_core::outbox::Outbox;
use picloud_core::{Backend, Clock, Result, Transaction, async_trait};
use picloud_memory::MemoryBackend;

use crate::kv::WrongKv;
use crate::wrong::Wrong;

/// Worlds that are right but for one thing.
struct WrongWorlds(Option<Wrong>);

#[async_trait]
impl Harness for WrongWorlds {
    async fn world(&self) -> World {
        let (memory, clock) = MemoryBackend::with_test_clock();
        let kv = Arc::new(WrongKv::new(memory.clone(), self.0));
        let outbox = kv.clone();
        World::new(Arc::new(WrongBackend { memory, kv }))
            .on_pass_time(move |duration| {
                clock.advance(duration);
                async {}
            })
            .on_outbox_rows(move |app| {
                let outbox = outbox.clone();
                async move { outbox.outbox_rows(app).await }
            })
    }
}

#[derive(Debug)]
struct WrongBackend {
    memory: MemoryBackend,
    kv: Arc<WrongKv>,
}

#[async_trait]
impl Backend for WrongBackend {
    fn catalog(&self) -> Arc<dyn Catalog> {
        self.memory.catalog()
    }

    fn kv(&self) -> Arc<dyn KvService> {
        self.kv.clone()
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        self.memory.outbox()
    }

    fn executions(&self) -> Arc<dyn ExecutionStore> {
        self.memory.executions()
    }

    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        self.memory.transaction().await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.memory.clock()
    }

    async fn ready(&self) -> Result<()> {
        self.memory.ready().await
    }
}

/// The cases of the KV room, by the part of their name after `kv::`.
fn kv_cases() -> Vec<(&'static str, Case)> {
    cases().into_iter().filter_map(|case| Some((case.name().strip_prefix("kv::")?, case))).collect()
}

fn is_caught(wrong: Wrong, expected: &[&str]) -> Result<(), Failed> {
    assert!(!expected.is_empty(), "nobody catches {wrong:?}");
    for name in expected {
        let (_, case) = kv_cases().into_iter().find(|(known, _)| known == name).expect(name);
        if case.run(&WrongWorlds(Some(wrong))).is_ok() {
            return Err(format!("{wrong:?} passes {name}").into());
        }
    }
    Ok(())
}

fn what_is_not_wrong_passes() -> Result<(), Failed> {
    for (_, case) in kv_cases() {
        case.run(&WrongWorlds(None)).map_err(|error| format!("{}: {error}", case.name()))?;
    }
    Ok(())
}

fn every_case_can_fail() -> Result<(), Failed> {
    let mut idle: Vec<_> = kv_cases().into_iter().map(|(name, _)| name).collect();
    idle.retain(|name| !Wrong::ALL.iter().any(|(_, expected)| expected.contains(name)));
    if idle.is_empty() { Ok(()) } else { Err(format!("nothing is wrong enough for {idle:#?}").into()) }
}

fn main() {
    let mut trials = vec![
        Trial::test("what_is_not_wrong_passes", what_is_not_wrong_passes),
        Trial::test("every_case_can_fail", every_case_can_fail),
    ];
    trials.extend(
        Wrong::ALL.iter().map(|(wrong, expected)| {
            Trial::test(format!("caught::{wrong:?}"), || is_caught(*wrong, expected))
        }),
    );
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
