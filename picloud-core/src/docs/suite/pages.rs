//! Pages and cursors of queries.

use crate::conformance::{Case, World, case_list};
use crate::page::Cursor;
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        pages_hold_every_match_once_and_in_order,
        pages_of_a_sorted_query_hold_every_match_once_and_in_order,
        pages_hold_what_only_a_few_match,
        a_page_holds_at_least_one,
        the_last_page_has_no_cursor,
        a_cursor_outlives_its_document,
        what_is_added_behind_a_cursor_is_found,
        a_cursor_of_another_query_is_refused,
        an_altered_cursor_is_refused,
    ]
}

async fn pages_hold_every_match_once_and_in_order(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&[r#"{"a":1}"#; 7]).await?;
    things.create("{}").await?;
    let walked = things.walk(r#"{"a":1,"$limit":3}"#, 5).await?;
    assert_eq!(walked, [&ids[..3], &ids[3..6], &ids[6..]]);
    Ok(())
}

async fn pages_of_a_sorted_query_hold_every_match_once_and_in_order(world: World) -> Result<()> {
    let things = world.documents().await?;
    let values = ["1", "\"x\"", "null", "[1]", "2.5", "{}", "true", "\"\"", "1.0", "false", "[]", "-3"];
    for (n, value) in values.iter().enumerate() {
        things.create(&format!(r#"{{"a":{value},"b":{}}}"#, n % 2)).await?;
    }
    for sort in [r#""a""#, r#"{"a":-1}"#, r#"["b",{"a":-1}]"#, r#"[{"b":-1},"a","c"]"#] {
        let whole = things.find(&format!(r#"{{"$sort":{sort}}}"#)).await?;
        assert_eq!(whole.len(), values.len());
        for limit in [1, 5] {
            let walked = things.walk(&format!(r#"{{"$sort":{sort},"$limit":{limit}}}"#), 13).await?;
            assert_eq!(walked.concat(), whole, "sorted by {sort}, {limit} on a page");
        }
    }
    Ok(())
}

async fn pages_hold_what_only_a_few_match(world: World) -> Result<()> {
    let things = world.documents().await?;
    let mut wanted = Vec::new();
    for n in 0..300 {
        let id = things.create(&format!(r#"{{"a":[{n}],"n":{}}}"#, -n)).await?.id;
        if n % 70 == 0 {
            wanted.push(id);
        }
    }
    // One that a database may have to look at each document for.
    let few = r#"{"a":{"$in":[[0],[70],[140],[210],[280]]}"#;
    assert_eq!(things.walk(&format!(r#"{few},"$limit":2}}"#), 4).await?.concat(), wanted);
    wanted.reverse();
    assert_eq!(things.walk(&format!(r#"{few},"$limit":2,"$sort":"n"}}"#), 4).await?.concat(), wanted);
    Ok(())
}

async fn a_page_holds_at_least_one(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&["{}", "{}"]).await?;
    assert_eq!(things.find(r#"{"$limit":0}"#).await?, ids[..1]);
    Ok(())
}

async fn the_last_page_has_no_cursor(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.fill(&["{}", "{}"]).await?;
    assert_eq!(things.page(r#"{"$limit":2}"#, None).await?.cursor, None);
    assert_eq!(things.page(r#"{"a":1}"#, None).await?.cursor, None);
    Ok(())
}

async fn a_cursor_outlives_its_document(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&[r#"{"a":3}"#, r#"{"a":2}"#, r#"{"a":1}"#]).await?;
    let query = r#"{"$sort":"a","$limit":2}"#;
    let cursor = things.page(query, None).await?.cursor;
    assert!(cursor.is_some());
    things.delete(ids[1]).await?;
    let next = things.page(query, cursor).await?;
    assert_eq!(next.items.iter().map(|document| document.id).collect::<Vec<_>>(), [ids[0]]);
    Ok(())
}

async fn what_is_added_behind_a_cursor_is_found(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.fill(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":5}"#]).await?;
    let query = r#"{"$sort":"a","$limit":2}"#;
    let cursor = things.page(query, None).await?.cursor;
    things.fill(&[r#"{"a":0}"#, r#"{"a":3}"#]).await?;
    let next = things.page(query, cursor).await?;
    let found: Vec<_> = next.items.iter().map(|document| document.data.as_str()).collect();
    assert_eq!(found, [r#"{"a":3}"#, r#"{"a":5}"#]);
    Ok(())
}

fn is_refused<T>(answer: Result<T>) -> bool {
    answer.as_ref().err().map(Error::code) == Some("docs.invalid_cursor")
}

async fn a_cursor_of_another_query_is_refused(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.fill(&["{}", "{}", "{}"]).await?;
    let (query, cursor) = (r#"{"$limit":1}"#, things.page(r#"{"$limit":1}"#, None).await?.cursor);
    assert!(cursor.is_some());
    assert!(is_refused(things.page(r#"{"a":1}"#, cursor.clone()).await));
    assert!(is_refused(things.page(r#"{"$sort":"a"}"#, cursor.clone()).await));
    assert!(is_refused(things.other("others")?.page(query, cursor.clone()).await));
    assert!(is_refused(world.documents().await?.page(query, cursor.clone()).await));
    // What is shown of documents, and how many, may change on the way.
    assert_eq!(things.page(r#"{"$limit":9,"$select":["a"]}"#, cursor).await?.items.len(), 2);
    Ok(())
}

async fn an_altered_cursor_is_refused(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.fill(&["{}", "{}"]).await?;
    let query = r#"{"$limit":1}"#;
    let cursor = things.page(query, None).await?.cursor;
    let text = cursor.as_ref().map(Cursor::as_str).unwrap_or_default();
    assert!(!text.is_empty());
    for altered in
        [format!("{text}00"), text.replacen(char::is_numeric, "a", 1), String::new(), "ü".to_owned()]
    {
        assert!(is_refused(things.page(query, Some(Cursor::new(altered))).await));
    }
    Ok(())
}
