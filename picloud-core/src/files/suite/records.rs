//! Records read back, apart from those of others; pages of them.

use crate::conformance::{Case, Records, World, case_list, content, new_file, together};
use crate::files::{BlobId, ContentType, FileChange, FileId, FileName, FileRecord, Metadata};
use crate::page::Cursor;
use crate::{Error, Json, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["files":
        a_record_reads_back_exactly_as_it_was_written,
        the_largest_record_is_stored,
        a_missing_file_reads_as_none,
        a_new_file_has_one_time,
        an_update_changes_what_it_names,
        an_update_keeps_what_it_does_not_name,
        an_update_keeps_the_time_of_creation,
        an_update_tells_which_bytes_it_replaced,
        updating_a_missing_file_is_not_found,
        a_delete_tells_what_was_removed,
        a_deleted_file_is_gone,
        deleting_a_missing_file_answers_none,
        replaced_bytes_are_told_to_one_writer_only,
        removed_bytes_are_told_to_one_writer_only,
        bytes_that_a_record_names_are_in_use,
        bytes_of_every_app_are_in_use,
        files_are_listed_in_the_order_of_their_ids,
        pages_hold_every_file_once,
        a_page_holds_at_least_one,
        the_last_page_has_no_cursor,
        a_cursor_outlives_its_file,
        a_cursor_of_another_list_is_refused,
        an_altered_cursor_is_refused,
        files_of_other_apps_are_not_seen,
        files_of_other_collections_are_not_seen,
        files_of_other_apps_cannot_be_changed,
        files_of_other_collections_cannot_be_changed,
    ]
}

async fn a_record_reads_back_exactly_as_it_was_written(world: World) -> Result<()> {
    let things = world.files().await?;
    let file = new_file("a/b \u{1f980} '; DROP TABLE files; --")?;
    let created = things.create_file(&file).await?;
    assert_eq!(created, FileRecord::created(created.info.id, &file, created.info.created_at));
    assert_eq!(things.get(created.info.id).await?, Some(created));
    Ok(())
}

async fn the_largest_record_is_stored(world: World) -> Result<()> {
    let things = world.files().await?;
    let mut file = new_file(&"n".repeat(crate::files::MAX_FILE_NAME_BYTES))?;
    file.content_type =
        ContentType::new(format!("a/{}", "b".repeat(crate::files::MAX_CONTENT_TYPE_BYTES - 2)))?;
    let text = format!("{{\"a\":\"{}\"}}", "x".repeat(crate::files::MAX_METADATA_BYTES - 8));
    file.metadata = Metadata::new(Json::parse(&text)?)?;
    file.content = content(i64::MAX.cast_unsigned());
    let created = things.create_file(&file).await?;
    assert_eq!(things.get(created.info.id).await?, Some(created));
    Ok(())
}

async fn a_missing_file_reads_as_none(world: World) -> Result<()> {
    assert_eq!(world.files().await?.get(FileId::new()).await?, None);
    Ok(())
}

async fn a_new_file_has_one_time(world: World) -> Result<()> {
    let before = world.now();
    let created = world.files().await?.create("a").await?.info;
    assert_eq!(created.created_at, created.updated_at);
    assert!(created.created_at >= before && created.created_at <= world.now());
    Ok(())
}

fn change() -> Result<FileChange> {
    Ok(FileChange {
        name: Some(FileName::new("b")?),
        content_type: Some(ContentType::new("image/png")?),
        metadata: Some(Metadata::default()),
        content: Some(content(8)),
    })
}

async fn an_update_changes_what_it_names(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?;
    let change = change()?;
    let updated = things.update(created.info.id, &change).await?.record;
    assert_eq!(updated, created.changed(&change, updated.info.updated_at));
    assert_eq!(things.get(created.info.id).await?, Some(updated));
    Ok(())
}

async fn an_update_keeps_what_it_does_not_name(world: World) -> Result<()> {
    let things = world.files().await?;
    let whole = change()?;
    for part in [
        FileChange { name: whole.name.clone(), ..FileChange::default() },
        FileChange { content_type: whole.content_type.clone(), ..FileChange::default() },
        FileChange { metadata: whole.metadata.clone(), ..FileChange::default() },
        FileChange { content: Some(content(8)), ..FileChange::default() },
        FileChange::default(),
    ] {
        let created = things.create("a").await?;
        things.update(created.info.id, &part).await?;
        let read = things.get(created.info.id).await?;
        let time = read.as_ref().map_or(created.info.updated_at, |record| record.info.updated_at);
        assert_eq!(read, Some(created.changed(&part, time)));
    }
    Ok(())
}

async fn an_update_keeps_the_time_of_creation(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?.info;
    world.pass_time(std::time::Duration::from_millis(2)).await;
    let updated = things.replace(created.id).await?.record.info;
    assert_eq!(updated.created_at, created.created_at);
    assert!(updated.updated_at > created.updated_at);
    Ok(())
}

async fn an_update_tells_which_bytes_it_replaced(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?;
    let first = things.replace(created.info.id).await?;
    assert_eq!(first.before, created.blob);
    let second = things.update(created.info.id, &FileChange::default()).await?;
    assert_eq!((second.before, second.record.blob), (first.record.blob, first.record.blob));
    Ok(())
}

async fn updating_a_missing_file_is_not_found(world: World) -> Result<()> {
    let things = world.files().await?;
    let id = FileId::new();
    assert_eq!(things.replace(id).await.as_ref().map_err(Error::code).err(), Some("files.not_found"));
    assert_eq!(things.get(id).await?, None);
    Ok(())
}

async fn a_delete_tells_what_was_removed(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?;
    assert_eq!(things.delete(created.info.id).await?, Some(created));
    Ok(())
}

async fn a_deleted_file_is_gone(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?;
    things.delete(created.info.id).await?;
    assert_eq!(things.get(created.info.id).await?, None);
    assert_eq!(things.walk(10, 1).await?.concat(), []);
    Ok(())
}

async fn deleting_a_missing_file_answers_none(world: World) -> Result<()> {
    assert_eq!(world.files().await?.delete(FileId::new()).await?, None);
    Ok(())
}

async fn replaced_bytes_are_told_to_one_writer_only(world: World) -> Result<()> {
    let things = world.files().await?;
    let created = things.create("a").await?;
    let id = created.info.id;
    let told = together((0..4).map(|_| {
        let things = things.clone();
        async move {
            let mut told = Vec::new();
            for _ in 0..8 {
                let updated = things.replace(id).await?;
                told.push((updated.before, updated.record.blob));
            }
            Ok(told)
        }
    }))
    .await?;
    // What was there before each write is what was there after another one.
    let told = told.concat();
    let mut before: Vec<_> = told.iter().map(|(before, _)| *before).collect();
    before.extend(things.get(id).await?.map(|record| record.blob));
    let mut after: Vec<_> = told.iter().map(|(_, after)| *after).collect();
    after.push(created.blob);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after);
    Ok(())
}

async fn removed_bytes_are_told_to_one_writer_only(world: World) -> Result<()> {
    let things = world.files().await?;
    for _ in 0..8 {
        let id = things.create("a").await?.info.id;
        let told = together((0..4).map(|_| {
            let things = things.clone();
            async move { things.delete(id).await }
        }))
        .await?;
        assert_eq!(told.into_iter().flatten().count(), 1);
    }
    Ok(())
}

async fn bytes_that_a_record_names_are_in_use(world: World) -> Result<()> {
    let things = world.files().await?;
    let (one, two, three) = (things.create("a").await?, things.create("b").await?, things.create("c").await?);
    let replaced = things.replace(two.info.id).await?.record.blob;
    things.delete(three.info.id).await?;
    let asked = [one.blob, two.blob, replaced, three.blob, BlobId::new()];
    assert_eq!(things.in_use(&asked).await?, [one.blob, replaced]);
    assert_eq!(things.in_use(&[]).await?, []);
    Ok(())
}

async fn bytes_of_every_app_are_in_use(world: World) -> Result<()> {
    let (mine, others) = (world.files().await?, world.files().await?);
    let blob = mine.create("a").await?.blob;
    assert_eq!(others.in_use(&[blob]).await?, [blob]);
    Ok(())
}

async fn fill(things: &Records, count: usize) -> Result<Vec<FileRecord>> {
    let mut files = Vec::new();
    for n in 0..count {
        // Names in another order than ids.
        files.push(things.create(&format!("{}", count - n)).await?);
    }
    files.sort_unstable_by_key(|record| record.info.id);
    Ok(files)
}

async fn files_are_listed_in_the_order_of_their_ids(world: World) -> Result<()> {
    let things = world.files().await?;
    let files = fill(&things, 5).await?;
    assert_eq!(things.page(100, None).await?.items, files);
    Ok(())
}

async fn pages_hold_every_file_once(world: World) -> Result<()> {
    let things = world.files().await?;
    let files = fill(&things, 7).await?;
    assert_eq!(things.walk(3, 4).await?, [&files[..3], &files[3..6], &files[6..]]);
    Ok(())
}

async fn a_page_holds_at_least_one(world: World) -> Result<()> {
    let things = world.files().await?;
    let files = fill(&things, 2).await?;
    assert_eq!(things.page(0, None).await?.items, files[..1]);
    Ok(())
}

async fn the_last_page_has_no_cursor(world: World) -> Result<()> {
    let things = world.files().await?;
    assert_eq!(things.page(2, None).await?.cursor, None);
    fill(&things, 2).await?;
    assert_eq!(things.page(2, None).await?.cursor, None);
    Ok(())
}

async fn a_cursor_outlives_its_file(world: World) -> Result<()> {
    let things = world.files().await?;
    let files = fill(&things, 3).await?;
    let cursor = things.page(2, None).await?.cursor;
    assert!(cursor.is_some());
    things.delete(files[1].info.id).await?;
    assert_eq!(things.page(2, cursor).await?.items, files[2..]);
    Ok(())
}

fn is_refused<T>(answer: Result<T>) -> bool {
    answer.as_ref().err().map(Error::code) == Some("files.invalid_cursor")
}

async fn a_cursor_of_another_list_is_refused(world: World) -> Result<()> {
    let things = world.files().await?;
    fill(&things, 2).await?;
    let cursor = things.page(1, None).await?.cursor;
    assert!(cursor.is_some());
    assert!(is_refused(things.other("others")?.page(1, cursor.clone()).await));
    assert!(is_refused(world.files().await?.page(1, cursor).await));
    Ok(())
}

async fn an_altered_cursor_is_refused(world: World) -> Result<()> {
    let things = world.files().await?;
    fill(&things, 2).await?;
    let cursor = things.page(1, None).await?.cursor;
    let text = cursor.as_ref().map(Cursor::as_str).unwrap_or_default();
    assert!(!text.is_empty());
    for altered in
        [format!("{text}00"), text.replacen(char::is_numeric, "a", 1), String::new(), "ü".to_owned()]
    {
        assert!(is_refused(things.page(1, Some(Cursor::new(altered))).await));
    }
    Ok(())
}

async fn assert_unseen(others: &Records, file: &FileRecord) -> Result<()> {
    assert_eq!(others.get(file.info.id).await?, None);
    assert_eq!(others.page(10, None).await?.items, []);
    Ok(())
}

async fn files_of_other_apps_are_not_seen(world: World) -> Result<()> {
    let file = world.files().await?.create("a").await?;
    assert_unseen(&world.files().await?, &file).await
}

async fn files_of_other_collections_are_not_seen(world: World) -> Result<()> {
    let things = world.files().await?;
    let file = things.create("a").await?;
    assert_unseen(&things.other("thing")?, &file).await
}

async fn assert_unchangeable(things: &Records, others: &Records) -> Result<()> {
    let file = things.create("a").await?;
    assert!(others.replace(file.info.id).await.is_err());
    assert_eq!(others.delete(file.info.id).await?, None);
    assert_eq!(things.get(file.info.id).await?, Some(file));
    Ok(())
}

async fn files_of_other_apps_cannot_be_changed(world: World) -> Result<()> {
    assert_unchangeable(&world.files().await?, &world.files().await?).await
}

async fn files_of_other_collections_cannot_be_changed(world: World) -> Result<()> {
    let things = world.files().await?;
    assert_unchangeable(&things, &things.other("thing")?).await
}
