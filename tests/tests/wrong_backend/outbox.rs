//! The wrong outbox: the memory backend's, except in one way.

mod settle;
mod shown;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picloud_core::kv::MAX_VALUE_BYTES;
use picloud_core::outbox::{
    Claimed, DeadLetter, DeadLetterListOptions, Except, Outbox, OutboxRow, Promoted, Resolution, Settlement,
    Verdict, WorkerId,
};
use picloud_core::page::Page;
use picloud_core::{AppId, Backend, Clock, Error, EventId, Result, Timestamp, async_trait};
use picloud_memory::MemoryBackend;
use tokio::sync::watch;

pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongOutbox {
    wrong: Option<Wrong>,
    inner: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    /// Never changes.
    silence: watch::Sender<u64>,
    notes: Mutex<Notes>,
}

/// What being wrong takes.
#[derive(Debug, Default)]
struct Notes {
    /// Rows that no write made.
    enqueued: BTreeSet<EventId>,
    apps: BTreeSet<AppId>,
    /// Rows that are with a worker, as the memory backend knows and as the worker was told.
    held: BTreeMap<EventId, Held>,
    /// The claims of the memory backend, by those that workers were told.
    claims: BTreeMap<(EventId, u64), u64>,
    /// How often a worker had a row.
    turns: BTreeMap<(EventId, WorkerId), u64>,
    taken: BTreeSet<EventId>,
    heirs: BTreeSet<WorkerId>,
    told: BTreeSet<WorkerId>,
    letters: Vec<DeadLetter>,
    /// Letters whose handlers failed.
    failed: BTreeSet<EventId>,
}

#[derive(Debug, Clone)]
struct Held {
    worker: WorkerId,
    claim: u64,
    shown: Claimed,
}

/// Longer than any case takes.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

impl WrongOutbox {
    pub(crate) fn new(memory: &MemoryBackend, wrong: Option<Wrong>) -> Self {
        WrongOutbox {
            wrong,
            inner: memory.outbox(),
            clock: memory.clock(),
            silence: watch::Sender::new(0),
            notes: Mutex::default(),
        }
    }

    /// Every app that was asked for.
    fn apps(&self) -> BTreeSet<AppId> {
        self.notes().apps.clone()
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another worker in the place of one that is gone.
    async fn ghost(&self) -> Result<WorkerId> {
        let ghost = WorkerId::new();
        self.inner.beat(ghost).await?;
        Ok(ghost)
    }

    /// Puts rows back that are with a worker.
    async fn put_back(&self, held: Vec<Held>, verdict: Verdict) -> Result<()> {
        for Held { worker, claim, shown } in held {
            let settlement = Settlement { id: shown.row.id, claim, verdict: verdict.clone() };
            self.inner.settle(worker, &[settlement]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Outbox for WrongOutbox {
    async fn enqueue(&self, row: &OutboxRow) -> Result<()> {
        let refuse = || Err(Error::invalid("outbox.refused", "such rows are not stored"));
        match self.wrong {
            Some(Wrong::LargePayloadsAreRefused) if row.payload.len() > MAX_VALUE_BYTES => return refuse(),
            Some(Wrong::DeepPayloadsAreRefused) if row.payload.as_str().starts_with("[[[[") => {
                return refuse();
            }
            _ => (),
        }
        {
            let mut notes = self.notes();
            notes.enqueued.insert(row.id);
            notes.apps.insert(row.app);
        }
        match self.inner.enqueue(row).await {
            Err(_) if self.is(Wrong::RowsAreForAnyApp) => Ok(()),
            answer => answer,
        }
    }

    async fn fire(&self, row: &OutboxRow, scheduled_for: Timestamp) -> Result<bool> {
        match self.wrong {
            Some(Wrong::FiresAsOftenAsAsked | Wrong::FiresWithoutATrigger | Wrong::FiresWhileDisabled) => {
                self.inner.enqueue(row).await?;
                Ok(true)
            }
            Some(Wrong::FiresOnceOnly) => self.inner.fire(row, Timestamp::MAX).await,
            Some(Wrong::FiresEarly) => self.inner.fire(row, scheduled_for.min(self.clock.now())).await,
            Some(Wrong::EarlyFiresTakeTheTime) => {
                let answer = self.inner.fire(row, scheduled_for).await;
                if answer.is_err() {
                    self.inner.fire(row, self.clock.now()).await?;
                }
                answer
            }
            Some(Wrong::FiresForEarlierTimes) => {
                let has_fired = self.inner.fire(row, scheduled_for).await?;
                if !has_fired {
                    self.inner.enqueue(row).await?;
                }
                Ok(true)
            }
            Some(Wrong::FiresAnotherRow) => {
                self.inner.fire(&OutboxRow { id: EventId::new(), ..row.clone() }, scheduled_for).await
            }
            _ => self.inner.fire(row, scheduled_for).await,
        }
    }

    async fn beat(&self, worker: WorkerId) -> Result<bool> {
        let alive = self.inner.beat(worker).await?;
        let mut notes = self.notes();
        Ok(match self.wrong {
            Some(Wrong::BeatIsAlwaysTrue) => true,
            Some(Wrong::BeatIsFalseOnce) if !alive => !notes.told.insert(worker),
            Some(Wrong::BeatIsFalseForHeirs) => alive && !notes.heirs.contains(&worker),
            _ => alive,
        })
    }

    async fn claim_except(&self, worker: WorkerId, limit: usize, except: &Except) -> Result<Vec<Claimed>> {
        let mut except = except.clone();
        match self.wrong {
            Some(Wrong::ClaimPassesOverNobody) => except = Except::default(),
            Some(Wrong::ClaimPassesOverAppsOnly) => except.scripts.clear(),
            _ => (),
        }
        let limit = if self.is(Wrong::ClaimIgnoresTheLimit) { usize::MAX } else { limit };
        let worker = match self.wrong {
            Some(Wrong::AnyoneClaims) => {
                self.inner.beat(worker).await?;
                worker
            }
            Some(Wrong::GoneWorkersClaim) if !self.inner.beat(worker).await? => self.ghost().await?,
            _ => worker,
        };
        let mut claimed = if self.is(Wrong::ClaimCountsWhatItPassesOver) {
            let mut claimed = self.inner.claim(worker, limit).await?;
            let is_passed_over =
                |row: &OutboxRow| except.apps.contains(&row.app) || except.scripts.contains(&row.script);
            for passed in claimed.extract_if(.., |claimed| is_passed_over(&claimed.row)) {
                let release = Verdict::Release { after: Duration::ZERO };
                let settlement = Settlement { id: passed.row.id, claim: passed.claim, verdict: release };
                self.inner.settle(worker, &[settlement]).await?;
            }
            claimed
        } else {
            self.inner.claim_except(worker, limit, &except).await?
        };
        match self.wrong {
            Some(Wrong::ClaimForgetsOne) => drop(claimed.pop()),
            Some(Wrong::ClaimTakesTheLastFirst) => claimed.reverse(),
            Some(Wrong::ClaimGoesById) => claimed.sort_by_key(|claimed| claimed.row.id),
            Some(Wrong::ClaimServesOneApp) => {
                let app = claimed.first().map(|claimed| claimed.row.app);
                claimed.retain(|claimed| Some(claimed.row.app) == app);
            }
            Some(Wrong::ClaimLeavesRowsOfWrites) => {
                claimed.retain(|claimed| self.notes().enqueued.contains(&claimed.row.id));
            }
            _ => (),
        }
        let again = match self.wrong {
            Some(Wrong::TwoWorkersGetTheRow) => self.notes().held.values().map(|h| h.shown.clone()).collect(),
            _ => Vec::new(),
        };
        let mut shown: Vec<_> = claimed.into_iter().map(|claimed| self.show(worker, claimed)).collect();
        shown.extend(again);
        Ok(shown)
    }

    async fn settle(&self, worker: WorkerId, settlements: &[Settlement]) -> Result<Vec<Settlement>> {
        self.settle_wrongly(worker, settlements).await
    }

    async fn take_over(&self, worker: WorkerId, lease: Duration, limit: usize) -> Result<Vec<Claimed>> {
        let (mut heir, mut lease, mut limit) = (worker, lease, limit);
        match self.wrong {
            Some(Wrong::NothingIsTakenOver) => return Ok(Vec::new()),
            Some(Wrong::TakeOverIsFromTheLiving) => lease = Duration::ZERO,
            Some(Wrong::TakeOverIgnoresTheLimit) => limit = usize::MAX,
            Some(Wrong::TakeOverForgetsTheRest) if self.notes().heirs.contains(&worker) => {
                return Ok(Vec::new());
            }
            Some(Wrong::AnyoneTakesOver) => drop(self.inner.beat(worker).await?),
            Some(Wrong::TheGoneTakeOver) if !self.inner.beat(worker).await? => heir = self.ghost().await?,
            _ => (),
        }
        let again = match self.wrong {
            Some(Wrong::TwoHeirsGetTheRow) => {
                let taken = self.notes().taken.clone();
                self.notes()
                    .held
                    .values()
                    .filter(|held| taken.contains(&held.shown.row.id))
                    .cloned()
                    .collect()
            }
            Some(Wrong::TakeOverIsFromOneself) => {
                self.notes().held.values().filter(|held| held.worker == worker).cloned().collect()
            }
            _ => Vec::new(),
        };
        let mut taken = self.inner.take_over(heir, lease, limit).await?;
        if self.is(Wrong::TakeOverIsOfWaitingRows) {
            taken.extend(self.inner.claim(heir, limit).await?);
        }
        if self.is(Wrong::HeirsAreForEver) {
            taken.retain(|taken| !self.notes().taken.contains(&taken.row.id));
        }
        let mut shown = Vec::new();
        for taken in taken {
            let before = self.notes().held.get(&taken.row.id).map(|held| held.shown.claim);
            let claim = taken.claim;
            let mut told = self.show(heir, taken);
            match (self.wrong, before) {
                (Some(Wrong::TakeOverCountsAnAttempt), _) => told.attempt += 1,
                (Some(Wrong::TakeOverKeepsTheClaim), Some(before)) => {
                    told.claim = before;
                    self.notes().claims.insert((told.row.id, before), claim);
                }
                _ => (),
            }
            shown.push(told);
        }
        {
            let mut notes = self.notes();
            notes.taken.extend(shown.iter().map(|taken| taken.row.id));
            if !shown.is_empty() {
                notes.heirs.insert(worker);
            }
        }
        shown.extend(again.into_iter().map(|held: Held| held.shown));
        Ok(shown)
    }

    async fn retire(&self, worker: WorkerId) -> Result<()> {
        let held: Vec<Held> = self.notes().held.values().cloned().collect();
        let (mine, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.worker == worker);
        match self.wrong {
            Some(Wrong::RetireKeepsTheRows) => return Ok(()),
            Some(Wrong::RetireCountsTheAttempt) => {
                self.put_back(mine, Verdict::Retry { after: Duration::ZERO }).await?;
            }
            Some(Wrong::RetireFreesEveryRow) => {
                self.put_back(others, Verdict::Release { after: Duration::ZERO }).await?;
            }
            _ => (),
        }
        self.inner.retire(worker).await
    }

    async fn give_back(&self, worker: WorkerId, held: &[EventId]) -> Result<usize> {
        match self.wrong {
            Some(Wrong::GivesBackWhatIsHeld) => self.inner.give_back(worker, &[]).await,
            Some(Wrong::GivesNothingBack) => Ok(0),
            Some(Wrong::GivesBackAndCountsTheAttempt) => {
                let rows: Vec<Held> = self.notes().held.values().cloned().collect();
                let mine = |row: &Held| row.worker == worker && !held.contains(&row.shown.row.id);
                let mine: Vec<Held> = rows.into_iter().filter(mine).collect();
                let count = mine.len();
                self.put_back(mine, Verdict::Retry { after: Duration::ZERO }).await?;
                Ok(count)
            }
            Some(Wrong::GivesBackWhatOthersHave) => {
                let rows: Vec<Held> = self.notes().held.values().cloned().collect();
                let others: Vec<Held> = rows.into_iter().filter(|row| row.worker != worker).collect();
                self.put_back(others, Verdict::Release { after: Duration::ZERO }).await?;
                self.inner.give_back(worker, held).await
            }
            _ => self.inner.give_back(worker, held).await,
        }
    }

    async fn promote(&self, thoroughly: bool) -> Result<Promoted> {
        if self.is(Wrong::NothingIsPromoted) {
            return Ok(Promoted::default());
        }
        let mut promoted = self.inner.promote(thoroughly).await?;
        match self.wrong {
            Some(Wrong::PromotedRowsAreNotCounted) => promoted.count = 0,
            Some(Wrong::DelaysAreNotTold) => promoted.again = None,
            _ => (),
        }
        Ok(promoted)
    }

    async fn next_due(&self) -> Result<Option<Duration>> {
        let next = self.inner.next_due().await?;
        Ok(match self.wrong {
            Some(Wrong::NextTimeCountsRowsWithWorkers) if !self.notes().held.is_empty() => {
                Some(next.unwrap_or_default())
            }
            Some(Wrong::NextTimeIsNever) => None,
            Some(Wrong::NextTimeIsNow) => next.map(|_| Duration::ZERO),
            Some(Wrong::NextTimeIsLate) => next.map(|next| next + YEAR),
            _ => next,
        })
    }

    async fn waiting(&self, app: AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        let limit = if self.is(Wrong::WaitingIgnoresTheLimit) { usize::MAX } else { limit };
        let mut rows = self.inner.waiting(app, limit).await?;
        match self.wrong {
            Some(Wrong::WaitingIsNewestFirst) => {
                rows = self.inner.waiting(app, usize::MAX).await?;
                rows.reverse();
                rows.truncate(limit);
            }
            Some(Wrong::WaitingHidesRowsWithWorkers) => {
                rows.retain(|row| !self.notes().held.contains_key(&row.id));
            }
            Some(Wrong::WaitingIsForEveryApp) => {
                rows.clear();
                let apps = self.notes().apps.clone();
                for app in apps {
                    rows.extend(self.inner.waiting(app, limit).await?);
                }
            }
            Some(Wrong::RowsOfAWriteShareAnId) => {
                let first = rows.first().map(|row| row.id);
                rows.iter_mut().for_each(|row| row.id = first.unwrap_or(row.id));
            }
            _ => (),
        }
        Ok(rows.into_iter().map(|row| self.row(row)).collect())
    }

    async fn dead_letters(&self, app: AppId, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>> {
        let apps = if self.is(Wrong::LettersAreForEveryApp) {
            self.notes().apps.clone()
        } else {
            BTreeSet::from([app])
        };
        let mut letters: Vec<_> =
            self.notes().letters.iter().filter(|letter| letter.row.app == app).cloned().collect();
        let mut cursor = None;
        for app in apps {
            let mut changed = options.clone();
            match self.wrong {
                Some(Wrong::LettersIgnoreTheLimit) => changed.limit = Some(1_000),
                Some(Wrong::LettersIgnoreThatTheyAreOpen) => changed.unresolved = false,
                Some(Wrong::LettersIgnoreTheCursor) => changed.cursor = None,
                _ => (),
            }
            let page = self.inner.dead_letters(app, &changed).await;
            let page = match page {
                Err(_) if self.is(Wrong::AnyCursorOfLettersWillDo) => Page { items: vec![], cursor: None },
                page => page?,
            };
            letters.extend(page.items);
            cursor = page.cursor;
        }
        if self.is(Wrong::LettersAreOldestFirst) {
            letters.reverse();
        }
        if self.is(Wrong::LettersHaveOnePage) {
            cursor = None;
        }
        Ok(Page { items: letters.into_iter().map(|letter| self.letter(letter)).collect(), cursor })
    }

    async fn dead_letter(&self, app: AppId, id: EventId) -> Result<Option<DeadLetter>> {
        if self.is(Wrong::OneLetterIsForEveryApp) {
            for app in self.apps() {
                if let Some(letter) = self.inner.dead_letter(app, id).await? {
                    return Ok(Some(letter));
                }
            }
        }
        let mut letter = self.inner.dead_letter(app, id).await?;
        if self.is(Wrong::FailedHandlersReopen) && self.notes().failed.contains(&id) {
            letter = letter.map(|letter| letter.resolved(Resolution::HandlerFailed, self.clock.now()));
        }
        Ok(letter.filter(|_| !self.is(Wrong::OneLetterIsNone)))
    }

    async fn open_dead_letters(&self, app: AppId) -> Result<u64> {
        if self.is(Wrong::ClosedLettersCount) {
            return Ok(
                self.inner.dead_letters(app, &DeadLetterListOptions::default()).await?.items.len() as u64
            );
        }
        self.inner.open_dead_letters(app).await
    }

    async fn replay(&self, app: AppId, id: EventId, trigger_depth: u32) -> Result<()> {
        let trigger_depth = match self.wrong {
            Some(Wrong::ReplayForgetsWhoAsks) => 0,
            Some(Wrong::ReplayForgetsTheDepth) => 1_000,
            _ => trigger_depth,
        };
        let letter = self.inner.dead_letter(app, id).await?;
        match (self.wrong, letter) {
            (Some(Wrong::ReplayOnlyMarks), Some(_)) => {
                self.inner.resolve(app, id, Resolution::Replayed).await
            }
            (Some(Wrong::ReplayOnlySends), Some(letter)) => self.inner.enqueue(&letter.row).await,
            (Some(Wrong::ReplayTwiceIsFine), Some(letter)) if letter.resolution.is_some() => Ok(()),
            (Some(Wrong::ReplayMakesAnotherEvent), Some(letter)) => {
                self.inner.resolve(app, id, Resolution::Replayed).await?;
                self.inner.enqueue(&OutboxRow { id: EventId::new(), ..letter.row }).await
            }
            (Some(Wrong::ReplayNeedsNoTarget), Some(letter)) => {
                match self.inner.replay(app, id, trigger_depth).await {
                    Err(error) if error.code() == "dead_letters.target_gone" => {
                        self.inner.enqueue(&letter.row).await
                    }
                    answer => answer,
                }
            }
            (Some(Wrong::ReplayIsForEveryApp), None) => {
                for app in self.apps() {
                    drop(self.inner.replay(app, id, trigger_depth).await);
                }
                Ok(())
            }
            _ => self.inner.replay(app, id, trigger_depth).await,
        }
    }

    async fn resolve(&self, app: AppId, id: EventId, resolution: Resolution) -> Result<()> {
        match self.wrong {
            Some(Wrong::EveryLetterIsIgnored) => self.inner.resolve(app, id, Resolution::Ignored).await,
            Some(Wrong::ResolveTwiceIsFine) => match self.inner.resolve(app, id, resolution).await {
                Err(error) if error.code() == "dead_letters.already_resolved" => Ok(()),
                answer => answer,
            },
            Some(Wrong::ResolveIsForEveryApp) => {
                for app in self.apps() {
                    drop(self.inner.resolve(app, id, resolution).await);
                }
                Ok(())
            }
            _ => self.inner.resolve(app, id, resolution).await,
        }
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize> {
        match self.wrong {
            Some(Wrong::OpenLettersAreKeptForEver) => Ok(0),
            Some(Wrong::YoungLettersAreForgotten) => {
                self.inner.forget_dead_letters(Timestamp::MAX, limit).await
            }
            Some(Wrong::LettersAreForgottenAtOnce) => {
                self.inner.forget_dead_letters(before, usize::MAX).await
            }
            _ => self.inner.forget_dead_letters(before, limit).await,
        }
    }

    fn notices(&self) -> watch::Receiver<u64> {
        if self.is(Wrong::NothingIsNoticed) { self.silence.subscribe() } else { self.inner.notices() }
    }

    fn stored(&self) -> watch::Receiver<u64> {
        if self.is(Wrong::NothingCountsAsStoredHere) { self.silence.subscribe() } else { self.inner.stored() }
    }

    fn announce(&self) {
        self.inner.announce();
    }
}
