//! Dead letters: listed in pages, sent again, closed.

use std::time::Duration;

use super::settle::dead;
use super::{Events, assert_noticed};
use crate::catalog::CatalogChange;
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::{
    Claimed, DeadLetter, DeadLetterListOptions, DeadLetterReason, EventKind, OutboxRow, Resolution, Revision,
    Verdict, WorkerId,
};
use crate::page::Cursor;
use crate::{Error, EventId, Result, ScriptId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["outbox":
        dead_letters_are_walked_page_by_page,
        a_cursor_of_another_list_of_letters_is_refused,
        open_letters_are_listed_by_themselves,
        open_letters_are_counted,
        one_letter_is_found_by_its_id,
        a_letter_of_another_app_is_not_found,
        a_letter_that_is_resolved_tells_how,
        a_letter_is_resolved_once,
        a_replayed_event_is_due_again_as_it_was,
        a_replayed_letter_is_closed,
        a_letter_is_replayed_once,
        a_replayed_event_is_noticed,
        a_replayed_event_is_fenced_against_its_past,
        a_replayed_event_that_is_given_up_again_is_an_open_letter,
        an_event_whose_script_is_gone_is_not_replayed,
        an_event_whose_trigger_is_gone_is_not_replayed,
        letters_of_another_app_are_not_replayed,
        a_replayed_event_is_as_deep_as_who_asks,
        letters_of_another_app_are_not_resolved,
        old_letters_are_forgotten_open_or_not,
        letters_are_forgotten_up_to_the_limit,
        events_for_handlers_are_stored_with_a_letter,
        events_for_handlers_are_noticed,
        a_lost_death_stores_no_events_for_handlers,
        a_failed_handler_closes_its_letter,
        a_failed_handler_leaves_a_closed_letter_as_it_is,
        a_failed_handler_closes_no_letter_of_another_app,
    ]
}

/// An app with a script.
async fn with_handler(world: World) -> Result<(Events, ScriptId)> {
    let events = Events::new(world).await?;
    let script = crate::catalog::suite::script(&events.world, "handler")?;
    let id = script.id;
    let changes = [CatalogChange::PutScript(script)];
    events.world.backend().catalog().apply(events.app, &changes, Revision(0)).await?;
    Ok((events, id))
}

/// Events of a script that is there, given up.
async fn with_letters(world: World, count: usize) -> Result<(Events, Vec<EventId>)> {
    let (events, id) = with_handler(world).await?;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(give_up(&events, OutboxRow { trigger: None, script: id, ..events.row() }).await?);
    }
    Ok((events, ids))
}

/// Stores a row and gives it up.
async fn give_up(events: &Events, row: OutboxRow) -> Result<EventId> {
    events.outbox.enqueue(&row).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, dead("no luck")).await?);
    Ok(row.id)
}

async fn listed(events: &Events, options: &DeadLetterListOptions) -> Result<Vec<EventId>> {
    let page = events.outbox.dead_letters(events.app, options).await?;
    Ok(page.items.iter().map(|letter| letter.row.id).collect())
}

fn open() -> DeadLetterListOptions {
    DeadLetterListOptions { unresolved: true, ..DeadLetterListOptions::default() }
}

async fn letter(events: &Events, id: EventId) -> Result<DeadLetter> {
    let letter = events.outbox.dead_letter(events.app, id).await?;
    letter.ok_or_else(|| Error::internal("the letter is not there"))
}

/// Fails unless the answer is this refusal.
fn assert_refused<T: std::fmt::Debug>(answer: Result<T>, code: &str) {
    assert_eq!(answer.as_ref().map_err(|error| error.code()).err(), Some(code), "{answer:?}");
}

async fn dead_letters_are_walked_page_by_page(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 7).await?;
    let mut walked = Vec::new();
    let mut options = DeadLetterListOptions { limit: Some(3), ..DeadLetterListOptions::default() };
    loop {
        let page = events.outbox.dead_letters(events.app, &options).await?;
        assert!(page.items.len() <= 3 && walked.len() <= 7, "{walked:?}");
        walked.extend(page.items.iter().map(|letter| letter.row.id));
        options.cursor = page.cursor;
        if options.cursor.is_none() {
            break;
        }
    }
    walked.reverse();
    // Letters of one moment are in the order of their ids, which grow.
    assert_eq!(walked, ids);
    Ok(())
}

async fn a_cursor_of_another_list_of_letters_is_refused(world: World) -> Result<()> {
    let (events, _) = with_letters(world, 3).await?;
    let mut options = DeadLetterListOptions { limit: Some(1), ..DeadLetterListOptions::default() };
    let cursor = events.outbox.dead_letters(events.app, &options).await?.cursor;
    assert!(cursor.is_some(), "more follow");
    (options.unresolved, options.cursor) = (true, cursor);
    assert_refused(events.outbox.dead_letters(events.app, &options).await, "dead_letters.invalid_cursor");
    options.cursor = Some(Cursor::new("beef"));
    assert_refused(events.outbox.dead_letters(events.app, &options).await, "dead_letters.invalid_cursor");
    Ok(())
}

async fn open_letters_are_listed_by_themselves(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 3).await?;
    events.outbox.resolve(events.app, ids[1], Resolution::Ignored).await?;
    assert_eq!(listed(&events, &open()).await?, [ids[2], ids[0]]);
    assert_eq!(listed(&events, &DeadLetterListOptions::default()).await?.len(), 3);
    Ok(())
}

async fn open_letters_are_counted(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 3).await?;
    events.outbox.resolve(events.app, ids[1], Resolution::Ignored).await?;
    assert_eq!(events.outbox.open_dead_letters(events.app).await?, 2);
    let other = events.world.app().await?;
    assert_eq!(events.outbox.open_dead_letters(other).await?, 0);
    Ok(())
}

async fn one_letter_is_found_by_its_id(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 2).await?;
    assert_eq!(letter(&events, ids[0]).await?.row.id, ids[0]);
    assert_eq!(events.outbox.dead_letter(events.app, EventId::new()).await?, None);
    Ok(())
}

async fn a_letter_of_another_app_is_not_found(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let other = events.world.app().await?;
    assert_eq!(events.outbox.dead_letter(other, ids[0]).await?, None);
    Ok(())
}

async fn a_letter_that_is_resolved_tells_how(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 2).await?;
    let before = letter(&events, ids[0]).await?;
    assert_eq!((before.resolution, before.resolved_at), (None, None));
    for (id, resolution) in ids.into_iter().zip([Resolution::Ignored, Resolution::HandledByScript]) {
        events.outbox.resolve(events.app, id, resolution).await?;
        let letter = letter(&events, id).await?;
        assert_eq!(letter.resolution, Some(resolution));
        let age = letter.resolved_at.map(|at| events.world.now().duration_since(at).abs().as_secs());
        assert!(age.is_some_and(|age| age < 60), "resolved {age:?} seconds ago");
    }
    Ok(())
}

async fn a_letter_is_resolved_once(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    events.outbox.resolve(events.app, ids[0], Resolution::Ignored).await?;
    let again = events.outbox.resolve(events.app, ids[0], Resolution::HandledByScript).await;
    assert_refused(again, "dead_letters.already_resolved");
    assert_refused(events.outbox.replay(events.app, ids[0], 0).await, "dead_letters.already_resolved");
    assert_eq!(letter(&events, ids[0]).await?.resolution, Some(Resolution::Ignored));
    let unknown = events.outbox.resolve(events.app, EventId::new(), Resolution::Ignored).await;
    assert_refused(unknown, "dead_letters.not_found");
    Ok(())
}

async fn a_replayed_event_is_due_again_as_it_was(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let row = letter(&events, ids[0]).await?.row;
    events.outbox.replay(events.app, ids[0], 0).await?;
    let worker = events.worker().await?;
    let claimed = events.claim(worker).await?;
    let told: Vec<_> =
        claimed.iter().map(|claimed| (&claimed.row, claimed.attempt, claimed.replayed)).collect();
    assert_eq!(told, [(&row, 1, true)]);
    Ok(())
}

async fn a_replayed_letter_is_closed(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    events.outbox.replay(events.app, ids[0], 0).await?;
    assert_eq!(letter(&events, ids[0]).await?.resolution, Some(Resolution::Replayed));
    assert_eq!(events.outbox.open_dead_letters(events.app).await?, 0);
    Ok(())
}

async fn a_letter_is_replayed_once(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let answers = together((0..8).map(|_| {
        let (outbox, app, id) = (events.outbox.clone(), events.app, ids[0]);
        async move { Ok(outbox.replay(app, id, 0).await.is_ok()) }
    }))
    .await?;
    assert_eq!(answers.iter().filter(|is_done| **is_done).count(), 1, "{answers:?}");
    assert_eq!(events.waiting().await?, ids);
    assert_refused(events.outbox.replay(events.app, ids[0], 0).await, "dead_letters.already_resolved");
    assert_refused(events.outbox.replay(events.app, EventId::new(), 0).await, "dead_letters.not_found");
    Ok(())
}

async fn a_replayed_event_is_noticed(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let mut notices = events.outbox.notices();
    notices.mark_unchanged();
    events.outbox.replay(events.app, ids[0], 0).await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn a_replayed_event_is_fenced_against_its_past(world: World) -> Result<()> {
    let (events, handler) = with_handler(world).await?;
    let row = OutboxRow { trigger: None, script: handler, ..events.row() };
    events.outbox.enqueue(&row).await?;
    let worker = events.worker().await?;
    let first = events.claim_one(worker).await?;
    assert!(events.settle(worker, &first, dead("no luck")).await?);
    events.outbox.replay(events.app, row.id, 0).await?;
    let second = events.claim_one(worker).await?;
    assert!(!events.settle(worker, &first, Verdict::Done).await?, "settled by its claim from before");
    assert!(events.settle(worker, &second, Verdict::Done).await?);
    Ok(())
}

async fn a_replayed_event_that_is_given_up_again_is_an_open_letter(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    events.outbox.replay(events.app, ids[0], 0).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, dead("again")).await?);
    let again = letter(&events, ids[0]).await?;
    assert_eq!((again.resolution, again.resolved_at, again.error.as_str()), (None, None, "again"));
    assert_eq!(listed(&events, &open()).await?, ids);
    Ok(())
}

async fn an_event_whose_script_is_gone_is_not_replayed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let id = give_up(&events, OutboxRow { trigger: None, ..events.row() }).await?;
    assert_target_gone(&events, id).await
}

async fn an_event_whose_trigger_is_gone_is_not_replayed(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let script = letter(&events, ids[0]).await?.row.script;
    let id = give_up(&events, OutboxRow { script, ..events.row() }).await?;
    assert_target_gone(&events, id).await
}

async fn assert_target_gone(events: &Events, id: EventId) -> Result<()> {
    assert_refused(events.outbox.replay(events.app, id, 0).await, "dead_letters.target_gone");
    assert_eq!(events.waiting().await?, []);
    assert_eq!(letter(events, id).await?.resolution, None);
    Ok(())
}

async fn letters_of_another_app_are_not_replayed(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let other = events.world.app().await?;
    assert_refused(events.outbox.replay(other, ids[0], 0).await, "dead_letters.not_found");
    assert_eq!(events.waiting().await?, []);
    Ok(())
}

async fn letters_of_another_app_are_not_resolved(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let other = events.world.app().await?;
    let answer = events.outbox.resolve(other, ids[0], Resolution::Ignored).await;
    assert_refused(answer, "dead_letters.not_found");
    assert_eq!(letter(&events, ids[0]).await?.resolution, None);
    Ok(())
}

async fn old_letters_are_forgotten_open_or_not(world: World) -> Result<()> {
    let (events, mut ids) = with_letters(world, 2).await?;
    events.outbox.resolve(events.app, ids[0], Resolution::Ignored).await?;
    events.world.pass_time(Duration::from_millis(50)).await;
    let between = events.world.now();
    let script = letter(&events, ids[0]).await?.row.script;
    events.world.pass_time(Duration::from_millis(50)).await;
    ids.push(give_up(&events, OutboxRow { trigger: None, script, ..events.row() }).await?);
    assert_eq!(events.outbox.forget_dead_letters(between, 10).await?, 2);
    assert_eq!(listed(&events, &DeadLetterListOptions::default()).await?, [ids[2]]);
    assert_eq!(events.outbox.forget_dead_letters(between, 10).await?, 0);
    Ok(())
}

async fn letters_are_forgotten_up_to_the_limit(world: World) -> Result<()> {
    let (events, _) = with_letters(world, 5).await?;
    events.world.pass_time(Duration::from_millis(50)).await;
    let now = events.world.now();
    assert_eq!(events.outbox.forget_dead_letters(now, 2).await?, 2);
    assert_eq!(events.letters(10).await?.len(), 3);
    Ok(())
}

async fn a_replayed_event_is_as_deep_as_who_asks(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 2).await?;
    // The rows of this suite have the depth 3.
    events.outbox.replay(events.app, ids[0], 7).await?;
    events.outbox.replay(events.app, ids[1], 2).await?;
    let rows = events.outbox.waiting(events.app, 10).await?;
    let depths: Vec<_> = rows.iter().map(|row| (row.id, row.trigger_depth)).collect();
    assert_eq!(depths, [(ids[0], 7), (ids[1], 3)]);
    Ok(())
}

/// The death of an event that these are told of.
fn dead_with(handlers: Vec<OutboxRow>) -> Verdict {
    Verdict::Dead { reason: DeadLetterReason::Failed, error: "no luck".into(), handlers }
}

fn handler(events: &Events) -> OutboxRow {
    OutboxRow { kind: EventKind::DeadLetter, ..events.row() }
}

async fn events_for_handlers_are_stored_with_a_letter(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let worker = events.worker().await?;
    events.store(2).await?;
    let claimed = events.claim(worker).await?;
    let told =
        [vec![handler(&events), OutboxRow { parent: None, ..handler(&events) }], vec![handler(&events)]];
    let settlements: Vec<_> = claimed
        .iter()
        .zip(&told)
        .map(|(claimed, told)| super::settlement(claimed, dead_with(told.clone())))
        .collect();
    assert_eq!(events.outbox.settle(worker, &settlements).await?, []);
    assert_eq!(events.letters(10).await?.len(), 2);
    let mut due: Vec<_> = events.claim(worker).await?.into_iter().map(|claimed| claimed.row).collect();
    let mut wanted = told.concat();
    due.sort_by_key(|row| row.id);
    wanted.sort_by_key(|row| row.id);
    assert_eq!(due, wanted, "due at once, as they were given");
    Ok(())
}

async fn events_for_handlers_are_noticed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let worker = events.worker().await?;
    events.store(1).await?;
    let claimed = events.claim_one(worker).await?;
    let mut notices = events.outbox.notices();
    notices.mark_unchanged();
    events.settle(worker, &claimed, dead_with(vec![handler(&events)])).await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn a_lost_death_stores_no_events_for_handlers(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (worker, other) = (events.worker().await?, events.worker().await?);
    events.store(1).await?;
    let claimed = events.claim_one(worker).await?;
    assert!(!events.settle(other, &claimed, dead_with(vec![handler(&events)])).await?, "not theirs");
    assert_eq!(events.waiting().await?, [claimed.row.id]);
    Ok(())
}

/// A letter, and its handler at work.
async fn with_handled_letter(world: World) -> Result<(Events, EventId, WorkerId, Claimed)> {
    let (events, ids) = with_letters(world, 1).await?;
    let worker = events.worker().await?;
    events.outbox.enqueue(&handler(&events)).await?;
    let claimed = events.claim_one(worker).await?;
    Ok((events, ids[0], worker, claimed))
}

async fn a_failed_handler_closes_its_letter(world: World) -> Result<()> {
    let (events, id, worker, claimed) = with_handled_letter(world).await?;
    assert!(events.settle(worker, &claimed, Verdict::HandlerFailed { letter: id }).await?);
    assert_eq!(events.waiting().await?, [], "it is not tried again");
    let letter = letter(&events, id).await?;
    assert_eq!(letter.resolution, Some(Resolution::HandlerFailed));
    assert!(letter.resolved_at.is_some());
    assert_eq!(events.letters(10).await?.len(), 1, "the handler makes no letter");
    Ok(())
}

async fn a_failed_handler_leaves_a_closed_letter_as_it_is(world: World) -> Result<()> {
    let (events, id, worker, claimed) = with_handled_letter(world).await?;
    events.outbox.resolve(events.app, id, Resolution::HandledByScript).await?;
    assert!(events.settle(worker, &claimed, Verdict::HandlerFailed { letter: id }).await?);
    assert_eq!(events.waiting().await?, []);
    assert_eq!(letter(&events, id).await?.resolution, Some(Resolution::HandledByScript));
    Ok(())
}

async fn a_failed_handler_closes_no_letter_of_another_app(world: World) -> Result<()> {
    let (events, ids) = with_letters(world, 1).await?;
    let other = events.world.app().await?;
    let worker = events.worker().await?;
    events.outbox.enqueue(&OutboxRow { app: other, ..handler(&events) }).await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, Verdict::HandlerFailed { letter: ids[0] }).await?);
    assert_eq!(letter(&events, ids[0]).await?.resolution, None);
    Ok(())
}
