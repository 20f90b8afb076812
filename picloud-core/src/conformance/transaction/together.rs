//! Transactions beside others, and the events of their writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{begin, begin_in, for_inserts};
use crate::conformance::{Case, Collection, World, case_list, together};
use crate::outbox::{Fanout, FanoutRow, Revision, WorkerId};
use crate::{AppId, CallCx, CxInner, Error, ExecutionId, Result, ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["tx":
        writes_and_their_events_appear_together,
        readers_see_all_of_a_commit_or_nothing,
        values_and_events_of_a_commit_appear_at_one_moment,
        events_cannot_be_claimed_before_the_commit,
        events_are_noticed_at_the_commit,
        events_tell_where_they_came_from,
        transactions_follow_each_other,
        versions_grow_across_transactions,
        transactions_that_write_different_keys_all_commit,
        no_increment_is_lost_between_transactions,
    ]
}

async fn writes_and_their_events_appear_together(world: World) -> Result<()> {
    let two = begin(&world).await?;
    let watched = two.inside.with_fanout(&for_inserts());
    watched.set("a", "1").await?;
    watched.set("b", "2").await?;
    assert_eq!(world.outbox_rows(two.app).await?, []);
    two.tx.commit().await?;
    assert_eq!(two.outside.keys(Default::default()).await?, ["a", "b"]);
    assert_eq!(world.outbox_rows(two.app).await?.len(), 2);
    Ok(())
}

async fn transactions_follow_each_other(world: World) -> Result<()> {
    let app = world.app().await?;
    for n in 1..=3 {
        let two = begin_in(&world, app).await?;
        assert_eq!(two.inside.increment("n", 1).await?, n);
        two.tx.commit().await?;
    }
    Ok(())
}

async fn versions_grow_across_transactions(world: World) -> Result<()> {
    let app = world.app().await?;
    let all = Fanout {
        revision: Some(Revision(0)),
        rows: ["insert", "update"]
            .map(|op| FanoutRow { op, trigger: TriggerId::new(), script: ScriptId::new() })
            .into(),
    };
    let dropped = begin_in(&world, app).await?;
    dropped.inside.with_fanout(&all).set("a", "0").await?;
    drop(dropped);
    for _ in 0..2 {
        let two = begin_in(&world, app).await?;
        two.inside.with_fanout(&all).set("a", "1").await?;
        two.tx.commit().await?;
        two.outside.with_fanout(&all).set("a", "2").await?;
    }
    let mut versions = Vec::new();
    for (_, payload) in world.outbox_rows(app).await? {
        let payload: serde_json::Value = payload.to_value()?;
        versions.push(payload.get("version").and_then(serde_json::Value::as_u64));
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 4, "a version came twice: {versions:?}");
    Ok(())
}

/// Starts transactions that follow each other on a task of its own: each writes its number under `first` and `second`, and
/// a new key, for whose insert there is one row.
fn writes_in_the_background(world: &Arc<World>, app: AppId) -> JoinHandle<Result<()>> {
    let world = world.clone();
    tokio::spawn(async move {
        for number in 1..=25 {
            let two = begin_in(&world, app).await?;
            two.inside.set("first", &number.to_string()).await?;
            two.inside.with_fanout(&for_inserts()).set(&format!("new {number}"), "null").await?;
            two.inside.set("second", &number.to_string()).await?;
            two.tx.commit().await?;
        }
        Ok(())
    })
}

/// The integer under a key, 0 for none.
async fn number(things: &Collection, key: &str) -> Result<usize> {
    Ok(things.get(key).await?.and_then(|value| value.parse().ok()).unwrap_or_default())
}

async fn readers_see_all_of_a_commit_or_nothing(world: World) -> Result<()> {
    let (app, world) = (world.app().await?, Arc::new(world));
    let (things, writer) = (world.collection_of(app)?, writes_in_the_background(&world, app));
    // Once more after the end, however fast it came.
    let mut is_over = false;
    while !std::mem::replace(&mut is_over, writer.is_finished()) {
        let read = things.get_many(&["first", "second"]).await?;
        assert_eq!(read.first(), read.get(1), "the two were written in one transaction");
    }
    writer.await.map_err(|error| Error::internal(error.to_string()))?
}

async fn values_and_events_of_a_commit_appear_at_one_moment(world: World) -> Result<()> {
    let (app, world) = (world.app().await?, Arc::new(world));
    let (things, writer) = (world.collection_of(app)?, writes_in_the_background(&world, app));
    // Once more after the end, however fast it came.
    let mut is_over = false;
    while !std::mem::replace(&mut is_over, writer.is_finished()) {
        let value = number(&things, "first").await?;
        let rows = world.outbox_rows(app).await?.len();
        let value_after = number(&things, "first").await?;
        assert!(value <= rows, "{value} were committed, and {rows} events");
        assert!(rows <= value_after, "{rows} events were committed, and {value_after} values");
    }
    writer.await.map_err(|error| Error::internal(error.to_string()))?
}

async fn events_cannot_be_claimed_before_the_commit(world: World) -> Result<()> {
    let (two, outbox, worker) = (begin(&world).await?, world.backend().outbox(), WorkerId::new());
    outbox.beat(worker).await?;
    two.inside.with_fanout(&for_inserts()).set("a", "1").await?;
    assert_eq!(outbox.claim(worker, 10).await?, []);
    two.tx.commit().await?;
    assert_eq!(outbox.claim(worker, 10).await?.len(), 1);
    Ok(())
}

async fn events_are_noticed_at_the_commit(world: World) -> Result<()> {
    let (two, mut notices) = (begin(&world).await?, world.backend().outbox().notices());
    two.inside.with_fanout(&for_inserts()).set("a", "1").await?;
    notices.mark_unchanged();
    two.tx.commit().await?;
    let noticed = tokio::time::timeout(Duration::from_secs(5), notices.changed()).await;
    assert!(noticed.is_ok_and(|noticed| noticed.is_ok()), "nothing was noticed");
    Ok(())
}

async fn events_tell_where_they_came_from(world: World) -> Result<()> {
    let two = begin(&world).await?;
    let mut inner = CxInner::new(two.app);
    inner.clock = world.backend().clock();
    (inner.trigger_depth, inner.execution) = (2, Some(ExecutionId::new()));
    let cx = CallCx::from(inner);
    let things = Collection::new(two.tx.services().kv, cx.clone(), "things")?;
    things.with_fanout(&for_inserts()).set("a", "1").await?;
    two.tx.commit().await?;
    let rows = world.backend().outbox().waiting(two.app, 10).await?;
    let told: Vec<_> =
        rows.iter().map(|row| (row.trigger_depth, row.trace, row.request, row.parent)).collect();
    assert_eq!(told, [(3, cx.trace(), cx.request(), cx.execution())]);
    Ok(())
}

/// Lets four tasks add 1 under their keys, five times each, every time in a transaction.
async fn increment_in_four_tasks(world: World, app: AppId, key: fn(usize) -> String) -> Result<Collection> {
    let world = Arc::new(world);
    together((0..4).map(|task| {
        let world = world.clone();
        async move {
            for _ in 0..5 {
                let two = begin_in(&world, app).await?;
                two.inside.increment(&key(task), 1).await?;
                two.tx.commit().await?;
            }
            Ok(())
        }
    }))
    .await?;
    world.collection_of(app)
}

async fn transactions_that_write_different_keys_all_commit(world: World) -> Result<()> {
    let app = world.app().await?;
    let things = increment_in_four_tasks(world, app, |task| format!("key {task}")).await?;
    let counted = things.get_many(&["key 0", "key 1", "key 2", "key 3"]).await?;
    assert_eq!(counted, vec![Some("5".to_owned()); 4]);
    Ok(())
}

async fn no_increment_is_lost_between_transactions(world: World) -> Result<()> {
    let app = world.app().await?;
    let things = increment_in_four_tasks(world, app, |_| "key".to_owned()).await?;
    assert_eq!(things.get("key").await?.as_deref(), Some("20"));
    Ok(())
}
