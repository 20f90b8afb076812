//! Where a call finds its connection: in the lane of its runtime, or in its transaction.

use std::sync::Arc;

use picloud_core::Result;
use sqlx::PgConnection;

use crate::lanes::{LaneConnection, Lanes};
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

/// A connection that one call has.
pub(crate) enum Connection {
    Lane(LaneConnection),
    Inside(InsideConnection),
}

impl Connection {
    /// To send something on. Whatever comes of it is to be [`settled`](Self::settled).
    pub(crate) fn busy(&mut self) -> Result<&mut PgConnection> {
        match self {
            Connection::Lane(lane) => lane.busy(),
            Connection::Inside(inside) => inside.busy(),
        }
    }

    /// The answer to what was sent last.
    pub(crate) async fn settled<R>(&mut self, answer: sqlx::Result<R>) -> Result<R> {
        match self {
            Connection::Lane(lane) => lane.settled(answer).await,
            Connection::Inside(inside) => inside.settled(answer),
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
