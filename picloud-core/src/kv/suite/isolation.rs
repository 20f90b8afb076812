//! Entries of another app cannot be read, written, listed or noticed.

use crate::Result;
use crate::conformance::{Case, Collection, World, case_list};
use crate::kv::ListOptions;

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        get_does_not_see_another_app,
        get_many_does_not_see_another_app,
        list_does_not_see_another_app,
        set_does_not_touch_another_app,
        delete_does_not_touch_another_app,
        delete_does_not_notice_another_app,
        increment_does_not_see_another_app,
        compare_and_set_does_not_see_another_app,
        compare_and_set_does_not_touch_another_app,
        a_cursor_of_another_app_is_refused,
    ]
}

/// The same collection of two apps. In the second one, `key` holds `1`.
async fn mine_and_theirs(world: &World) -> Result<(Collection, Collection)> {
    let (mine, theirs) = (world.collection().await?, world.collection().await?);
    theirs.set("key", "1").await?;
    Ok((mine, theirs))
}

async fn get_does_not_see_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    assert_eq!(mine.get("key").await?, None);
    Ok(())
}

async fn get_many_does_not_see_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    mine.set("own", "2").await?;
    assert_eq!(mine.get_many(&["key", "own"]).await?, [None, Some("2".to_owned())]);
    Ok(())
}

async fn list_does_not_see_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    mine.set("own", "2").await?;
    assert_eq!(mine.keys(ListOptions::default()).await?, ["own"]);
    Ok(())
}

async fn set_does_not_touch_another_app(world: World) -> Result<()> {
    let (mine, theirs) = mine_and_theirs(&world).await?;
    mine.set("key", "2").await?;
    assert_eq!(theirs.get("key").await?.as_deref(), Some("1"));
    Ok(())
}

async fn delete_does_not_touch_another_app(world: World) -> Result<()> {
    let (mine, theirs) = mine_and_theirs(&world).await?;
    mine.set("key", "2").await?;
    mine.delete("key").await?;
    assert_eq!(theirs.get("key").await?.as_deref(), Some("1"));
    Ok(())
}

async fn delete_does_not_notice_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    assert!(!mine.delete("key").await?);
    Ok(())
}

async fn increment_does_not_see_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    assert_eq!(mine.increment("key", 5).await?, 5);
    Ok(())
}

async fn compare_and_set_does_not_see_another_app(world: World) -> Result<()> {
    let (mine, _) = mine_and_theirs(&world).await?;
    assert!(!mine.compare_and_set("key", Some("1"), "2").await?);
    Ok(())
}

async fn compare_and_set_does_not_touch_another_app(world: World) -> Result<()> {
    let (mine, theirs) = mine_and_theirs(&world).await?;
    assert!(mine.compare_and_set("key", None, "2").await?);
    assert_eq!(theirs.get("key").await?.as_deref(), Some("1"));
    Ok(())
}

async fn a_cursor_of_another_app_is_refused(world: World) -> Result<()> {
    let (mine, theirs) = mine_and_theirs(&world).await?;
    for things in [&mine, &theirs] {
        things.fill(["a", "b"]).await?;
    }
    let cursor = theirs.list(ListOptions::default().limit(1)).await?.cursor;
    let options = ListOptions { cursor, ..ListOptions::default() };
    let answer = mine.list(options).await;
    assert_eq!(answer.as_ref().map_err(|error| error.code()).err(), Some("kv.invalid_cursor"), "{answer:?}");
    Ok(())
}
