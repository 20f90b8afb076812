//! Events on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use picloud_core::outbox::{
    Claimed, DeadLetter, DeadLetterError, DeadLetterListOptions, Except, Outbox, OutboxRow, Promoted,
    Resolution, Settlement, Verdict, WorkerId, too_early,
};
use picloud_core::page::{Page, clamp_page_size};
use picloud_core::queue::{Priority, QueueKey, SendOptions};
use picloud_core::{AppId, Error, EventId, Result, Timestamp, TriggerId, async_trait};
use tokio::sync::watch;

use crate::catalog::App;
use crate::clock::later;
use crate::tables::{Shared, Tables};

/// Every row of every app, with the workers that handle them.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<EventId, Stored>,
    /// Those that wait, in the order in which they are due.
    due: BTreeSet<(Timestamp, EventId)>,
    workers: BTreeMap<WorkerId, Worker>,
    dead: BTreeMap<AppId, BTreeMap<EventId, Dead>>,
    /// The last time that each trigger fired for.
    fired: BTreeMap<TriggerId, Timestamp>,
    /// Grows with every message that is sent.
    position: u64,
}

#[derive(Debug)]
struct Dead {
    letter: DeadLetter,
    /// The last claim of its row.
    claim: u64,
    queued: Option<Queued>,
}

#[derive(Debug)]
struct Stored {
    row: OutboxRow,
    attempt: u32,
    claim: u64,
    replayed: bool,
    state: State,
    /// Of a message of a queue.
    queued: Option<Queued>,
}

/// What is to be known of a message of a queue.
#[derive(Debug, Clone)]
struct Queued {
    position: u64,
    priority: Priority,
    key: Option<QueueKey>,
    dedupe_key: Option<QueueKey>,
}

/// A message that is sent.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) row: OutboxRow,
    pub(crate) options: SendOptions,
}

impl Message {
    /// Whether it keeps others with this key from being sent.
    pub(crate) fn is_duplicate(&self, trigger: TriggerId, key: &QueueKey) -> bool {
        self.row.trigger == Some(trigger) && self.options.dedupe_key.as_ref() == Some(key)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits(Timestamp),
    /// A message of a queue that waits for room, from then on.
    Queued(Timestamp),
    With(WorkerId),
}

#[derive(Debug)]
struct Worker {
    beat_at: Timestamp,
    /// Taken over: it stays known, so that it is told.
    gone: bool,
}

impl Rows {
    /// Adds a row that is due at once.
    pub(crate) fn push(&mut self, row: OutboxRow, now: Timestamp) {
        self.due.insert((now, row.id));
        let state = State::Waits(now);
        self.rows.insert(row.id, Stored { attempt: 0, claim: 0, replayed: false, queued: None, state, row });
    }

    /// Adds a message that was sent.
    pub(crate) fn send(&mut self, Message { row, options }: Message, now: Timestamp) {
        let state = State::Queued(later(now, options.delay()));
        let SendOptions { priority, key, dedupe_key, .. } = options;
        let queued = Some(Queued { position: self.next_position(), priority, key, dedupe_key });
        self.rows.insert(row.id, Stored { attempt: 0, claim: 0, replayed: false, queued, state, row });
    }

    /// Adds the row of a letter once more.
    fn send_again(&mut self, row: OutboxRow, claim: u64, queued: Option<Queued>, now: Timestamp) {
        let queued =
            queued.map(|queued| Queued { position: self.next_position(), dedupe_key: None, ..queued });
        let state = if queued.is_some() {
            State::Queued(now)
        } else {
            self.due.insert((now, row.id));
            State::Waits(now)
        };
        self.rows.insert(row.id, Stored { attempt: 0, claim, replayed: true, queued, state, row });
    }

    fn next_position(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// The message that keeps others with this key from being sent.
    pub(crate) fn duplicate(&self, trigger: TriggerId, key: &QueueKey) -> Option<EventId> {
        let is_it = |stored: &&Stored| {
            let queued = stored.queued.as_ref().filter(|queued| queued.dedupe_key.as_ref() == Some(key));
            queued.is_some() && stored.row.trigger == Some(trigger)
        };
        self.rows.values().find(is_it).map(|stored| stored.row.id)
    }

    fn promote(&mut self, apps: &BTreeMap<AppId, App>, now: Timestamp) -> usize {
        let mut consumers: BTreeMap<_, Vec<(&Stored, &Queued)>> = BTreeMap::new();
        for stored in self.rows.values() {
            if let Some(queued) = &stored.queued {
                consumers.entry((stored.row.app, stored.row.trigger)).or_default().push((stored, queued));
            }
        }
        let mut promoted: Vec<EventId> = Vec::new();
        for ((app, trigger), messages) in consumers {
            let concurrency =
                trigger.and_then(|trigger| apps.get(&app)?.concurrency(trigger)).unwrap_or(usize::MAX);
            let in_play =
                messages.iter().filter(|(stored, _)| !matches!(stored.state, State::Queued(_))).count();
            let mut first: BTreeMap<&QueueKey, u64> = BTreeMap::new();
            for (_, queued) in &messages {
                if let Some(key) = &queued.key {
                    let first = first.entry(key).or_insert(u64::MAX);
                    *first = queued.position.min(*first);
                }
            }
            let may_run = |(stored, queued): &&(&Stored, &Queued)| {
                let is_first = queued.key.as_ref().is_none_or(|key| first.get(key) == Some(&queued.position));
                is_first && matches!(stored.state, State::Queued(at) if at <= now)
            };
            let mut ready: Vec<_> = messages.iter().filter(may_run).collect();
            ready.sort_by_key(|(_, queued)| (std::cmp::Reverse(queued.priority), queued.position));
            let room = concurrency.saturating_sub(in_play);
            promoted.extend(ready.into_iter().take(room).map(|(stored, _)| stored.row.id));
        }
        for id in &promoted {
            if let Some(stored) = self.rows.get_mut(id) {
                stored.state = State::Waits(now);
                self.due.insert((now, *id));
            }
        }
        promoted.len()
    }

    /// How long until the next message has waited for long enough.
    fn next_delay(&self, now: Timestamp) -> Option<Duration> {
        let delayed = self.rows.values().filter_map(|stored| match stored.state {
            State::Queued(at) if at > now => Some(at),
            _ => None,
        });
        delayed.min().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    fn beat(&mut self, worker: WorkerId, now: Timestamp) -> bool {
        let worker = self.workers.entry(worker).or_insert(Worker { beat_at: now, gone: false });
        worker.beat_at = now;
        !worker.gone
    }

    fn claim(&mut self, worker: WorkerId, limit: usize, except: &Except, now: Timestamp) -> Vec<Claimed> {
        if self.workers.get(&worker).is_none_or(|worker| worker.gone) {
            return Vec::new();
        }
        let is_wanted =
            |row: &OutboxRow| !except.apps.contains(&row.app) && !except.scripts.contains(&row.script);
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let wanted = due.filter(|(_, id)| self.rows.get(id).is_none_or(|stored| is_wanted(&stored.row)));
        let taken: Vec<_> = wanted.take(limit).copied().collect();
        let mut claimed = Vec::new();
        for (at, id) in taken {
            self.due.remove(&(at, id));
            if let Some(stored) = self.rows.get_mut(&id) {
                stored.attempt += 1;
                claimed.push(stored.give_to(worker));
            }
        }
        claimed
    }

    /// Answers whether the row was with the worker under that claim.
    fn settle(&mut self, worker: WorkerId, settlement: &Settlement, now: Timestamp) -> bool {
        let Settlement { id, claim, verdict } = settlement;
        match self.rows.get_mut(id) {
            Some(stored) if stored.claim == *claim && stored.state == State::With(worker) => match verdict {
                Verdict::Done | Verdict::Drop => drop(self.rows.remove(id)),
                Verdict::Retry { after } => self.wait(*id, later(now, *after), false),
                Verdict::Release { after } => self.wait(*id, later(now, *after), true),
                Verdict::HandlerFailed { letter } => {
                    if let Some(Stored { row, .. }) = self.rows.remove(id) {
                        // It may have been closed, or forgotten, meanwhile.
                        drop(self.resolve(row.app, *letter, Resolution::HandlerFailed, now));
                    }
                }
                Verdict::Dead { reason, error, handlers } => {
                    handlers.iter().for_each(|row| self.push(row.clone(), now));
                    if let Some(Stored { row, attempt, claim, queued, .. }) = self.rows.remove(id) {
                        let letters = self.dead.entry(row.app).or_default();
                        let letter = DeadLetter::new(row, attempt, *reason, error, now);
                        letters.insert(*id, Dead { letter, claim, queued });
                    }
                }
            },
            _ => return false,
        }
        true
    }

    fn wait(&mut self, id: EventId, until: Timestamp, give_back: bool) {
        if let Some(stored) = self.rows.get_mut(&id) {
            stored.attempt -= u32::from(give_back && stored.attempt > 0);
            if stored.queued.is_some() {
                stored.state = State::Queued(until);
            } else {
                stored.state = State::Waits(until);
                self.due.insert((until, id));
            }
        }
    }

    fn letters(&self, app: AppId) -> impl Iterator<Item = &DeadLetter> {
        self.dead.get(&app).into_iter().flat_map(BTreeMap::values).map(|dead| &dead.letter)
    }

    /// An open letter.
    fn open(&mut self, app: AppId, id: EventId) -> Result<&mut Dead, DeadLetterError> {
        let dead = self.dead.get_mut(&app).and_then(|letters| letters.get_mut(&id));
        let dead = dead.ok_or(DeadLetterError::NotFound)?;
        if dead.letter.resolution.is_some() { Err(DeadLetterError::AlreadyResolved) } else { Ok(dead) }
    }

    fn resolve(&mut self, app: AppId, id: EventId, resolution: Resolution, now: Timestamp) -> Result<u64> {
        let Dead { letter, claim, .. } = self.open(app, id)?;
        *letter = letter.clone().resolved(resolution, now);
        Ok(*claim)
    }

    fn take_over(&mut self, worker: WorkerId, silent_since: Timestamp, limit: usize) -> Vec<Claimed> {
        if self.workers.get(&worker).is_none_or(|worker| worker.gone) {
            return Vec::new();
        }
        for (id, other) in &mut self.workers {
            other.gone |= *id != worker && other.beat_at <= silent_since;
        }
        let gone = |id: WorkerId| self.workers.get(&id).is_none_or(|worker| worker.gone);
        let lost = self.rows.values_mut().filter(|stored| match stored.state {
            State::With(owner) => gone(owner),
            State::Waits(_) | State::Queued(_) => false,
        });
        lost.take(limit).map(|stored| stored.give_to(worker)).collect()
    }

    /// Puts back what is with the worker, but for `held`; answers how much.
    fn give_back(&mut self, worker: WorkerId, held: &[EventId], now: Timestamp) -> usize {
        let mine: Vec<_> = self
            .rows
            .values()
            .filter(|stored| stored.state == State::With(worker) && !held.contains(&stored.row.id))
            .map(|stored| stored.row.id)
            .collect();
        mine.iter().for_each(|id| self.wait(*id, now, true));
        mine.len()
    }

    fn retire(&mut self, worker: WorkerId, now: Timestamp) {
        self.give_back(worker, &[], now);
        self.workers.remove(&worker);
    }
}

impl Stored {
    fn give_to(&mut self, worker: WorkerId) -> Claimed {
        self.claim += 1;
        self.state = State::With(worker);
        Claimed { row: self.row.clone(), attempt: self.attempt, claim: self.claim, replayed: self.replayed }
    }
}

#[derive(Debug)]
pub(crate) struct MemoryOutbox(pub(crate) Arc<Shared>);

#[async_trait]
impl Outbox for MemoryOutbox {
    async fn enqueue(&self, row: &OutboxRow) -> Result<()> {
        let mut tables = self.0.lock();
        if !tables.apps.contains_key(&row.app) {
            return Err(Error::not_found("app.not_found", "there is no such app").with("app", row.app));
        }
        tables.outbox.push(row.clone(), self.0.clock.now());
        drop(tables);
        self.0.notice();
        Ok(())
    }

    async fn fire(&self, row: &OutboxRow, scheduled_for: Timestamp) -> Result<bool> {
        let mut guard = self.0.lock();
        let Tables { apps, outbox, .. } = &mut *guard;
        let Some(trigger) = row.trigger else { return Ok(false) };
        if scheduled_for > later(self.0.clock.now(), Duration::from_secs(5)) {
            return Err(too_early(scheduled_for));
        }
        let is_there = apps.get(&row.app).is_some_and(|app| app.may_fire(trigger, row.script));
        if !is_there || outbox.fired.get(&trigger).is_some_and(|last| *last >= scheduled_for) {
            return Ok(false);
        }
        outbox.fired.insert(trigger, scheduled_for);
        outbox.push(row.clone(), self.0.clock.now());
        drop(guard);
        self.0.notice();
        Ok(true)
    }

    async fn beat(&self, worker: WorkerId) -> Result<bool> {
        Ok(self.0.lock().outbox.beat(worker, self.0.clock.now()))
    }

    async fn claim_except(&self, worker: WorkerId, limit: usize, except: &Except) -> Result<Vec<Claimed>> {
        Ok(self.0.lock().outbox.claim(worker, limit, except, self.0.clock.now()))
    }

    async fn give_back(&self, worker: WorkerId, held: &[EventId]) -> Result<usize> {
        let count = self.0.lock().outbox.give_back(worker, held, self.0.clock.now());
        self.0.notice();
        Ok(count)
    }

    async fn settle(&self, worker: WorkerId, settlements: &[Settlement]) -> Result<Vec<Settlement>> {
        let now = self.0.clock.now();
        let mut tables = self.0.lock();
        let lost = settlements.iter().filter(|settlement| !tables.outbox.settle(worker, settlement, now));
        let lost = lost.cloned().collect();
        drop(tables);
        if settlements.iter().any(|settlement| !settlement.verdict.handlers().is_empty()) {
            self.0.notice();
        }
        Ok(lost)
    }

    async fn take_over(&self, worker: WorkerId, lease: Duration, limit: usize) -> Result<Vec<Claimed>> {
        // A lease longer than time itself ends nobody.
        let Ok(silent_since) = self.0.clock.now().checked_sub(lease) else { return Ok(Vec::new()) };
        Ok(self.0.lock().outbox.take_over(worker, silent_since, limit))
    }

    async fn retire(&self, worker: WorkerId) -> Result<()> {
        self.0.lock().outbox.retire(worker, self.0.clock.now());
        self.0.notice();
        Ok(())
    }

    async fn promote(&self, _thoroughly: bool) -> Result<Promoted> {
        let now = self.0.clock.now();
        let mut guard = self.0.lock();
        let Tables { apps, outbox, .. } = &mut *guard;
        let count = outbox.promote(apps, now);
        let again = outbox.next_delay(now);
        drop(guard);
        if count > 0 {
            self.0.notice();
        }
        Ok(Promoted { count, again, more: false })
    }

    async fn next_due(&self) -> Result<Option<Duration>> {
        let now = self.0.clock.now();
        let tables = self.0.lock();
        let next = tables.outbox.due.first();
        Ok(next.map(|(at, _)| Duration::try_from(at.duration_since(now)).unwrap_or_default()))
    }

    async fn waiting(&self, app: AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        let tables = self.0.lock();
        let mine = tables.outbox.rows.values().filter(|stored| stored.row.app == app);
        Ok(mine.take(limit).map(|stored| stored.row.clone()).collect())
    }

    async fn dead_letters(&self, app: AppId, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>> {
        let place = options.place(app)?.map(|(at, id)| (at.as_microsecond(), id));
        let key = |letter: &DeadLetter| (letter.died_at.as_microsecond(), letter.row.id);
        let tables = self.0.lock();
        let mut letters: Vec<_> = tables
            .outbox
            .letters(app)
            .filter(|letter| !options.unresolved || letter.resolution.is_none())
            .filter(|letter| place.is_none_or(|place| key(letter) < place))
            .collect();
        letters.sort_by_key(|letter| std::cmp::Reverse(key(letter)));
        let limit = clamp_page_size(options.limit);
        let items = letters.into_iter().take(limit + 1).cloned().collect();
        Ok(Page::cut(items, limit, |last| options.cursor_after(app, last)))
    }

    async fn dead_letter(&self, app: AppId, id: EventId) -> Result<Option<DeadLetter>> {
        Ok(self.0.lock().outbox.letters(app).find(|letter| letter.row.id == id).cloned())
    }

    async fn open_dead_letters(&self, app: AppId) -> Result<u64> {
        let tables = self.0.lock();
        Ok(tables.outbox.letters(app).filter(|letter| letter.resolution.is_none()).count() as u64)
    }

    async fn replay(&self, app: AppId, id: EventId, trigger_depth: u32) -> Result<()> {
        let now = self.0.clock.now();
        let mut guard = self.0.lock();
        let Tables { apps, outbox, .. } = &mut *guard;
        let Dead { letter, queued, .. } = outbox.open(app, id)?;
        let (mut row, queued) = (letter.row.clone(), queued.clone());
        row.trigger_depth = row.trigger_depth.max(trigger_depth);
        if !apps.get(&app).is_some_and(|app| app.has_target(row.trigger, row.script)) {
            return Err(DeadLetterError::TargetGone.into());
        }
        let claim = outbox.resolve(app, id, Resolution::Replayed, now)?;
        outbox.send_again(row, claim, queued, now);
        drop(guard);
        self.0.notice();
        Ok(())
    }

    async fn resolve(&self, app: AppId, id: EventId, resolution: Resolution) -> Result<()> {
        self.0.lock().outbox.resolve(app, id, resolution, self.0.clock.now()).map(drop)
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let mut tables = self.0.lock();
        let mut left = limit;
        for letters in tables.outbox.dead.values_mut() {
            letters.retain(|_, dead| {
                let goes = left > 0 && dead.letter.died_at < before;
                left -= usize::from(goes);
                !goes
            });
        }
        Ok(limit - left)
    }

    fn notices(&self) -> watch::Receiver<u64> {
        self.0.notices.subscribe()
    }

    fn stored(&self) -> watch::Receiver<u64> {
        // There is no other node: whatever is noticed was stored here.
        self.notices()
    }

    fn announce(&self) {
        // Nobody to tell.
    }
}
