//! What a storage crate supplies.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::catalog::Catalog;
use crate::docs::DocsService;
use crate::execution::ExecutionStore;
use crate::files::FilesService;
use crate::kv::KvService;
use crate::outbox::Outbox;
use crate::pubsub::{Broadcast, PubsubService};
use crate::queue::QueueService;
use crate::secrets::SecretStore;
use crate::services::Services;
use crate::{Clock, Error, ErrorKind, Result};

/// A backend: stores and services on one database, so that a write and its events can be one commit.
///
/// Everything here is handed to [`Picloud`](crate::Picloud) once, at start. Prove an implementation with the
/// suite of feature `conformance`.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Scripts, routes, triggers and apps.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// The KV service.
    fn kv(&self) -> Arc<dyn KvService>;

    /// The docs service.
    fn docs(&self) -> Arc<dyn DocsService>;

    /// The files service: the records of files, without their bytes.
    fn files(&self) -> Arc<dyn FilesService>;

    /// The pub/sub service.
    fn pubsub(&self) -> Arc<dyn PubsubService>;

    /// What carries messages that are not stored.
    fn broadcast(&self) -> Arc<dyn Broadcast>;

    /// The queue service.
    fn queue(&self) -> Arc<dyn QueueService>;

    /// Where sealed secrets are kept.
    fn secrets(&self) -> Arc<dyn SecretStore>;

    /// Events on their way.
    fn outbox(&self) -> Arc<dyn Outbox>;

    /// The execution log: where records go unless the host says otherwise, and where they are read.
    fn executions(&self) -> Arc<dyn ExecutionStore>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the backend is not to be reached.
    async fn transaction(&self) -> Result<Box<dyn Transaction>>;

    /// The clock that expiry and schedules follow.
    fn clock(&self) -> Arc<dyn Clock>;

    /// The latest migration; 0 for backends without a schema.
    fn schema_version(&self) -> u32 {
        0
    }

    /// Whether the backend can serve now; the answer of `/readyz`.
    ///
    /// # Errors
    /// Why it cannot.
    async fn ready(&self) -> Result<()>;

    /// Lets go of what the backend holds outside this process, connections say, and of the tasks it has. Called at the
    /// end of [`Picloud::shutdown`](crate::Picloud::shutdown).
    async fn close(&self) {}
}

/// A shared backend is one, so that a host can choose it when it starts.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn catalog(&self) -> Arc<dyn Catalog> {
        (**self).catalog()
    }

    fn kv(&self) -> Arc<dyn KvService> {
        (**self).kv()
    }

    fn docs(&self) -> Arc<dyn DocsService> {
        (**self).docs()
    }

    fn files(&self) -> Arc<dyn FilesService> {
        (**self).files()
    }

    fn pubsub(&self) -> Arc<dyn PubsubService> {
        (**self).pubsub()
    }

    fn broadcast(&self) -> Arc<dyn Broadcast> {
        (**self).broadcast()
    }

    fn queue(&self) -> Arc<dyn QueueService> {
        (**self).queue()
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        (**self).secrets()
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        (**self).outbox()
    }

    fn executions(&self) -> Arc<dyn ExecutionStore> {
        (**self).executions()
    }

    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        (**self).transaction().await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        (**self).clock()
    }

    fn schema_version(&self) -> u32 {
        (**self).schema_version()
    }

    async fn ready(&self) -> Result<()> {
        (**self).ready().await
    }

    async fn close(&self) {
        (**self).close().await;
    }
}

/// Services whose writes commit together.
///
/// # Contract
///
/// - Writes through [`services`](Transaction::services) are seen by reads through them at once, and by nobody else until
///   [`commit`](Transaction::commit): then all of them, with the outbox rows of all of them, at one moment.
/// - Dropped without a commit, a transaction leaves nothing.
/// - Every service keeps its own contract inside. An expected outcome (a failed compare-and-set or increment, a stale
///   revision) leaves the transaction as it was, good to go on.
/// - Calls take effect one after the other; what others commit meanwhile becomes visible. A backend may let others wait
///   for the end instead, with all that they write to services.
/// - The time inside may stand still where it began: what expires meanwhile may still be seen.
/// - After its end every service answers [`tx_closed`]. A transaction that is open for longer than
///   [`MAX_TRANSACTION`] is ended by the backend, since it may hold others up.
#[async_trait]
pub trait Transaction: Debug + Send + Sync + 'static {
    /// The services, inside. Clones of them are good until the end of the transaction.
    fn services(&self) -> Services;

    /// Makes everything permanent and visible.
    ///
    /// # Errors
    /// [`tx_closed`] when the transaction was ended by its time limit; those of the backend. Nothing is stored then,
    /// unless the connection broke during the commit itself, which leaves it open.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// How long a transaction may stay open.
pub const MAX_TRANSACTION: std::time::Duration = std::time::Duration::from_secs(5);

/// The transaction is over: committed, dropped, or ended by its time limit.
pub fn tx_closed() -> Error {
    Error::new(ErrorKind::Closed, "tx.closed", "the transaction has ended")
}
