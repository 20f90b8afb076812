//! The claimer, and its rules for times when some have more than their part of the places for events.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{AFTER_FAILURE, Dispatcher, unless};
use crate::Result;
use crate::outbox::{Except, Promoted};

/// For how long somebody has too much before others are served past it: for that long handlers may be said to take long.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long to wait at least before claiming past those who have too much, who may have many rows in the way; and how many
/// times as long as the last such claim took.
const PAST_OTHERS: Duration = Duration::from_millis(20);
const PAST_OTHERS_TIMES: u32 = 2;

/// How long to wait for a notice when there was nothing but rows of those who have too much: somebody else's may become due.
const PAST_NOBODY: Duration = Duration::from_millis(250);

/// How often at most it is said that somebody has too much.
const TOLD_EVERY: Duration = Duration::from_secs(60);

impl Dispatcher {
    /// Takes rows as long as there is room.
    pub(super) async fn claimer(self: Arc<Self>) {
        let mut notices = self.outbox.notices();
        let (mut registered, mut told) = (false, None);
        let (mut crowded_since, mut announced) = (None, None);
        while !self.is_closing() {
            if !registered {
                registered = self.register().await;
                if !registered {
                    self.rest(AFTER_FAILURE).await;
                    continue;
                }
            }
            notices.mark_unchanged();
            if !self.is_sure().await {
                self.rest(AFTER_FAILURE).await;
            }
            let held = self.in_flight.load(Ordering::Acquire);
            let free = self.config.max_in_flight.saturating_sub(held);
            // Never all that is left: it may go to one script, and others come later.
            let headroom = self.held.headroom(free);
            let except = self.held.greedy(free);
            // A small batch costs as much as a full one: better wait until there is room for a good part of one.
            let is_short =
                headroom == 0 || headroom * 2 < self.config.batch.min(self.config.max_in_flight / 4);
            if !is_short && except == Except::default() {
                crowded_since = None;
            } else {
                let since = crowded_since.get_or_insert_with(Instant::now);
                if let Some(patience) = PATIENCE.checked_sub(since.elapsed()) {
                    // They may be many and quick.
                    self.wait_for_room(patience).await;
                } else {
                    self.tell_of(&except, &mut told);
                    if announced.is_none_or(|at: Instant| at.elapsed() >= AFTER_FAILURE) {
                        // More than this process can take: others may have room.
                        announced = Some(Instant::now());
                        self.outbox.announce();
                    }
                    // Past those who have most, others may get half of what is left.
                    let past = if except == Except::default() { headroom } else { free.div_ceil(2) };
                    let limit = past.min(self.config.batch);
                    if limit == 0 {
                        self.wait_for_room(self.config.poll).await;
                    } else if self.claim_past(&except, limit).await == 0 {
                        self.wait(&mut notices, PAST_NOBODY).await;
                    }
                }
                continue;
            }
            let limit = headroom.min(self.config.batch);
            let wait = match self.claim(limit, &except).await {
                Ok(found) if found == limit => continue,
                Ok(found) => {
                    if found == 0 && held == 0 && !self.idle_wanted().is_empty() {
                        match self.promote(true).await {
                            Ok(Promoted { count: 0, more: false, .. }) => self.tell_idle(),
                            Ok(_) => continue,
                            Err(error) => {
                                tracing::warn!(%error, "messages of queues could not be made due; trying again");
                                self.rest(AFTER_FAILURE).await;
                                continue;
                            }
                        }
                    }
                    self.until_due().await
                }
                Err(error) => {
                    tracing::warn!(%error, "events could not be claimed; trying again");
                    AFTER_FAILURE
                }
            };
            self.wait(&mut notices, wait).await;
        }
        self.idle_wanted().clear();
    }

    /// Takes rows and hands them out; answers how many.
    async fn claim(&self, limit: usize, except: &Except) -> Result<usize> {
        let _taking = self.taking.lock().await;
        // This process may become another worker meanwhile; the rows belong to the one that claimed them.
        let worker = self.worker();
        let rows = self.outbox.claim_except(worker, limit, except).await;
        let rows = rows.inspect_err(|_| self.in_doubt.store(true, Ordering::Release))?;
        let found = rows.len();
        self.hand_out(worker, rows);
        Ok(found)
    }

    /// Waits until something was settled, for the end, or for `at_most`.
    async fn wait_for_room(&self, at_most: Duration) {
        let mut closing = self.closing.subscribe();
        let ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
        unless(ended, tokio::time::timeout(at_most, self.room.notified())).await;
    }

    /// Claims past rows of those who have too much, and rests: however many rows are in the way, most of the time goes to
    /// others. Answers how many it claimed.
    async fn claim_past(&self, except: &Except, limit: usize) -> usize {
        let began = Instant::now();
        let found = self.claim(limit, except).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "events could not be claimed; trying again");
            0
        });
        let rest = (began.elapsed() * PAST_OTHERS_TIMES).max(PAST_OTHERS);
        let mut closing = self.closing.subscribe();
        let ended = pin!(async { drop(closing.wait_for(|closing| *closing).await) });
        unless(ended, tokio::time::sleep(rest)).await;
        found
    }

    fn tell_of(&self, except: &Except, told: &mut Option<Instant>) {
        if *except == Except::default() || told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let list = |ids: Vec<String>| ids.join(", ");
        tracing::warn!(
            apps = list(except.apps.iter().map(ToString::to_string).collect()),
            scripts = list(except.scripts.iter().map(ToString::to_string).collect()),
            max_in_flight = self.config.max_in_flight,
            "handlers that take long hold most of the places for events; further events of theirs wait, those of others go on"
        );
    }

    /// Puts back rows that this worker has without having been told, after an answer may have been lost. Answers whether
    /// that is done.
    async fn is_sure(&self) -> bool {
        if !self.in_doubt.load(Ordering::Acquire) {
            return true;
        }
        let _taking = self.taking.lock().await;
        self.in_doubt.store(false, Ordering::Release);
        match self.outbox.give_back(self.worker(), &self.held.ids()).await {
            Ok(0) => true,
            Ok(events) => {
                tracing::warn!(events, "events had been claimed without an answer; they are due again");
                true
            }
            Err(error) => {
                self.in_doubt.store(true, Ordering::Release);
                tracing::warn!(%error, "events that may have been claimed without an answer could not be put back; trying again");
                false
            }
        }
    }
}
