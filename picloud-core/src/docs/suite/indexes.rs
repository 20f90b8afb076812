//! Declared indexes: what they change for queries is how long these take.

use std::time::Duration;

use crate::conformance::{Case, Documents, World, case_list};
use crate::docs::MAX_INDEXES;
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        an_index_is_declared_once,
        an_index_becomes_complete,
        an_index_is_of_its_collection_and_app,
        a_dropped_index_is_gone,
        too_many_indexes_are_refused,
        an_index_changes_no_answer,
        what_is_written_after_an_index_was_declared_is_found,
    ]
}

/// Waits until every index of a collection is complete.
async fn complete(documents: &Documents) -> Result<()> {
    let wait = async {
        while !documents.indexes().await?.iter().all(|(_, is_complete)| *is_complete) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| Err(Error::internal("an index does not become complete")))
}

async fn names(documents: &Documents) -> Result<Vec<String>> {
    Ok(documents.indexes().await?.into_iter().map(|(path, _)| path).collect())
}

async fn an_index_is_declared_once(world: World) -> Result<()> {
    let documents = world.documents().await?;
    for path in ["b", "a.ü", "b"] {
        documents.declare_index(path).await?;
    }
    assert_eq!(names(&documents).await?, ["a.ü", "b"]);
    Ok(())
}

async fn an_index_becomes_complete(world: World) -> Result<()> {
    let documents = world.documents().await?;
    for n in 0..700 {
        documents.create(&format!("{{\"n\":{n}}}")).await?;
    }
    documents.declare_index("n").await?;
    complete(&documents).await?;
    assert_eq!(documents.indexes().await?, [("n".to_owned(), true)]);
    assert_eq!(documents.page("{\"$sort\":\"n\",\"$limit\":1000}", None).await?.items.len(), 700);
    Ok(())
}

async fn an_index_is_of_its_collection_and_app(world: World) -> Result<()> {
    let documents = world.documents().await?;
    documents.declare_index("n").await?;
    assert_eq!(names(&documents.other("others")?).await?, [""; 0]);
    assert_eq!(names(&world.documents().await?).await?, [""; 0]);
    assert_eq!(names(&documents).await?, ["n"]);
    Ok(())
}

async fn a_dropped_index_is_gone(world: World) -> Result<()> {
    let documents = world.documents().await?;
    documents.create("{\"n\":1}").await?;
    documents.declare_index("n").await?;
    documents.declare_index("m").await?;
    complete(&documents).await?;
    assert!(documents.drop_index("n").await?);
    assert!(!documents.drop_index("n").await?, "it was gone");
    assert_eq!(names(&documents).await?, ["m"]);
    // It may come again at once.
    documents.create("{\"n\":0}").await?;
    documents.declare_index("n").await?;
    complete(&documents).await?;
    documents.create("{\"n\":-1}").await?;
    let found = documents.page("{\"$sort\":\"n\"}", None).await?;
    let found: Vec<_> = found.items.iter().map(|document| document.data.as_str().to_owned()).collect();
    assert_eq!(found, ["{\"n\":-1}", "{\"n\":0}", "{\"n\":1}"]);
    Ok(())
}

async fn too_many_indexes_are_refused(world: World) -> Result<()> {
    let documents = world.documents().await?;
    for n in 0..MAX_INDEXES {
        documents.declare_index(&format!("a{n}")).await?;
    }
    let refused = documents.declare_index("b").await;
    assert_eq!(refused.as_ref().err().map(Error::code), Some("docs.too_many_indexes"));
    // One that is there is not one more.
    documents.declare_index("a0").await?;
    documents.other("others")?.declare_index("b").await?;
    documents.drop_index("a0").await?;
    documents.declare_index("b").await
}

/// What sorts and compares in its own way.
const VALUES: &[&str] = &[
    "{}",
    "{\"v\":null}",
    "{\"v\":{\"w\":5}}",
    "{\"v\":7}",
    "{\"v\":7.0}",
    "{\"v\":-0.0}",
    "{\"v\":0}",
    "{\"v\":1e300}",
    "{\"v\":5e-324}",
    "{\"v\":9223372036854775807}",
    "{\"v\":9.223372036854775e18}",
    "{\"v\":-1.5}",
    "{\"v\":\"\"}",
    "{\"v\":\"7\"}",
    "{\"v\":\"Z\"}",
    "{\"v\":\"a\"}",
    "{\"v\":\"ä\"}",
    "{\"v\":\"\u{ffee}\"}",
    "{\"v\":\"\u{1f600}\"}",
    "{\"v\":true}",
    "{\"v\":false}",
    "{\"v\":[7,\"a\"]}",
    "{\"v\":[]}",
    "{\"v\":[{\"w\":6}]}",
    "{\"v\":[[8]]}",
];

const QUERIES: &[&str] = &[
    "{\"$sort\":\"v\"}",
    "{\"$sort\":{\"v\":-1}}",
    "{\"v\":{\"$gt\":0},\"$sort\":\"v\"}",
    "{\"v\":{\"$gte\":-1.5,\"$lt\":8},\"$sort\":{\"v\":-1}}",
    "{\"v\":{\"$lte\":7},\"$sort\":\"v\"}",
    "{\"v\":{\"$gt\":\"7\"},\"$sort\":\"v\"}",
    "{\"v\":{\"$lt\":\"b\"},\"$sort\":{\"v\":-1}}",
    "{\"v\":{\"$gt\":5,\"$lt\":\"b\"},\"$sort\":\"v\"}",
    "{\"v\":{\"$gte\":false},\"$sort\":\"v\"}",
    "{\"v\":{\"$ne\":7},\"$sort\":\"v\"}",
    "{\"v\":{\"$contains\":\"a\"},\"$sort\":\"v\"}",
    "{\"$or\":[{\"v\":{\"$lt\":0}},{\"v\":{\"$gt\":\"Z\"}}],\"$sort\":\"v\"}",
    "{\"v.w\":{\"$gt\":4},\"$sort\":\"v.w\"}",
    "{\"$sort\":{\"v.w\":-1}}",
    "{\"v\":{\"$gt\":0}}",
];

async fn answers(documents: &Documents) -> Result<Vec<Vec<crate::docs::DocId>>> {
    let mut all = Vec::new();
    for query in QUERIES {
        // In pages, so that each begins in the middle.
        for limit in [4, 1_000] {
            let query = format!("{},\"$limit\":{limit}}}", query.strip_suffix('}').unwrap_or_default());
            all.push(documents.walk(&query, 50).await?.concat());
        }
    }
    Ok(all)
}

async fn an_index_changes_no_answer(world: World) -> Result<()> {
    let documents = world.documents().await?;
    documents.fill(VALUES).await?;
    // Longer than what is kept of a text, and alike at its beginning.
    for tail in ["b", "a", ""] {
        let (short, long) = ("x".repeat(499), "ü".repeat(700));
        for text in [format!("{short}{tail}"), format!("{short}xx{tail}"), format!("{long}{tail}")] {
            documents.create(&format!("{{\"v\":\"{text}\"}}")).await?;
        }
    }
    documents.fill(VALUES).await?;
    let before = answers(&documents).await?;
    documents.declare_index("v").await?;
    documents.declare_index("v.w").await?;
    complete(&documents).await?;
    assert_eq!(answers(&documents).await?, before);
    Ok(())
}

async fn what_is_written_after_an_index_was_declared_is_found(world: World) -> Result<()> {
    let documents = world.documents().await?;
    let mut ids = documents.fill(&["{\"v\":1}", "{\"v\":2}", "{\"v\":3}"]).await?;
    documents.declare_index("v").await?;
    complete(&documents).await?;
    ids.extend(documents.fill(&["{\"v\":0}", "{\"v\":[9]}"]).await?);
    let found = async |query: &str| -> Result<Vec<usize>> {
        let found = documents.find(query).await?;
        Ok(found.iter().filter_map(|id| ids.iter().position(|known| known == id)).collect())
    };
    assert_eq!(found("{\"$sort\":\"v\"}").await?, [3, 0, 1, 2, 4]);
    let at = |n: usize| ids.get(n).copied().ok_or_else(|| Error::internal("no such document"));
    documents.update(at(0)?, "{\"v\":\"text\"}").await?;
    documents.patch(at(1)?, "{\"$inc\":{\"v\":10}}").await?;
    documents.update(at(4)?, "{\"v\":5}").await?;
    assert_eq!(found("{\"$sort\":\"v\"}").await?, [3, 2, 4, 1, 0]);
    assert_eq!(found("{\"v\":{\"$gt\":2},\"$sort\":{\"v\":-1}}").await?, [1, 4, 2]);
    documents.delete(at(2)?).await?;
    assert_eq!(found("{\"v\":{\"$gt\":2},\"$sort\":\"v\"}").await?, [4, 1]);
    Ok(())
}
