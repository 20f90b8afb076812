//! Connections: a few for each runtime.
//!
//! A socket belongs to the runtime that opened it, and a call is polled on the runtime of whoever waits for it: an
//! executor thread, or the host's own. So each runtime has a lane of its own, and a connection is opened, used and
//! dropped there. Taking one costs a lock that nobody else wants; a common pool would halve the rate of reads.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use picloud_core::{Error, ErrorKind, PerRuntime, Result};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::of_database;
use crate::lane_connection::LaneConnection;

/// How long to wait for a free connection, for a new one, and for an answer past the time that a statement may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection is taken to be alive without a look. A look costs a round trip, once in this time: nothing.
/// Without it every write after a restart of the database would fail once, its fate being unknown.
const TRUSTED: Duration = Duration::from_millis(250);

/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Lanes {
    options: PgConnectOptions,
    per_runtime: usize,
    statement_timeout: Duration,
    /// Every call in a transaction of its own: see [`PostgresConfig::pooler`](crate::PostgresConfig::pooler).
    wrap: bool,
    lanes: PerRuntime<Lane>,
}

pub(crate) struct Lane {
    idle: Mutex<Vec<Idle>>,
    calls: Arc<Semaphore>,
    /// Transactions are counted apart: one that is open must not keep a call waiting that its end may depend on.
    transactions: Arc<Semaphore>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Lanes {
    pub(crate) fn new(
        options: PgConnectOptions,
        per_runtime: usize,
        statement_timeout: Duration,
        wrap: bool,
    ) -> Self {
        let lanes = PerRuntime::new(Lane::clear);
        Lanes { options, per_runtime, statement_timeout, wrap, lanes }
    }

    fn lane(&self) -> Result<Arc<Lane>> {
        self.lanes.get(|| {
            Ok(Lane {
                idle: Mutex::default(),
                calls: Arc::new(Semaphore::new(self.per_runtime)),
                transactions: Arc::new(Semaphore::new(self.per_runtime)),
            })
        })
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// `postgres.no_connection` when none became free in time; those of connecting.
    pub(crate) async fn acquire(&self) -> Result<LaneConnection> {
        let mut taken = self.acquire_bare().await?;
        if self.wrap
            && let Err(error) = taken.begin(self.statement_timeout).await
        {
            if !(error.is_retryable() && taken.was_idle()) {
                return Err(error);
            }
            // Nothing has been done on it yet, so that another may be tried.
            drop(taken);
            taken = self.acquire_bare().await?;
            taken.begin(self.statement_timeout).await?;
        }
        Ok(taken)
    }

    /// A connection for several statements, which need no transaction around each.
    pub(crate) async fn acquire_bare(&self) -> Result<LaneConnection> {
        let lane = self.lane()?;
        let permit = self.permit(&lane.calls).await?;
        self.take(lane, permit).await
    }

    /// A connection for a transaction that a caller holds open.
    pub(crate) async fn acquire_for_transaction(&self) -> Result<LaneConnection> {
        let lane = self.lane()?;
        let permit = self.permit(&lane.transactions).await?;
        self.take(lane, permit).await
    }

    async fn permit(&self, room: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = room.clone().try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(PATIENCE, room.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(no_connection(self.per_runtime)),
        }
    }

    async fn take(&self, lane: Arc<Lane>, permit: OwnedSemaphorePermit) -> Result<LaneConnection> {
        let limit = self.statement_timeout + PATIENCE;
        // Its own statement: the lock is not to be held while there is a look at what it gave.
        while let Some(mut idle) = lane.pop() {
            let is_alive = idle.since.elapsed() < TRUSTED
                || matches!(tokio::time::timeout(LOOK, idle.connection.ping()).await, Ok(Ok(())));
            if is_alive {
                return Ok(LaneConnection::new(lane, idle.connection, true, limit, permit));
            }
            // What broke this one broke the others, too.
            lane.clear();
        }
        Ok(LaneConnection::new(lane, self.connect().await?, false, limit, permit))
    }

    /// A connection beside the lanes.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        match tokio::time::timeout(PATIENCE, PgConnection::connect_with(&self.options)).await {
            Ok(connected) => connected.map_err(of_database),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                "postgres.unavailable",
                "the database did not answer in time",
            )),
        }
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Drops every connection that is not in use.
    pub(crate) fn close(&self) {
        self.lanes.close();
    }
}

fn no_connection(most: usize) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "postgres.no_connection",
        format!("all {most} connections of this thread are busy (connections_per_runtime)"),
    )
}

impl Lane {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Idle> {
        self.idle().pop()
    }

    pub(crate) fn push(&self, connection: PgConnection) {
        self.idle().push(Idle { connection, since: Instant::now() });
    }

    pub(crate) fn clear(&self) {
        // Closing sockets takes system calls: not under the lock.
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("lanes", &self.lanes)
            .field("per_runtime", &self.per_runtime)
            .finish_non_exhaustive()
    }
}
