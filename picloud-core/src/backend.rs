//! What a storage crate supplies.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::catalog::Catalog;
use crate::execution::ExecutionLogSink;
use crate::kv::KvService;
use crate::{Clock, Result};

/// A backend: stores and services on one database, so that a write and its events can be one commit.
///
/// Everything here is handed to [`Picloud`](crate::Picloud) once, at start. Prove an implementation with the
/// suite of feature `conformance`.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Scripts, routes and apps.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// The KV service.
    fn kv(&self) -> Arc<dyn KvService>;

    /// Where execution records go unless the host says otherwise.
    fn execution_log(&self) -> Arc<dyn ExecutionLogSink>;

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
}
