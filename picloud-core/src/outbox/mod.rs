//! The outbox: events on their way from the write that caused them to the script that handles them.
//!
//! A write commits its rows together with itself ([`Fanout`]). A dispatcher claims rows that are due, runs their
//! scripts, and settles them: done, to be tried again, or a dead letter.
//!
//! Lacks `script`: scripts meet it as events only.

mod deliver;
mod dispatcher;
mod fanout;
mod held;
pub(crate) mod request;
#[cfg(feature = "cron")]
mod schedule;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub(crate) use deliver::Courier;
pub(crate) use dispatcher::Dispatcher;
pub use dispatcher::DispatcherConfig;
pub use fanout::{EventSource, Fanout, FanoutRow, Revision};
pub use types::{
    Claimed, DeadLetter, DeadLetterError, DeadLetterListOptions, DeadLetterReason, EventKind, Except,
    OutboxRow, Promoted, Resolution, Settlement, Verdict, WorkerId,
};

use crate::page::Page;
use crate::{AppId, Error, ErrorKind, EventId, Result, Timestamp};

/// The answer of [`Outbox::fire`] to a node whose clock is ahead. For backends.
pub fn too_early(scheduled_for: Timestamp) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "outbox.too_early",
        format!("it is not {scheduled_for} yet by the clock of the backend: the clock of this node is ahead"),
    )
}

/// Stores events until they are handled.
///
/// A row waits until it is due, is then claimed by one worker, and stays with it until the worker settles it. A worker
/// is a process at one run: it makes a [`WorkerId`] when it starts and shows that it is alive by
/// [`beat`](Outbox::beat).
///
/// # Contract
///
/// - A row is with at most one worker at a time: of concurrent claims, each due row goes to exactly one.
/// - A claim counts the attempt, before the script runs, so that an event that kills its worker is not tried for ever.
///   Each claim of a row has a [`claim`](Claimed::claim) number that this row never had before: the fencing token.
/// - Claims take rows that are due, the ones that became due first first, and no other.
/// - A settlement takes effect only if the row is with this worker under this claim number. What was lost to another
///   worker is reported and changes nothing.
/// - A letter is replayed, or resolved, once: of concurrent calls one succeeds. Its row is there exactly when it is
///   marked; the row keeps id and contents, and its claim numbers go on.
/// - All that a verdict does to a row is one commit: a dead letter is written exactly when its row is removed, and so are
///   the events for those who handle dead letters.
/// - A handler that fails closes its letter only if it is open, and in its own app.
/// - [`Verdict::Release`] gives the attempt back; [`Verdict::Retry`] does not.
/// - [`take_over`](Outbox::take_over) hands the rows of workers that were silent for `lease` to this worker, each under a
///   new claim number and without counting an attempt. Rows of workers that beat in time are never taken.
/// - A worker that was taken over is told so by its next [`beat`](Outbox::beat), and can claim and take over nothing from
///   then on. Nor can one that has not registered, or has retired.
/// - Messages of queues wait apart from other rows: they are claimed, once [`promote`](Outbox::promote) made them due. It
///   makes as many due as their trigger's `concurrency` leaves room for, counting those that are due and those that are with a
///   worker: of those that may run now the one with the highest priority first, then in the order in which they were sent.
///   Of messages with one key only the first that was sent and is neither handled nor given up may run. A message that is
///   retried or released waits apart again, without losing its place among those of its key; one whose trigger is gone is
///   made due in any case.
/// - Whatever becomes due, wherever it was written, is noticed by [`notices`](Outbox::notices) or by asking again: a
///   notice may be missed, the outbox is the truth.
/// - Times are those of the backend's clock: a database's own where it has one, so that clocks of nodes do not matter.
/// - An app's rows are seen by that app only, but for workers, which serve every app.
#[async_trait]
pub trait Outbox: Debug + Send + Sync + 'static {
    /// Stores a row that no service write carries, due at once: an async request.
    ///
    /// # Errors
    /// `app.not_found`.
    async fn enqueue(&self, row: &OutboxRow) -> Result<()>;

    /// Stores a row of a trigger for a scheduled time, due at once, unless that trigger has fired for that time or a later
    /// one; answers whether it did. However many nodes ask, one of them does. A trigger that is gone or disabled does not
    /// fire.
    ///
    /// # Errors
    /// [`too_early`] when the time is more than five seconds ahead by the backend's clock: the node's own clock is wrong, and
    /// must not take the time from nodes whose clocks are right.
    async fn fire(&self, row: &OutboxRow, scheduled_for: Timestamp) -> Result<bool>;

    /// Registers a worker, or shows that it is alive. `false`: it was taken over, and its rows are lost to it.
    async fn beat(&self, worker: WorkerId) -> Result<bool>;

    /// Gives at most `limit` due rows to the worker.
    async fn claim(&self, worker: WorkerId, limit: usize) -> Result<Vec<Claimed>> {
        self.claim_except(worker, limit, &Except::default()).await
    }

    /// The same, of rows of other apps and scripts than these. With some, it may go through all rows that it passes over.
    async fn claim_except(&self, worker: WorkerId, limit: usize, except: &Except) -> Result<Vec<Claimed>>;

    /// Puts rows back that are with the worker, but for `held`: rows that the worker does not know to be its own, since the
    /// answer that said so was lost. They are due again, with the attempt given back. Answers how many. Not while a claim of
    /// the worker is under way, whose rows are not held yet.
    async fn give_back(&self, worker: WorkerId, held: &[EventId]) -> Result<usize>;

    /// Ends or puts back rows of this worker, each by itself; answers those that were not with it under that claim any
    /// more. Settling the same claim twice is such a case, in one batch too: the first time counts.
    async fn settle(&self, worker: WorkerId, settlements: &[Settlement]) -> Result<Vec<Settlement>>;

    /// Gives at most `limit` rows of workers that have been silent for `lease` to this worker.
    async fn take_over(&self, worker: WorkerId, lease: Duration, limit: usize) -> Result<Vec<Claimed>>;

    /// Ends a worker: the rows that it still has are due again, with the attempt given back.
    async fn retire(&self, worker: WorkerId) -> Result<()>;

    /// Makes messages of queues due for which there is room, of whichever app. Asked for after messages were sent, handled or
    /// put back here or elsewhere, when delays are over, and, with `thoroughly`, now and then: a look at what other
    /// processes may have left undone when they died. A call does a bounded part of what there is to do, and tells when to
    /// call again; dropped half way it has done nothing.
    async fn promote(&self, thoroughly: bool) -> Result<Promoted>;

    /// How long until the next waiting row is due, zero if one is already; `None` when none waits. A message
    /// of a queue counts once it was promoted.
    async fn next_due(&self) -> Result<Option<Duration>>;

    /// The rows of an app that wait or are with a worker, at most `limit`, oldest first.
    async fn waiting(&self, app: AppId, limit: usize) -> Result<Vec<OutboxRow>>;

    /// A page of dead letters of an app, the newest first and then by id.
    ///
    /// # Errors
    /// `dead_letters.invalid_cursor`.
    async fn dead_letters(&self, app: AppId, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>>;

    /// One dead letter; `None` when the app has none of that id.
    async fn dead_letter(&self, app: AppId, id: EventId) -> Result<Option<DeadLetter>>;

    /// How many dead letters of an app are open.
    async fn open_dead_letters(&self, app: AppId) -> Result<u64>;

    /// Sends the event of an open dead letter again: the row is due at once, with its id and no attempt counted, and the
    /// letter is [`Resolution::Replayed`]. Given up again, it becomes an open letter again.
    /// Its depth is that of before, or `trigger_depth` if that is more: that of who asks, so that what replays itself comes to an
    /// end.
    ///
    /// # Errors
    /// [`DeadLetterError`]; nothing changes then.
    async fn replay(&self, app: AppId, id: EventId, trigger_depth: u32) -> Result<()>;

    /// Closes an open dead letter.
    ///
    /// # Errors
    /// [`DeadLetterError::NotFound`], [`DeadLetterError::AlreadyResolved`].
    async fn resolve(&self, app: AppId, id: EventId, resolution: Resolution) -> Result<()>;

    /// Forgets dead letters of any app that were given up before then, open or not, at most `limit`; answers how many.
    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize>;

    /// A number that changes when rows may have become due, here or on another node.
    fn notices(&self) -> watch::Receiver<u64>;

    /// A number that changes when this node itself stored rows, by a write or otherwise: what [`announce`](Self::announce)
    /// may be needed for. What other nodes tell does not change it, or nodes would tell each other for ever.
    fn stored(&self) -> watch::Receiver<u64>;

    /// Tells other nodes that rows are due: for rows that this node does not run itself. May be called often.
    fn announce(&self);
}
