//! The contract of [`Transaction`], sentence by sentence.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Case, Collection, World, case_list, together};
use crate::catalog::CatalogChange;
use crate::outbox::{Fanout, FanoutRow, Revision, WorkerId};
use crate::{AppId, CallCx, CxInner, Error, ExecutionId, Result, RouteId, ScriptId, Transaction, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["tx":
        writes_are_seen_inside_at_once,
        writes_are_not_seen_outside_before_the_commit,
        writes_are_seen_outside_after_the_commit,
        writes_and_their_events_appear_together,
        a_dropped_transaction_leaves_no_writes,
        a_dropped_transaction_leaves_no_events,
        a_dropped_transaction_holds_nobody_up,
        what_was_stored_before_is_seen_inside,
        failures_that_are_expected_leave_it_usable,
        a_stale_write_stores_nothing_and_leaves_it_usable,
        after_the_commit_its_services_are_closed,
        after_a_drop_its_services_are_closed,
        transactions_follow_each_other,
        versions_grow_across_transactions,
        its_services_asked_for_twice_are_the_same,
        updates_and_deletes_are_not_seen_outside_before_the_commit,
        a_transaction_without_writes_commits,
        readers_see_all_of_a_commit_or_nothing,
        values_and_events_of_a_commit_appear_at_one_moment,
        events_cannot_be_claimed_before_the_commit,
        events_are_noticed_at_the_commit,
        events_tell_where_they_came_from,
        transactions_that_write_different_keys_all_commit,
        no_increment_is_lost_between_transactions,
        what_expired_before_is_missing_inside,
        a_time_to_live_set_inside_counts_after_the_commit,
    ]
}

/// A transaction, and the same collection inside and outside.
struct Two {
    tx: Box<dyn Transaction>,
    inside: Collection,
    outside: Collection,
    app: AppId,
}

async fn begin(world: &World) -> Result<Two> {
    let app = world.app().await?;
    begin_in(world, app).await
}

async fn begin_in(world: &World, app: AppId) -> Result<Two> {
    let tx = world.transaction().await?;
    let inside = world.collection_in(tx.services().kv, app)?;
    Ok(Two { inside, outside: world.collection_of(app)?, tx, app })
}

fn for_inserts() -> Fanout {
    let row = FanoutRow { op: "insert", trigger: TriggerId::new(), script: ScriptId::new() };
    Fanout { revision: Some(Revision(0)), rows: vec![row] }
}

async fn writes_are_seen_inside_at_once(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    two.inside.increment("a", 1).await?;
    assert_eq!(two.inside.get("a").await?.as_deref(), Some("2"));
    assert_eq!(two.inside.keys(Default::default()).await?, ["a"]);
    Ok(())
}

async fn writes_are_not_seen_outside_before_the_commit(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    assert_eq!(two.outside.get("a").await?, None);
    assert_eq!(two.outside.keys(Default::default()).await?, Vec::<String>::new());
    Ok(())
}

async fn writes_are_seen_outside_after_the_commit(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    two.inside.set("b", "2").await?;
    two.inside.delete("a").await?;
    two.tx.commit().await?;
    assert_eq!(two.outside.keys(Default::default()).await?, ["b"]);
    Ok(())
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

async fn a_dropped_transaction_leaves_no_writes(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    drop(two.tx);
    assert_eq!(two.outside.get("a").await?, None);
    Ok(())
}

async fn a_dropped_transaction_leaves_no_events(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.with_fanout(&for_inserts()).set("a", "1").await?;
    drop(two.tx);
    // Waits for whatever it still held.
    two.outside.set("a", "2").await?;
    assert_eq!(world.outbox_rows(two.app).await?, []);
    Ok(())
}

async fn a_dropped_transaction_holds_nobody_up(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    drop(two.tx);
    let written = tokio::time::timeout(Duration::from_secs(2), two.outside.set("a", "2")).await;
    assert!(written.is_ok_and(|written| written.is_ok()), "the key is still held");
    assert_eq!(two.outside.get("a").await?.as_deref(), Some("2"));
    Ok(())
}

async fn what_was_stored_before_is_seen_inside(world: World) -> Result<()> {
    let app = world.app().await?;
    world.collection_of(app)?.set("a", "1").await?;
    let two = begin_in(&world, app).await?;
    assert_eq!(two.inside.get("a").await?.as_deref(), Some("1"));
    assert_eq!(two.inside.increment("a", 1).await?, 2);
    Ok(())
}

async fn failures_that_are_expected_leave_it_usable(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("text", "\"x\"").await?;
    two.inside.set("most", "9223372036854775807").await?;
    assert!(!two.inside.compare_and_set("text", Some("1"), "2").await?);
    assert!(two.inside.increment("text", 1).await.is_err());
    assert!(two.inside.increment("most", 1).await.is_err());
    assert!(!two.inside.delete("missing").await?);
    two.inside.set("after", "1").await?;
    two.tx.commit().await?;
    assert_eq!(two.outside.keys(Default::default()).await?, ["after", "most", "text"]);
    Ok(())
}

async fn a_stale_write_stores_nothing_and_leaves_it_usable(world: World) -> Result<()> {
    let two = begin(&world).await?;
    let script = crate::catalog::suite::script(&world, "a script")?;
    let changes = [CatalogChange::PutScript(script), CatalogChange::DeleteRoute(RouteId::new())];
    world.backend().catalog().apply(two.app, &changes, Revision(0)).await?;
    let stale = two.inside.with_fanout(&for_inserts());
    assert!(stale.set("a", "1").await.is_err_and(|error| Fanout::is_stale(&error)));
    let fresh = Fanout { revision: Some(Revision(1)), ..for_inserts() };
    two.inside.with_fanout(&fresh).set("b", "1").await?;
    two.tx.commit().await?;
    assert_eq!(two.outside.keys(Default::default()).await?, ["b"]);
    assert_eq!(world.outbox_rows(two.app).await?.len(), 1);
    Ok(())
}

/// Fails unless every kind of call is refused as closed.
async fn assert_closed(things: &Collection) {
    let answers = [
        things.set("a", "1").await,
        things.get("a").await.map(drop),
        things.get_many(&["a"]).await.map(drop),
        things.increment("a", 1).await.map(drop),
        things.compare_and_set("a", None, "1").await.map(drop),
        things.delete("a").await.map(drop),
        things.list(Default::default()).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.as_ref().err().map(Error::code), Some("tx.closed"), "{answer:?}");
    }
}

async fn after_the_commit_its_services_are_closed(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    two.tx.commit().await?;
    assert_closed(&two.inside).await;
    Ok(())
}

async fn after_a_drop_its_services_are_closed(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set("a", "1").await?;
    drop(two.tx);
    assert_closed(&two.inside).await;
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

async fn its_services_asked_for_twice_are_the_same(world: World) -> Result<()> {
    let two = begin(&world).await?;
    let again = world.collection_in(two.tx.services().kv, two.app)?;
    two.inside.set("a", "1").await?;
    assert_eq!(again.increment("a", 1).await?, 2);
    two.tx.commit().await?;
    assert_eq!(two.outside.get("a").await?.as_deref(), Some("2"));
    Ok(())
}

async fn updates_and_deletes_are_not_seen_outside_before_the_commit(world: World) -> Result<()> {
    let app = world.app().await?;
    world.collection_of(app)?.fill(["deleted", "updated"]).await?;
    let two = begin_in(&world, app).await?;
    two.inside.delete("deleted").await?;
    two.inside.set("updated", "1").await?;
    let null = || Some("null".to_owned());
    assert_eq!(two.outside.get_many(&["deleted", "updated"]).await?, [null(), null()]);
    two.tx.commit().await?;
    assert_eq!(two.outside.get_many(&["deleted", "updated"]).await?, [None, Some("1".to_owned())]);
    Ok(())
}

async fn a_transaction_without_writes_commits(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.get("a").await?;
    two.tx.commit().await
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
    while !writer.is_finished() {
        let read = things.get_many(&["first", "second"]).await?;
        assert_eq!(read.first(), read.get(1), "the two were written in one transaction");
    }
    writer.await.map_err(|error| Error::internal(error.to_string()))?
}

async fn values_and_events_of_a_commit_appear_at_one_moment(world: World) -> Result<()> {
    let (app, world) = (world.app().await?, Arc::new(world));
    let (things, writer) = (world.collection_of(app)?, writes_in_the_background(&world, app));
    while !writer.is_finished() {
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

/// Longer than the two seconds that entries live in these cases.
const PAST_SHORT: Duration = Duration::from_millis(2_200);

async fn what_expired_before_is_missing_inside(world: World) -> Result<()> {
    let app = world.app().await?;
    world.collection_of(app)?.set_ttl("a", "1", 2).await?;
    world.pass_time(PAST_SHORT).await;
    let two = begin_in(&world, app).await?;
    assert_eq!(two.inside.get("a").await?, None);
    assert_eq!(two.inside.increment("a", 5).await?, 5);
    Ok(())
}

async fn a_time_to_live_set_inside_counts_after_the_commit(world: World) -> Result<()> {
    let two = begin(&world).await?;
    two.inside.set_ttl("a", "1", 2).await?;
    two.tx.commit().await?;
    assert_eq!(two.outside.get("a").await?.as_deref(), Some("1"));
    world.pass_time(PAST_SHORT).await;
    assert_eq!(two.outside.get("a").await?, None);
    Ok(())
}
