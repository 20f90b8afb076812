//! The contract of [`ExecutionStore`](super::ExecutionStore), sentence by sentence.
//!
//! Not tested: that a batch which fails leaves nothing, since no case can make a store fail.

mod lists;
mod records;

use std::sync::Arc;

use super::{
    ExecutionListOptions, ExecutionRecord, ExecutionStore, Failure, FailureClass, Invocation, Outcome,
};
use crate::conformance::{Case, World};
use crate::{AppId, Result, Timestamp};

pub(crate) fn cases() -> Vec<Case> {
    [records::cases(), lists::cases()].concat()
}

/// The execution log of a new app.
struct Log {
    store: Arc<dyn ExecutionStore>,
    app: AppId,
    world: World,
}

impl Log {
    async fn new(world: World) -> Result<Self> {
        Ok(Log { store: world.backend().executions(), app: world.app().await?, world })
    }

    /// A record that started this many seconds after the others.
    fn record(&self, seconds: i64) -> Result<ExecutionRecord> {
        let script = crate::catalog::suite::script(&self.world, "a script")?;
        let invocation = Invocation::new(self.app, Arc::new(script));
        let outcome =
            Outcome::refused(invocation.execution, Failure::new(FailureClass::Runtime, "no \"luck\" ü"));
        let start = Timestamp::constant(1_790_000_000, 123_456_000);
        let at = Timestamp::from_microsecond(start.as_microsecond() + seconds * 1_000_000).unwrap_or(start);
        Ok(ExecutionRecord::new(&invocation, &outcome, at))
    }

    /// Writes records that started a second after each other; answers them newest first.
    async fn write(&self, count: i64) -> Result<Vec<ExecutionRecord>> {
        let records = (0..count).map(|second| self.record(second)).collect::<Result<Vec<_>>>()?;
        self.store.write(records.clone()).await?;
        Ok(records.into_iter().rev().collect())
    }

    async fn list(&self, options: &ExecutionListOptions) -> Result<Vec<ExecutionRecord>> {
        Ok(self.store.list(self.app, options).await?.items)
    }
}

fn limit(limit: usize) -> ExecutionListOptions {
    ExecutionListOptions { limit: Some(limit), ..ExecutionListOptions::default() }
}
