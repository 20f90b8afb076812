//! Connections: a few for each runtime.
//!
//! A socket belongs to the runtime that opened it, and a call is polled on the runtime of whoever waits for it: an
//! executor thread, or the host's own. So each runtime has a lane of its own, and a connection is opened, used and
//! dropped there. Taking one costs a lock that nobody else wants; a common pool would halve the rate of reads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use picloud_core::{Error, ErrorKind, Result};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    lanes: RwLock<HashMap<Id, Arc<Lane>>>,
    closing: watch::Sender<bool>,
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
        let closing = watch::Sender::new(false);
        Lanes { options, per_runtime, statement_timeout, wrap, lanes: RwLock::default(), closing }
    }

    fn lane(self: &Arc<Self>) -> Result<Arc<Lane>> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Unsupported, "postgres.no_runtime", "a call needs a tokio runtime")
                .caused_by(error)
        })?;
        let id = runtime.id();
        if let Some(lane) = self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(lane.clone());
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(id).or_insert_with(|| {
            let keeper = Keeper { lanes: Arc::downgrade(self), runtime: id };
            runtime.spawn(keep(keeper, self.closing.subscribe()));
            Arc::new(Lane {
                idle: Mutex::default(),
                calls: Arc::new(Semaphore::new(self.per_runtime)),
                transactions: Arc::new(Semaphore::new(self.per_runtime)),
            })
        });
        Ok(lane.clone())
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// `postgres.no_connection` when none became free in time; those of connecting.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<LaneConnection> {
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
    pub(crate) async fn acquire_bare(self: &Arc<Self>) -> Result<LaneConnection> {
        let lane = self.lane()?;
        let permit = self.permit(&lane.calls).await?;
        self.take(lane, permit).await
    }

    /// A connection for a transaction that a caller holds open.
    pub(crate) async fn acquire_for_transaction(self: &Arc<Self>) -> Result<LaneConnection> {
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
        self.closing.send_replace(true);
        let lanes = std::mem::take(&mut *self.lanes.write().unwrap_or_else(PoisonError::into_inner));
        lanes.into_values().for_each(|lane| lane.clear());
    }
}

fn no_connection(most: usize) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "postgres.no_connection",
        format!("all {most} connections of this thread are busy (connections_per_runtime)"),
    )
}

/// Ends with its runtime, as every task does, and takes the runtime's lane along: no one else can use what is in it.
struct Keeper {
    lanes: Weak<Lanes>,
    runtime: Id,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(lanes) = self.lanes.upgrade() {
            let lane = lanes.lanes.write().unwrap_or_else(PoisonError::into_inner).remove(&self.runtime);
            if let Some(lane) = lane {
                lane.clear();
            }
        }
    }
}

async fn keep(keeper: Keeper, mut closing: watch::Receiver<bool>) {
    // An error means that the backend is gone: the end as well.
    let _ = closing.wait_for(|closing| *closing).await;
    drop(keeper);
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
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Lanes")
            .field("lanes", &lanes)
            .field("per_runtime", &self.per_runtime)
            .finish_non_exhaustive()
    }
}
