//! The backend: one world, in memory.

use std::sync::Arc;

use picloud_core::catalog::Catalog;
use picloud_core::execution::{ExecutionLogSink, ExecutionRecord};
use picloud_core::kv::KvService;
use picloud_core::outbox::FanoutRow;
use picloud_core::{AppId, Backend, Clock, Json, Result, SystemClock, async_trait};

use crate::catalog::MemoryCatalog;
use crate::clock::TestClock;
use crate::execution_log::ExecutionLog;
use crate::kv::MemoryKv;
use crate::tables::Shared;

/// A backend that keeps everything in memory. Clones are the same backend; a new one costs microseconds.
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    tables: Arc<Shared>,
    log: Arc<ExecutionLog>,
    clock: Arc<dyn Clock>,
}

impl MemoryBackend {
    /// An empty backend on the system's clock.
    pub fn new() -> Self {
        MemoryBackend::with_clock(Arc::new(SystemClock))
    }

    /// An empty backend on a clock of the host's.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        MemoryBackend { tables: Arc::default(), log: Arc::default(), clock }
    }

    /// An empty backend, and the clock that it follows.
    pub fn with_test_clock() -> (Self, TestClock) {
        let clock = TestClock::new();
        (MemoryBackend::with_clock(Arc::new(clock.clone())), clock)
    }

    /// The outbox rows of an app that wait to be delivered, oldest first, each with the payload of its event.
    pub fn outbox_rows(&self, app: AppId) -> Vec<(FanoutRow, Json)> {
        self.tables.lock().outbox.get(&app).cloned().unwrap_or_default()
    }

    /// The execution records of an app, oldest first, the last [`MAX_EXECUTIONS`](crate::MAX_EXECUTIONS).
    pub fn executions(&self, app: AppId) -> Vec<ExecutionRecord> {
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
        Arc::new(MemoryKv(self.tables.clone()))
    }

    fn execution_log(&self) -> Arc<dyn ExecutionLogSink> {
        self.log.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
