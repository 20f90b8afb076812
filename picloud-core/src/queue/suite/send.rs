//! Sending: what is stored, and when not.

use super::*;
use crate::conformance::{case_list, together};
use crate::outbox::EventKind;
use crate::outbox::suite::assert_noticed;

pub(super) fn cases() -> Vec<Case> {
    case_list!["queue":
        a_message_is_stored_for_the_consumer,
        a_message_without_a_consumer_is_not_stored,
        a_message_is_for_the_first_row_of_a_send,
        a_message_reads_back_as_it_was_sent,
        a_message_tells_where_it_came_from,
        a_message_belongs_to_the_app_of_the_call,
        a_message_is_noticed,
        a_stale_revision_is_refused_and_stores_nothing,
        a_stale_revision_counts_without_rows_too,
        a_fanout_without_a_revision_stores_nothing,
        a_message_in_a_transaction_is_stored_by_the_commit,
        a_duplicate_is_not_stored,
        a_duplicate_in_a_transaction_is_not_stored,
        one_of_many_duplicates_at_one_time_is_stored,
        a_message_with_a_worker_has_duplicates,
        a_dedupe_key_is_free_when_its_message_is_handled,
        a_dedupe_key_is_free_when_its_message_is_given_up,
        dedupe_keys_of_other_consumers_do_not_matter,
        a_dedupe_key_does_not_order,
    ]
}

async fn a_message_is_stored_for_the_consumer(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let id = queue.send("1", &plain()).await?;
    let rows: Vec<_> =
        queue.waiting().await?.into_iter().map(|row| (row.id, row.trigger, row.script)).collect();
    assert_eq!(rows, [(id, Some(queue.consumer.trigger), queue.consumer.script)]);
    Ok(())
}

async fn a_message_without_a_consumer_is_not_stored(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let sent = queue.queue.send(&queue.cx(vec![]), &queue.name, &Json::parse("1")?, &plain()).await?;
    assert_eq!((sent, queue.waiting().await?), (None, vec![]));
    Ok(())
}

async fn a_message_is_for_the_first_row_of_a_send(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let other = |op| FanoutRow { op, trigger: TriggerId::new(), script: ScriptId::new() };
    let cx = queue.cx(vec![other("publish"), queue.consumer.clone(), other(SEND)]);
    assert!(queue.queue.send(&cx, &queue.name, &Json::parse("1")?, &plain()).await?.is_some());
    let triggers: Vec<_> = queue.waiting().await?.iter().map(|row| row.trigger).collect();
    assert_eq!(triggers, [Some(queue.consumer.trigger)]);
    Ok(())
}

async fn a_message_reads_back_as_it_was_sent(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let deep = format!("{}{}", "[".repeat(Json::MAX_DEPTH), "]".repeat(Json::MAX_DEPTH));
    for text in
        ["null", "{\"a\":-0.0,\"b\":1e16,\"c\":9223372036854775807,\"d\":1.0}", "\"\\\"\\u0001ü\"", &deep]
    {
        queue.send(text, &plain()).await?;
        let stored = queue.waiting().await?.pop().ok_or_else(|| Error::internal("no row is stored"))?;
        let message = Json::parse(text)?;
        let event = QueueEvent { message: &message, name: &queue.name };
        assert_eq!((stored.kind, stored.payload), (EventKind::Queue, event.to_json()));
    }
    Ok(())
}

async fn a_message_tells_where_it_came_from(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let cx = queue.cx(vec![queue.consumer.clone()]);
    queue.queue.send(&cx, &queue.name, &Json::parse("1")?, &plain()).await?;
    let rows = queue.waiting().await?;
    let told: Vec<_> =
        rows.iter().map(|row| (row.trace, row.request, row.parent, row.trigger_depth)).collect();
    assert_eq!(told, [(cx.trace(), cx.request(), cx.execution(), 3)]);
    Ok(())
}

async fn a_message_belongs_to_the_app_of_the_call(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let other = queue.world.app().await?;
    queue.send("1", &plain()).await?;
    assert_eq!(queue.outbox.waiting(other, 10).await?, []);
    assert!(queue.waiting().await?.iter().all(|row| row.app == queue.app));
    Ok(())
}

async fn a_message_is_noticed(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let mut notices = queue.outbox.notices();
    notices.mark_unchanged();
    queue.send("1", &plain()).await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn assert_stale(world: World, has_consumer: bool) -> Result<()> {
    let mut queue = Queue::new(world, 10).await?;
    queue.revision = Revision(0);
    let rows = if has_consumer { vec![queue.consumer.clone()] } else { vec![] };
    let answer = queue.queue.send(&queue.cx(rows), &queue.name, &Json::parse("1")?, &plain()).await;
    assert!(answer.as_ref().is_err_and(Fanout::is_stale), "the answer is {answer:?}");
    assert_eq!(queue.waiting().await?, []);
    Ok(())
}

async fn a_stale_revision_is_refused_and_stores_nothing(world: World) -> Result<()> {
    assert_stale(world, true).await
}

async fn a_stale_revision_counts_without_rows_too(world: World) -> Result<()> {
    assert_stale(world, false).await
}

async fn a_fanout_without_a_revision_stores_nothing(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let fanout = Fanout { revision: None, rows: vec![queue.consumer.clone()] };
    let cx = queue.cx(vec![]).with_fanout(Arc::new(fanout));
    assert_eq!(queue.queue.send(&cx, &queue.name, &Json::parse("1")?, &plain()).await?, None);
    assert_eq!(queue.waiting().await?, []);
    Ok(())
}

async fn a_message_in_a_transaction_is_stored_by_the_commit(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let message = Json::parse("1")?;
    for commits in [false, true] {
        let transaction = queue.world.transaction().await?;
        let cx = queue.cx(vec![queue.consumer.clone()]);
        let sent = transaction.services().queue.send(&cx, &queue.name, &message, &plain()).await?;
        assert!(sent.is_some());
        assert_eq!(queue.waiting().await?, [], "before the end of the transaction");
        if commits {
            transaction.commit().await?;
        } else {
            drop(transaction);
        }
        assert_eq!(queue.waiting().await?.len(), usize::from(commits));
    }
    assert_eq!(queue.take().await?.len(), 1);
    Ok(())
}

async fn a_duplicate_is_not_stored(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let options = [dedupe("a")?.delay_seconds(3_600.0), dedupe("a")?, dedupe("b")?, dedupe("a")?];
    let ids = queue.send_all(&options).await?;
    assert_eq!((ids[1], ids[3]), (ids[0], ids[0]), "the answer is the first one's id");
    assert_eq!(queue.waiting().await?.len(), 2);
    assert_eq!(queue.take().await?, [ids[2]], "the first one is as it was: delayed");
    Ok(())
}

async fn a_duplicate_in_a_transaction_is_not_stored(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let before = queue.send("1", &dedupe("a")?).await?;
    let (transaction, message) = (queue.world.transaction().await?, Json::parse("1")?);
    let (inside, cx) = (transaction.services().queue, queue.cx(vec![queue.consumer.clone()]));
    let mut sent = Vec::new();
    for key in ["a", "b", "b"] {
        sent.extend(inside.send(&cx, &queue.name, &message, &dedupe(key)?).await?);
    }
    assert_eq!((sent.len(), sent[0]), (3, before));
    assert_eq!(sent[1], sent[2]);
    transaction.commit().await?;
    assert_eq!(queue.waiting().await?.len(), 2);
    Ok(())
}

async fn one_of_many_duplicates_at_one_time_is_stored(world: World) -> Result<()> {
    let queue = Arc::new(Queue::new(world, 10).await?);
    let ids = together((0..8).map(|_| {
        let queue = queue.clone();
        async move { queue.send("1", &dedupe("a")?).await }
    }))
    .await?;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(queue.waiting().await?.len(), 1);
    Ok(())
}

async fn a_message_with_a_worker_has_duplicates(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let id = queue.send("1", &dedupe("a")?).await?;
    assert_eq!(queue.take().await?, [id]);
    assert_eq!(queue.send("1", &dedupe("a")?).await?, id);
    Ok(())
}

async fn assert_free_after(world: World, verdict: Verdict) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let id = queue.send("1", &dedupe("a")?).await?;
    let claimed = queue.claim().await?;
    queue.settle(&claimed[0], verdict).await?;
    let next = queue.send("1", &dedupe("a")?).await?;
    assert_ne!(id, next);
    assert_eq!(queue.take().await?, [next]);
    Ok(())
}

async fn a_dedupe_key_is_free_when_its_message_is_handled(world: World) -> Result<()> {
    assert_free_after(world, Verdict::Done).await
}

async fn a_dedupe_key_is_free_when_its_message_is_given_up(world: World) -> Result<()> {
    assert_free_after(world, dead()).await
}

async fn dedupe_keys_of_other_consumers_do_not_matter(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    queue.send("1", &dedupe("a")?).await?;
    let other = FanoutRow { trigger: TriggerId::new(), ..queue.consumer.clone() };
    queue.queue.send(&queue.cx(vec![other]), &queue.name, &Json::parse("1")?, &dedupe("a")?).await?;
    assert_eq!(queue.waiting().await?.len(), 2);
    Ok(())
}

async fn a_dedupe_key_does_not_order(world: World) -> Result<()> {
    let queue = Queue::new(world, 10).await?;
    let first = queue.send("1", &dedupe("a")?).await?;
    let claimed = queue.claim().await?;
    assert_eq!(claimed[0].row.id, first);
    let second = queue.send("1", &key("a")?).await?;
    assert_eq!(queue.take().await?, [second]);
    Ok(())
}
