//! What is written reads back; names and keys are told apart.

use super::deepest;
use crate::conformance::{Case, World, case_list};
use crate::kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::names::MAX_NAME_BYTES;
use crate::{Json, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        integers_read_back_exactly,
        floats_read_back_as_the_same_floats,
        text_reads_back_exactly,
        null_is_a_value,
        empty_values_read_back,
        nested_values_read_back,
        a_value_of_the_largest_size_reads_back,
        a_missing_key_reads_as_none,
        a_second_write_replaces_the_first,
        a_deleted_key_is_missing,
        deleting_a_present_key_answers_true,
        deleting_a_missing_key_succeeds_and_answers_false,
        a_deleted_key_can_be_written_again,
        get_many_answers_in_the_order_of_the_keys,
        get_many_answers_duplicates_each,
        get_many_answers_none_for_each_missing_key,
        get_many_of_no_keys_answers_nothing,
        keys_that_look_alike_are_different,
        the_longest_keys_are_told_apart,
        the_longest_collection_names_are_told_apart,
        collections_that_differ_in_case_are_separate,
        deleting_leaves_other_collections_alone,
        listing_shows_one_collection_only,
    ]
}

/// Writes and reads each of the values.
async fn assert_read_back(world: World, values: &[&str]) -> Result<()> {
    let things = world.collection().await?;
    for value in values {
        things.set("key", value).await?;
        let written = Json::parse(value)?;
        assert_eq!(things.get("key").await?.as_deref(), Some(written.as_str()));
    }
    Ok(())
}

async fn integers_read_back_exactly(world: World) -> Result<()> {
    let integers = ["0", "1", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808"];
    assert_read_back(world, &integers).await
}

async fn floats_read_back_as_the_same_floats(world: World) -> Result<()> {
    let floats = ["0.0", "-0.0", "1.0", "-3.0", "0.1", "1e16", "1.5e300", "5e-324", "1.7976931348623157e308"];
    assert_read_back(world, &floats).await
}

async fn text_reads_back_exactly(world: World) -> Result<()> {
    let texts = [
        r#""""#,
        r#"" around ""#,
        r#""Grüße, 世界, \ud83e\udd80""#,
        r#""e\u0301 is not \u00e9""#,
        r#""quote \" backslash \\ slash / tab \t line \n return \r bell \u0007""#,
        r#""it's %d {} $1 -- ; DROP""#,
        r#""\uffff\udbff\udfff\u2028\ufeff""#,
    ];
    assert_read_back(world, &texts).await
}

async fn null_is_a_value(world: World) -> Result<()> {
    assert_read_back(world, &["null"]).await
}

async fn empty_values_read_back(world: World) -> Result<()> {
    assert_read_back(world, &["{}", "[]", r#"{"":{}}"#, "[[]]", "[null]", "false"]).await
}

async fn nested_values_read_back(world: World) -> Result<()> {
    let deepest = deepest();
    let mixed = r#"{"B":[1,1.0,true,null,"1"],"a":{"b":{"c":[{"d":-0.0},9223372036854775807]}},"ä":[]}"#;
    assert_read_back(world, &[&deepest, mixed]).await
}

async fn a_value_of_the_largest_size_reads_back(world: World) -> Result<()> {
    // Mixed text: something that stores or indexes values compressed must not get away with it.
    let mut text: String =
        (0..).map(|i: u64| (i.wrapping_mul(i) % 97_003).to_string()).take(300_000).collect();
    text.truncate(MAX_VALUE_BYTES - 2);
    assert_read_back(world, &[&format!("\"{text}\"")]).await
}

async fn a_missing_key_reads_as_none(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("another", "1").await?;
    assert_eq!(things.get("key").await?, None);
    Ok(())
}

async fn a_second_write_replaces_the_first(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", r#"{"a":1}"#).await?;
    things.set("key", r#"{"b":2}"#).await?;
    assert_eq!(things.get("key").await?.as_deref(), Some(r#"{"b":2}"#));
    Ok(())
}

async fn a_deleted_key_is_missing(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "1").await?;
    things.delete("key").await?;
    assert_eq!(things.get("key").await?, None);
    Ok(())
}

async fn deleting_a_present_key_answers_true(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "null").await?;
    assert!(things.delete("key").await?);
    Ok(())
}

async fn deleting_a_missing_key_succeeds_and_answers_false(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("another", "1").await?;
    assert!(!things.delete("key").await?);
    Ok(())
}

async fn a_deleted_key_can_be_written_again(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "1").await?;
    things.delete("key").await?;
    things.set("key", "2").await?;
    assert_eq!(things.get("key").await?.as_deref(), Some("2"));
    Ok(())
}

async fn get_many_answers_in_the_order_of_the_keys(world: World) -> Result<()> {
    let things = world.collection().await?;
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        things.set(key, value).await?;
    }
    let found = things.get_many(&["c", "a", "b"]).await?;
    assert_eq!(found, ["3", "1", "2"].map(|value| Some(value.to_owned())));
    Ok(())
}

async fn get_many_answers_duplicates_each(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("a", "1").await?;
    let found = things.get_many(&["a", "missing", "a", "missing"]).await?;
    assert_eq!(found, [Some("1".to_owned()), None, Some("1".to_owned()), None]);
    Ok(())
}

async fn get_many_answers_none_for_each_missing_key(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("b", "null").await?;
    let found = things.get_many(&["a", "b", "c"]).await?;
    assert_eq!(found, [None, Some("null".to_owned()), None]);
    Ok(())
}

async fn get_many_of_no_keys_answers_nothing(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("a", "1").await?;
    assert_eq!(things.get_many(&[]).await?, []);
    Ok(())
}

async fn keys_that_look_alike_are_different(world: World) -> Result<()> {
    let keys = [
        "a",
        "A",
        "a ",
        " a",
        "a\t",
        "ä",
        "a\u{308}",
        "a\u{200b}",
        "а",
        "%",
        "_",
        "a%",
        "a_",
        "\\",
        "a\\",
        "'",
        "\"",
        "1",
        "01",
        "1.0",
        "ß",
        "ss",
        "I",
        "ı",
        "\u{feff}a",
        "/",
        "a/b",
        "a\nb",
        "\u{10ffff}",
    ];
    let things = world.collection().await?;
    for (number, key) in keys.iter().enumerate() {
        things.set(key, &number.to_string()).await?;
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(things.get(key).await?, Some(number.to_string()), "under the key {key:?}");
    }
    Ok(())
}

async fn the_longest_keys_are_told_apart(world: World) -> Result<()> {
    let things = world.collection().await?;
    let keys = ["a", "b", "ä"].map(|end| "k".repeat(MAX_KEY_BYTES - end.len()) + end);
    for key in &keys {
        things.set(key, &format!("{key:?}")).await?;
    }
    for key in &keys {
        assert_eq!(things.get(key).await?, Some(format!("{key:?}")));
    }
    Ok(())
}

async fn the_longest_collection_names_are_told_apart(world: World) -> Result<()> {
    let things = world.collection().await?;
    let name = "n".repeat(MAX_NAME_BYTES - 1);
    let (one, two) = (things.other(&format!("{name}1"))?, things.other(&format!("{name}2"))?);
    one.set("key", "1").await?;
    two.set("key", "2").await?;
    assert_eq!(one.get("key").await?.as_deref(), Some("1"));
    Ok(())
}

async fn collections_that_differ_in_case_are_separate(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("key", "1").await?;
    assert_eq!(things.other("Things")?.get("key").await?, None);
    Ok(())
}

async fn deleting_leaves_other_collections_alone(world: World) -> Result<()> {
    let things = world.collection().await?;
    let others = things.other("others")?;
    things.set("key", "1").await?;
    others.set("key", "2").await?;
    things.delete("key").await?;
    assert_eq!(others.get("key").await?.as_deref(), Some("2"));
    Ok(())
}

async fn listing_shows_one_collection_only(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a"]).await?;
    things.other("thing")?.fill(["b"]).await?;
    things.other("things2")?.fill(["c"]).await?;
    assert_eq!(things.keys(Default::default()).await?, ["a"]);
    Ok(())
}
