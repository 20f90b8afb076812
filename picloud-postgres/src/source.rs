//! Where a call finds its connection: in the lane of its runtime, or in its transaction.

use std::sync::Arc;

use picloud_core::Result;
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use crate::backend::Inner;
use crate::lane_connection::LaneConnection;
use crate::lanes::Lanes;
use crate::transaction::{Inside, InsideConnection};

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Lanes(Arc<Lanes>),
    Inside(Arc<Inside>),
}

impl Source {
    /// A connection for one call.
    pub(crate) async fn acquire(&self) -> Result<Connection> {
        match self {
            Source::Lanes(lanes) => lanes.acquire().await.map(Connection::Lane),
            Source::Inside(inside) => Inside::acquire(inside).await.map(Connection::Inside),
        }
    }
}

impl Source {
    /// Tells of rows that were stored, at once or after the commit.
    pub(crate) fn note_fired(&self, backend: &Inner) {
        match self {
            Source::Lanes(_) => backend.notices.bump_stored(),
            Source::Inside(inside) => inside.note_fired(),
        }
    }
}

/// A connection that one call has.
pub(crate) enum Connection {
    Lane(LaneConnection),
    Inside(InsideConnection),
}

impl Connection {
    /// The rows that a statement answers.
    pub(crate) async fn rows(&mut self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        match self {
            Connection::Lane(lane) => lane.rows(query).await,
            Connection::Inside(inside) => inside.rows(query).await,
        }
    }

    /// Whether a read may be repeated on another connection.
    pub(crate) fn may_be_stale(&self) -> bool {
        match self {
            Connection::Lane(lane) => lane.was_idle(),
            Connection::Inside(_) => false,
        }
    }
}
