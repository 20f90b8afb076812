//! A write and its outbox rows are one commit.

use serde_json::{Value, json};

use crate::Result;
use crate::conformance::{Case, Records, World, case_list, together};
use crate::files::{FileId, FileInfo, FilesOp};
use crate::outbox::{EventKind, Fanout, FanoutRow, Revision};
use crate::{ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["files":
        a_write_stores_every_row_of_its_operation,
        a_create_tells_what_was_created,
        an_update_tells_what_was_there_before,
        a_delete_tells_of_what_is_gone,
        rows_are_of_their_kind,
        writes_without_effect_store_no_rows,
        stale_writes_change_nothing,
        events_tell_what_was_replaced,
    ]
}

fn row(op: FilesOp) -> FanoutRow {
    FanoutRow { op: op.as_str(), trigger: TriggerId::new(), script: ScriptId::new() }
}

/// The collection as it is, and as it is written to with one row for each operation.
async fn watched(world: &World) -> Result<(Records, Records)> {
    let things = world.files().await?;
    let rows = [FilesOp::Create, FilesOp::Update, FilesOp::Delete].map(row).into();
    let watched = things.with_fanout(&Fanout { revision: Some(Revision(0)), rows });
    Ok((things, watched))
}

async fn events(world: &World, things: &Records) -> Result<Vec<(FanoutRow, Value)>> {
    let mut events = Vec::new();
    for (row, payload) in world.outbox_rows(things.app()).await? {
        events.push((row, payload.to_value::<Value>()?));
    }
    Ok(events)
}

/// Fails unless the outbox holds exactly one event, this one.
async fn assert_event(
    world: &World,
    things: &Records,
    id: FileId,
    op: FilesOp,
    file: Option<&FileInfo>,
    prev: Option<&FileInfo>,
) -> Result<()> {
    let events = events(world, things).await?;
    let wanted =
        json!({ "collection": "things", "id": id, "op": op.as_str(), "file": file, "prev_file": prev });
    let found: Vec<_> = events.iter().map(|(row, payload)| (row.op, payload)).collect();
    assert_eq!(found, [(op.as_str(), &wanted)]);
    Ok(())
}

async fn a_write_stores_every_row_of_its_operation(world: World) -> Result<()> {
    let things = world.files().await?;
    let rows = [FilesOp::Create, FilesOp::Update, FilesOp::Create, FilesOp::Delete].map(row);
    let fanout = Fanout { revision: Some(Revision(0)), rows: rows.into() };
    things.with_fanout(&fanout).create("a").await?;
    things.create("b").await?;
    let mut stored: Vec<_> = events(&world, &things).await?.into_iter().map(|(row, _)| row).collect();
    let mut wanted: Vec<_> = fanout.rows.into_iter().filter(|row| row.op == "create").collect();
    stored.sort_by_key(|row| row.trigger);
    wanted.sort_by_key(|row| row.trigger);
    assert_eq!(stored, wanted);
    Ok(())
}

async fn a_create_tells_what_was_created(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let file = watched.create("a").await?.info;
    assert_event(&world, &things, file.id, FilesOp::Create, Some(&file), None).await
}

async fn an_update_tells_what_was_there_before(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let before = things.create("a").await?.info;
    let after = watched.replace(before.id).await?.record.info;
    assert_event(&world, &things, before.id, FilesOp::Update, Some(&after), Some(&before)).await
}

async fn a_delete_tells_of_what_is_gone(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let before = things.create("a").await?.info;
    watched.delete(before.id).await?;
    assert_event(&world, &things, before.id, FilesOp::Delete, None, Some(&before)).await
}

async fn rows_are_of_their_kind(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.create("a").await?;
    // Ends the transaction, if there is one.
    assert_eq!(events(&world, &things).await?.len(), 1);
    let rows = world.backend().outbox().waiting(things.app(), 10).await?;
    assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [EventKind::Files]);
    Ok(())
}

async fn writes_without_effect_store_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    assert!(watched.replace(FileId::new()).await.is_err());
    assert_eq!(watched.delete(FileId::new()).await?, None);
    assert_eq!(events(&world, &things).await?, []);
    Ok(())
}

async fn stale_writes_change_nothing(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let created = things.create("a").await?;
    world.change_app(things.app()).await?;
    let id = created.info.id;
    assert!(watched.create("b").await.is_err_and(|error| Fanout::is_stale(&error)));
    assert!(watched.replace(id).await.is_err_and(|error| Fanout::is_stale(&error)));
    assert!(watched.delete(id).await.is_err_and(|error| Fanout::is_stale(&error)));
    assert_eq!(things.page(10, None).await?.items, [created]);
    assert_eq!(events(&world, &things).await?, []);
    Ok(())
}

async fn events_tell_what_was_replaced(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let created = things.create("a").await?.info;
    let id = created.id;
    together((0..4).map(|_| {
        let watched = watched.clone();
        async move {
            for _ in 0..8 {
                watched.replace(id).await?;
            }
            Ok(())
        }
    }))
    .await?;
    // Before the look at the outbox, which ends the transaction if there is one.
    let last = things.get(id).await?.map(|record| record.info.sha256.to_string());
    // Taken as a chain, what each event tells of before is what another told of after.
    let sum = |payload: &Value, part: &str| {
        payload.pointer(&format!("/{part}/sha256")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (mut before, mut after) = (vec![last.unwrap_or_default()], vec![created.sha256.to_string()]);
    for (_, payload) in events(&world, &things).await? {
        before.push(sum(&payload, "prev_file"));
        after.push(sum(&payload, "file"));
    }
    before.sort();
    after.sort();
    assert_eq!(before.len(), 33);
    assert_eq!(before, after);
    Ok(())
}
