//! A write and its outbox rows are one commit.

use serde_json::{Value, json};

use super::{deepest, largest};
use crate::catalog::CatalogChange;
use crate::conformance::{Case, Documents, World, case_list, together};
use crate::docs::{DocId, DocsOp};
use crate::outbox::{EventKind, Fanout, FanoutRow, Revision};
use crate::{Result, RouteId, ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["docs":
        a_write_stores_every_row_of_its_operation,
        a_create_tells_what_was_created,
        an_update_tells_what_was_there_before,
        a_patch_tells_what_was_there_before,
        a_delete_tells_what_was_removed,
        rows_are_of_their_kind,
        writes_without_effect_store_no_rows,
        stale_writes_change_nothing,
        the_largest_and_deepest_data_has_events,
        the_previous_data_is_what_was_replaced,
    ]
}

fn row(op: DocsOp) -> FanoutRow {
    FanoutRow { op: op.as_str(), trigger: TriggerId::new(), script: ScriptId::new() }
}

fn one_of_each() -> Fanout {
    Fanout {
        revision: Some(Revision(0)),
        rows: [DocsOp::Create, DocsOp::Update, DocsOp::Delete].map(row).into(),
    }
}

/// The collection as it is, and as it is written to with one row for each operation.
async fn watched(world: &World) -> Result<(Documents, Documents)> {
    let things = world.documents().await?;
    let watched = things.with_fanout(&one_of_each());
    Ok((things, watched))
}

async fn events(world: &World, things: &Documents) -> Result<Vec<(FanoutRow, Value)>> {
    let mut events = Vec::new();
    for (row, payload) in world.outbox_rows(things.app()).await? {
        events.push((row, payload.to_value::<Value>()?));
    }
    Ok(events)
}

/// Fails unless the outbox holds exactly one event, this one.
async fn assert_event(
    world: &World,
    things: &Documents,
    id: DocId,
    op: DocsOp,
    data: Value,
    prev: Value,
) -> Result<()> {
    let events = events(world, things).await?;
    let wanted =
        json!({ "collection": "things", "id": id, "op": op.as_str(), "data": data, "prev_data": prev });
    let found: Vec<_> = events.iter().map(|(row, payload)| (row.op, payload)).collect();
    assert_eq!(found, [(op.as_str(), &wanted)]);
    Ok(())
}

async fn a_write_stores_every_row_of_its_operation(world: World) -> Result<()> {
    let things = world.documents().await?;
    let rows = [DocsOp::Create, DocsOp::Update, DocsOp::Create, DocsOp::Delete].map(row);
    let fanout = Fanout { revision: Some(Revision(0)), rows: rows.into() };
    things.with_fanout(&fanout).create("{}").await?;
    things.create("{}").await?;
    let mut stored: Vec<_> = events(&world, &things).await?.into_iter().map(|(row, _)| row).collect();
    let mut wanted: Vec<_> = fanout.rows.into_iter().filter(|row| row.op == "create").collect();
    stored.sort_by_key(|row| row.trigger);
    wanted.sort_by_key(|row| row.trigger);
    assert_eq!(stored, wanted);
    Ok(())
}

async fn a_create_tells_what_was_created(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = watched.create(r#"{"a":1.0}"#).await?.id;
    assert_event(&world, &things, id, DocsOp::Create, json!({ "a": 1.0 }), Value::Null).await
}

async fn an_update_tells_what_was_there_before(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = things.create(r#"{"a":1}"#).await?.id;
    watched.update(id, r#"{"a":2}"#).await?;
    assert_event(&world, &things, id, DocsOp::Update, json!({ "a": 2 }), json!({ "a": 1 })).await
}

async fn a_patch_tells_what_was_there_before(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = things.create(r#"{"a":1}"#).await?.id;
    watched.patch(id, r#"{"$inc":{"a":4}}"#).await?;
    assert_event(&world, &things, id, DocsOp::Update, json!({ "a": 5 }), json!({ "a": 1 })).await
}

async fn a_delete_tells_what_was_removed(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = things.create(r#"{"a":1}"#).await?.id;
    watched.delete(id).await?;
    assert_event(&world, &things, id, DocsOp::Delete, Value::Null, json!({ "a": 1 })).await
}

async fn rows_are_of_their_kind(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    watched.create("{}").await?;
    // Ends the transaction, if there is one.
    assert_eq!(events(&world, &things).await?.len(), 1);
    let rows = world.backend().outbox().waiting(things.app(), 10).await?;
    assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [EventKind::Docs]);
    Ok(())
}

async fn writes_without_effect_store_no_rows(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = things.create(r#"{"a":"x"}"#).await?.id;
    assert!(watched.update_if(id, "{}", Some(7)).await.is_err());
    assert!(watched.patch(id, r#"{"$inc":{"a":1}}"#).await.is_err());
    assert!(watched.delete_if(id, Some(7)).await.is_err());
    assert!(watched.update(DocId::new(), "{}").await.is_err());
    assert!(!watched.delete(DocId::new()).await?);
    assert_eq!(events(&world, &things).await?, []);
    Ok(())
}

async fn stale_writes_change_nothing(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let created = things.create("{}").await?;
    let script = crate::catalog::suite::script(&world, "a script")?;
    let changes = [CatalogChange::PutScript(script), CatalogChange::DeleteRoute(RouteId::new())];
    world.backend().catalog().apply(things.app(), &changes, Revision(0)).await?;
    assert!(watched.create("{}").await.is_err_and(|error| Fanout::is_stale(&error)));
    assert!(watched.update(created.id, r#"{"a":1}"#).await.is_err_and(|error| Fanout::is_stale(&error)));
    assert!(watched.patch(created.id, r#"{"a":1}"#).await.is_err_and(|error| Fanout::is_stale(&error)));
    assert!(watched.delete(created.id).await.is_err_and(|error| Fanout::is_stale(&error)));
    assert_eq!(things.page("{}", None).await?.items, [created]);
    assert_eq!(events(&world, &things).await?, []);
    Ok(())
}

async fn the_largest_and_deepest_data_has_events(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = watched.create(&deepest()).await?.id;
    watched.update(id, &largest()).await?;
    let mut stored: Vec<_> = events(&world, &things).await?.into_iter().map(|(row, _)| row.op).collect();
    stored.sort_unstable();
    assert_eq!(stored, ["create", "update"]);
    Ok(())
}

async fn the_previous_data_is_what_was_replaced(world: World) -> Result<()> {
    let (things, watched) = watched(&world).await?;
    let id = things.create(r#"{"n":0}"#).await?.id;
    together((0..6).map(|_| {
        let watched = watched.clone();
        async move {
            for n in 0..8 {
                // Both ways of writing, against each other.
                if n % 2 == 0 {
                    watched.patch(id, r#"{"$inc":{"n":1}}"#).await?;
                } else {
                    watched.update(id, &format!(r#"{{"n":0,"by":"{}"}}"#, DocId::new())).await?;
                }
            }
            Ok(())
        }
    }))
    .await?;
    // Taken as a chain, what each event tells of before is what another told of after.
    let mut after = vec![json!({ "n": 0 }).to_string()];
    // Before the look at the outbox, which ends the transaction if there is one.
    let mut before = vec![things.get(id).await?.unwrap_or_default()];
    for (_, payload) in events(&world, &things).await? {
        let text = |name| payload.get(name).map(Value::to_string).unwrap_or_default();
        before.push(text("prev_data"));
        after.push(text("data"));
    }
    after.sort();
    before.sort();
    assert_eq!(before.len(), 49);
    assert_eq!(before, after);
    Ok(())
}
