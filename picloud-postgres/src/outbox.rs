//! Events on their way.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use picloud_core::outbox::{
    Claimed, DeadLetter, DeadLetterError, DeadLetterListOptions, DeadLetterReason, EventKind, Except, Outbox,
    OutboxRow, Promoted, Resolution, Settlement, Verdict, WorkerId, too_early,
};
use picloud_core::page::{Page, clamp_page_size};
use picloud_core::{
    AppId, Error, EventId, ExecutionId, Json, RequestId, Result, ScriptId, Timestamp, TraceId, TriggerId,
    async_trait,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::{corrupt, of_database};
use crate::fault::Commit;
use crate::queue;
use crate::source::Source;
use crate::sql::Statement;
use crate::time::{LATEST, Time};

/// Columns of a row, before those that a statement adds.
const ROW_COLUMNS: usize = 11;

#[derive(Debug)]
pub(crate) struct PostgresOutbox(pub(crate) Arc<Inner>);

#[async_trait]
impl Outbox for PostgresOutbox {
    async fn enqueue(&self, row: &OutboxRow) -> Result<()> {
        let query = bound(&self.0.sql.outbox_enqueue, row);
        let stored = self.0.lanes.acquire().await?.written(query).await?;
        if stored == 0 {
            return Err(Error::not_found("app.not_found", "there is no such app").with("app", row.app));
        }
        self.0.notices.bump_stored();
        Ok(())
    }

    async fn fire(&self, row: &OutboxRow, scheduled_for: Timestamp) -> Result<bool> {
        let query = bound(&self.0.sql.outbox_fire, row).bind(Time(scheduled_for));
        let rows = self.0.lanes.acquire().await?.rows(query).await?;
        let told = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
        let read = || -> sqlx::Result<(bool, bool)> { Ok((told.try_get(0)?, told.try_get(1)?)) };
        let (is_early, has_fired) = read().map_err(of_database)?;
        if is_early {
            return Err(too_early(scheduled_for));
        }
        if has_fired {
            self.0.notices.bump_stored();
        }
        Ok(has_fired)
    }

    async fn beat(&self, worker: WorkerId) -> Result<bool> {
        let rows = self.0.write(|| self.0.sql.worker_beat.query().bind(*worker.as_uuid())).await?;
        Ok(!rows.is_empty())
    }

    async fn claim_except(&self, worker: WorkerId, limit: usize, except: &Except) -> Result<Vec<Claimed>> {
        if *except == Except::default() {
            let query = || self.0.sql.outbox_claim.query().bind(*worker.as_uuid()).bind(count(limit));
            return claimed(self.0.commit(Commit::Claim, query).await?);
        }
        let apps: Vec<Uuid> = except.apps.iter().map(|app| *app.as_uuid()).collect();
        let scripts: Vec<Uuid> = except.scripts.iter().map(|script| *script.as_uuid()).collect();
        let query = || {
            let query = self.0.sql.outbox_claim_except.query().bind(*worker.as_uuid()).bind(count(limit));
            query.bind(apps.clone()).bind(scripts.clone())
        };
        claimed(self.0.commit(Commit::Claim, query).await?)
    }

    async fn give_back(&self, worker: WorkerId, held: &[EventId]) -> Result<usize> {
        let held: Vec<Uuid> = held.iter().map(|id| *id.as_uuid()).collect();
        let query = self.0.sql.outbox_give_back.query().bind(*worker.as_uuid()).bind(held);
        let count = self.0.lanes.acquire().await?.written(query).await?;
        if count > 0 {
            self.0.notices.bump_stored();
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn settle(&self, worker: WorkerId, settlements: &[Settlement]) -> Result<Vec<Settlement>> {
        let sql = &self.0.sql;
        let mut taken: HashSet<(Uuid, u64)> = HashSet::with_capacity(settlements.len());
        // A claim settled twice in one go counts once: the first time.
        let mut once: Vec<&Settlement> = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            if taken.insert((*settlement.id.as_uuid(), settlement.claim)) {
                once.push(settlement);
            }
        }
        // In the order of ids, so that two who settle do not wait for each other in a circle.
        once.sort_by_key(|settlement| (settlement.id, Reverse(settlement.claim)));
        // Of several claims of one event only the last can be in force.
        once.dedup_by_key(|settlement| settlement.id);
        taken.clear();
        let part = |is_wanted: fn(&Verdict) -> bool| {
            once.iter().copied().filter(|settlement| is_wanted(&settlement.verdict)).collect::<Vec<_>>()
        };
        let ids = |part: &[&Settlement]| {
            part.iter().map(|settlement| *settlement.id.as_uuid()).collect::<Vec<Uuid>>()
        };
        let claims = |part: &[&Settlement]| {
            part.iter().map(|settlement| settlement.claim.cast_signed()).collect::<Vec<i64>>()
        };
        let mut note = |part: &[&Settlement], rows: Vec<PgRow>| -> Result<u64> {
            let found: HashSet<Uuid> =
                rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>().map_err(of_database)?;
            let mine = part.iter().filter(|settlement| found.contains(settlement.id.as_uuid()));
            taken.extend(mine.map(|settlement| (*settlement.id.as_uuid(), settlement.claim)));
            Ok(found.len() as u64)
        };

        let removed = part(|verdict| matches!(verdict, Verdict::Done | Verdict::Drop));
        if !removed.is_empty() {
            let query = || {
                sql.outbox_remove.query().bind(*worker.as_uuid()).bind(ids(&removed)).bind(claims(&removed))
            };
            let rows = self.0.commit(Commit::Completion, query).await?;
            self.0.freed.note(&rows)?;
            let gone = note(&removed, rows)?;
            self.0.notices.removed(gone);
        }
        let back = part(|verdict| matches!(verdict, Verdict::Retry { .. } | Verdict::Release { .. }));
        if !back.is_empty() {
            let wait = |settlement: &&Settlement| match &settlement.verdict {
                Verdict::Retry { after } => (micros(*after), 0),
                Verdict::Release { after } => (micros(*after), 1),
                _ => (0, 0),
            };
            let (after, given): (Vec<i64>, Vec<i32>) = back.iter().map(wait).unzip();
            let query = || {
                let query = sql.outbox_put_back.query().bind(*worker.as_uuid()).bind(ids(&back));
                query.bind(claims(&back)).bind(after.clone()).bind(given.clone())
            };
            note(&back, self.0.commit(Commit::Retry, query).await?)?;
        }
        let dead = part(|verdict| matches!(verdict, Verdict::Dead { .. }));
        for dead in by_weight(&dead) {
            let tell = |settlement: &&Settlement| match &settlement.verdict {
                Verdict::Dead { reason, error, .. } => (reason.as_str(), error.replace('\0', "\u{fffd}")),
                _ => ("", String::new()),
            };
            let (reasons, errors): (Vec<&'static str>, Vec<String>) = dead.iter().map(tell).unzip();
            let query = || {
                let query = sql.outbox_bury.query().bind(*worker.as_uuid()).bind(ids(dead));
                let query = query.bind(claims(dead)).bind(reasons.clone()).bind(errors.clone());
                bind_handlers(query, dead)
            };
            let rows = self.0.commit(Commit::DeadLetter, query).await?;
            self.0.freed.note(&rows)?;
            note(dead, rows)?;
            if dead.iter().any(|settlement| !settlement.verdict.handlers().is_empty()) {
                self.0.notices.bump_stored();
            }
        }
        let failed = part(|verdict| matches!(verdict, Verdict::HandlerFailed { .. }));
        if !failed.is_empty() {
            let letter = |settlement: &&Settlement| match &settlement.verdict {
                Verdict::HandlerFailed { letter } => *letter.as_uuid(),
                _ => Uuid::nil(),
            };
            let letters: Vec<Uuid> = failed.iter().map(letter).collect();
            let query = || {
                let query = sql.outbox_handler_failed.query().bind(*worker.as_uuid()).bind(ids(&failed));
                query.bind(claims(&failed)).bind(letters.clone())
            };
            note(&failed, self.0.commit(Commit::DeadLetter, query).await?)?;
        }
        let mut counted = HashSet::with_capacity(settlements.len());
        let is_lost = |settlement: &&Settlement| {
            let key = (*settlement.id.as_uuid(), settlement.claim);
            !taken.contains(&key) || !counted.insert(key)
        };
        Ok(settlements.iter().filter(is_lost).cloned().collect())
    }

    async fn take_over(&self, worker: WorkerId, lease: Duration, limit: usize) -> Result<Vec<Claimed>> {
        let sql = &self.0.sql;
        let silent = || sql.workers_gone.query().bind(*worker.as_uuid()).bind(micros(lease));
        self.0.write(silent).await?;
        let theirs = || sql.outbox_take_over.query().bind(*worker.as_uuid()).bind(count(limit));
        claimed(self.0.write(theirs).await?)
    }

    async fn retire(&self, worker: WorkerId) -> Result<()> {
        self.0.write(|| self.0.sql.worker_retire.query().bind(*worker.as_uuid())).await?;
        self.0.notices.bump_stored();
        self.announce();
        Ok(())
    }

    async fn promote(&self, thoroughly: bool) -> Result<Promoted> {
        queue::promote(&self.0, thoroughly).await
    }

    async fn next_due(&self) -> Result<Option<Duration>> {
        let rows = self.0.read_all(&self.source(), || self.0.sql.outbox_next_due.query()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let micros: i64 = row.try_get(0).map_err(of_database)?;
        Ok(Some(Duration::from_micros(micros.unsigned_abs())))
    }

    async fn waiting(&self, app: AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        let query = || self.0.sql.outbox_waiting.query().bind(*app.as_uuid()).bind(count(limit));
        self.0.read_all(&self.source(), query).await?.iter().map(row_of).collect()
    }

    async fn dead_letters(&self, app: AppId, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>> {
        let (at, before) = options.place(app)?.map_or((LATEST, Uuid::max()), |(at, id)| (at, *id.as_uuid()));
        let limit = clamp_page_size(options.limit);
        let sql = &self.0.sql;
        let statement = if options.unresolved { &sql.dead_letters_open } else { &sql.dead_letters };
        let query = || {
            let query = statement.query().bind(*app.as_uuid()).bind(Time(at)).bind(before);
            query.bind(count(limit.saturating_add(1)))
        };
        let rows = self.0.read_all(&self.source(), query).await?;
        let items = rows.iter().map(letter_of).collect::<Result<_>>()?;
        Ok(Page::cut(items, limit, |last| options.cursor_after(app, last)))
    }

    async fn dead_letter(&self, app: AppId, id: EventId) -> Result<Option<DeadLetter>> {
        let query = || self.0.sql.dead_letter.query().bind(*app.as_uuid()).bind(*id.as_uuid());
        self.0.read_all(&self.source(), query).await?.first().map(letter_of).transpose()
    }

    async fn open_dead_letters(&self, app: AppId) -> Result<u64> {
        let query = || self.0.sql.dead_letters_count.query().bind(*app.as_uuid());
        let rows = self.0.read_all(&self.source(), query).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a count without an answer"))?;
        Ok(row.try_get::<i64, _>(0).map_err(of_database)?.unsigned_abs())
    }

    async fn replay(&self, app: AppId, id: EventId, trigger_depth: u32) -> Result<()> {
        let query = self.0.sql.dead_letter_replay.query().bind(*app.as_uuid()).bind(*id.as_uuid());
        let query = query.bind(i32::try_from(trigger_depth).unwrap_or(i32::MAX));
        self.close_letter(query).await?;
        self.0.notices.bump_stored();
        Ok(())
    }

    async fn resolve(&self, app: AppId, id: EventId, resolution: Resolution) -> Result<()> {
        let query = self.0.sql.dead_letter_resolve.query().bind(*app.as_uuid()).bind(*id.as_uuid());
        self.close_letter(query.bind(resolution.as_str())).await
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let query = self.0.sql.dead_letters_forget.query().bind(Time(before)).bind(count(limit));
        let gone = self.0.lanes.acquire().await?.written(query).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }

    fn notices(&self) -> watch::Receiver<u64> {
        self.0.notices.outbox.subscribe()
    }

    fn stored(&self) -> watch::Receiver<u64> {
        self.0.notices.stored.subscribe()
    }

    fn announce(&self) {
        self.0.notices.announced.notify_one();
    }
}

impl PostgresOutbox {
    async fn close_letter(&self, query: Query<'static, Postgres, PgArguments>) -> Result<()> {
        let rows = self.0.lanes.acquire().await?.rows(query).await?;
        let row = rows.first().ok_or(DeadLetterError::NotFound)?;
        let read = || -> sqlx::Result<(bool, bool)> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        match read().map_err(of_database)? {
            (false, _) => Err(DeadLetterError::AlreadyResolved.into()),
            (true, false) => Err(DeadLetterError::TargetGone.into()),
            (true, true) => Ok(()),
        }
    }

    fn source(&self) -> Source {
        Source::Lanes(self.0.lanes.clone())
    }
}

/// A statement that stores a row: $1 to $11.
fn bound(statement: &Statement, row: &OutboxRow) -> Query<'static, Postgres, PgArguments> {
    let query = statement.query().bind(*row.id.as_uuid()).bind(*row.app.as_uuid());
    let query = query.bind(row.kind.as_str()).bind(row.trigger.map(|id| *id.as_uuid()));
    let query = query.bind(*row.script.as_uuid()).bind(row.payload.as_str().to_owned());
    let query = query.bind(i32::try_from(row.trigger_depth).unwrap_or(i32::MAX)).bind(*row.trace.as_uuid());
    let query = query.bind(*row.request.as_uuid()).bind(row.parent.map(|id| *id.as_uuid()));
    query.bind(Time(row.occurred_at))
}

/// Parts of a batch whose events for others are at most a few megabytes, or one settlement.
fn by_weight<'a, 'b>(dead: &'a [&'b Settlement]) -> Vec<&'a [&'b Settlement]> {
    let weight =
        |settlement: &Settlement| settlement.verdict.handlers().first().map_or(0, |row| row.payload.len());
    let (mut parts, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (at, settlement) in dead.iter().enumerate() {
        bytes += weight(settlement);
        if bytes > MAX_TOLD_BYTES && at > begin {
            parts.extend(dead.get(begin..at));
            (begin, bytes) = (at, weight(settlement));
        }
    }
    parts.extend(dead.get(begin..).filter(|rest| !rest.is_empty()));
    parts
}

/// Most bytes of events for those who handle dead letters in one statement.
const MAX_TOLD_BYTES: usize = 8 * 1024 * 1024;

/// The events for those who handle dead letters: $6 to $17, each with the letter it tells of.
pub(crate) fn bind_handlers(
    query: Query<'static, Postgres, PgArguments>,
    dead: &[&Settlement],
) -> Query<'static, Postgres, PgArguments> {
    let told: Vec<(Uuid, &OutboxRow)> = dead
        .iter()
        .flat_map(|dead| dead.verdict.handlers().iter().map(|row| (*dead.id.as_uuid(), row)))
        .collect();
    fn each<T>(told: &[(Uuid, &OutboxRow)], part: impl Fn(&OutboxRow) -> T) -> Vec<T> {
        told.iter().map(|(_, row)| part(row)).collect()
    }
    // Those who are told of one letter are told the same: once in the message is enough.
    let mut payloads: Vec<&str> = Vec::new();
    let numbers = told.iter().map(|(_, row)| {
        if payloads.last() != Some(&row.payload.as_str()) {
            payloads.push(row.payload.as_str());
        }
        i32::try_from(payloads.len()).unwrap_or(i32::MAX)
    });
    let numbers: Vec<i32> = numbers.collect();
    let payloads: Vec<String> = payloads.into_iter().map(str::to_owned).collect();
    let query = query.bind(told.iter().map(|(letter, _)| *letter).collect::<Vec<Uuid>>());
    let query = query.bind(each(&told, |row| *row.id.as_uuid()));
    let query = query.bind(each(&told, |row| row.kind.as_str()));
    let query = query.bind(each(&told, |row| row.trigger.map(|id| *id.as_uuid())));
    let query = query.bind(each(&told, |row| *row.script.as_uuid()));
    let query = query.bind(numbers);
    let query = query.bind(each(&told, |row| i32::try_from(row.trigger_depth).unwrap_or(i32::MAX)));
    let query = query.bind(each(&told, |row| *row.trace.as_uuid()));
    let query = query.bind(each(&told, |row| *row.request.as_uuid()));
    let query = query.bind(each(&told, |row| row.parent.map(|id| *id.as_uuid())));
    query.bind(each(&told, |row| Time(row.occurred_at))).bind(payloads)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).min(MAX_MICROS)
}

/// Longer waits would name times that the database does not know.
const MAX_MICROS: i64 = 1_000 * 366 * 24 * 3_600 * 1_000_000;

/// The rows of a claim, in the order in which they were due: the database answers them in any.
fn claimed(rows: Vec<PgRow>) -> Result<Vec<Claimed>> {
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let read = || -> sqlx::Result<(i32, i64, Time, bool)> {
            let at = ROW_COLUMNS;
            Ok((row.try_get(at)?, row.try_get(at + 1)?, row.try_get(at + 2)?, row.try_get(at + 3)?))
        };
        let (attempt, claim, run_at, replayed) = read().map_err(of_database)?;
        let (attempt, claim) = (attempt.unsigned_abs(), claim.unsigned_abs());
        claimed.push((run_at.0, Claimed { row: row_of(&row)?, attempt, claim, replayed }));
    }
    claimed.sort_by_key(|(run_at, claimed)| (*run_at, claimed.row.id));
    Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
}

fn row_of(row: &PgRow) -> Result<OutboxRow> {
    let read = || -> sqlx::Result<OutboxRow> {
        Ok(OutboxRow {
            id: EventId::from_uuid(row.try_get(0)?),
            app: AppId::from_uuid(row.try_get(1)?),
            kind: EventKind::from_word(row.try_get(2)?),
            trigger: row.try_get::<Option<Uuid>, _>(3)?.map(TriggerId::from_uuid),
            script: ScriptId::from_uuid(row.try_get(4)?),
            payload: Json::from_canonical(row.try_get::<String, _>(5)?),
            trigger_depth: row.try_get::<i32, _>(6)?.unsigned_abs(),
            trace: TraceId::from_uuid(row.try_get(7)?),
            request: RequestId::from_uuid(row.try_get(8)?),
            parent: row.try_get::<Option<Uuid>, _>(9)?.map(ExecutionId::from_uuid),
            occurred_at: row.try_get::<Time, _>(10)?.0,
        })
    };
    read().map_err(of_database)
}

fn letter_of(row: &PgRow) -> Result<DeadLetter> {
    let read = || -> sqlx::Result<_> {
        let at = ROW_COLUMNS;
        let (attempts, reason): (i32, String) = (row.try_get(at)?, row.try_get(at + 1)?);
        let (error, died_at): (String, Time) = (row.try_get(at + 2)?, row.try_get(at + 3)?);
        let closed: (Option<String>, Option<Time>) = (row.try_get(at + 4)?, row.try_get(at + 5)?);
        Ok((attempts, reason, error, died_at, closed))
    };
    let (attempts, reason, error, died_at, closed) = read().map_err(of_database)?;
    let unknown =
        |what: &str, word: &str| corrupt("dead letter", Error::internal(format!("unknown {what} {word:?}")));
    let reason = DeadLetterReason::from_word(&reason).ok_or_else(|| unknown("reason", &reason))?;
    let letter = DeadLetter::new(row_of(row)?, attempts.unsigned_abs(), reason, error, died_at.0);
    match closed {
        (Some(word), Some(at)) => {
            let resolution = Resolution::from_word(&word).ok_or_else(|| unknown("resolution", &word))?;
            Ok(letter.resolved(resolution, at.0))
        }
        _ => Ok(letter),
    }
}
