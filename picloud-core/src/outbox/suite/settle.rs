//! What becomes of a row, and who may say so.

use std::collections::BTreeSet;

use super::{Events, HOUR, release_now, retry_now, settlement};
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::{DeadLetterReason, Settlement, Verdict};
use crate::{EventId, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["outbox":
        a_done_row_is_gone,
        a_dropped_row_is_gone_and_no_dead_letter,
        a_retry_keeps_the_attempt,
        a_release_gives_the_attempt_back,
        a_given_up_row_is_a_dead_letter_and_gone,
        a_dead_letter_keeps_everything,
        dead_letters_are_listed_newest_first_up_to_the_limit,
        a_batch_settles_each_row_by_itself,
        a_settlement_of_another_worker_is_lost,
        a_settlement_under_an_older_claim_is_lost,
        settling_twice_is_lost_the_second_time,
        settling_a_row_that_waits_is_lost,
        one_of_many_settlements_of_a_claim_counts,
        a_lost_settlement_in_a_batch_leaves_the_others_alone,
        a_claim_settled_twice_in_a_batch_counts_the_first_time,
        a_settlement_of_a_row_that_never_was_is_lost,
        an_empty_batch_settles_nothing,
        dead_letters_keep_every_reason,
    ]
}

pub(super) fn dead(error: &str) -> Verdict {
    Verdict::Dead { reason: DeadLetterReason::Failed, error: error.to_owned(), handlers: Vec::new() }
}

async fn a_done_row_is_gone(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, Verdict::Done).await?);
    assert_eq!((events.waiting().await?, events.claim(worker).await?), (vec![], vec![]));
    Ok(())
}

async fn a_dropped_row_is_gone_and_no_dead_letter(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, Verdict::Drop).await?);
    assert_eq!(events.waiting().await?, []);
    assert_eq!(events.letters(10).await?, []);
    Ok(())
}

async fn a_retry_keeps_the_attempt(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    for attempt in 1..4 {
        let claimed = events.claim_one(worker).await?;
        assert_eq!(claimed.attempt, attempt);
        assert!(events.settle(worker, &claimed, retry_now()).await?);
    }
    Ok(())
}

async fn a_release_gives_the_attempt_back(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, retry_now()).await?;
    for _ in 0..3 {
        let claimed = events.claim_one(worker).await?;
        assert_eq!(claimed.attempt, 2);
        assert!(events.settle(worker, &claimed, release_now()).await?);
    }
    Ok(())
}

async fn a_given_up_row_is_a_dead_letter_and_gone(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, dead("no")).await?);
    assert_eq!((events.waiting().await?, events.claim(worker).await?), (vec![], vec![]));
    assert_eq!(events.letters(10).await?.len(), 1);
    Ok(())
}

async fn a_dead_letter_keeps_everything(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let row = events.row();
    events.outbox.enqueue(&row).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, retry_now()).await?;
    let claimed = events.claim_one(worker).await?;
    let verdict = Verdict::Dead {
        reason: DeadLetterReason::Crash,
        error: "it \"died\" ü".into(),
        handlers: Vec::new(),
    };
    events.settle(worker, &claimed, verdict).await?;
    let letters = events.letters(10).await?;
    assert_eq!(letters.len(), 1);
    for letter in letters {
        assert_eq!(letter.row, row);
        assert_eq!((letter.attempts, letter.reason), (2, DeadLetterReason::Crash));
        assert_eq!(letter.error, "it \"died\" ü");
        let age = events.world.now().duration_since(letter.died_at).abs();
        assert!(age.as_secs() < 60, "it died {age:?} ago");
    }
    Ok(())
}

async fn dead_letters_are_listed_newest_first_up_to_the_limit(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let worker = events.worker().await?;
    for error in ["first", "second", "third"] {
        events.store(1).await?;
        let claimed = events.claim_one(worker).await?;
        events.settle(worker, &claimed, dead(error)).await?;
        events.world.pass_time(std::time::Duration::from_millis(5)).await;
    }
    let newest: Vec<_> = events.letters(2).await?.into_iter().map(|letter| letter.error).collect();
    assert_eq!(newest, ["third", "second"]);
    Ok(())
}

async fn a_batch_settles_each_row_by_itself(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(5).await?;
    let worker = events.worker().await?;
    let claimed = events.claim(worker).await?;
    let verdicts = [Verdict::Done, retry_now(), release_now(), dead("no"), Verdict::Retry { after: HOUR }];
    let batch: Vec<_> =
        claimed.iter().zip(verdicts).map(|(claimed, verdict)| settlement(claimed, verdict)).collect();
    assert_eq!(events.outbox.settle(worker, &batch).await?, []);
    let mut again: Vec<_> = events.claim(worker).await?.into_iter().map(|claimed| claimed.attempt).collect();
    again.sort_unstable();
    assert_eq!(again, [1, 2], "the released row and the one to retry are due");
    assert_eq!(events.waiting().await?.len(), 3);
    assert_eq!(events.letters(10).await?.len(), 1);
    Ok(())
}

async fn a_settlement_of_another_worker_is_lost(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let (owner, other) = (events.worker().await?, events.worker().await?);
    let claimed = events.claim_one(owner).await?;
    for verdict in [Verdict::Done, retry_now(), release_now(), dead("no")] {
        assert!(!events.settle(other, &claimed, verdict).await?);
    }
    assert_eq!(events.claim(other).await?, [], "it is still with its worker");
    assert_eq!(events.letters(10).await?, []);
    assert!(events.settle(owner, &claimed, Verdict::Done).await?);
    Ok(())
}

async fn a_settlement_under_an_older_claim_is_lost(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let older = events.claim_one(worker).await?;
    events.settle(worker, &older, retry_now()).await?;
    let newer = events.claim_one(worker).await?;
    for verdict in [Verdict::Done, retry_now(), release_now(), dead("no")] {
        assert!(!events.settle(worker, &older, verdict).await?);
    }
    assert_eq!(events.letters(10).await?, []);
    assert!(events.settle(worker, &newer, Verdict::Done).await?);
    Ok(())
}

async fn settling_twice_is_lost_the_second_time(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert!(events.settle(worker, &claimed, dead("no")).await?);
    assert!(!events.settle(worker, &claimed, dead("no")).await?);
    assert_eq!(events.letters(10).await?.len(), 1);
    Ok(())
}

async fn settling_a_row_that_waits_is_lost(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    events.settle(worker, &claimed, Verdict::Retry { after: HOUR }).await?;
    assert!(!events.settle(worker, &claimed, Verdict::Done).await?);
    assert_eq!(events.waiting().await?.len(), 1);
    Ok(())
}

async fn one_of_many_settlements_of_a_claim_counts(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    let settle = || {
        let (outbox, batch) = (events.outbox.clone(), [settlement(&claimed, dead("no"))]);
        async move { Ok(outbox.settle(worker, &batch).await?.is_empty()) }
    };
    let counted = together((0..8).map(|_| settle())).await?;
    assert_eq!(counted.iter().filter(|counted| **counted).count(), 1);
    assert_eq!(events.letters(10).await?.len(), 1);
    Ok(())
}

async fn a_lost_settlement_in_a_batch_leaves_the_others_alone(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(2).await?;
    let worker = events.worker().await?;
    let claimed = events.claim(worker).await?;
    let mut batch: Vec<_> = claimed.iter().map(|claimed| settlement(claimed, Verdict::Done)).collect();
    if let Some(first) = batch.first_mut() {
        first.claim += 1;
    }
    let lost = events.outbox.settle(worker, &batch).await?;
    assert_eq!(lost, batch.get(..1).unwrap_or_default());
    assert_eq!(events.waiting().await?, super::ids(claimed.get(..1).unwrap_or_default()));
    Ok(())
}

async fn a_claim_settled_twice_in_a_batch_counts_the_first_time(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    let batch = [settlement(&claimed, Verdict::Done), settlement(&claimed, dead("no"))];
    assert_eq!(events.outbox.settle(worker, &batch).await?, batch.get(1..).unwrap_or_default());
    assert_eq!(events.waiting().await?, []);
    assert_eq!(events.letters(10).await?, []);
    // An older claim of the event beside the one in force takes nothing away from it.
    for older_first in [true, false] {
        events.store(1).await?;
        let older = events.claim_one(worker).await?;
        events.outbox.settle(worker, &[settlement(&older, retry_now())]).await?;
        let newer = events.claim_one(worker).await?;
        let mut batch = [settlement(&newer, Verdict::Done), settlement(&older, Verdict::Done)];
        if older_first {
            batch.reverse();
        }
        assert_eq!(events.outbox.settle(worker, &batch).await?, [settlement(&older, Verdict::Done)]);
        assert_eq!(events.waiting().await?, []);
    }
    Ok(())
}

async fn a_settlement_of_a_row_that_never_was_is_lost(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    for verdict in [Verdict::Done, retry_now(), release_now(), dead("no")] {
        let batch = [Settlement { id: EventId::new(), ..settlement(&claimed, verdict) }];
        assert_eq!(events.outbox.settle(worker, &batch).await?, batch);
    }
    assert_eq!(events.letters(10).await?, []);
    Ok(())
}

async fn an_empty_batch_settles_nothing(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    events.store(1).await?;
    let worker = events.worker().await?;
    let claimed = events.claim_one(worker).await?;
    assert_eq!(events.outbox.settle(worker, &[]).await?, []);
    assert!(events.settle(worker, &claimed, Verdict::Done).await?, "it was still with its worker");
    Ok(())
}

async fn dead_letters_keep_every_reason(world: World) -> Result<()> {
    let events = Events::new(world).await?;
    let worker = events.worker().await?;
    let reasons = [DeadLetterReason::Failed, DeadLetterReason::Crash, DeadLetterReason::RegistrantInvalid];
    for reason in reasons {
        events.store(1).await?;
        let claimed = events.claim_one(worker).await?;
        events
            .settle(worker, &claimed, Verdict::Dead { reason, error: String::new(), handlers: Vec::new() })
            .await?;
    }
    let letters = events.letters(10).await?;
    let found: BTreeSet<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(found, reasons.iter().map(|reason| reason.as_str()).collect());
    Ok(())
}
