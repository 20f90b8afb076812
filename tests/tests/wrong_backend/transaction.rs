//! Wrong transactions: the memory backend's, except in one way.

mod kv;
mod wrong;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use picloud_core::docs::DocsService;
use picloud_core::files::FilesService;
use picloud_core::kv::{Key, KvService, SetOptions};
use picloud_core::outbox::{FanoutRow, Outbox, OutboxRow};
use picloud_core::pubsub::PubsubService;
use picloud_core::queue::QueueService;
use picloud_core::{
    AppId, Backend, CallCx, CollectionName, Error, ErrorKind, Json, Result, Services, Timestamp, Transaction,
    async_trait, tx_closed,
};
use picloud_memory::MemoryBackend;

use crate::docs::WrongDocs;
use crate::files::WrongFiles;
use crate::kv::WrongKv;
use crate::pubsub::WrongPubsub;
use crate::queue::WrongQueue;
use kv::TxKv;
pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongTransactions {
    wrong: Option<Wrong>,
    memory: MemoryBackend,
    kv: Arc<WrongKv>,
    docs: Arc<WrongDocs>,
    files: Arc<WrongFiles>,
    pubsub: Arc<WrongPubsub>,
    queue: Arc<WrongQueue>,
    born: Timestamp,
    begun: AtomicUsize,
}

impl WrongTransactions {
    pub(crate) fn new(
        memory: MemoryBackend,
        kv: Arc<WrongKv>,
        docs: Arc<WrongDocs>,
        files: Arc<WrongFiles>,
        pubsub: Arc<WrongPubsub>,
        queue: Arc<WrongQueue>,
        wrong: Option<Wrong>,
    ) -> Self {
        let born = memory.clock().now();
        WrongTransactions { wrong, memory, kv, docs, files, pubsub, queue, born, begun: AtomicUsize::new(0) }
    }

    pub(crate) async fn begin(&self) -> Result<Box<dyn Transaction>> {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        if begun > 0 && self.wrong == Some(Wrong::ThereIsOneAtMost) {
            return Err(Error::new(ErrorKind::Unavailable, "tx.busy", "there was a transaction already"));
        }
        let is_real = !matches!(self.wrong, Some(Wrong::ThereIsNone | Wrong::TheLastCommitWins));
        let inner = if is_real { Some(self.memory.transaction().await?) } else { None };
        let inside = match &inner {
            Some(inner) => inner.services(),
            None => Services::from_backend(&self.memory),
        };
        // What is wrong with the service outside is wrong with the one inside.
        let kv = Arc::new(self.kv.inside(inside.kv));
        let docs = Arc::new(self.docs.inside(inside.docs));
        let files = Arc::new(self.files.inside(inside.files));
        let pubsub = self.pubsub.inside(inside.pubsub);
        let queue = self.queue.inside(inside.queue);
        let state = Arc::new(State {
            wrong: self.wrong,
            memory: self.memory.clone(),
            born: self.born,
            is_broken: AtomicBool::new(false),
            services: AtomicUsize::new(0),
            work: Mutex::default(),
        });
        Ok(Box::new(WrongTransaction { inner, kv, docs, files, pubsub, queue, state }))
    }
}

/// What the services of a wrong transaction share with it.
#[derive(Debug)]
struct State {
    wrong: Option<Wrong>,
    memory: MemoryBackend,
    born: Timestamp,
    /// Ended by a failure.
    is_broken: AtomicBool,
    services: AtomicUsize,
    work: Mutex<Work>,
}

/// What was done inside.
#[derive(Debug, Default)]
struct Work {
    keys: Vec<(AppId, CollectionName, Key)>,
    /// Events that are stored later.
    rows: Vec<OutboxRow>,
    /// Sums that are stored at the end.
    sums: Vec<(CallCx, CollectionName, Key, i64)>,
}

impl State {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct WrongTransaction {
    inner: Option<Box<dyn Transaction>>,
    kv: Arc<dyn KvService>,
    docs: Arc<dyn DocsService>,
    files: Arc<dyn FilesService>,
    pubsub: Arc<dyn PubsubService>,
    queue: Arc<dyn QueueService>,
    state: Arc<State>,
}

#[async_trait]
impl Transaction for WrongTransaction {
    fn services(&self) -> Services {
        let is_good = self.state.services.fetch_add(1, Ordering::Relaxed) == 0;
        let is_good = is_good || !self.state.is(Wrong::ServicesAreGoodOnce);
        let kv = TxKv { inside: self.kv.clone(), state: self.state.clone(), is_good };
        let (docs, files) = (self.docs.clone(), self.files.clone());
        Services::new(Arc::new(kv), docs, files, self.pubsub.clone(), self.queue.clone())
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        let state = self.state.clone();
        let inner = self.inner.take();
        if state.is_broken.load(Ordering::Relaxed) {
            return Err(tx_closed());
        }
        match state.wrong {
            Some(Wrong::CommitDoesNothing) => return Ok(()),
            Some(Wrong::EmptyCommitsFail) if state.work().keys.is_empty() => {
                return Err(Error::invalid("tx.empty", "there is nothing to commit"));
            }
            _ => (),
        }
        if let Some(inner) = inner {
            inner.commit().await?;
        }
        let Work { rows, sums, .. } = std::mem::take(&mut *state.work());
        if state.is(Wrong::EventsComeAfterTheCommit) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for row in rows {
            state.memory.outbox().enqueue(&row).await?;
        }
        for (cx, collection, key, sum) in sums {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let value = Json::from_value(&sum)?;
            state.memory.kv().set(&cx, &collection, &key, &value, &SetOptions::default()).await?;
        }
        Ok(())
    }
}

impl Drop for WrongTransaction {
    fn drop(&mut self) {
        match (self.state.wrong, self.inner.take()) {
            // The commit of the memory backend never waits.
            (Some(Wrong::DropCommits), Some(inner)) => drop(inner.commit().now_or_never()),
            (Some(Wrong::DropHoldsOn), Some(inner)) => std::mem::forget(inner),
            _ => (),
        }
    }
}

/// The rows of an app, all of one version.
pub(crate) async fn with_one_version(outbox: &dyn Outbox, app: AppId) -> Vec<(FanoutRow, Json)> {
    let mut rows = Vec::new();
    for row in outbox.waiting(app, 10_000).await.unwrap() {
        let mut payload: serde_json::Value = row.payload.to_value().unwrap();
        payload["version"] = 1.into();
        let handed_over = FanoutRow { op: "insert", trigger: row.trigger.unwrap(), script: row.script };
        rows.push((handed_over, Json::from_value(&payload).unwrap()));
    }
    rows
}
