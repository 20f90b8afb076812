//! Increment, compare-and-set, and calls at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::conformance::{Case, World, case_list, together};
use crate::{Error, Json, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        incrementing_a_missing_key_counts_from_zero,
        an_increment_answers_and_stores_the_sum,
        an_increment_may_be_negative,
        an_increment_reaches_the_limits_of_an_integer,
        incrementing_a_float_is_refused,
        incrementing_anything_but_a_number_is_refused,
        a_refused_increment_writes_nothing,
        an_increment_past_the_largest_integer_is_refused,
        an_increment_past_the_smallest_integer_is_refused,
        an_overflowing_increment_writes_nothing,
        compare_and_set_writes_over_the_expected_value,
        compare_and_set_leaves_an_unexpected_value,
        compare_and_set_writes_a_key_that_is_expected_to_be_missing,
        compare_and_set_leaves_a_key_that_is_not_missing,
        compare_and_set_does_not_write_a_missing_key_that_is_expected,
        compare_and_set_tells_a_stored_null_from_a_missing_key,
        compare_and_set_tells_an_integer_from_a_float,
        compare_and_set_tells_a_number_from_text,
        compare_and_set_tells_negative_zero_from_zero,
        compare_and_set_ignores_the_order_in_which_an_object_was_written,
        compare_and_set_minds_the_order_of_an_array,
        no_increment_is_lost,
        one_of_many_takes_a_lock,
        no_update_by_compare_and_set_is_lost,
        one_of_many_deletes,
        concurrent_writes_and_deletes_are_never_half_seen,
        get_many_reads_at_one_moment,
    ]
}

async fn incrementing_a_missing_key_counts_from_zero(world: World) -> Result<()> {
    assert_eq!(world.collection().await?.increment("key", 3).await?, 3);
    Ok(())
}

async fn an_increment_answers_and_stores_the_sum(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "40").await?;
    let sum = things.increment("key", 2).await?;
    assert_eq!((sum, things.get("key").await?.as_deref()), (42, Some("42")));
    Ok(())
}

async fn an_increment_may_be_negative(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "1").await?;
    assert_eq!(things.increment("key", -3).await?, -2);
    Ok(())
}

async fn an_increment_reaches_the_limits_of_an_integer(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("most", &(i64::MAX - 1).to_string()).await?;
    things.set("least", "-1").await?;
    let reached = (things.increment("most", 1).await?, things.increment("least", i64::MIN + 1).await?);
    assert_eq!(reached, (i64::MAX, i64::MIN));
    Ok(())
}

/// Fails unless incrementing `value` by `by` is refused with `code`.
async fn assert_refused(world: &World, values: &[&str], by: i64, code: &str) -> Result<()> {
    let things = world.collection().await?;
    for value in values {
        things.set("key", value).await?;
        let answer = things.increment("key", by).await;
        let found = answer.as_ref().map_err(Error::code);
        assert_eq!(found, Err(code), "for the stored value {value}");
    }
    Ok(())
}

/// Fails unless `value` is still there after a failed increment.
async fn assert_untouched(world: &World, value: &str, by: i64) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", value).await?;
    assert!(things.increment("key", by).await.is_err(), "incrementing {value} by {by} succeeded");
    assert_eq!(things.get("key").await?.as_deref(), Some(value));
    Ok(())
}

async fn incrementing_a_float_is_refused(world: World) -> Result<()> {
    assert_refused(&world, &["1.5", "1.0", "-0.0", "1e16"], 1, "kv.not_an_integer").await
}

async fn incrementing_anything_but_a_number_is_refused(world: World) -> Result<()> {
    assert_refused(&world, &["null", "true", r#""1""#, r#""""#, "[]", "[1]", "{}"], 1, "kv.not_an_integer")
        .await
}

async fn a_refused_increment_writes_nothing(world: World) -> Result<()> {
    assert_untouched(&world, "1.0", 1).await
}

async fn an_increment_past_the_largest_integer_is_refused(world: World) -> Result<()> {
    assert_refused(&world, &["9223372036854775807"], 1, "kv.overflow").await
}

async fn an_increment_past_the_smallest_integer_is_refused(world: World) -> Result<()> {
    assert_refused(&world, &["-2", "-9223372036854775808"], i64::MIN, "kv.overflow").await
}

async fn an_overflowing_increment_writes_nothing(world: World) -> Result<()> {
    assert_untouched(&world, "9223372036854775807", 1).await
}

/// Compares with `stored` and fails unless the answer, and what is stored then, are those of a `success`.
async fn assert_compared(
    world: &World,
    stored: Option<&str>,
    expected: Option<&str>,
    success: bool,
) -> Result<()> {
    let things = world.collection().await?;
    if let Some(stored) = stored {
        things.set("key", stored).await?;
    }
    let answer = things.compare_and_set("key", expected, r#""new""#).await?;
    let present = things.get("key").await?;
    let wanted = if success { Some(r#""new""#.to_owned()) } else { stored.map(str::to_owned) };
    assert_eq!((answer, present), (success, wanted), "{stored:?} was stored and {expected:?} expected");
    Ok(())
}

async fn compare_and_set_writes_over_the_expected_value(world: World) -> Result<()> {
    for value in ["1", "1.0", r#""1""#, "{}", r#"{"a":[1,{"b":null}]}"#] {
        assert_compared(&world, Some(value), Some(value), true).await?;
    }
    Ok(())
}

async fn compare_and_set_leaves_an_unexpected_value(world: World) -> Result<()> {
    assert_compared(&world, Some("1"), Some("2"), false).await
}

async fn compare_and_set_writes_a_key_that_is_expected_to_be_missing(world: World) -> Result<()> {
    assert_compared(&world, None, None, true).await
}

async fn compare_and_set_leaves_a_key_that_is_not_missing(world: World) -> Result<()> {
    assert_compared(&world, Some("1"), None, false).await
}

async fn compare_and_set_does_not_write_a_missing_key_that_is_expected(world: World) -> Result<()> {
    assert_compared(&world, None, Some("1"), false).await
}

async fn compare_and_set_tells_a_stored_null_from_a_missing_key(world: World) -> Result<()> {
    assert_compared(&world, Some("null"), None, false).await?;
    assert_compared(&world, None, Some("null"), false).await?;
    assert_compared(&world, Some("null"), Some("null"), true).await
}

async fn compare_and_set_tells_an_integer_from_a_float(world: World) -> Result<()> {
    assert_compared(&world, Some("1"), Some("1.0"), false).await?;
    assert_compared(&world, Some(r#"{"a":[1.0]}"#), Some(r#"{"a":[1]}"#), false).await
}

async fn compare_and_set_tells_a_number_from_text(world: World) -> Result<()> {
    assert_compared(&world, Some("1"), Some(r#""1""#), false).await
}

async fn compare_and_set_tells_negative_zero_from_zero(world: World) -> Result<()> {
    assert_compared(&world, Some("0.0"), Some("-0.0"), false).await
}

async fn compare_and_set_ignores_the_order_in_which_an_object_was_written(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", r#"{ "b": 2, "a": 1 }"#).await?;
    assert!(things.compare_and_set("key", Some(r#"{"a":1,"b":2}"#), "1").await?);
    Ok(())
}

async fn compare_and_set_minds_the_order_of_an_array(world: World) -> Result<()> {
    assert_compared(&world, Some("[1,2]"), Some("[2,1]"), false).await
}

async fn no_increment_is_lost(world: World) -> Result<()> {
    let things = world.collection().await?;
    together((0..50).map(|_| {
        let things = things.clone();
        async move {
            for _ in 0..20 {
                things.increment("key", 1).await?;
            }
            Ok(())
        }
    }))
    .await?;
    assert_eq!(things.get("key").await?.as_deref(), Some("1000"));
    Ok(())
}

async fn one_of_many_takes_a_lock(world: World) -> Result<()> {
    for round in 0..10 {
        let things = world.collection().await?;
        let taken = together((0..16).map(|me| {
            let things = things.clone();
            async move { things.compare_and_set("lock", None, &me.to_string()).await }
        }))
        .await?;
        let holder = things.get("lock").await?;
        let winners: Vec<_> = (0..16).filter(|me| taken.get(*me) == Some(&true)).collect();
        assert_eq!(
            winners.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::from_iter(holder),
            "in round {round}"
        );
    }
    Ok(())
}

async fn no_update_by_compare_and_set_is_lost(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "[]").await?;
    together((0..8).map(|_| {
        let things = things.clone();
        async move {
            for _ in 0..5 {
                let mut attempts = 0;
                loop {
                    attempts += 1;
                    assert!(attempts <= 10_000, "no compare-and-set of what was just read succeeds");
                    let seen = things.get("key").await?.unwrap_or_default();
                    let mut list: Vec<u8> = Json::parse(&seen)?.to_value()?;
                    list.push(0);
                    if things.compare_and_set("key", Some(&seen), Json::from_value(&list)?.as_str()).await? {
                        break;
                    }
                }
            }
            Ok(())
        }
    }))
    .await?;
    let list: Vec<u8> = Json::parse(&things.get("key").await?.unwrap_or_default())?.to_value()?;
    assert_eq!(list.len(), 40);
    Ok(())
}

async fn one_of_many_deletes(world: World) -> Result<()> {
    let things = world.collection().await?;
    for round in 0..10 {
        things.set("key", "1").await?;
        let answers = together((0..8).map(|_| {
            let things = things.clone();
            async move { things.delete("key").await }
        }))
        .await?;
        assert_eq!(answers.iter().filter(|deleted| **deleted).count(), 1, "in round {round}");
    }
    Ok(())
}

async fn concurrent_writes_and_deletes_are_never_half_seen(world: World) -> Result<()> {
    let things = world.collection().await?;
    let whole = ["a", "b"].map(|letter| format!("{:?}", letter.repeat(20_000)));
    let writers: Vec<_> = (0..4)
        .map(|writer: usize| {
            let things = things.clone();
            let value = whole.iter().cycle().nth(writer).cloned().unwrap_or_default();
            async move {
                for _ in 0..20 {
                    things.set("key", &value).await?;
                    things.delete("key").await?;
                }
                Ok(())
            }
        })
        .collect();
    let writers = tokio::spawn(together(writers));
    while !writers.is_finished() {
        if let Some(seen) = things.get("key").await? {
            assert!(whole.contains(&seen), "a reader saw {} bytes that nobody wrote", seen.len());
        }
    }
    writers.await.map_err(|error| Error::internal(error.to_string()))?.map(|_| ())
}

async fn get_many_reads_at_one_moment(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("first", "0").await?;
    things.set("second", "0").await?;
    // The writer goes on as long as there are reads: one that is over before the first of them proves nothing.
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (things, is_over) = (things.clone(), is_over.clone());
        async move {
            let mut number = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                things.set("first", &number.to_string()).await?;
                things.set("second", &number.to_string()).await?;
                tokio::task::yield_now().await;
            }
            Result::Ok(())
        }
    });
    for _ in 0..100 {
        let read = things.get_many(&["first", "second"]).await?;
        let [first, second] = [read.first(), read.get(1)]
            .map(|value| value.cloned().flatten().and_then(|value| value.parse::<i64>().ok()).unwrap_or(-1));
        assert!(first == second || first == second + 1, "first {first}, second {second}: not of one moment");
    }
    is_over.store(true, Ordering::Relaxed);
    writer.await.map_err(|error| Error::internal(error.to_string()))?
}
