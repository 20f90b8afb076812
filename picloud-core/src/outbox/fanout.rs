//! The seam through which a write takes its events along: [`Fanout`].

use crate::kv::Key;
use crate::pubsub::Topic;
use crate::queue::QueueName;
use crate::{CollectionName, ScriptId, TriggerId};

/// A number that grows with every change to an app's scripts, routes and triggers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// The outbox rows that one write must commit together with itself.
///
/// Core matches triggers on its snapshot of the app and hands the result to the backend in
/// [`CallCx::fanout`](crate::CallCx::fanout). The contract of a write:
///
/// - The rows of the operation that the write turns out to be are stored in the same commit as the write.
/// - They are stored only if the app's revision is still [`Fanout::revision`]; otherwise nothing at all is
///   written and the answer is [`Fanout::stale`], upon which core reloads and repeats.
/// - A write without effect (deleting what is not there, a failed compare-and-set or increment) stores no rows, and may
///   answer without comparing revisions. Writing an equal value is an update.
/// - An app that does not exist has no revision: a write for it is stale.
/// - The revision is that of the app's catalog as the write finds it: a write that begins after
///   [`Catalog::apply`](crate::catalog::Catalog::apply) has answered finds the new one. One that runs beside it may be
///   taken as having come before, so no lock between the two is needed.
/// - Of each row, the backend makes an [`OutboxRow`](super::OutboxRow) with an id of its own;
///   [`OutboxRow::of`](super::OutboxRow::of) says what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fanout {
    /// The revision that the rows were computed from; `None`, for calls past the guard, is not
    /// compared, and stores no rows.
    pub revision: Option<Revision>,
    /// The rows, for every operation that the write may turn out to be.
    pub rows: Vec<FanoutRow>,
}

/// A write that is about to happen, as far as triggers match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventSource<'a> {
    /// A write to an entry of the KV service.
    Kv {
        /// The collection.
        collection: &'a CollectionName,
        /// The key.
        key: &'a Key,
    },
    /// A write to a document.
    Docs {
        /// The collection.
        collection: &'a CollectionName,
    },
    /// A write to a file.
    Files {
        /// The collection.
        collection: &'a CollectionName,
    },
    /// A message that is published.
    Pubsub {
        /// The topic.
        topic: &'a Topic,
    },
    /// A message that is sent.
    Queue {
        /// The queue.
        queue: &'a QueueName,
    },
}

/// One matching trigger, for one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanoutRow {
    /// The operation that this row is for, such as `"insert"`.
    pub op: &'static str,
    /// The trigger that matched.
    pub trigger: TriggerId,
    /// The script to run.
    pub script: ScriptId,
}

impl Fanout {
    /// The answer of a backend whose app has moved on from [`Fanout::revision`].
    pub fn stale() -> crate::Error {
        crate::Error::new(
            crate::ErrorKind::Conflict,
            "catalog.stale_revision",
            "the app changed during the write",
        )
    }

    /// Whether `error` is [`Fanout::stale`].
    pub fn is_stale(error: &crate::Error) -> bool {
        error.code() == "catalog.stale_revision"
    }
}
