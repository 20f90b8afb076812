//! Workers that live, die and retire.

use super::{Events, HOUR, LEASE, PAST_LEASE, assert_noticed, ids, settlement};
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::{Verdict, WorkerId};
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["outbox":
        rows_of_a_silent_worker_are_taken_over,
        a_take_over_counts_no_attempt,
        a_take_over_makes_a_new_claim,
        rows_of_a_worker_that_beats_are_not_taken_over,
        a_worker_does_not_take_over_itself,
        a_take_over_takes_no_more_than_its_limit_and_the_rest_later,
        rows_go_to_one_of_many_who_take_over,
        a_worker_that_was_taken_over_is_told_so,
        a_worker_that_was_taken_over_claims_nothing,
        a_worker_that_was_taken_over_settles_nothing,
        what_was_taken_over_can_be_settled,
        rows_of_a_worker_that_retires_are_due_with_the_attempt_given_back,
        a_retired_worker_settles_nothing,
        a_retired_worker_leaves_other_rows_alone,
        rows_of_a_worker_silent_for_less_than_the_lease_are_not_taken_over,
        rows_that_wait_are_not_taken_over,
        a_worker_that_is_not_registered_takes_over_nothing,
        a_worker_that_was_taken_over_takes_over_nothing,
        what_was_taken_over_is_taken_over_again_from_a_silent_heir,
        rows_of_a_worker_that_retires_are_noticed,
        rows_that_a_worker_does_not_know_of_are_given_back,
        rows_of_other_workers_are_not_given_back,
    ]
}

async fn rows_of_a_silent_worker_are_taken_over(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (_, lost) = events.dead_worker().await?;
    let heir = events.worker().await?;
    let taken = events.outbox.take_over(heir, LEASE, 100).await?;
    assert_eq!(ids(&taken), [lost.row.id]);
    assert_eq!(taken.first().map(|taken| &taken.row), Some(&lost.row));
    Ok(())
}

async fn a_take_over_counts_no_attempt(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.dead_worker().await?;
    let heir = events.worker().await?;
    let taken = events.outbox.take_over(heir, LEASE, 100).await?;
    assert_eq!(taken.iter().map(|taken| taken.attempt).collect::<Vec<_>>(), [1]);
    Ok(())
}

async fn a_take_over_makes_a_new_claim(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (_, lost) = events.dead_worker().await?;
    let heir = events.worker().await?;
    let taken = events.outbox.take_over(heir, LEASE, 100).await?;
    assert!(taken.iter().all(|taken| taken.claim != lost.claim), "the claim is {} as before", lost.claim);
    Ok(())
}

async fn rows_of_a_worker_that_beats_are_not_taken_over(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (alive, claimed) = events.dead_worker().await?;
    assert!(events.outbox.beat(alive).await?);
    let heir = events.worker().await?;
    assert_eq!(events.outbox.take_over(heir, LEASE, 100).await?, []);
    assert!(events.settle(alive, &claimed, Verdict::Done).await?);
    Ok(())
}

async fn a_worker_does_not_take_over_itself(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (late, claimed) = events.dead_worker().await?;
    assert_eq!(events.outbox.take_over(late, LEASE, 100).await?, []);
    assert!(events.settle(late, &claimed, Verdict::Done).await?);
    Ok(())
}

async fn a_take_over_takes_no_more_than_its_limit_and_the_rest_later(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(2).await?;
    let silent = events.worker().await?;
    events.claim(silent).await?;
    events.world.pass_time(PAST_LEASE).await;
    let heir = events.worker().await?;
    let first = events.outbox.take_over(heir, LEASE, 1).await?;
    let second = events.outbox.take_over(heir, LEASE, 100).await?;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(ids(&first), ids(&second));
    Ok(())
}

async fn rows_go_to_one_of_many_who_take_over(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(20).await?;
    let dead = events.worker().await?;
    assert_eq!(events.claim(dead).await?.len(), 20);
    events.world.pass_time(PAST_LEASE).await;
    let mut heirs = Vec::new();
    for _ in 0..4 {
        let (outbox, heir) = (events.outbox.clone(), events.worker().await?);
        heirs.push(async move {
            let mut taken = Vec::new();
            for _ in 0..6 {
                taken.extend(ids(&outbox.take_over(heir, LEASE, 5).await?));
            }
            Ok(taken)
        });
    }
    let mut taken = together(heirs).await?.concat();
    assert_eq!(taken.len(), 20, "rows were taken twice or not at all");
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 20);
    Ok(())
}

async fn a_worker_that_was_taken_over_is_told_so(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (dead, _) = events.dead_worker().await?;
    let heir = events.worker().await?;
    events.outbox.take_over(heir, LEASE, 100).await?;
    assert!(!events.outbox.beat(dead).await?);
    assert!(!events.outbox.beat(dead).await?, "it stays gone");
    assert!(events.outbox.beat(heir).await?);
    Ok(())
}

async fn a_worker_that_was_taken_over_claims_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (dead, _) = events.dead_worker().await?;
    let heir = events.worker().await?;
    events.outbox.take_over(heir, LEASE, 100).await?;
    events.store(1).await?;
    assert_eq!(events.claim(dead).await?, []);
    assert_eq!(events.claim(heir).await?.len(), 1);
    Ok(())
}

async fn a_worker_that_was_taken_over_settles_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (dead, claimed) = events.dead_worker().await?;
    let heir = events.worker().await?;
    events.outbox.take_over(heir, LEASE, 100).await?;
    for verdict in [Verdict::Done, super::retry_now(), super::settle::dead("no")] {
        assert!(!events.settle(dead, &claimed, verdict).await?);
    }
    assert_eq!(events.waiting().await?.len(), 1);
    assert_eq!(events.letters(10).await?, []);
    Ok(())
}

async fn what_was_taken_over_can_be_settled(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.dead_worker().await?;
    let heir = events.worker().await?;
    let taken = events.outbox.take_over(heir, LEASE, 100).await?;
    let batch: Vec<_> = taken.iter().map(|taken| settlement(taken, Verdict::Retry { after: HOUR })).collect();
    assert_eq!(events.outbox.settle(heir, &batch).await?, []);
    assert_eq!((events.claim(heir).await?, events.waiting().await?.len()), (vec![], 1));
    Ok(())
}

async fn rows_of_a_worker_that_retires_are_due_with_the_attempt_given_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let stored = events.store(2).await?;
    let worker = events.worker().await?;
    events.claim(worker).await?;
    events.outbox.retire(worker).await?;
    let next = events.worker().await?;
    let claimed = events.claim(next).await?;
    let mut found = ids(&claimed);
    found.sort_unstable();
    assert_eq!(found, stored);
    assert!(claimed.iter().all(|claimed| claimed.attempt == 1), "{claimed:?}");
    Ok(())
}

async fn a_retired_worker_settles_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.outbox.retire(worker).await?;
    assert!(!events.settle(worker, &claimed, Verdict::Done).await?);
    assert_eq!(events.waiting().await?.len(), 1);
    Ok(())
}

async fn a_retired_worker_leaves_other_rows_alone(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let (owner, other) = (events.worker().await?, events.worker().await?);
    let claimed = events.claim_one(owner).await?;
    events.outbox.retire(other).await?;
    assert_eq!(events.claim(other).await?, []);
    assert!(events.settle(owner, &claimed, Verdict::Done).await?);
    Ok(())
}

async fn rows_of_a_worker_silent_for_less_than_the_lease_are_not_taken_over(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (late, claimed) = events.dead_worker().await?;
    let heir = events.worker().await?;
    assert_eq!(events.outbox.take_over(heir, HOUR, 100).await?, []);
    assert!(events.settle(late, &claimed, Verdict::Done).await?);
    Ok(())
}

async fn rows_that_wait_are_not_taken_over(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.dead_worker().await?;
    let waiting = events.store(1).await?;
    let heir = events.worker().await?;
    let taken = events.outbox.take_over(heir, LEASE, 100).await?;
    assert!(ids(&taken).iter().all(|id| !waiting.contains(id)), "nobody had claimed it: {taken:?}");
    Ok(())
}

async fn a_worker_that_is_not_registered_takes_over_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (late, claimed) = events.dead_worker().await?;
    assert_eq!(events.outbox.take_over(WorkerId::new(), LEASE, 100).await?, []);
    assert!(events.settle(late, &claimed, Verdict::Done).await?, "it was taken from its worker all the same");
    Ok(())
}

async fn a_worker_that_was_taken_over_takes_over_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (gone, _) = events.dead_worker().await?;
    let heir = events.worker().await?;
    events.outbox.take_over(heir, LEASE, 100).await?;
    events.world.pass_time(PAST_LEASE).await;
    assert_eq!(events.outbox.take_over(gone, LEASE, 100).await?, []);
    Ok(())
}

async fn what_was_taken_over_is_taken_over_again_from_a_silent_heir(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let (_, lost) = events.dead_worker().await?;
    let heir = events.worker().await?;
    events.outbox.take_over(heir, LEASE, 100).await?;
    events.world.pass_time(PAST_LEASE).await;
    let second = events.worker().await?;
    let taken = events.outbox.take_over(second, LEASE, 100).await?;
    assert_eq!((ids(&taken), events.outbox.beat(heir).await?), (vec![lost.row.id], false));
    Ok(())
}

async fn rows_of_a_worker_that_retires_are_noticed(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    events.claim_one(worker).await?;
    let mut notices = events.outbox.notices();
    notices.mark_unchanged();
    events.outbox.retire(worker).await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn rows_that_a_worker_does_not_know_of_are_given_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(3).await?;
    let worker = events.worker().await?;
    let claimed = events.claim(worker).await?;
    let [known, another, unknown] = &claimed[..] else {
        return Err(Error::internal("three rows are due"));
    };
    let held = [known.row.id, another.row.id];
    let notices = events.outbox.notices();
    assert_eq!(events.outbox.give_back(worker, &held).await?, 1);
    assert_noticed(notices).await;
    let again = events.claim_one(worker).await?;
    assert_eq!((again.row.id, again.attempt), (unknown.row.id, 1));
    assert!(events.settle(worker, known, Verdict::Done).await?, "what it holds is still its own");
    assert!(!events.settle(worker, unknown, Verdict::Done).await?, "the lost claim settles nothing");
    assert_eq!(events.outbox.give_back(worker, &[]).await?, 2);
    Ok(())
}

async fn rows_of_other_workers_are_not_given_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let (worker, other) = (events.worker().await?, events.worker().await?);
    let claimed = events.claim_one(other).await?;
    let waits = events.store(1).await?;
    assert_eq!(events.outbox.give_back(worker, &[]).await?, 0);
    assert_eq!(ids(&events.claim(worker).await?), waits);
    assert!(events.settle(other, &claimed, Verdict::Done).await?);
    Ok(())
}
