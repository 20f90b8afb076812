//! Transactions: services on one connection, between `BEGIN` and `COMMIT`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud_core::{MAX_TRANSACTION, Result, Services, Transaction, async_trait, tx_closed};
use sqlx::PgConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::backend::Inner;
use crate::error::of_database;
use crate::kv::PostgresKv;
use crate::lanes::LaneConnection;
use crate::source::Source;

/// What the services of a transaction share. Calls take turns.
pub(crate) struct Inside {
    connection: Arc<Mutex<Option<LaneConnection>>>,
    until: Instant,
    fired: AtomicBool,
}

impl Inside {
    pub(crate) async fn acquire(inside: &Arc<Self>) -> Result<InsideConnection> {
        let taken = tokio::time::timeout_at(inside.until, inside.connection.clone().lock_owned()).await;
        let mut connection = taken.map_err(|_| tx_closed())?;
        if Instant::now() >= inside.until {
            // Dropped in the middle of its transaction it is closed, and the locks go.
            *connection = None;
        }
        if connection.is_none() {
            return Err(tx_closed());
        }
        Ok(InsideConnection { connection, busy: false })
    }

    /// Notes that rows were stored, of which others are told after the commit.
    pub(crate) fn note_fired(&self) {
        self.fired.store(true, Ordering::Release);
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
    busy: bool,
}

impl InsideConnection {
    pub(crate) fn busy(&mut self) -> Result<&mut PgConnection> {
        self.busy = true;
        self.connection.as_mut().ok_or_else(tx_closed)?.busy()
    }

    /// After an error the database goes on with nothing but a rollback: the transaction has ended.
    pub(crate) fn settled<R>(&mut self, answer: sqlx::Result<R>) -> Result<R> {
        self.busy = answer.is_err();
        answer.map_err(of_database)
    }
}

impl Drop for InsideConnection {
    fn drop(&mut self) {
        // A call that was given up half way leaves a connection that nobody can use.
        if self.busy {
            *self.connection = None;
        }
    }
}

/// An open transaction of the database.
#[derive(Debug)]
pub(crate) struct PostgresTransaction {
    backend: Arc<Inner>,
    inside: Arc<Inside>,
}

impl PostgresTransaction {
    pub(crate) async fn begin(backend: &Arc<Inner>) -> Result<Self> {
        let mut connection = backend.lanes.acquire_bare().await?;
        // The limits end it on the side of the database too, should this process forget it. The connection stays busy
        // until the end, so that it is closed, and the transaction rolled back, whenever it is dropped.
        let begun = sqlx::raw_sql(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '6s'; SET LOCAL statement_timeout = '5s'",
        )
        .execute(connection.busy()?)
        .await;
        begun.map_err(of_database)?;
        let inside = Inside {
            connection: Arc::new(Mutex::new(Some(connection))),
            until: Instant::now() + MAX_TRANSACTION,
            fired: AtomicBool::new(false),
        };
        Ok(PostgresTransaction { backend: backend.clone(), inside: Arc::new(inside) })
    }
}

/// How long a commit or a rollback may take.
const END: Duration = Duration::from_secs(5);

#[async_trait]
impl Transaction for PostgresTransaction {
    fn services(&self) -> Services {
        Services::new(Arc::new(PostgresKv::new(self.backend.clone(), Source::Inside(self.inside.clone()))))
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let mut connection = Inside::acquire(&self.inside).await?;
        let commit = sqlx::raw_sql("COMMIT").execute(connection.busy()?);
        let answer = match tokio::time::timeout(END, commit).await {
            Ok(answer) => answer,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        };
        let lane = connection.connection.take();
        connection.busy = false;
        match lane {
            Some(mut lane) => lane.settled(answer).await?,
            None => return Err(tx_closed()),
        };
        if self.inside.fired.load(Ordering::Acquire) {
            self.backend.notices.bump_outbox();
        }
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        // Services may be held longer than the transaction: the connection goes now, not with them. If a call is under
        // way, its guard finds out at its end, or the time limit does.
        if let Ok(mut connection) = self.inside.connection.try_lock()
            && let Some(lane) = connection.take()
        {
            // Closing the connection is the rollback: the database sees the end of it at once.
            drop(lane);
        }
    }
}
