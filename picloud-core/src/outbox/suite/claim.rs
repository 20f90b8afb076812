//! Each due row goes to exactly one worker.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Events, HOUR, LEASE, ids, release_now, retry_now};
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::{Except, Verdict, WorkerId};
use crate::{AppId, Result, ScriptId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["outbox":
        a_claim_takes_every_due_row_once,
        a_claim_takes_rows_in_the_order_in_which_they_were_due,
        a_claim_takes_no_more_than_its_limit,
        a_claim_takes_rows_of_every_app,
        a_claim_passes_over_the_apps_and_scripts_that_it_is_told,
        rows_go_to_one_of_many_claiming_workers,
        a_claimed_row_is_not_claimed_again,
        the_first_claim_is_the_first_attempt,
        a_row_is_not_claimed_before_it_is_due,
        a_row_is_claimed_when_it_is_due,
        a_worker_that_is_not_registered_claims_nothing,
        claim_numbers_of_a_row_never_repeat,
        claim_numbers_never_repeat_across_workers,
        a_retired_worker_claims_nothing,
        a_released_row_waits_as_long_as_it_was_told,
    ]
}

async fn a_claim_takes_every_due_row_once(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let stored = events.store(5).await?;
    let worker = events.worker().await?;
    assert_eq!(ids(&events.claim(worker).await?), stored);
    assert_eq!(events.claim(worker).await?, []);
    Ok(())
}

async fn a_claim_takes_rows_in_the_order_in_which_they_were_due(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let worker = events.worker().await?;
    let first = events.store(1).await?;
    let claimed = events.claim_one(worker).await?;
    let second = events.store(1).await?;
    events.world.pass_time(Duration::from_millis(20)).await;
    // The first row waited for its turn again, and is due after the second now.
    events.settle(worker, &claimed, retry_now()).await?;
    assert_eq!(ids(&events.claim(worker).await?), [second, first].concat());
    Ok(())
}

async fn a_claim_takes_no_more_than_its_limit(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(5).await?;
    let worker = events.worker().await?;
    assert_eq!(events.outbox.claim(worker, 2).await?.len(), 2);
    assert_eq!(events.outbox.claim(worker, 0).await?.len(), 0);
    assert_eq!(events.outbox.claim(worker, 100).await?.len(), 3);
    Ok(())
}

async fn a_claim_takes_rows_of_every_app(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let other = events.world.app().await?;
    events.outbox.enqueue(&super::row(other, events.world.now())).await?;
    let worker = events.worker().await?;
    let apps: BTreeSet<_> = events.claim(worker).await?.into_iter().map(|claimed| claimed.row.app).collect();
    assert_eq!(apps, BTreeSet::from([events.app, other]));
    Ok(())
}

async fn a_claim_passes_over_the_apps_and_scripts_that_it_is_told(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (one, two) = (events.row(), events.row());
    let other = super::row(events.world.app().await?, events.world.now());
    for row in [&one, &two, &other] {
        events.outbox.enqueue(row).await?;
    }
    let worker = events.worker().await?;
    let unknown = Except { apps: vec![AppId::new()], scripts: vec![one.script, ScriptId::new()] };
    // Those that are passed over do not count.
    assert_eq!(ids(&events.outbox.claim_except(worker, 1, &unknown).await?), [two.id]);
    let app = Except { apps: vec![events.app], ..Except::default() };
    assert_eq!(ids(&events.outbox.claim_except(worker, 100, &app).await?), [other.id]);
    assert_eq!(events.outbox.claim_except(worker, 100, &app).await?, []);
    assert_eq!(ids(&events.claim(worker).await?), [one.id]);
    Ok(())
}

async fn rows_go_to_one_of_many_claiming_workers(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let stored: BTreeSet<_> = events.store(60).await?.into_iter().collect();
    let mut claims = Vec::new();
    for _ in 0..6 {
        let (outbox, worker) = (events.outbox.clone(), events.worker().await?);
        claims.push(async move {
            let mut claimed = Vec::new();
            for _ in 0..8 {
                claimed.extend(ids(&outbox.claim(worker, 5).await?));
            }
            Ok(claimed)
        });
    }
    let claimed = together(claims).await?.concat();
    assert_eq!(claimed.len(), stored.len(), "rows were claimed twice or not at all");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), stored);
    Ok(())
}

async fn a_claimed_row_is_not_claimed_again(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let (one, two) = (events.worker().await?, events.worker().await?);
    events.claim_one(one).await?;
    assert_eq!(events.claim(two).await?, []);
    Ok(())
}

async fn the_first_claim_is_the_first_attempt(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    assert_eq!(events.claim_one(worker).await?.attempt, 1);
    Ok(())
}

async fn a_row_is_not_claimed_before_it_is_due(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    for verdict in [Verdict::Release { after: Duration::ZERO }, Verdict::Retry { after: HOUR }] {
        let claimed = events.claim_one(worker).await?;
        events.settle(worker, &claimed, verdict).await?;
    }
    assert_eq!(events.claim(worker).await?, []);
    Ok(())
}

async fn a_row_is_claimed_when_it_is_due(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, Verdict::Retry { after: Duration::from_millis(1_000) }).await?;
    assert_eq!(events.claim(worker).await?, []);
    events.world.pass_time(Duration::from_millis(1_200)).await;
    assert_eq!(events.claim(worker).await?.len(), 1);
    Ok(())
}

async fn a_worker_that_is_not_registered_claims_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    assert_eq!(events.claim(WorkerId::new()).await?, []);
    Ok(())
}

async fn claim_numbers_of_a_row_never_repeat(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let mut numbers = BTreeSet::new();
    for verdict in [retry_now(), release_now(), release_now(), retry_now()] {
        let claimed = events.claim_one(worker).await?;
        assert!(numbers.insert(claimed.claim), "claim {} came before: {numbers:?}", claimed.claim);
        events.settle(worker, &claimed, verdict).await?;
    }
    Ok(())
}

async fn claim_numbers_never_repeat_across_workers(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (_, first) = events.dead_worker().await?;
    let heir = events.worker().await?;
    let mut numbers = vec![first.claim];
    numbers.extend(events.outbox.take_over(heir, LEASE, 100).await?.iter().map(|taken| taken.claim));
    events.outbox.retire(heir).await?;
    numbers.push(events.claim_one(events.worker().await?).await?.claim);
    let distinct: BTreeSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), 3, "claimed, taken over, and claimed after a retirement: {numbers:?}");
    Ok(())
}

async fn a_retired_worker_claims_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    events.outbox.retire(worker).await?;
    assert_eq!(events.claim(worker).await?, []);
    Ok(())
}

async fn a_released_row_waits_as_long_as_it_was_told(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, Verdict::Release { after: HOUR }).await?;
    assert_eq!((events.claim(worker).await?, events.waiting().await?), (vec![], vec![claimed.row.id]));
    Ok(())
}
