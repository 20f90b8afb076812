//! The contracts of [`PubsubService`](super::PubsubService) and [`Broadcast`](super::Broadcast), sentence by sentence.

mod ephemeral;

use std::sync::Arc;

use super::{PUBLISH, PubsubEvent, PubsubService, Topic};
use crate::conformance::{Case, World, case_list};
use crate::outbox::suite::assert_noticed;
use crate::outbox::{EventKind, Fanout, FanoutRow, OutboxRow, Revision};
use crate::{AppId, CallCx, CxInner, Error, ExecutionId, Json, Result, ScriptId, TriggerId};

pub(crate) fn cases() -> Vec<Case> {
    let durable = case_list!["pubsub":
        a_message_is_stored_for_every_row,
        a_message_that_nobody_waits_for_is_a_success,
        a_message_reads_back_as_it_was_published,
        rows_of_something_else_are_not_stored,
        rows_tell_where_they_came_from,
        rows_belong_to_the_app_of_the_call,
        messages_are_due_at_once,
        a_message_is_noticed,
        a_stale_revision_is_refused_and_stores_nothing,
        a_stale_revision_counts_without_rows_too,
        a_fanout_without_a_revision_stores_no_rows,
        a_message_in_a_transaction_is_stored_by_the_commit,
    ];
    [durable, ephemeral::cases()].concat()
}

fn row(op: &'static str) -> FanoutRow {
    FanoutRow { op, trigger: TriggerId::new(), script: ScriptId::new() }
}

struct Topics {
    world: World,
    pubsub: Arc<dyn PubsubService>,
    app: AppId,
    topic: Topic,
}

impl Topics {
    async fn new(world: World) -> Result<Self> {
        let (pubsub, app) = (world.backend().pubsub(), world.app().await?);
        Ok(Topics { pubsub, app, topic: Topic::new("order.paid")?, world })
    }

    fn cx(&self, rows: Vec<FanoutRow>) -> CallCx {
        let mut inner = CxInner::new(self.app);
        inner.clock = self.world.backend().clock();
        inner.trigger_depth = 2;
        inner.execution = Some(ExecutionId::new());
        CallCx::from(inner).with_fanout(Arc::new(Fanout { revision: Some(Revision(0)), rows }))
    }

    async fn publish(&self, cx: &CallCx, message: &str) -> Result<u64> {
        self.pubsub.publish_durable(cx, &self.topic, &Json::parse(message)?).await
    }

    async fn waiting(&self) -> Result<Vec<OutboxRow>> {
        self.world.backend().outbox().waiting(self.app, 100).await
    }
}

async fn a_message_is_stored_for_every_row(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let rows: Vec<_> = (0..10).map(|_| row(PUBLISH)).collect();
    let count = topics.publish(&topics.cx(rows.clone()), "1").await?;
    let waiting = topics.waiting().await?;
    let mut found: Vec<_> = waiting.iter().map(|row| (row.trigger, row.script)).collect();
    let mut wanted: Vec<_> = rows.iter().map(|row| (Some(row.trigger), row.script)).collect();
    found.sort();
    wanted.sort();
    assert_eq!((found, count), (wanted, 10));
    let ids: std::collections::BTreeSet<_> = waiting.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 10, "each row is an event of its own");
    Ok(())
}

async fn a_message_that_nobody_waits_for_is_a_success(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    assert_eq!(topics.publish(&topics.cx(vec![]), "1").await?, 0);
    assert_eq!(topics.waiting().await?, []);
    Ok(())
}

async fn a_message_reads_back_as_it_was_published(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let deep = format!("{}{}", "[".repeat(Json::MAX_DEPTH), "]".repeat(Json::MAX_DEPTH));
    let long = format!("{:?}", "ü".repeat(200_000));
    for text in [
        "null",
        "{\"a\":-0.0,\"b\":1e16,\"c\":9223372036854775807,\"d\":1.0}",
        "\"\\\"\\u0001ü\"",
        &deep,
        &long,
    ] {
        let message = Json::parse(text)?;
        let (earliest, cx) = (topics.world.now(), topics.cx(vec![row(PUBLISH)]));
        topics.pubsub.publish_durable(&cx, &topics.topic, &message).await?;
        let stored = topics.waiting().await?.pop().ok_or_else(|| Error::internal("no row is stored"))?;
        assert_eq!(stored.kind, EventKind::Pubsub);
        let told: serde_json::Value = stored.payload.to_value()?;
        let published_at = told.get("published_at").and_then(|at| at.as_str()).unwrap_or_default();
        let published_at = published_at.parse().unwrap_or_default();
        assert!((earliest..=topics.world.backend().clock().now()).contains(&published_at), "{told:.300}");
        let event = PubsubEvent { topic: &topics.topic, message: &message, published_at };
        assert_eq!(stored.payload, event.to_json());
    }
    Ok(())
}

async fn rows_of_something_else_are_not_stored(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let published = row(PUBLISH);
    let cx = topics.cx(vec![row("insert"), published.clone(), row("send")]);
    assert_eq!(topics.publish(&cx, "1").await?, 1);
    let triggers: Vec<_> = topics.waiting().await?.iter().map(|row| row.trigger).collect();
    assert_eq!(triggers, [Some(published.trigger)]);
    Ok(())
}

async fn rows_tell_where_they_came_from(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let cx = topics.cx(vec![row(PUBLISH)]);
    topics.publish(&cx, "1").await?;
    let rows = topics.waiting().await?;
    let told: Vec<_> =
        rows.iter().map(|row| (row.trace, row.request, row.parent, row.trigger_depth)).collect();
    assert_eq!(told, [(cx.trace(), cx.request(), cx.execution(), 3)]);
    Ok(())
}

async fn rows_belong_to_the_app_of_the_call(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let other = topics.world.app().await?;
    topics.publish(&topics.cx(vec![row(PUBLISH)]), "1").await?;
    assert_eq!(topics.world.backend().outbox().waiting(other, 10).await?, []);
    assert!(topics.waiting().await?.iter().all(|row| row.app == topics.app));
    Ok(())
}

async fn messages_are_due_at_once(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    topics.publish(&topics.cx(vec![row(PUBLISH)]), "1").await?;
    assert_eq!(topics.world.backend().outbox().next_due().await?, Some(std::time::Duration::ZERO));
    Ok(())
}

async fn a_message_is_noticed(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let mut notices = topics.world.backend().outbox().notices();
    notices.mark_unchanged();
    topics.publish(&topics.cx(vec![row(PUBLISH)]), "1").await?;
    assert_noticed(notices).await;
    Ok(())
}

async fn assert_stale(world: World, rows: Vec<FanoutRow>) -> Result<()> {
    let topics = Topics::new(world).await?;
    topics.world.change_app(topics.app).await?;
    let answer = topics.publish(&topics.cx(rows), "1").await;
    assert!(answer.as_ref().is_err_and(Fanout::is_stale), "the answer is {answer:?}");
    assert_eq!(topics.waiting().await?, []);
    Ok(())
}

async fn a_stale_revision_is_refused_and_stores_nothing(world: World) -> Result<()> {
    assert_stale(world, vec![row(PUBLISH)]).await
}

async fn a_stale_revision_counts_without_rows_too(world: World) -> Result<()> {
    assert_stale(world, vec![]).await
}

async fn a_fanout_without_a_revision_stores_no_rows(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let fanout = Fanout { revision: None, rows: vec![row(PUBLISH)] };
    let cx = topics.cx(vec![]).with_fanout(Arc::new(fanout));
    assert_eq!(topics.publish(&cx, "1").await?, 0);
    assert_eq!(topics.waiting().await?, []);
    Ok(())
}

async fn a_message_in_a_transaction_is_stored_by_the_commit(world: World) -> Result<()> {
    let topics = Topics::new(world).await?;
    let message = Json::parse("1")?;
    for commits in [false, true] {
        let transaction = topics.world.transaction().await?;
        let inside = transaction.services().pubsub;
        let cx = topics.cx(vec![row(PUBLISH)]);
        assert_eq!(inside.publish_durable(&cx, &topics.topic, &message).await?, 1);
        assert_eq!(topics.waiting().await?, [], "before the end of the transaction");
        if commits {
            transaction.commit().await?;
        } else {
            drop(transaction);
        }
        assert_eq!(topics.waiting().await?.len(), usize::from(commits));
    }
    Ok(())
}
