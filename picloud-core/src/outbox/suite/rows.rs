//! What is stored, who sees it, who is told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Events, HOUR, assert_noticed, ids, row};
use crate::catalog::CatalogChange;
use crate::conformance::{Case, Collection, World, case_list, together};
use crate::kv::MAX_VALUE_BYTES;
use crate::outbox::{EventKind, Fanout, FanoutRow, OutboxRow, Revision, Verdict};
use crate::{AppId, CallCx, CxInner, EventId, ExecutionId, Json, Result, ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["outbox":
        a_trigger_fires_once_for_a_time,
        a_trigger_fires_for_no_time_before_its_last,
        a_trigger_that_is_gone_does_not_fire,
        a_row_that_fired_is_as_it_was_given_and_noticed,
        a_row_reads_back_as_it_was_stored,
        a_row_of_an_async_request_reads_back,
        the_largest_and_deepest_payloads_read_back,
        a_row_for_an_app_that_does_not_exist_is_refused,
        rows_are_listed_oldest_first_up_to_the_limit,
        rows_with_a_worker_are_listed_too,
        rows_of_another_app_are_not_listed,
        dead_letters_of_another_app_are_not_listed,
        a_stored_row_is_noticed,
        a_stored_row_is_known_to_be_stored_here,
        a_write_with_rows_is_noticed,
        a_write_makes_rows_with_where_it_came_from,
        nothing_waiting_has_no_next_time,
        a_due_row_is_due_now,
        a_row_that_waits_tells_for_how_long,
        the_next_time_is_that_of_the_row_that_is_due_first,
        rows_of_a_write_are_due_at_once,
        rows_of_a_write_by_the_host_have_no_parent,
        rows_of_a_write_tell_when_it_happened,
    ]
}

async fn a_row_reads_back_as_it_was_stored(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let row = events.row();
    events.outbox.enqueue(&row).await?;
    assert_eq!(events.outbox.waiting(events.app, 10).await?, std::slice::from_ref(&row));
    let worker = events.worker().await?;
    assert_eq!(events.claim_one(worker).await?.row, row);
    Ok(())
}

async fn a_row_of_an_async_request_reads_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let row = crate::outbox::OutboxRow { kind: EventKind::Http, trigger: None, parent: None, ..events.row() };
    events.outbox.enqueue(&row).await?;
    let worker = events.worker().await?;
    assert_eq!(events.claim_one(worker).await?.row, row);
    Ok(())
}

async fn the_largest_and_deepest_payloads_read_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let deepest = format!("{}{}", "[".repeat(Json::MAX_DEPTH + 1), "]".repeat(Json::MAX_DEPTH + 1));
    let largest = format!("[{0:?},{0:?}]", "x".repeat(MAX_VALUE_BYTES - 2));
    for payload in [deepest, largest] {
        let row = crate::outbox::OutboxRow { payload: Json::from_canonical(payload), ..events.row() };
        events.outbox.enqueue(&row).await?;
        let worker = events.worker().await?;
        let claimed = events.claim_one(worker).await?;
        assert!(claimed.row.payload == row.payload, "a payload of {} bytes changed", row.payload.len());
        events.settle(worker, &claimed, Verdict::Done).await?;
    }
    Ok(())
}

async fn a_row_for_an_app_that_does_not_exist_is_refused(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let answer = events.outbox.enqueue(&row(AppId::new(), events.world.now())).await;
    assert_eq!(answer.map_err(|error| error.code().to_owned()), Err("app.not_found".to_owned()));
    let worker = events.worker().await?;
    assert_eq!(events.claim(worker).await?, []);
    Ok(())
}

async fn rows_are_listed_oldest_first_up_to_the_limit(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let ids = events.store(3).await?;
    assert_eq!(events.waiting().await?, ids);
    let first: Vec<_> = events.outbox.waiting(events.app, 2).await?.into_iter().map(|row| row.id).collect();
    assert_eq!(first, ids.get(..2).unwrap_or_default());
    Ok(())
}

async fn rows_with_a_worker_are_listed_too(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let ids = events.store(1).await?;
    let worker = events.worker().await?;
    events.claim_one(worker).await?;
    assert_eq!(events.waiting().await?, ids);
    Ok(())
}

async fn rows_of_another_app_are_not_listed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let other = events.world.app().await?;
    assert_eq!(events.outbox.waiting(other, 10).await?, []);
    Ok(())
}

async fn dead_letters_of_another_app_are_not_listed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, super::settle::dead("no")).await?;
    let other = events.world.app().await?;
    assert_eq!(events.letters_of(other, 10).await?, []);
    assert_eq!(events.letters(10).await?.len(), 1);
    Ok(())
}

async fn a_stored_row_is_noticed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let mut notices = events.outbox.notices();
    notices.mark_unchanged();
    events.store(1).await?;
    assert_noticed(notices).await;
    Ok(())
}

/// One row for an insert.
fn for_inserts() -> Fanout {
    let row = || FanoutRow { op: "insert", trigger: TriggerId::new(), script: ScriptId::new() };
    Fanout { revision: Some(Revision(0)), rows: vec![row(), row()] }
}

async fn a_stored_row_is_known_to_be_stored_here(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let mut stored = events.outbox.stored();
    stored.mark_unchanged();
    events.store(1).await?;
    assert_noticed(stored).await;
    Ok(())
}

async fn a_write_with_rows_is_noticed(world: World) -> Result<()> {
    let things = world.collection().await?.with_fanout(&for_inserts());
    let mut notices = world.backend().outbox().notices();
    notices.mark_unchanged();
    things.set("key", "1").await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn a_write_makes_rows_with_where_it_came_from(world: World) -> Result<()> {
    let app = world.app().await?;
    let mut inner = CxInner::new(app);
    inner.clock = world.backend().clock();
    inner.trigger_depth = 2;
    inner.execution = Some(ExecutionId::new());
    let cx = CallCx::from(inner);
    let fanout = for_inserts();
    let things = Collection::new(world.backend().kv(), cx.clone(), "things")?.with_fanout(&fanout);
    things.set("key", "1").await?;
    let rows = world.backend().outbox().waiting(app, 10).await?;
    assert_eq!(
        rows.iter().map(|row| row.id).collect::<BTreeSet<_>>().len(),
        2,
        "each row has an id of its own"
    );
    for row in rows {
        let known =
            fanout.rows.iter().any(|known| (Some(known.trigger), known.script) == (row.trigger, row.script));
        assert!(known, "a row for nobody: {row:?}");
        assert_eq!((row.kind, row.app, row.trigger_depth), (EventKind::Kv, app, 3));
        assert_eq!((row.trace, row.request, row.parent), (cx.trace(), cx.request(), cx.execution()));
    }
    Ok(())
}

async fn nothing_waiting_has_no_next_time(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    events.claim_one(worker).await?;
    assert_eq!(events.outbox.next_due().await?, None);
    Ok(())
}

async fn a_due_row_is_due_now(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    assert_eq!(events.outbox.next_due().await?, Some(Duration::ZERO));
    Ok(())
}

async fn a_row_that_waits_tells_for_how_long(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, Verdict::Retry { after: HOUR }).await?;
    let due = events.outbox.next_due().await?.unwrap_or_default();
    assert!(due <= HOUR && due > HOUR - Duration::from_secs(60), "due in {due:?}");
    Ok(())
}

async fn the_next_time_is_that_of_the_row_that_is_due_first(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(2).await?;
    let worker = events.worker().await?;
    let waits = [2 * HOUR, HOUR];
    for (claimed, after) in events.claim(worker).await?.iter().zip(waits) {
        events.settle(worker, claimed, Verdict::Release { after }).await?;
    }
    let due = events.outbox.next_due().await?.unwrap_or_default();
    assert!(due <= HOUR && due > HOUR - Duration::from_secs(60), "due in {due:?}");
    Ok(())
}

/// A write of two rows by the host, in a new app.
async fn written(world: World) -> Result<Events> {
    let events = Events::new(world).await?;
    events.world.collection_of(events.app)?.with_fanout(&for_inserts()).set("key", "1").await?;
    Ok(events)
}

async fn rows_of_a_write_are_due_at_once(world: World) -> Result<()> {
    let events = written(world).await?;
    let worker = events.worker().await?;
    let mut claimed = ids(&events.claim(worker).await?);
    claimed.sort_unstable();
    assert_eq!((claimed.len(), claimed), (2, events.waiting().await?));
    Ok(())
}

async fn rows_of_a_write_by_the_host_have_no_parent(world: World) -> Result<()> {
    let events = written(world).await?;
    let rows = events.outbox.waiting(events.app, 10).await?;
    let parents: Vec<_> = rows.iter().map(|row| (row.parent, row.trigger_depth)).collect();
    assert_eq!(parents, [(None, 1), (None, 1)]);
    Ok(())
}

async fn rows_of_a_write_tell_when_it_happened(world: World) -> Result<()> {
    let events = written(world).await?;
    for row in events.outbox.waiting(events.app, 10).await? {
        let age = events.world.now().duration_since(row.occurred_at).abs();
        assert!(age.as_secs() < 60, "it happened {age:?} ago");
    }
    Ok(())
}

/// An app with a trigger, and a row for it.
async fn with_trigger(world: World) -> Result<(Events, OutboxRow)> {
    let events = Events::new(world).await?;
    let script = crate::catalog::suite::script(&events.world, "handler")?;
    let trigger = crate::catalog::suite::triggers::trigger(&events.world, script.id)?;
    let row = OutboxRow { trigger: Some(trigger.id), script: script.id, ..events.row() };
    let changes = [CatalogChange::PutScript(script), CatalogChange::PutTrigger(trigger)];
    events.world.backend().catalog().apply(events.app, &changes, Revision(0)).await?;
    Ok((events, row))
}

fn another(row: &OutboxRow) -> OutboxRow {
    OutboxRow { id: EventId::new(), ..row.clone() }
}

async fn a_trigger_fires_once_for_a_time(world: World) -> Result<()> {
    let (events, row) = with_trigger(world).await?;
    let at = events.world.now();
    let answers = together((0..8).map(|_| {
        let (outbox, row) = (events.outbox.clone(), another(&row));
        async move { outbox.fire(&row, at).await }
    }))
    .await?;
    assert_eq!(answers.iter().filter(|has_fired| **has_fired).count(), 1, "{answers:?}");
    assert_eq!(events.waiting().await?.len(), 1);
    let later = at.checked_add(Duration::from_secs(1)).unwrap_or(at);
    assert!(events.outbox.fire(&another(&row), later).await?, "the next time is another one");
    Ok(())
}

async fn a_trigger_fires_for_no_time_before_its_last(world: World) -> Result<()> {
    let (events, row) = with_trigger(world).await?;
    let at = events.world.now();
    assert!(events.outbox.fire(&row, at).await?);
    let earlier = at.checked_sub(Duration::from_secs(1)).unwrap_or(at);
    assert!(!events.outbox.fire(&another(&row), earlier).await?);
    assert_eq!(events.waiting().await?, [row.id]);
    Ok(())
}

async fn a_trigger_that_is_gone_does_not_fire(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    assert!(!events.outbox.fire(&events.row(), events.world.now()).await?);
    assert_eq!(events.waiting().await?, []);
    Ok(())
}

async fn a_row_that_fired_is_as_it_was_given_and_noticed(world: World) -> Result<()> {
    let (events, row) = with_trigger(world).await?;
    let mut notices = events.outbox.notices();
    notices.mark_unchanged();
    assert!(events.outbox.fire(&row, events.world.now()).await?);
    assert_noticed(notices).await;
    assert_eq!(events.outbox.waiting(events.app, 10).await?, [row]);
    assert_eq!(events.outbox.next_due().await?, Some(Duration::ZERO));
    Ok(())
}
