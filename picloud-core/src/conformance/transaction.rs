//! The contract of [`Transaction`], sentence by sentence.
//!
//! Not tested: that one is ended when it was open for too long. That takes longer than a case may wait.

mod together;

use std::time::Duration;

use super::{Case, Collection, World, case_list};
use crate::catalog::CatalogChange;
use crate::outbox::{Fanout, FanoutRow, Revision};
use crate::{AppId, Error, Result, RouteId, ScriptId, Transaction, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    let alone = case_list!["tx":
        writes_are_seen_inside_at_once,
        writes_are_not_seen_outside_before_the_commit,
        writes_are_seen_outside_after_the_commit,
        a_dropped_transaction_leaves_no_writes,
        a_dropped_transaction_leaves_no_events,
        a_dropped_transaction_holds_nobody_up,
        what_was_stored_before_is_seen_inside,
        failures_that_are_expected_leave_it_usable,
        a_stale_write_stores_nothing_and_leaves_it_usable,
        after_the_commit_its_services_are_closed,
        after_a_drop_its_services_are_closed,
        its_services_asked_for_twice_are_the_same,
        updates_and_deletes_are_not_seen_outside_before_the_commit,
        a_transaction_without_writes_commits,
        what_expired_before_is_missing_inside,
        a_time_to_live_set_inside_counts_after_the_commit,
        documents_are_part_of_it,
        a_dropped_transaction_leaves_no_documents,
    ];
    [alone, together::cases()].concat()
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

async fn documents_are_part_of_it(world: World) -> Result<()> {
    let two = begin(&world).await?;
    let inside = world.documents_in(&two.tx.services(), two.app)?;
    let outside = world.documents_of(two.app)?;
    let id = inside.with_fanout(&for_creates()).create(r#"{"a":1}"#).await?.id;
    two.inside.set("id", "1").await?;
    inside.patch(id, r#"{"b":2}"#).await?;
    assert_eq!(inside.find(r#"{"a":1,"b":2}"#).await?, [id]);
    assert_eq!((outside.get(id).await?, two.outside.get("id").await?), (None, None));
    two.tx.commit().await?;
    assert_eq!(outside.find(r#"{"a":1,"b":2}"#).await?, [id]);
    assert_eq!(two.outside.get("id").await?.as_deref(), Some("1"));
    assert_eq!(world.outbox_rows(two.app).await?.len(), 1);
    assert_eq!(inside.get(id).await.as_ref().err().map(Error::code), Some("tx.closed"));
    Ok(())
}

fn for_creates() -> Fanout {
    let row = FanoutRow { op: "create", trigger: TriggerId::new(), script: ScriptId::new() };
    Fanout { revision: Some(Revision(0)), rows: vec![row] }
}

async fn a_dropped_transaction_leaves_no_documents(world: World) -> Result<()> {
    let two = begin(&world).await?;
    world.documents_in(&two.tx.services(), two.app)?.create("{}").await?;
    drop(two.tx);
    assert_eq!(world.documents_of(two.app)?.find("{}").await?, []);
    Ok(())
}
