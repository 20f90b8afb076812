//! Time to live: what has expired is as if it were deleted, for every method.

use std::time::Duration;

use crate::Result;
use crate::conformance::{Case, Collection, World, case_list};
use crate::kv::{ListOptions, MAX_TTL_SECONDS};

/// Long enough that an entry written a moment ago is alive on a slow machine too, short enough to wait for.
const SHORT: u64 = 2;
/// So long that no case sees its end.
const LONG: u64 = 3_600;
/// After this, what was to live for `SHORT` is gone.
const PAST_SHORT: Duration = Duration::from_millis(2_200);

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        an_entry_lives_until_its_time_has_passed,
        the_longest_time_to_live_is_accepted,
        an_expired_entry_is_missing_for_get,
        an_expired_entry_is_missing_for_get_many,
        an_expired_entry_is_not_listed,
        an_expired_entry_takes_no_room_on_a_page,
        expired_entries_make_no_further_page,
        deleting_an_expired_entry_answers_false,
        incrementing_an_expired_entry_counts_from_zero,
        an_expired_entry_is_missing_for_compare_and_set,
        an_expired_value_does_not_equal_the_expected_one,
        a_write_without_a_time_to_live_clears_it,
        a_write_with_a_shorter_time_to_live_shortens_it,
        a_write_with_a_longer_time_to_live_prolongs_it,
        an_increment_keeps_the_time_to_live,
        a_compare_and_set_keeps_the_time_to_live,
        an_increment_over_an_expired_entry_inherits_no_time_to_live,
        a_compare_and_set_over_an_expired_entry_inherits_no_time_to_live,
    ]
}

/// A collection in which `key` has just expired; it held `1`.
async fn with_expired(world: &World) -> Result<Collection> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", SHORT).await?;
    world.pass_time(PAST_SHORT).await;
    Ok(things)
}

/// Whether `key` is there after the short time to live has passed.
async fn outlives_short(world: &World, things: &Collection) -> Result<bool> {
    assert!(things.get("key").await?.is_some(), "the key is missing before its time");
    world.pass_time(PAST_SHORT).await;
    Ok(things.get("key").await?.is_some())
}

async fn an_entry_lives_until_its_time_has_passed(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", LONG).await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}

async fn the_longest_time_to_live_is_accepted(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", MAX_TTL_SECONDS).await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}

async fn an_expired_entry_is_missing_for_get(world: World) -> Result<()> {
    assert_eq!(with_expired(&world).await?.get("key").await?, None);
    Ok(())
}

async fn an_expired_entry_is_missing_for_get_many(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.set("another", "2").await?;
    assert_eq!(things.get_many(&["key", "another"]).await?, [None, Some("2".to_owned())]);
    Ok(())
}

async fn an_expired_entry_is_not_listed(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.set("another", "2").await?;
    assert_eq!(things.keys(ListOptions::default()).await?, ["another"]);
    Ok(())
}

async fn an_expired_entry_takes_no_room_on_a_page(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.set("later than key", "2").await?;
    assert_eq!(things.keys(ListOptions::default().limit(1)).await?, ["later than key"]);
    Ok(())
}

async fn expired_entries_make_no_further_page(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.set("a", "2").await?;
    assert_eq!(things.walk(ListOptions::default().limit(1), 1).await?, [["a"]]);
    Ok(())
}

async fn deleting_an_expired_entry_answers_false(world: World) -> Result<()> {
    assert!(!with_expired(&world).await?.delete("key").await?);
    Ok(())
}

async fn incrementing_an_expired_entry_counts_from_zero(world: World) -> Result<()> {
    assert_eq!(with_expired(&world).await?.increment("key", 5).await?, 5);
    Ok(())
}

async fn an_expired_entry_is_missing_for_compare_and_set(world: World) -> Result<()> {
    assert!(with_expired(&world).await?.compare_and_set("key", None, "2").await?);
    Ok(())
}

async fn an_expired_value_does_not_equal_the_expected_one(world: World) -> Result<()> {
    assert!(!with_expired(&world).await?.compare_and_set("key", Some("1"), "2").await?);
    Ok(())
}

async fn a_write_without_a_time_to_live_clears_it(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", SHORT).await?;
    things.set("key", "2").await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}

async fn a_write_with_a_shorter_time_to_live_shortens_it(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", LONG).await?;
    things.set_ttl("key", "2", SHORT).await?;
    assert!(!outlives_short(&world, &things).await?);
    Ok(())
}

async fn a_write_with_a_longer_time_to_live_prolongs_it(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", SHORT).await?;
    things.set_ttl("key", "2", LONG).await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}

async fn an_increment_keeps_the_time_to_live(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", SHORT).await?;
    things.increment("key", 1).await?;
    assert!(!outlives_short(&world, &things).await?);
    Ok(())
}

async fn a_compare_and_set_keeps_the_time_to_live(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set_ttl("key", "1", SHORT).await?;
    assert!(things.compare_and_set("key", Some("1"), "2").await?);
    assert!(!outlives_short(&world, &things).await?);
    Ok(())
}

async fn an_increment_over_an_expired_entry_inherits_no_time_to_live(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.increment("key", 1).await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}

async fn a_compare_and_set_over_an_expired_entry_inherits_no_time_to_live(world: World) -> Result<()> {
    let things = with_expired(&world).await?;
    things.compare_and_set("key", None, "2").await?;
    assert!(outlives_short(&world, &things).await?);
    Ok(())
}
