//! Transactions: services on one connection, between `BEGIN` and `COMMIT`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_core::{MAX_TRANSACTION, Result, Services, Transaction, async_trait, tx_closed};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::backend::Inner;
use crate::docs::PostgresDocs;
use crate::error::of_database;
use crate::files::PostgresFiles;
use crate::kv::PostgresKv;
use crate::lane_connection::{LaneConnection, in_time};
use crate::lanes::PATIENCE;
use crate::pubsub::PostgresPubsub;
use crate::queue::PostgresQueue;
use crate::source::Source;

/// What the services of a transaction share. Calls take turns.
pub(crate) struct Inside {
    /// Dropped in the middle of its transaction it is closed, and the locks go.
    connection: Arc<Mutex<Option<LaneConnection>>>,
    until: Instant,
    /// The transaction was committed or dropped, which a call under way may outlive.
    over: AtomicBool,
    fired: AtomicBool,
}

impl Inside {
    pub(crate) async fn acquire(inside: &Arc<Self>) -> Result<InsideConnection> {
        let taken = tokio::time::timeout_at(inside.until, inside.connection.clone().lock_owned()).await;
        let mut connection = taken.map_err(|_| tx_closed())?;
        if Instant::now() >= inside.until || inside.over.load(Ordering::Acquire) {
            *connection = None;
        }
        if connection.is_none() {
            return Err(tx_closed());
        }
        Ok(InsideConnection { connection, inside: inside.clone(), busy: false })
    }

    /// Notes that rows were stored, of which others are told after the commit.
    pub(crate) fn note_fired(&self) {
        self.fired.store(true, Ordering::Release);
    }

    /// Ends the transaction when its time is over, whether anybody uses it then or not. A call that is under way has the
    /// same limit.
    async fn limit(until: Instant, connection: std::sync::Weak<Mutex<Option<LaneConnection>>>) {
        tokio::time::sleep_until(until).await;
        if let Some(connection) = connection.upgrade() {
            *connection.lock().await = None;
        }
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

/// The connection of a transaction, for one call.
pub(crate) struct InsideConnection {
    connection: OwnedMutexGuard<Option<LaneConnection>>,
    inside: Arc<Inside>,
    busy: bool,
}

impl InsideConnection {
    pub(crate) async fn rows(&mut self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        self.busy = true;
        let connection = self.connection.as_mut().ok_or_else(tx_closed)?.busy()?;
        match tokio::time::timeout_at(self.inside.until, query.fetch_all(connection)).await {
            // After an error the database goes on with nothing but a rollback: the transaction has ended.
            Ok(answer) => {
                self.busy = answer.is_err();
                answer.map_err(of_database)
            }
            Err(_) => Err(tx_closed()),
        }
    }
}

impl Drop for InsideConnection {
    fn drop(&mut self) {
        // A call that was given up half way leaves a connection that nobody can use.
        if self.busy || self.inside.over.load(Ordering::Acquire) {
            *self.connection = None;
        }
    }
}

/// An open transaction of the database.
#[derive(Debug)]
pub(crate) struct PostgresTransaction {
    backend: Arc<Inner>,
    inside: Arc<Inside>,
    limit: AbortHandle,
}

impl PostgresTransaction {
    pub(crate) async fn begin(backend: &Arc<Inner>) -> Result<Self> {
        let mut connection = backend.lanes.acquire_for_transaction().await?;
        let limit = connection.limit();
        // The limits end it on the side of the database too, should this process forget it. The connection stays busy
        // until the end, so that it is closed, and the transaction rolled back, whenever it is dropped.
        let begin = sqlx::raw_sql(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '6s'; SET LOCAL statement_timeout = '5s'",
        );
        in_time(limit, begin.execute(connection.busy()?)).await.map_err(of_database)?;
        let inside = Inside {
            connection: Arc::new(Mutex::new(Some(connection))),
            until: Instant::now() + MAX_TRANSACTION,
            over: AtomicBool::new(false),
            fired: AtomicBool::new(false),
        };
        let limit = tokio::spawn(Inside::limit(inside.until, Arc::downgrade(&inside.connection)));
        let (backend, limit) = (backend.clone(), limit.abort_handle());
        Ok(PostgresTransaction { backend, inside: Arc::new(inside), limit })
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    fn services(&self) -> Services {
        let source = Source::Inside(self.inside.clone());
        Services::new(
            Arc::new(PostgresKv::new(self.backend.clone(), source.clone())),
            Arc::new(PostgresDocs::new(self.backend.clone(), source.clone())),
            Arc::new(PostgresFiles::new(self.backend.clone(), source.clone())),
            Arc::new(PostgresPubsub::new(self.backend.clone(), source.clone())),
            Arc::new(PostgresQueue::new(self.backend.clone(), source)),
        )
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let mut connection = Inside::acquire(&self.inside).await?;
        // Out of everybody's reach: given up in the middle, the connection is closed.
        let mut lane = connection.connection.take().ok_or_else(tx_closed)?;
        let answer = in_time(PATIENCE, sqlx::raw_sql("COMMIT").execute(lane.busy()?)).await;
        lane.settled(answer).await?;
        if self.inside.fired.load(Ordering::Acquire) {
            self.backend.notices.bump_stored();
        }
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        self.inside.over.store(true, Ordering::Release);
        self.limit.abort();
        // Services may be held longer than the transaction: the connection goes now, not with them. If a call is under
        // way, it goes at its end. Closing the connection is the rollback: the database sees it at once.
        if let Ok(mut connection) = self.inside.connection.try_lock() {
            *connection = None;
        }
    }
}
