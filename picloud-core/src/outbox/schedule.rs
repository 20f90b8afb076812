//! The scheduler: fires triggers by the clock.
//!
//! Every process that handles events has one. For each scheduled time all of them ask the outbox to store the event, and
//! one is first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;

use super::{EventKind, Outbox, OutboxRow};
use crate::app::Apps;
use crate::trigger::{CronTrigger, Missed, Schedule, TriggerKind, TriggerRecord};
use crate::{AppId, Clock, EventId, Json, RequestId, Result, Timestamp, TraceId, TriggerId};

/// How long to wait at most before looking again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Of a schedule that is behind, this many times are made up for, one by one; the rest as if no process had been there.
const MOST_BEHIND: usize = 1_000;

pub(crate) struct Scheduler {
    outbox: Arc<dyn Outbox>,
    apps: Arc<Apps>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which state of the apps this is of; `None` before the first look.
    seen: Option<u64>,
    scheduled: HashMap<TriggerId, Scheduled>,
    /// By the next time. What is no longer so in `scheduled` is passed over.
    next: BinaryHeap<Reverse<(Timestamp, TriggerId)>>,
}

struct Scheduled {
    app: AppId,
    trigger: Arc<TriggerRecord>,
    cron: CronTrigger,
    schedule: Schedule,
    next: Timestamp,
}

/// The payload of a `cron` event.
#[derive(Serialize)]
struct CronEvent<'a> {
    schedule: &'a str,
    timezone: &'a str,
    scheduled_for: Timestamp,
    fired_at: Timestamp,
}

impl Scheduler {
    pub(crate) fn new(outbox: Arc<dyn Outbox>, apps: Arc<Apps>, clock: Arc<dyn Clock>) -> Self {
        Scheduler { outbox, apps, clock, state: Mutex::default() }
    }

    /// Fires what is due; answers how long nothing will be.
    ///
    /// # Errors
    /// Those of the outbox: what was not fired is due still.
    pub(crate) async fn tick(&self) -> Result<Duration> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let changes = *self.apps.changes().borrow();
        if state.seen != Some(changes) {
            self.look(&mut state, now);
            state.seen = Some(changes);
        }
        while let Some(Reverse((at, id))) = state.next.peek().copied() {
            if at > now {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                return Ok(wait.min(LONGEST_WAIT));
            }
            if let Some(scheduled) = state.scheduled.get(&id).filter(|scheduled| scheduled.next == at) {
                let next = self.fire_until(scheduled, now).await?;
                match (next, state.scheduled.get_mut(&id)) {
                    (Some(next), Some(scheduled)) => {
                        scheduled.next = next;
                        state.next.push(Reverse((next, id)));
                    }
                    _ => drop(state.scheduled.remove(&id)),
                }
            }
            // Nothing that was pushed meanwhile is earlier.
            state.next.pop();
        }
        Ok(LONGEST_WAIT)
    }

    /// Reads the schedules of the apps as they are now.
    fn look(&self, state: &mut State, now: Timestamp) {
        let is_first = state.seen.is_none();
        let mut before = std::mem::take(&mut state.scheduled);
        for app in self.apps.all() {
            for trigger in app.triggers().filter(|trigger| trigger.enabled) {
                let TriggerKind::Cron(cron) = &trigger.kind else { continue };
                let kept = before.remove(&trigger.id).filter(|known| known.cron == *cron);
                let scheduled = match kept {
                    Some(known) => Scheduled { trigger: trigger.clone(), ..known },
                    None => {
                        let Some(schedule) = read(cron, trigger) else { continue };
                        let missed = schedule.last_until(now).filter(|last| *last > trigger.created_at);
                        let missed = missed.filter(|_| is_first && cron.missed == Missed::Once);
                        let Some(next) = missed.or_else(|| schedule.next_after(now)) else { continue };
                        let (app, cron) = (app.record.id, cron.clone());
                        Scheduled { app, trigger: trigger.clone(), cron, schedule, next }
                    }
                };
                state.scheduled.insert(trigger.id, scheduled);
            }
        }
        let next = state.scheduled.iter().map(|(id, scheduled)| Reverse((scheduled.next, *id)));
        state.next = next.collect();
    }

    /// Fires for every time up to now; answers the next one.
    async fn fire_until(&self, scheduled: &Scheduled, now: Timestamp) -> Result<Option<Timestamp>> {
        let mut at = scheduled.next;
        let mut fired = 0;
        loop {
            self.fire(scheduled, at, now).await?;
            fired += 1;
            let next = match scheduled.schedule.next_after(at) {
                Some(next) if next <= now && fired >= MOST_BEHIND => scheduled.schedule.last_until(now),
                next => next,
            };
            match next {
                Some(next) if next <= now && fired <= MOST_BEHIND => at = next,
                Some(next) if next <= now => return Ok(scheduled.schedule.next_after(now)),
                next => return Ok(next),
            }
        }
    }

    async fn fire(&self, scheduled: &Scheduled, scheduled_for: Timestamp, now: Timestamp) -> Result<()> {
        let CronTrigger { schedule, timezone, .. } = &scheduled.cron;
        let payload = Json::from_value(&CronEvent { schedule, timezone, scheduled_for, fired_at: now })?;
        let request = RequestId::new();
        let row = OutboxRow {
            id: EventId::new(),
            app: scheduled.app,
            kind: EventKind::Cron,
            trigger: Some(scheduled.trigger.id),
            script: scheduled.trigger.script,
            payload,
            trigger_depth: 1,
            trace: TraceId::from_uuid(*request.as_uuid()),
            request,
            parent: None,
            occurred_at: scheduled_for,
        };
        self.outbox.fire(&row, scheduled_for).await.map(drop)
    }
}

/// The schedule of a stored trigger. It was checked when it was stored; a zone may be unknown here all the same.
fn read(cron: &CronTrigger, trigger: &TriggerRecord) -> Option<Schedule> {
    Schedule::parse(cron)
        .inspect_err(|error| tracing::error!(%error, trigger = %trigger.id, "a trigger does not fire: its schedule cannot be read"))
        .ok()
}
