//! Lists: order, prefixes, pages and cursors.

use crate::conformance::{Case, Collection, World, case_list, keys_of, together};
use crate::kv::{Entry, ListOptions, MAX_KEY_BYTES};
use crate::page::{Cursor, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page};
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["kv":
        a_list_has_keys_and_values,
        a_list_is_in_byte_order_of_the_utf8_key,
        an_empty_collection_is_one_empty_page,
        a_prefix_selects_the_keys_that_begin_with_it,
        a_prefix_is_text_and_no_pattern,
        a_prefix_minds_the_case,
        a_prefix_may_be_the_highest_character,
        an_empty_prefix_selects_everything,
        a_prefix_that_no_key_can_have_selects_nothing,
        pages_of_any_size_list_each_entry_once,
        pages_keep_to_the_prefix,
        the_last_page_has_no_cursor,
        entries_that_stay_are_listed_once_while_others_go,
        entries_that_stay_are_listed_once_while_others_come,
        a_page_has_100_items_unless_the_caller_says,
        a_page_of_no_items_is_a_page_of_one,
        a_page_has_at_most_1000_items,
        a_tampered_cursor_is_refused,
        an_invented_cursor_is_refused,
        a_cursor_of_another_collection_is_refused,
        a_cursor_of_another_prefix_is_refused,
    ]
}

fn all() -> ListOptions {
    ListOptions::default()
}

/// Fails unless the list was refused for its cursor.
fn assert_refused<T: std::fmt::Debug>(answer: Result<T>, cursor: &str) {
    let code = answer.as_ref().map_err(Error::code);
    assert_eq!(code.err(), Some("kv.invalid_cursor"), "for the cursor {cursor:?}: {answer:?}");
}

/// The cursor after the first of several entries.
async fn cursor_of(things: &Collection, options: ListOptions) -> Result<Cursor> {
    let page = things.list(options.limit(1)).await?;
    page.cursor.ok_or_else(|| Error::internal("a page before the last one has a cursor; this one has none"))
}

async fn a_list_has_keys_and_values(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.set("a", "1").await?;
    things.set("b", r#"{"c":-0.0}"#).await?;
    let page = things.list(all()).await?;
    let listed: Vec<_> = page.items.iter().map(|item| (item.key.as_str(), item.value.as_str())).collect();
    assert_eq!(listed, [("a", "1"), ("b", r#"{"c":-0.0}"#)]);
    Ok(())
}

async fn a_list_is_in_byte_order_of_the_utf8_key(world: World) -> Result<()> {
    // Each neighbour is a trap: collations that ignore case, accents, punctuation or length, numbers read as
    // numbers, and UTF-16, in which the last two change places.
    let ordered = [
        " ",
        "!",
        "-a",
        "1",
        "10",
        "2",
        "A",
        "B",
        "_",
        "a",
        "a b",
        "a-b",
        "a.b",
        "aB",
        "ab",
        "b",
        "{",
        "~",
        "ß",
        "à",
        "é",
        "ı",
        "世",
        "\u{fffd}",
        "\u{1f980}",
    ];
    let things = world.collection().await?;
    things.fill(ordered.iter().rev()).await?;
    assert_eq!(things.keys(all()).await?, ordered);
    Ok(())
}

async fn an_empty_collection_is_one_empty_page(world: World) -> Result<()> {
    let things = world.collection().await?;
    assert_eq!(things.walk(all(), 1).await?, [[""; 0]]);
    Ok(())
}

async fn a_prefix_selects_the_keys_that_begin_with_it(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "user", "user:", "user:1", "user:2", "user;", "users", "v", "x user:"]).await?;
    assert_eq!(things.keys(all().prefix("user:")).await?, ["user:", "user:1", "user:2"]);
    Ok(())
}

async fn a_prefix_is_text_and_no_pattern(world: World) -> Result<()> {
    let signs = ["%", "*", ".", "?", "[", "\\", "^", "_"];
    let things = world.collection().await?;
    things.fill(signs.iter().map(|sign| format!("{sign}1"))).await?;
    things.fill(["a1", "ab1"]).await?;
    for sign in signs {
        assert_eq!(things.keys(all().prefix(sign)).await?, [format!("{sign}1")], "for the prefix {sign:?}");
    }
    Ok(())
}

async fn a_prefix_minds_the_case(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["user", "User", "USER"]).await?;
    assert_eq!(things.keys(all().prefix("Us")).await?, ["User"]);
    Ok(())
}

async fn a_prefix_may_be_the_highest_character(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "\u{10ffff}", "\u{10ffff}a", "\u{10ffff}\u{10ffff}", "\u{10fffe}"]).await?;
    let found = things.keys(all().prefix("\u{10ffff}")).await?;
    assert_eq!(found, ["\u{10ffff}", "\u{10ffff}a", "\u{10ffff}\u{10ffff}"]);
    Ok(())
}

async fn an_empty_prefix_selects_everything(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b"]).await?;
    assert_eq!(things.keys(all().prefix("")).await?, ["a", "b"]);
    Ok(())
}

async fn a_prefix_that_no_key_can_have_selects_nothing(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "a0"]).await?;
    for prefix in ["a".repeat(MAX_KEY_BYTES + 1), "a\0".to_owned()] {
        assert_eq!(things.keys(all().prefix(&prefix)).await?, [""; 0], "for the prefix {prefix:?}");
    }
    Ok(())
}

async fn pages_of_any_size_list_each_entry_once(world: World) -> Result<()> {
    let keys = ["a", "a\u{1}", "ab", "b", "ä", "世", "\u{10ffff}"];
    let things = world.collection().await?;
    things.fill(keys).await?;
    for size in 1..=keys.len() + 1 {
        let pages = things.walk(all().limit(size), keys.len()).await?;
        assert_eq!(pages, keys.chunks(size).collect::<Vec<_>>(), "in pages of {size}");
    }
    Ok(())
}

async fn pages_keep_to_the_prefix(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b1", "b2", "b3", "c"]).await?;
    assert_eq!(things.walk(all().prefix("b").limit(2), 2).await?, [vec!["b1", "b2"], vec!["b3"]]);
    Ok(())
}

async fn the_last_page_has_no_cursor(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b"]).await?;
    assert_eq!(things.list(all().limit(2)).await?.cursor, None);
    Ok(())
}

async fn entries_that_stay_are_listed_once_while_others_go(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b", "c", "d", "e", "f"]).await?;
    let first = things.list(all().limit(3)).await?;
    // Among them the one that the walk stands at.
    for key in ["a", "c", "e"] {
        things.delete(key).await?;
    }
    assert_seen_once(&things, first, &["b", "d", "f"]).await
}

async fn entries_that_stay_are_listed_once_while_others_come(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["b", "d", "f"]).await?;
    let first = things.list(all().limit(2)).await?;
    things.fill(["a", "c", "e", "g"]).await?;
    assert_seen_once(&things, first, &["b", "d", "f"]).await
}

/// Fails unless `first` and what follows it have each of `staying` once.
async fn assert_seen_once(things: &Collection, first: Page<Entry>, staying: &[&str]) -> Result<()> {
    let mut seen = keys_of(&first);
    let rest = ListOptions { cursor: first.cursor, ..all() };
    seen.extend(things.keys(rest).await?);
    seen.retain(|key| staying.contains(&key.as_str()));
    assert_eq!(seen, staying);
    Ok(())
}

/// As many entries, written quickly.
async fn with_entries(world: &World, count: usize) -> Result<Collection> {
    let things = world.collection().await?;
    let keys: Vec<String> = (0..count).map(|number| format!("{number:05}")).collect();
    together(keys.chunks(count.div_ceil(8)).map(|keys| {
        let (things, keys) = (things.clone(), keys.to_vec());
        async move { things.fill(keys).await }
    }))
    .await?;
    Ok(things)
}

async fn a_page_has_100_items_unless_the_caller_says(world: World) -> Result<()> {
    let things = with_entries(&world, DEFAULT_PAGE_SIZE + 1).await?;
    assert_eq!(things.list(all()).await?.items.len(), DEFAULT_PAGE_SIZE);
    Ok(())
}

async fn a_page_of_no_items_is_a_page_of_one(world: World) -> Result<()> {
    let things = with_entries(&world, 2).await?;
    assert_eq!(things.walk(all().limit(0), 2).await?, [["00000"], ["00001"]]);
    Ok(())
}

async fn a_page_has_at_most_1000_items(world: World) -> Result<()> {
    let things = with_entries(&world, MAX_PAGE_SIZE + 1).await?;
    assert_eq!(things.list(all().limit(MAX_PAGE_SIZE + 1)).await?.items.len(), MAX_PAGE_SIZE);
    Ok(())
}

async fn a_tampered_cursor_is_refused(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b", "c"]).await?;
    let good = cursor_of(&things, all()).await?;
    let good = good.as_str();

    let mut tampered =
        vec![format!("{good}0"), format!("{good}="), format!(" {good}"), format!("{good}{good}")];
    for (at, character) in good.char_indices() {
        let (before, after) = (&good[..at], &good[at + character.len_utf8()..]);
        tampered.push(format!("{before}{after}"));
        tampered.extend(['0', 'A', 'a', '+'].map(|other| format!("{before}{other}{after}")));
    }
    for text in tampered.into_iter().filter(|text| text != good) {
        assert_refused(things.list(all().cursor(Cursor::new(&*text))).await, &text);
    }
    Ok(())
}

async fn an_invented_cursor_is_refused(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a", "b"]).await?;
    for text in ["", "a", "YQ==", "0", "1", "世界", "'; --", "\0", &"f".repeat(5_000)] {
        assert_refused(things.list(all().cursor(Cursor::new(text))).await, text);
    }
    Ok(())
}

async fn a_cursor_of_another_collection_is_refused(world: World) -> Result<()> {
    let (things, others) = {
        let things = world.collection().await?;
        (things.clone(), things.other("others")?)
    };
    things.fill(["a", "b"]).await?;
    others.fill(["a", "b"]).await?;
    let cursor = cursor_of(&things, all()).await?;
    assert_refused(others.list(all().cursor(cursor.clone())).await, cursor.as_str());
    Ok(())
}

async fn a_cursor_of_another_prefix_is_refused(world: World) -> Result<()> {
    let things = world.collection().await?;
    things.fill(["a1", "a2", "a3"]).await?;
    let cursor = cursor_of(&things, all().prefix("a")).await?;
    assert_refused(things.list(all().prefix("a2").cursor(cursor.clone())).await, cursor.as_str());
    Ok(())
}
