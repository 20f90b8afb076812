//! A write counts only at the revision that its outbox rows were computed from.

use super::fanout::{assert_no_events, one_of_each, watched_with_key};
use crate::Result;
use crate::conformance::{Case, Collection, World, case_list};
use crate::outbox::{Fanout, Revision};

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        a_fanout_without_a_revision_stores_no_rows,
        a_write_with_a_stale_revision_stores_no_rows,
        a_fanout_without_a_revision_is_a_plain_write,
        a_set_with_a_stale_revision_is_refused_and_writes_nothing,
        a_delete_with_a_stale_revision_is_refused_and_deletes_nothing,
        an_increment_with_a_stale_revision_is_refused_and_writes_nothing,
        a_compare_and_set_with_a_stale_revision_is_refused_and_writes_nothing,
        a_stale_revision_counts_without_rows_too,
        a_revision_that_is_yet_to_come_is_stale,
    ]
}

async fn a_fanout_without_a_revision_stores_no_rows(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.with_fanout(&Fanout { revision: None, ..one_of_each() }).set("key", "1").await?;
    assert_no_events(&world, &things).await
}

async fn a_fanout_without_a_revision_is_a_plain_write(world: World) -> Result<()> {
    let (things, _) = stale(&world).await?;
    things.with_fanout(&Fanout { revision: None, ..one_of_each() }).set("key", "2").await?;
    assert_eq!(things.get("key").await?.as_deref(), Some("2"));
    Ok(())
}

/// A collection in which `key` holds `1`, and the same with a fan-out from before the app last changed.
async fn stale(world: &World) -> Result<(Collection, Collection)> {
    let (things, watched) = watched_with_key(world).await?;
    world.change_app(things.app()).await?;
    Ok((things, watched))
}

/// Fails unless the write was refused as stale and `key` still holds `1`.
async fn assert_stale<T: std::fmt::Debug>(things: &Collection, answer: Result<T>) -> Result<()> {
    let refused = answer.as_ref().is_err_and(Fanout::is_stale);
    assert!(refused, "the answer is {answer:?} instead of a refusal as stale");
    assert_eq!(things.get("key").await?.as_deref(), Some("1"));
    Ok(())
}

async fn a_write_with_a_stale_revision_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = stale(&world).await?;
    // Whether it is refused is the business of other cases.
    let _ = watched.set("key", "2").await;
    assert_no_events(&world, &things).await
}

async fn a_set_with_a_stale_revision_is_refused_and_writes_nothing(world: World) -> Result<()> {
    let (things, watched) = stale(&world).await?;
    assert_stale(&things, watched.set("key", "2").await).await
}

async fn a_delete_with_a_stale_revision_is_refused_and_deletes_nothing(world: World) -> Result<()> {
    let (things, watched) = stale(&world).await?;
    assert_stale(&things, watched.delete("key").await).await
}

async fn an_increment_with_a_stale_revision_is_refused_and_writes_nothing(world: World) -> Result<()> {
    let (things, watched) = stale(&world).await?;
    assert_stale(&things, watched.increment("key", 1).await).await
}

async fn a_compare_and_set_with_a_stale_revision_is_refused_and_writes_nothing(world: World) -> Result<()> {
    let (things, watched) = stale(&world).await?;
    assert_stale(&things, watched.compare_and_set("key", Some("1"), "2").await).await
}

async fn a_stale_revision_counts_without_rows_too(world: World) -> Result<()> {
    // Nothing matched then; whether something matches now only the present revision can tell.
    let (things, _) = stale(&world).await?;
    let nothing_matched = things.with_fanout(&Fanout { revision: Some(Revision(0)), rows: vec![] });
    assert_stale(&things, nothing_matched.set("key", "2").await).await
}

async fn a_revision_that_is_yet_to_come_is_stale(world: World) -> Result<()> {
    let (things, _) = watched_with_key(&world).await?;
    let ahead = things.with_fanout(&Fanout { revision: Some(Revision(1)), ..one_of_each() });
    assert_stale(&things, ahead.set("key", "2").await).await
}
