//! The contract as tests: every sentence that a backend could break is a case with a name.
//!
//! A backend brings a [`Harness`], which makes worlds, and a test binary of a few lines (with
//! `harness = false`): it calls [`main`], which understands the usual arguments of a test binary.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use picloud_core::conformance::{self, Harness, World};
//! use picloud_core::{Backend, async_trait};
//!
//! # fn my_backend() -> Arc<dyn Backend> { unimplemented!() }
//! struct MyDatabase;
//!
//! #[async_trait]
//! impl Harness for MyDatabase {
//!     async fn world(&self) -> World {
//!         World::new(my_backend())
//!     }
//! }
//!
//! conformance::main(MyDatabase);
//! ```
//!
//! Each world has stores of its own (a database, or a schema in one): the outbox serves every app, so that cases in one
//! would take each other's events.

mod collection;
mod documents;
mod files;
mod transaction;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};

pub(crate) use collection::{Collection, keys_of, together};
pub(crate) use documents::Documents;
pub(crate) use files::{Records, content, new_file};
pub use world::World;

use crate::Result;

/// What a backend brings in order to be tested.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A world for one case. It is made, used and dropped on one tokio runtime that no other case uses.
    async fn world(&self) -> World;
}

/// The longest that a case may take. The slowest write a few thousand entries or wait a few seconds; one that
/// waits for ever has failed.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What a case does: fails by an error or by a panic.
type Run = fn(World) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One sentence of a contract, as a test.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    within_transaction: bool,
    run: Run,
}

impl Case {
    pub(crate) const fn new(name: &'static str, run: Run) -> Self {
        Case { name, within_transaction: false, run }
    }

    /// The same case, through the services of a transaction.
    pub(crate) fn within_transaction(self) -> Self {
        let (room, sentence) = self.name.split_once("::").unwrap_or(("", self.name));
        // A test binary makes each once.
        let name = Box::leak(format!("{room}_in_tx::{sentence}").into_boxed_str());
        Case { name, within_transaction: true, ..self }
    }

    /// The room and the sentence, such as `kv::a_missing_key_reads_as_none`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case in a world of its own, on a runtime of its own. Not to be called on a thread of a tokio
    /// runtime.
    ///
    /// # Errors
    /// What failed, for people.
    pub fn run(&self, harness: &dyn Harness) -> Result<(), String> {
        // Several threads, since a case about concurrency proves nothing on one.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let world = harness.world().await;
                let run = async {
                    let world =
                        if self.within_transaction { world.within_transaction().await? } else { world };
                    (self.run)(world).await
                };
                tokio::time::timeout(TIME_LIMIT, run).await
            })
        }));
        // Tasks of a failed case may never end.
        runtime.shutdown_timeout(Duration::from_secs(1));
        match outcome {
            Ok(Ok(result)) => result.map_err(|error| format!("{error:?}")),
            Ok(Err(_)) => Err(format!("not over after {} seconds", TIME_LIMIT.as_secs())),
            Err(panic) => Err(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                (Some(text), _) => text.clone(),
                (None, Some(text)) => (*text).to_owned(),
                (None, None) => "a panic without a message".to_owned(),
            }),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Every case of every room.
pub fn cases() -> Vec<Case> {
    [
        crate::kv::suite::cases(),
        crate::docs::suite::cases(),
        crate::files::suite::cases(),
        crate::pubsub::suite::cases(),
        crate::queue::suite::cases(),
        crate::secrets::suite::cases(),
        crate::catalog::suite::cases(),
        crate::outbox::suite::cases(),
        crate::execution::suite::cases(),
        transaction::cases(),
        crate::kv::suite::cases_within_transaction(),
        crate::docs::suite::cases_within_transaction(),
        crate::files::suite::cases_within_transaction(),
    ]
    .concat()
}

/// Runs every case as a test binary does: filters, `--list` and the exit code included. Does not return.
pub fn main(harness: impl Harness) -> ! {
    let harness = Arc::new(harness);
    let trials = cases()
        .into_iter()
        .map(|case| {
            let harness = harness.clone();
            Trial::test(case.name, move || Ok(case.run(&*harness)?))
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// The cases of a room, named after its functions.
macro_rules! case_list {
    ($room:literal: $($case:ident),* $(,)?) => {
        vec![$($crate::conformance::Case::new(
            concat!($room, "::", stringify!($case)),
            |world| Box::pin($case(world)),
        )),*]
    };
}
pub(crate) use case_list;
