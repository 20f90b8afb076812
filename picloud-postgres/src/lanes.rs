//! Connections: a few for each runtime.
//!
//! A socket belongs to the runtime that opened it, and a call is polled on the runtime of whoever waits for it: an
//! executor thread, or the host's own. So each runtime has a lane of its own, and a connection is opened, used and
//! dropped there. Taking one costs a lock that nobody else wants; a common pool would halve the rate of reads.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use picloud_core::{Error, ErrorKind, Result};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{is_broken, of_database};

/// How long to wait for a free connection, and for a new one.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a lane may be unused before it is dropped, its runtime having ended, probably.
const UNUSED: Duration = Duration::from_secs(300);

pub(crate) struct Lanes {
    options: PgConnectOptions,
    per_runtime: usize,
    /// Every call in a transaction of its own: see [`PostgresConfig::pooler`](crate::PostgresConfig::pooler).
    wrap: bool,
    lanes: RwLock<HashMap<Id, Arc<Lane>>>,
    began: Instant,
}

struct Lane {
    idle: Mutex<Vec<PgConnection>>,
    room: Arc<Semaphore>,
    /// Seconds since `began`.
    used: AtomicU64,
}

impl Lanes {
    pub(crate) fn new(options: PgConnectOptions, per_runtime: usize, wrap: bool) -> Self {
        Lanes { options, per_runtime, wrap, lanes: RwLock::default(), began: Instant::now() }
    }

    fn lane(&self) -> Result<Arc<Lane>> {
        let runtime = Handle::try_current()
            .map_err(|error| {
                Error::new(ErrorKind::Unsupported, "postgres.no_runtime", "a call needs a tokio runtime")
                    .caused_by(error)
            })?
            .id();
        let now = self.began.elapsed().as_secs();
        if let Some(lane) = self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(&runtime) {
            lane.used.store(now, Ordering::Relaxed);
            return Ok(lane.clone());
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lane| {
            Arc::strong_count(lane) > 1 || now - lane.used.load(Ordering::Relaxed) < UNUSED.as_secs()
        });
        let lane = lanes.entry(runtime).or_insert_with(|| {
            Arc::new(Lane {
                idle: Mutex::default(),
                room: Arc::new(Semaphore::new(self.per_runtime)),
                used: AtomicU64::new(now),
            })
        });
        Ok(lane.clone())
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// `postgres.no_connection` when none became free in time; those of connecting.
    pub(crate) async fn acquire(&self) -> Result<LaneConnection> {
        let mut taken = self.acquire_bare().await?;
        if self.wrap {
            taken.begin().await?;
        }
        Ok(taken)
    }

    /// A connection for a transaction, which needs no other around it.
    pub(crate) async fn acquire_bare(&self) -> Result<LaneConnection> {
        let lane = self.lane()?;
        let permit = match lane.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(PATIENCE, lane.room.clone().acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(no_connection(self.per_runtime)),
            },
        };
        let idle = lane.idle().pop();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(LaneConnection {
            lane,
            connection: Some(connection),
            busy: false,
            wrapped: false,
            was_idle,
            _permit: permit,
        })
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
        let lanes = std::mem::take(&mut *self.lanes.write().unwrap_or_else(PoisonError::into_inner));
        for lane in lanes.into_values() {
            lane.idle().clear();
        }
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
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A connection that one call has. It goes back to its lane unless something was under way when it was dropped: then
/// nobody knows what the next answer on it would be an answer to.
pub(crate) struct LaneConnection {
    lane: Arc<Lane>,
    connection: Option<PgConnection>,
    busy: bool,
    wrapped: bool,
    was_idle: bool,
    _permit: OwnedSemaphorePermit,
}

impl LaneConnection {
    async fn begin(&mut self) -> Result<()> {
        let begun = sqlx::raw_sql("BEGIN").execute(self.busy()?).await;
        self.settle(begun)?;
        self.wrapped = true;
        self.busy = true;
        Ok(())
    }

    /// The connection, to send something on. Whatever comes of it is to be [`settled`](Self::settled).
    pub(crate) fn busy(&mut self) -> Result<&mut PgConnection> {
        self.busy = true;
        self.connection.as_mut().ok_or_else(picloud_core::tx_closed)
    }

    /// Whether the connection lay idle before, so that its other end may be gone without anybody having noticed.
    pub(crate) fn was_idle(&self) -> bool {
        self.was_idle
    }

    fn settle<R>(&mut self, answer: sqlx::Result<R>) -> Result<R> {
        match answer {
            Ok(answer) => {
                self.busy = self.wrapped;
                Ok(answer)
            }
            Err(error) => {
                if is_broken(&error) {
                    // What broke this one broke the others, too.
                    self.connection = None;
                    self.lane.idle().clear();
                } else {
                    // A transaction that wrapped the call is of no use any more.
                    self.busy = self.wrapped;
                }
                Err(of_database(error))
            }
        }
    }

    /// The answer to what was sent last.
    pub(crate) async fn settled<R>(&mut self, answer: sqlx::Result<R>) -> Result<R> {
        let answer = self.settle(answer)?;
        if self.wrapped {
            self.wrapped = false;
            let committed = sqlx::raw_sql("COMMIT").execute(self.busy()?).await;
            self.settle(committed)?;
        }
        Ok(answer)
    }
}

impl Drop for LaneConnection {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.busy
        {
            self.lane.idle().push(connection);
        }
    }
}
