//! The contract of [`Transaction`], sentence by sentence.

use super::{Case, Collection, World, case_list};
use crate::catalog::CatalogChange;
use crate::outbox::{Fanout, FanoutRow, Revision};
use crate::{AppId, Error, Result, RouteId, ScriptId, Transaction, TriggerId};

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
    let tx = world.backend().transaction().await?;
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
    two.outside.set("gone", "1").await?;
    drop(two);
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
    let written = tokio::time::timeout(std::time::Duration::from_secs(2), two.outside.set("a", "2")).await;
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
        things.increment("a", 1).await.map(drop),
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
