//! When messages become due, and in which order.

use super::*;
use crate::conformance::case_list;
use crate::queue::Priority;

pub(super) fn cases() -> Vec<Case> {
    case_list!["queue":
        a_message_is_not_claimed_before_it_is_promoted,
        as_many_messages_are_due_as_there_is_room_for,
        a_handled_message_makes_room_for_another,
        a_message_that_is_given_up_makes_room_for_another,
        a_message_that_waits_to_be_retried_makes_room_for_another,
        room_is_shared_by_workers,
        queues_do_not_share_room,
        a_message_is_not_due_before_its_delay,
        a_delay_tells_when_it_is_over,
        a_message_that_waits_for_room_is_not_due,
        messages_with_a_higher_priority_go_first,
        messages_of_one_priority_go_in_the_order_in_which_they_were_sent,
        messages_of_a_key_go_one_at_a_time,
        messages_of_other_keys_do_not_wait,
        the_first_of_a_key_goes_first_whatever_its_priority,
        the_first_of_a_key_holds_back_others_for_its_delay,
        a_message_that_is_retried_holds_back_others_of_its_key,
        a_message_that_is_given_up_lets_others_of_its_key_go,
        many_messages_of_a_key_do_not_hide_others,
        a_retired_workers_messages_wait_for_room_again,
        messages_of_a_consumer_that_is_gone_are_due,
        a_replayed_message_waits_for_room,
        a_replayed_message_keeps_its_key,
    ]
}

fn urgent(priority: i64) -> Result<SendOptions> {
    Ok(plain().priority(Priority::new(priority)?))
}

async fn a_message_is_not_claimed_before_it_is_promoted(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let id = queue.send("1", &plain()).await?;
    assert_eq!(queue.outbox.claim(queue.worker, 10).await?, []);
    assert_eq!(queue.outbox.promote(false).await?.count, 1);
    assert_eq!(queue.outbox.promote(false).await?.count, 0, "it is due already");
    let claimed = queue.outbox.claim(queue.worker, 10).await?;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].row.id, claimed[0].attempt), (id, 1));
    Ok(())
}

async fn as_many_messages_are_due_as_there_is_room_for(world: World) -> Result<()> {
    let queue = Queue::new(world, 3).await?;
    let ids = queue.send_all(&vec![plain(); 5]).await?;
    assert_eq!(queue.outbox.promote(false).await?.count, 3);
    assert_eq!(queue.outbox.promote(true).await?.count, 0, "what is due counts");
    let mut taken = queue.take().await?;
    taken.sort_by_key(|id| ids.iter().position(|other| other == id));
    assert_eq!(taken, ids[..3]);
    assert_eq!(queue.outbox.promote(true).await?.count, 0, "what is with a worker counts");
    Ok(())
}

async fn assert_makes_room(world: World, verdict: Verdict) -> Result<()> {
    let queue = Queue::new(world, 2).await?;
    let ids = queue.send_all(&vec![plain(); 4]).await?;
    let claimed = queue.claim().await?;
    assert_eq!(claimed.len(), 2);
    queue.settle(&claimed[0], verdict).await?;
    assert_eq!(queue.take().await?, [ids[2]]);
    Ok(())
}

async fn a_handled_message_makes_room_for_another(world: World) -> Result<()> {
    assert_makes_room(world, Verdict::Done).await
}

async fn a_message_that_is_given_up_makes_room_for_another(world: World) -> Result<()> {
    assert_makes_room(world, dead()).await
}

async fn a_message_that_waits_to_be_retried_makes_room_for_another(world: World) -> Result<()> {
    assert_makes_room(world, Verdict::Retry { after: SECOND }).await
}

async fn room_is_shared_by_workers(world: World) -> Result<()> {
    let queue = Queue::new(world, 2).await?;
    queue.send_all(&vec![plain(); 4]).await?;
    let other = WorkerId::new();
    queue.outbox.beat(other).await?;
    queue.outbox.promote(false).await?;
    assert_eq!(queue.outbox.claim(other, 1).await?.len(), 1);
    assert_eq!(queue.take().await?.len(), 1);
    assert_eq!(queue.take().await?, []);
    Ok(())
}

async fn queues_do_not_share_room(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    queue.send_all(&vec![plain(); 2]).await?;
    let queue = {
        let other = Queue::new(queue.world, 1).await?;
        other.send_all(&vec![plain(); 2]).await?;
        other
    };
    assert_eq!(queue.outbox.promote(false).await?.count, 2);
    Ok(())
}

async fn a_message_is_not_due_before_its_delay(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let id = queue.send("1", &plain().delay_seconds(1.0)).await?;
    assert_eq!(queue.take().await?, []);
    queue.world.pass_time(PAST_SECOND).await;
    assert_eq!(queue.take().await?, [id]);
    Ok(())
}

async fn a_delay_tells_when_it_is_over(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    queue.send("1", &plain().delay_seconds(3_600.0)).await?;
    queue.send("1", &plain().delay_seconds(60.0)).await?;
    assert_eq!(queue.outbox.next_due().await?, None, "nothing is to be claimed");
    let again = queue.outbox.promote(false).await?.again;
    let next = again.ok_or_else(|| Error::internal("nothing is to be due"))?;
    assert!((50..=60).contains(&next.as_secs()), "{next:?}");
    Ok(())
}

async fn a_message_that_waits_for_room_is_not_due(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    queue.send_all(&vec![plain(); 3]).await?;
    assert_eq!(queue.take().await?.len(), 1);
    assert_eq!(queue.outbox.next_due().await?, None);
    Ok(())
}

async fn messages_with_a_higher_priority_go_first(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    let ids = queue.send_all(&[urgent(-100)?, urgent(0)?, urgent(100)?, urgent(7)?]).await?;
    assert_eq!(queue.drain().await?, [ids[2], ids[3], ids[1], ids[0]]);
    Ok(())
}

async fn messages_of_one_priority_go_in_the_order_in_which_they_were_sent(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    let ids = queue.send_all(&vec![urgent(5)?; 20]).await?;
    assert_eq!(queue.drain().await?, ids);
    Ok(())
}

async fn messages_of_a_key_go_one_at_a_time(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let ids = queue.send_all(&vec![key("a")?; 5]).await?;
    for id in ids {
        let claimed = queue.claim().await?;
        assert_eq!(claimed.iter().map(|claimed| claimed.row.id).collect::<Vec<_>>(), [id]);
        assert_eq!(queue.take().await?, [], "while the first is handled");
        queue.settle(&claimed[0], Verdict::Done).await?;
    }
    Ok(())
}

async fn messages_of_other_keys_do_not_wait(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let ids = queue.send_all(&[key("a")?, key("a")?, key("b")?, plain(), plain(), key("b")?]).await?;
    let mut taken = queue.take().await?;
    taken.sort_by_key(|id| ids.iter().position(|other| other == id));
    assert_eq!(taken, [ids[0], ids[2], ids[3], ids[4]]);
    Ok(())
}

async fn the_first_of_a_key_goes_first_whatever_its_priority(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    let first = queue.send("1", &key("a")?.priority(Priority::new(-1)?)).await?;
    let second = queue.send("1", &key("a")?.priority(Priority::new(100)?)).await?;
    assert_eq!(queue.drain().await?, [first, second]);
    Ok(())
}

async fn the_first_of_a_key_holds_back_others_for_its_delay(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let ids = queue.send_all(&[key("a")?.delay_seconds(1.0), key("a")?]).await?;
    assert_eq!(queue.take().await?, []);
    queue.world.pass_time(PAST_SECOND).await;
    assert_eq!(queue.drain().await?, ids);
    Ok(())
}

async fn a_message_that_is_retried_holds_back_others_of_its_key(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let ids = queue.send_all(&vec![key("a")?; 3]).await?;
    for verdict in [Verdict::Retry { after: SECOND }, Verdict::Release { after: SECOND }] {
        let claimed = queue.claim().await?;
        assert_eq!(claimed.iter().map(|claimed| claimed.row.id).collect::<Vec<_>>(), [ids[0]]);
        queue.settle(&claimed[0], verdict).await?;
        assert_eq!(queue.take().await?, []);
        queue.world.pass_time(PAST_SECOND).await;
    }
    assert_eq!(queue.drain().await?, ids);
    Ok(())
}

async fn a_message_that_is_given_up_lets_others_of_its_key_go(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let ids = queue.send_all(&vec![key("a")?; 2]).await?;
    let claimed = queue.claim().await?;
    queue.settle(&claimed[0], dead()).await?;
    assert_eq!(queue.take().await?, [ids[1]]);
    Ok(())
}

async fn many_messages_of_a_key_do_not_hide_others(world: World) -> Result<()> {
    let queue = Queue::new(world, 2).await?;
    let ids = queue.send_all(&vec![key("a")?; 450]).await?;
    let last = queue.send("1", &plain()).await?;
    let mut taken = queue.take().await?;
    taken.sort_by_key(|id| *id == last);
    assert_eq!(taken, [ids[0], last]);
    Ok(())
}

async fn a_retired_workers_messages_wait_for_room_again(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    let ids = queue.send_all(&[key("a")?, key("a")?]).await?;
    let other = WorkerId::new();
    queue.outbox.beat(other).await?;
    queue.outbox.promote(false).await?;
    assert_eq!(queue.outbox.claim(other, 10).await?.len(), 1);
    queue.outbox.retire(other).await?;
    let claimed = queue.claim().await?;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].row.id, claimed[0].attempt), (ids[0], 1), "with the attempt given back");
    Ok(())
}

async fn messages_of_a_consumer_that_is_gone_are_due(world: World) -> Result<()> {
    let queue = Queue::new(world, 1).await?;
    let ids = queue.send_all(&vec![plain(); 3]).await?;
    let changes = [CatalogChange::DeleteTrigger(queue.consumer.trigger)];
    queue.world.backend().catalog().apply(queue.app, &changes, queue.revision).await?;
    let mut taken = queue.take().await?;
    taken.sort_by_key(|id| ids.iter().position(|other| other == id));
    assert_eq!(taken, ids);
    Ok(())
}

/// A message that was given up and is sent again, with another that was sent meanwhile.
async fn replayed(world: World, options: SendOptions) -> Result<(Queue, EventId, EventId)> {
    let queue = Queue::new(world, 1).await?;
    let id = queue.send("1", &options).await?;
    let claimed = queue.claim().await?;
    queue.settle(&claimed[0], dead()).await?;
    let next = queue.send("1", &options).await?;
    let claimed = queue.claim().await?;
    assert_eq!(claimed.len(), 1);
    queue.outbox.replay(queue.app, id, 0).await?;
    assert_eq!(queue.take().await?, [], "the other one is handled");
    queue.settle(&claimed[0], Verdict::Done).await?;
    Ok((queue, id, next))
}

async fn a_replayed_message_waits_for_room(world: World) -> Result<()> {
    let (queue, id, _) = replayed(world, plain()).await?;
    assert_eq!(queue.take().await?, [id]);
    Ok(())
}

async fn a_replayed_message_keeps_its_key(world: World) -> Result<()> {
    let (queue, id, _) = replayed(world, key("a")?).await?;
    let behind = queue.send("1", &key("a")?).await?;
    assert_eq!(queue.drain().await?, [id, behind]);
    Ok(())
}
