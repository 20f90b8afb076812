//! A connection while one call has it.

use std::sync::Arc;
use std::time::Duration;

use picloud_core::{Result, tx_closed};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{is_broken, of_database};
use crate::lanes::Lane;

/// A connection that one call has. It goes back to its lane unless something was under way when it was dropped: then
/// nobody knows what the next answer on it would be an answer to.
pub(crate) struct LaneConnection {
    lane: Arc<Lane>,
    connection: Option<PgConnection>,
    busy: bool,
    wrapped: bool,
    was_idle: bool,
    limit: Duration,
    _permit: OwnedSemaphorePermit,
}

impl LaneConnection {
    pub(crate) fn new(
        lane: Arc<Lane>,
        connection: PgConnection,
        was_idle: bool,
        limit: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        LaneConnection {
            lane,
            connection: Some(connection),
            busy: false,
            wrapped: false,
            was_idle,
            limit,
            _permit: permit,
        }
    }

    /// Begins the transaction around one call. The limit goes with it, since a pooler takes none when connecting.
    pub(crate) async fn begin(&mut self, statement_timeout: Duration) -> Result<()> {
        let (limit, begin) = (self.limit, sqlx::raw_sql(crate::sql::begin(statement_timeout)));
        let begun = in_time(limit, begin.execute(self.busy()?)).await;
        self.settle(begun)?;
        self.wrapped = true;
        self.busy = true;
        Ok(())
    }

    /// The rows that a statement answers.
    pub(crate) async fn rows(&mut self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let limit = self.limit;
        let answer = in_time(limit, query.fetch_all(self.busy()?)).await;
        self.settled(answer).await
    }

    /// The rows that a statement answers in the middle of a transaction that [`begin`](Self::begin) began;
    /// [`settled`](Self::settled) ends it.
    pub(crate) async fn rows_within(
        &mut self,
        query: Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        let limit = self.limit;
        let answer = in_time(limit, query.fetch_all(self.busy()?)).await;
        self.settle(answer)
    }

    /// How many rows a statement wrote.
    pub(crate) async fn written(&mut self, query: Query<'static, Postgres, PgArguments>) -> Result<u64> {
        let limit = self.limit;
        let answer = in_time(limit, query.execute(self.busy()?)).await;
        Ok(self.settled(answer).await?.rows_affected())
    }

    /// How long to wait for an answer.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// The connection, to send something on. Whatever comes of it is to be [`settled`](Self::settled).
    pub(crate) fn busy(&mut self) -> Result<&mut PgConnection> {
        self.busy = true;
        self.connection.as_mut().ok_or_else(tx_closed)
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
                    self.lane.clear();
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
            let limit = self.limit;
            let committed = in_time(limit, sqlx::raw_sql("COMMIT").execute(self.busy()?)).await;
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
            self.lane.push(connection);
        }
    }
}

/// The answer, or that there was none. The database ends long statements itself; this is for networks that lose
/// everything, which a socket notices after a quarter of an hour.
pub(crate) async fn in_time<R>(
    limit: Duration,
    answer: impl Future<Output = sqlx::Result<R>>,
) -> sqlx::Result<R> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
