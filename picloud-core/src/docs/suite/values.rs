//! What is written is read; versions and times.

use super::{deepest, largest};
use crate::conformance::{Case, World, case_list};
use crate::docs::DocId;
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        data_reads_back_exactly_as_it_was_written,
        the_largest_and_deepest_data_is_stored,
        a_new_document_has_version_1_and_one_time,
        documents_have_ids_of_their_own,
        a_missing_document_reads_as_none,
        an_update_replaces_the_data,
        a_write_counts_the_version_and_keeps_the_time_of_creation,
        a_patch_changes_a_part_of_the_data,
        writing_a_missing_document_is_not_found,
        a_failed_patch_changes_nothing,
        a_delete_tells_whether_there_was_something,
        a_deleted_document_is_gone,
        writes_with_the_present_version_take_place,
        an_update_with_another_version_changes_nothing,
        a_patch_with_another_version_changes_nothing,
        a_delete_with_another_version_removes_nothing,
        deleting_a_missing_document_with_a_version_answers_false,
    ]
}

async fn data_reads_back_exactly_as_it_was_written(world: World) -> Result<()> {
    let things = world.documents().await?;
    for data in [
        "{}",
        r#"{"":null,"a":[1,-0.0,1.0,1e16,5e-324,9007199254740993,true]}"#,
        r#"{"edge":[-9223372036854775808,9223372036854775807,4.611686018427388e18]}"#,
        r#"{"$set":{"a.b":"quotes \" \\ ' ü 🦀 \u001f"},"z":{"y":{"x":[]}}}"#,
    ] {
        let id = things.create(data).await?.id;
        assert_eq!(things.get(id).await?.as_deref(), Some(data));
        let found = things.page("{}", None).await?;
        assert_eq!(found.items.last().map(|document| document.data.as_str()), Some(data));
    }
    Ok(())
}

async fn the_largest_and_deepest_data_is_stored(world: World) -> Result<()> {
    let things = world.documents().await?;
    for data in [deepest(), largest()] {
        let id = things.create(&data).await?.id;
        assert!(things.get(id).await?.is_some_and(|read| read == data), "it was changed");
    }
    Ok(())
}

async fn a_new_document_has_version_1_and_one_time(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create(r#"{"a":1}"#).await?;
    assert_eq!((created.version, created.created_at), (1, created.updated_at));
    assert_eq!(created.data.as_str(), r#"{"a":1}"#);
    assert_eq!(things.read(created.id).await?, Some(created));
    Ok(())
}

async fn documents_have_ids_of_their_own(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&["{}", "{}", "{}"]).await?;
    assert!(ids.is_sorted_by(|one, two| one < two), "of one maker they are in order: {ids:?}");
    assert_eq!(things.find("{}").await?, ids);
    Ok(())
}

async fn a_missing_document_reads_as_none(world: World) -> Result<()> {
    let things = world.documents().await?;
    things.create("{}").await?;
    assert_eq!(things.get(DocId::new()).await?, None);
    Ok(())
}

async fn an_update_replaces_the_data(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create(r#"{"a":1,"b":2}"#).await?.id;
    let updated = things.update(id, r#"{"c":3}"#).await?;
    assert_eq!((updated.id, updated.data.as_str()), (id, r#"{"c":3}"#));
    assert_eq!(things.get(id).await?.as_deref(), Some(r#"{"c":3}"#));
    assert_eq!(things.find(r#"{"a":1}"#).await?, []);
    assert_eq!(things.find(r#"{"c":3}"#).await?, [id]);
    Ok(())
}

async fn a_write_counts_the_version_and_keeps_the_time_of_creation(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create("{}").await?;
    let updated = things.update(created.id, "{}").await?;
    let patched = things.patch(created.id, "{}").await?;
    assert_eq!([updated.version, patched.version], [2, 3]);
    assert_eq!([updated.created_at, patched.created_at], [created.created_at; 2]);
    assert!(created.updated_at <= updated.updated_at && updated.updated_at <= patched.updated_at);
    assert_eq!(things.read(created.id).await?, Some(patched));
    Ok(())
}

async fn a_patch_changes_a_part_of_the_data(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create(r#"{"a":{"b":1,"c":2},"d":1.5,"e":[1,2,1.0]}"#).await?.id;
    let patch = r#"{"a":{"b":null},"f":"x","$inc":{"d":1,"n.m":5},"$push":{"g":{}},"$pull":{"e":1},"$unset":["h.i"]}"#;
    let wanted = r#"{"a":{"c":2},"d":2.5,"e":[2],"f":"x","g":[{}],"n":{"m":5}}"#;
    assert_eq!(things.patch(id, patch).await?.data.as_str(), wanted);
    assert_eq!(things.get(id).await?.as_deref(), Some(wanted));
    assert_eq!(things.find(r#"{"n.m":5}"#).await?, [id]);
    Ok(())
}

fn code<T>(answer: &Result<T>) -> Option<&str> {
    answer.as_ref().err().map(Error::code)
}

async fn writing_a_missing_document_is_not_found(world: World) -> Result<()> {
    let things = world.documents().await?;
    let missing = DocId::new();
    for version in [None, Some(1)] {
        assert_eq!(code(&things.update_if(missing, "{}", version).await), Some("docs.not_found"));
        assert_eq!(code(&things.patch_if(missing, "{}", version).await), Some("docs.not_found"));
    }
    assert_eq!(things.find("{}").await?, []);
    Ok(())
}

async fn a_failed_patch_changes_nothing(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create(r#"{"a":"x","n":9223372036854775807,"o":{}}"#).await?;
    for (patch, wanted) in [
        (r#"{"o":1,"$inc":{"a":1}}"#, "docs.not_a_number"),
        (r#"{"o":1,"$inc":{"n":1}}"#, "docs.overflow"),
        (r#"{"o":1,"$push":{"a":1}}"#, "docs.not_an_array"),
        (r#"{"o":1,"$push":{"n.m":1}}"#, "docs.path_blocked"),
    ] {
        assert_eq!(code(&things.patch(created.id, patch).await), Some(wanted));
    }
    assert_eq!(things.read(created.id).await?, Some(created));
    Ok(())
}

async fn a_delete_tells_whether_there_was_something(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    assert!(things.delete(id).await?);
    assert!(!things.delete(id).await?);
    Ok(())
}

async fn a_deleted_document_is_gone(world: World) -> Result<()> {
    let things = world.documents().await?;
    let ids = things.fill(&[r#"{"a":1}"#, r#"{"a":1}"#]).await?;
    things.delete(ids[0]).await?;
    assert_eq!(things.get(ids[0]).await?, None);
    assert_eq!(things.find(r#"{"a":1}"#).await?, [ids[1]]);
    assert_eq!(things.count("{}").await?, 1);
    Ok(())
}

async fn writes_with_the_present_version_take_place(world: World) -> Result<()> {
    let things = world.documents().await?;
    let id = things.create("{}").await?.id;
    assert_eq!(things.update_if(id, "{}", Some(1)).await?.version, 2);
    assert_eq!(things.patch_if(id, "{}", Some(2)).await?.version, 3);
    assert!(things.delete_if(id, Some(3)).await?);
    Ok(())
}

async fn an_update_with_another_version_changes_nothing(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create("{}").await?;
    let answer = things.update_if(created.id, r#"{"a":1}"#, Some(2)).await;
    assert_eq!(code(&answer), Some("docs.version_mismatch"));
    assert_eq!(things.read(created.id).await?, Some(created));
    Ok(())
}

async fn a_patch_with_another_version_changes_nothing(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create("{}").await?;
    let answer = things.patch_if(created.id, r#"{"a":1}"#, Some(2)).await;
    assert_eq!(code(&answer), Some("docs.version_mismatch"));
    assert_eq!(things.read(created.id).await?, Some(created));
    Ok(())
}

async fn a_delete_with_another_version_removes_nothing(world: World) -> Result<()> {
    let things = world.documents().await?;
    let created = things.create("{}").await?;
    assert_eq!(code(&things.delete_if(created.id, Some(2)).await), Some("docs.version_mismatch"));
    assert_eq!(things.read(created.id).await?, Some(created));
    Ok(())
}

async fn deleting_a_missing_document_with_a_version_answers_false(world: World) -> Result<()> {
    let things = world.documents().await?;
    assert!(!things.delete_if(DocId::new(), Some(1)).await?);
    Ok(())
}
