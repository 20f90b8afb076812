//! Apps and collections do not see each other, whatever their documents and queries hold.

use crate::Result;
use crate::conformance::{Case, Documents, World, case_list};
use crate::docs::Document;

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        documents_of_other_apps_are_not_seen,
        documents_of_other_collections_are_not_seen,
        documents_of_other_apps_cannot_be_changed,
        documents_of_other_collections_cannot_be_changed,
        no_text_in_a_query_is_more_than_text,
    ]
}

async fn assert_unseen(others: &Documents, document: &Document) -> Result<()> {
    assert_eq!(others.read(document.id).await?, None);
    for query in ["{}", r#"{"a":1}"#, r#"{"a":{"$gt":0}}"#, r#"{"$not":{"b":1}}"#, r#"{"$sort":"a"}"#] {
        assert_eq!(others.find(query).await?, [], "{query}");
    }
    assert_eq!(others.count("{}").await?, 0);
    Ok(())
}

async fn documents_of_other_apps_are_not_seen(world: World) -> Result<()> {
    let document = world.documents().await?.create(r#"{"a":1}"#).await?;
    assert_unseen(&world.documents().await?, &document).await
}

async fn documents_of_other_collections_are_not_seen(world: World) -> Result<()> {
    let things = world.documents().await?;
    let document = things.create(r#"{"a":1}"#).await?;
    assert_unseen(&things.other("thing")?, &document).await
}

async fn assert_unchangeable(things: &Documents, others: &Documents) -> Result<()> {
    let document = things.create(r#"{"a":1}"#).await?;
    assert!(others.update(document.id, "{}").await.is_err());
    assert!(others.patch(document.id, "{}").await.is_err());
    assert!(!others.delete(document.id).await?);
    assert_eq!(things.read(document.id).await?, Some(document));
    Ok(())
}

async fn documents_of_other_apps_cannot_be_changed(world: World) -> Result<()> {
    assert_unchangeable(&world.documents().await?, &world.documents().await?).await
}

async fn documents_of_other_collections_cannot_be_changed(world: World) -> Result<()> {
    let things = world.documents().await?;
    assert_unchangeable(&things, &things.other("thing")?).await
}

async fn no_text_in_a_query_is_more_than_text(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.create(r#"{"a":1}"#).await?;
    let texts = [
        "'; DROP TABLE docs; --",
        "\" || true || \"",
        "a\\\" == 1 || exists($) || $.\\\"b",
        "$1",
        "@ ? (1 == 1)",
        "%",
        "\\",
        "\u{1f980}{}[]*/**/",
    ];
    for text in texts {
        let quoted = crate::Json::from_value(text)?;
        let id = things.create(&format!(r#"{{"k":{quoted},"o":{{{quoted}:1}}}}"#)).await?.id;
        for operator in ["$eq", "$gte", "$contains", "$starts_with"] {
            let found = things.find(&format!(r#"{{"k":{{"{operator}":{quoted}}}}}"#)).await?;
            assert!(found.contains(&id), "{operator} of {text:?}");
            assert!(operator != "$eq" || found == [id], "{operator} of {text:?} finds {found:?}");
        }
        if text.contains('.') || text.starts_with('$') {
            continue;
        }
        let path = crate::Json::from_value(&format!("o.{text}"))?;
        assert_eq!(things.find(&format!("{{{path}:1}}")).await?, [id], "{text:?}");
        assert_eq!(things.find(&format!("{{{path}:1,\"$sort\":{path}}}")).await?, [id], "{text:?}");
    }
    Ok(())
}
