//! A write and its outbox rows are one commit; every write has a version.

use std::time::Duration;

use serde_json::{Value, json};

use super::deepest;
use crate::conformance::{Case, Collection, World, case_list, together};
use crate::kv::{KvOp, MAX_VALUE_BYTES};
use crate::outbox::{Fanout, FanoutRow, Revision};
use crate::{Result, ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        a_write_stores_every_row_of_its_operation,
        a_write_without_rows_stores_none,
        a_set_of_a_missing_key_is_an_insert,
        a_set_of_a_present_key_is_an_update,
        a_delete_of_a_present_key_is_a_delete,
        an_increment_of_a_missing_key_is_an_insert,
        an_increment_of_a_present_key_is_an_update,
        a_compare_and_set_of_a_missing_key_is_an_insert,
        a_compare_and_set_of_a_present_key_is_an_update,
        an_update_to_the_same_value_is_an_update,
        deleting_a_missing_key_stores_no_rows,
        a_failed_compare_and_set_stores_no_rows,
        a_failed_increment_stores_no_rows,
        the_largest_and_deepest_values_have_events,
        rows_belong_to_the_app_of_the_write,
        the_previous_value_is_the_one_that_was_replaced,
        versions_of_a_key_grow_with_every_write,
        versions_grow_across_delete_and_insert,
    ]
}

/// Those in which time passes.
pub(super) fn cases_with_expiry() -> Vec<Case> {
    case_list!["kv":
        a_set_over_an_expired_entry_is_an_insert,
        an_increment_over_an_expired_entry_is_an_insert,
        a_compare_and_set_over_an_expired_entry_is_an_insert,
        deleting_an_expired_entry_stores_no_rows,
        expiry_stores_no_rows,
        versions_grow_across_expiry,
    ]
}

/// Longer than [`SHORT`] seconds.
const PAST_SHORT: Duration = Duration::from_millis(2_200);
const SHORT: u64 = 2;

fn row(op: KvOp) -> FanoutRow {
    FanoutRow { op: op.as_str(), trigger: TriggerId::new(), script: ScriptId::new() }
}

/// One row for each operation, computed from a new app.
pub(super) fn one_of_each() -> Fanout {
    Fanout { revision: Some(Revision(0)), rows: [KvOp::Insert, KvOp::Update, KvOp::Delete].map(row).into() }
}

/// What is in the outbox of the collection's app, by version of the write and then by trigger.
async fn events(world: &World, things: &Collection) -> Result<Vec<(FanoutRow, Value)>> {
    let mut events = Vec::new();
    for (row, payload) in world.outbox_rows(things.app()).await? {
        events.push((row, payload.to_value::<Value>()?));
    }
    events.sort_by_key(|(row, payload)| (version(payload), row.trigger));
    Ok(events)
}

fn version(payload: &Value) -> Option<u64> {
    payload.get("version").and_then(Value::as_u64)
}

/// The collection as it is, and as it is written to with one row for each operation.
async fn watched(world: &World) -> Result<(Collection, Collection)> {
    let things = world.collection().await?;
    let watched = things.with_fanout(&one_of_each());
    Ok((things, watched))
}

/// Like [`watched`], with `key` holding `1`, which fired nothing.
pub(super) async fn watched_with_key(world: &World) -> Result<(Collection, Collection)> {
    let (things, watched) = watched(world).await?;
    things.set("key", "1").await?;
    Ok((things, watched))
}

/// Like [`watched`], with an expired `key`.
async fn watched_with_expired(world: &World) -> Result<(Collection, Collection)> {
    let (things, watched) = watched(world).await?;
    things.set_ttl("key", "1", SHORT).await?;
    world.pass_time(PAST_SHORT).await;
    Ok((things, watched))
}

/// Fails unless the outbox holds exactly one event, this one: its row is the one for `op`, and its payload has
/// all the keys and no other.
async fn assert_event(world: &World, things: &Collection, op: KvOp, value: Value, prev: Value) -> Result<()> {
    let events = events(world, things).await?;
    let ops: Vec<_> = events.iter().map(|(row, _)| row.op).collect();
    assert_eq!(ops, [op.as_str()], "the operations of the rows in the outbox: {events:?}");
    for (_, payload) in events {
        let version = version(&payload);
        assert!(version.is_some_and(|version| version > 0), "a write has a version: {payload}");
        let wanted = json!({
            "collection": "things", "key": "key", "op": op.as_str(),
            "value": value, "prev_value": prev, "version": version,
        });
        assert_eq!(payload, wanted);
    }
    Ok(())
}

pub(super) async fn assert_no_events(world: &World, things: &Collection) -> Result<()> {
    assert_eq!(events(world, things).await?, []);
    Ok(())
}

async fn a_write_stores_every_row_of_its_operation(world: World) -> Result<()> {
    let things = world.collection().await?;
    let fanout = Fanout {
        revision: Some(Revision(0)),
        rows: [KvOp::Insert, KvOp::Update, KvOp::Insert, KvOp::Delete, KvOp::Insert].map(row).into(),
    };
    things.with_fanout(&fanout).set("key", "1").await?;
    let mut stored: Vec<_> = events(&world, &things).await?.into_iter().map(|(row, _)| row).collect();
    let mut wanted: Vec<_> = fanout.rows.into_iter().filter(|row| row.op == "insert").collect();
    stored.sort_by_key(|row| row.trigger);
    wanted.sort_by_key(|row| row.trigger);
    assert_eq!(stored, wanted);
    Ok(())
}

async fn a_write_without_rows_stores_none(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "1").await?;
    things.with_fanout(&Fanout { revision: Some(Revision(0)), rows: vec![] }).set("key", "2").await?;
    assert_no_events(&world, &things).await
}

async fn a_set_of_a_missing_key_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.set("key", r#"{"a":1.0}"#).await?;
    assert_event(&world, &things, KvOp::Insert, json!({"a": 1.0}), Value::Null).await
}

async fn a_set_of_a_present_key_is_an_update(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.set("key", "2.0").await?;
    assert_event(&world, &things, KvOp::Update, json!(2.0), json!(1)).await
}

async fn a_delete_of_a_present_key_is_a_delete(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.delete("key").await?;
    assert_event(&world, &things, KvOp::Delete, Value::Null, json!(1)).await
}

async fn an_increment_of_a_missing_key_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.increment("key", 5).await?;
    assert_event(&world, &things, KvOp::Insert, json!(5), Value::Null).await
}

async fn an_increment_of_a_present_key_is_an_update(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.increment("key", 5).await?;
    assert_event(&world, &things, KvOp::Update, json!(6), json!(1)).await
}

async fn a_compare_and_set_of_a_missing_key_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.compare_and_set("key", None, "2").await?;
    assert_event(&world, &things, KvOp::Insert, json!(2), Value::Null).await
}

async fn a_compare_and_set_of_a_present_key_is_an_update(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.compare_and_set("key", Some("1"), "2").await?;
    assert_event(&world, &things, KvOp::Update, json!(2), json!(1)).await
}

async fn a_set_over_an_expired_entry_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched_with_expired(&world).await?;
    watched.set("key", "2").await?;
    assert_event(&world, &things, KvOp::Insert, json!(2), Value::Null).await
}

async fn an_increment_over_an_expired_entry_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched_with_expired(&world).await?;
    watched.increment("key", 2).await?;
    assert_event(&world, &things, KvOp::Insert, json!(2), Value::Null).await
}

async fn a_compare_and_set_over_an_expired_entry_is_an_insert(world: World) -> Result<()> {
    let (things, watched) = watched_with_expired(&world).await?;
    watched.compare_and_set("key", None, "2").await?;
    assert_event(&world, &things, KvOp::Insert, json!(2), Value::Null).await
}

async fn an_update_to_the_same_value_is_an_update(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.set("key", "1").await?;
    assert_event(&world, &things, KvOp::Update, json!(1), json!(1)).await
}

async fn deleting_a_missing_key_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.delete("another").await?;
    assert_no_events(&world, &things).await
}

async fn deleting_an_expired_entry_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched_with_expired(&world).await?;
    watched.delete("key").await?;
    assert_no_events(&world, &things).await
}

async fn a_failed_compare_and_set_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched_with_key(&world).await?;
    watched.compare_and_set("key", Some("2"), "3").await?;
    watched.compare_and_set("key", None, "3").await?;
    watched.compare_and_set("another", Some("2"), "3").await?;
    assert_no_events(&world, &things).await
}

async fn a_failed_increment_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    for value in ["1.0", "9223372036854775807"] {
        things.set("key", value).await?;
        assert!(watched.increment("key", 1).await.is_err(), "incrementing {value} by 1 succeeded");
    }
    assert_no_events(&world, &things).await
}

async fn expiry_stores_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.set_ttl("key", "1", SHORT).await?;
    world.pass_time(PAST_SHORT).await;
    watched.get("key").await?;
    assert_event(&world, &things, KvOp::Insert, json!(1), Value::Null).await
}

async fn the_largest_and_deepest_values_have_events(world: World) -> Result<()> {
    let deepest = deepest();
    let largest = format!("{:?}", "x".repeat(MAX_VALUE_BYTES - 2));
    let (things, watched) = watched(&world).await?;
    for value in [&deepest, &largest] {
        watched.set("key", value).await?;
    }
    let stored: Vec<_> = events(&world, &things).await?.into_iter().map(|(row, _)| row.op).collect();
    assert_eq!(stored, ["insert", "update"]);
    Ok(())
}

async fn rows_belong_to_the_app_of_the_write(world: World) -> Result<()> {
    let (_, watched) = watched(&world).await?;
    let others = world.collection().await?;
    watched.set("key", "1").await?;
    assert_no_events(&world, &others).await
}

async fn the_previous_value_is_the_one_that_was_replaced(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    together((0..8).map(|_| {
        let watched = watched.clone();
        async move {
            for _ in 0..10 {
                watched.increment("key", 1).await?;
            }
            Ok(())
        }
    }))
    .await?;
    let mut before = Value::Null;
    for (_, payload) in events(&world, &things).await? {
        assert_eq!(payload.get("prev_value"), Some(&before), "in {payload}");
        before = payload.get("value").cloned().unwrap_or_default();
    }
    assert_eq!(before, json!(80));
    Ok(())
}

/// Fails unless there are `count` events and, taken in the order in which the values were written, their
/// versions grow. Values are written as `1`, `2`, … and a delete removes the last one.
async fn assert_versions_grow(world: &World, things: &Collection, count: usize) -> Result<()> {
    let mut payloads: Vec<Value> =
        events(world, things).await?.into_iter().map(|(_, payload)| payload).collect();
    payloads.sort_by_key(|payload| {
        let number = |name| payload.get(name).and_then(Value::as_i64);
        // The delete of a value comes after the write of it.
        number("value").map_or((number("prev_value"), true), |value| (Some(value), false))
    });
    let versions: Vec<_> = payloads.iter().filter_map(version).collect();
    let grow = versions.len() == count && versions.is_sorted_by(|earlier, later| earlier < later);
    assert!(grow, "the versions of {count} writes of one key are {versions:?}");
    Ok(())
}

async fn versions_of_a_key_grow_with_every_write(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.set("key", "1").await?;
    watched.set("key", "2").await?;
    watched.increment("key", 1).await?;
    watched.compare_and_set("key", Some("3"), "4").await?;
    watched.delete("key").await?;
    assert_versions_grow(&world, &things, 5).await
}

async fn versions_grow_across_delete_and_insert(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    for value in ["1", "2", "3"] {
        watched.set("key", value).await?;
        watched.delete("key").await?;
    }
    assert_versions_grow(&world, &things, 6).await
}

async fn versions_grow_across_expiry(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.set_ttl("key", "1", SHORT).await?;
    watched.set_ttl("key", "2", SHORT).await?;
    world.pass_time(PAST_SHORT).await;
    watched.set("key", "3").await?;
    assert_versions_grow(&world, &things, 3).await
}
