//! Concurrent writes of one document take effect one after the other.

use crate::Result;
use crate::conformance::{Case, World, case_list, together};

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        no_patch_is_lost,
        every_write_counts_the_version,
        one_of_the_writers_of_a_version_succeeds,
        one_of_those_who_delete_was_first,
    ]
}

async fn no_patch_is_lost(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    together((0..6).map(|task| {
        let things = things.clone();
        async move {
            for _ in 0..6 {
                things.patch(id, &format!(r#"{{"$inc":{{"n":1}},"$push":{{"of":{task}}}}}"#)).await?;
            }
            Ok(())
        }
    }))
    .await?;
    let data: serde_json::Value =
        things.read(id).await?.map(|read| read.data).unwrap_or_else(crate::Json::null).to_value()?;
    assert_eq!(data.get("n").and_then(serde_json::Value::as_i64), Some(36));
    assert_eq!(data.get("of").and_then(serde_json::Value::as_array).map(Vec::len), Some(36));
    Ok(())
}

async fn every_write_counts_the_version(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    let mut versions = together((0..12).map(|n| {
        let things = things.clone();
        async move { Ok(things.update(id, &format!(r#"{{"n":{n}}}"#)).await?.version) }
    }))
    .await?;
    versions.sort_unstable();
    assert_eq!(versions, (2..=13).collect::<Vec<_>>());
    Ok(())
}

async fn one_of_the_writers_of_a_version_succeeds(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    let written = together((0..8).map(|n| {
        let things = things.clone();
        async move { Ok(things.update_if(id, &format!(r#"{{"n":{n}}}"#), Some(1)).await.is_ok()) }
    }))
    .await?;
    assert_eq!(written.iter().filter(|written| **written).count(), 1);
    assert_eq!(things.read(id).await?.map(|document| document.version), Some(2));
    Ok(())
}

async fn one_of_those_who_delete_was_first(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    let deleted = together((0..8).map(|_| {
        let things = things.clone();
        async move { things.delete(id).await }
    }))
    .await?;
    assert_eq!(deleted.iter().filter(|deleted| **deleted).count(), 1);
    Ok(())
}
