//! The backend: one world, in memory.

use std::sync::Arc;

use picloud_core::catalog::Catalog;
use picloud_core::docs::DocsService;
use picloud_core::execution::{ExecutionRecord, ExecutionStore};
use picloud_core::files::FilesService;
use picloud_core::kv::KvService;
use picloud_core::outbox::Outbox;
use picloud_core::pubsub::{Broadcast, PubsubService};
use picloud_core::queue::QueueService;
use picloud_core::secrets::SecretStore;
use picloud_core::{AppId, Backend, Clock, Result, SystemClock, Transaction, async_trait};

use crate::catalog::MemoryCatalog;
use crate::clock::TestClock;
use crate::docs::MemoryDocs;
use crate::execution_log::ExecutionLog;
use crate::files::MemoryFiles;
use crate::kv::MemoryKv;
use crate::outbox::MemoryOutbox;
use crate::place::Place;
use crate::pubsub::{MemoryBroadcast, MemoryPubsub};
use crate::queue::MemoryQueue;
use crate::secrets::MemorySecrets;
use crate::tables::Shared;
use crate::transaction::MemoryTransaction;

/// A backend that keeps everything in memory. Clones are the same backend; a new one costs microseconds.
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    tables: Arc<Shared>,
    log: Arc<ExecutionLog>,
    broadcast: Arc<MemoryBroadcast>,
}

impl MemoryBackend {
    /// An empty backend on the system's clock.
    pub fn new() -> Self {
        MemoryBackend::with_clock(Arc::new(SystemClock))
    }

    /// An empty backend on a clock of the host's.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let tables = Arc::new(Shared::new(clock));
        MemoryBackend { tables, log: Arc::default(), broadcast: Arc::default() }
    }

    /// An empty backend, and the clock that it follows.
    pub fn with_test_clock() -> (Self, TestClock) {
        let clock = TestClock::new();
        (MemoryBackend::with_clock(Arc::new(clock.clone())), clock)
    }

    /// The execution records of an app, oldest first, the last [`MAX_EXECUTIONS`](crate::MAX_EXECUTIONS).
    pub fn execution_records(&self, app: AppId) -> Vec<ExecutionRecord> {
        self.log.of(app)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        MemoryBackend::new()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(MemoryCatalog(self.tables.clone()))
    }

    fn kv(&self) -> Arc<dyn KvService> {
        Arc::new(MemoryKv::new(Place::tables(self.tables.clone())))
    }

    fn docs(&self) -> Arc<dyn DocsService> {
        Arc::new(MemoryDocs::new(Place::tables(self.tables.clone())))
    }

    fn files(&self) -> Arc<dyn FilesService> {
        Arc::new(MemoryFiles::new(Place::tables(self.tables.clone())))
    }

    fn pubsub(&self) -> Arc<dyn PubsubService> {
        Arc::new(MemoryPubsub::new(Place::tables(self.tables.clone())))
    }

    fn queue(&self) -> Arc<dyn QueueService> {
        Arc::new(MemoryQueue::new(Place::tables(self.tables.clone())))
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(MemorySecrets(self.tables.clone()))
    }

    fn broadcast(&self) -> Arc<dyn Broadcast> {
        self.broadcast.clone()
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(MemoryOutbox(self.tables.clone()))
    }

    fn executions(&self) -> Arc<dyn ExecutionStore> {
        self.log.clone()
    }

    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(MemoryTransaction::begin(&self.tables).await))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.tables.clock.clone()
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
