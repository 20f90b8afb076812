//! Creating apps, and noticing changes.

use std::time::Duration;

use tokio::sync::watch;

use super::{Catalogued, script};
use crate::catalog::{AppSnapshot, CatalogChange};
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::Revision;
use crate::{AppId, Error, ErrorKind, Result, ScriptId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        a_new_app_is_empty_at_revision_zero,
        a_taken_slug_is_refused,
        a_refused_app_is_not_stored,
        one_of_many_takes_a_slug,
        apps_are_listed_in_the_order_of_their_ids,
        apps_are_listed_with_their_revision,
        an_unknown_app_has_no_snapshot,
        an_unknown_app_cannot_be_changed,
        an_unknown_app_has_no_versions,
        creating_an_app_changes_the_number_of_changes,
        applying_changes_the_number_of_changes,
    ]
}

async fn a_new_app_is_empty_at_revision_zero(world: World) -> Result<()> {
    let (catalog, app) = (world.backend().catalog(), world.unsaved_app()?);
    catalog.create_app(&app).await?;
    let wanted = AppSnapshot {
        app: app.clone(),
        revision: Revision(0),
        scripts: vec![],
        routes: vec![],
        triggers: vec![],
        imports: vec![],
    };
    assert_eq!(catalog.snapshot(app.id).await?, Some(wanted));
    Ok(())
}

async fn a_taken_slug_is_refused(world: World) -> Result<()> {
    let (catalog, first) = (world.backend().catalog(), world.unsaved_app()?);
    catalog.create_app(&first).await?;
    let mut second = world.unsaved_app()?;
    second.slug = first.slug;
    let answer = catalog.create_app(&second).await;
    let found = answer.as_ref().map_err(|error| (error.kind(), error.code()));
    assert_eq!(found, Err((ErrorKind::AlreadyExists, "app.slug_taken")));
    Ok(())
}

async fn a_refused_app_is_not_stored(world: World) -> Result<()> {
    let (catalog, first) = (world.backend().catalog(), world.unsaved_app()?);
    catalog.create_app(&first).await?;
    let mut second = world.unsaved_app()?;
    second.slug = first.slug;
    // Whether it is refused is the business of another case.
    let _ = catalog.create_app(&second).await;
    assert_eq!(catalog.snapshot(second.id).await?, None);
    Ok(())
}

async fn one_of_many_takes_a_slug(world: World) -> Result<()> {
    let slug = world.unsaved_app()?.slug;
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let (catalog, mut app) = (world.backend().catalog(), world.unsaved_app()?);
        app.slug = slug.clone();
        attempts.push(async move { Ok(catalog.create_app(&app).await.is_ok()) });
    }
    assert_eq!(together(attempts).await?.into_iter().filter(|won| *won).count(), 1);
    Ok(())
}

async fn apps_are_listed_in_the_order_of_their_ids(world: World) -> Result<()> {
    let (catalog, one, two) = (world.backend().catalog(), world.unsaved_app()?, world.unsaved_app()?);
    let (first, second) = if one.id < two.id { (one, two) } else { (two, one) };
    for app in [&second, &first] {
        catalog.create_app(app).await?;
    }
    // The world may hold the apps of others.
    let mut listed: Vec<_> = catalog.apps().await?.into_iter().map(|(app, _)| app).collect();
    listed.retain(|app| [first.id, second.id].contains(&app.id));
    assert_eq!(listed, [first, second]);
    Ok(())
}

async fn apps_are_listed_with_their_revision(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let revision = shop.apply(&[CatalogChange::PutScript(script(&world, "a")?)]).await?;
    let listed = shop.catalog.apps().await?.into_iter().find(|(app, _)| app.id == shop.app);
    assert_eq!(listed.map(|(_, revision)| revision), Some(revision));
    Ok(())
}

async fn an_unknown_app_has_no_snapshot(world: World) -> Result<()> {
    assert_eq!(world.backend().catalog().snapshot(AppId::new()).await?, None);
    Ok(())
}

async fn an_unknown_app_cannot_be_changed(world: World) -> Result<()> {
    let changes = [CatalogChange::PutScript(script(&world, "a")?)];
    let answer = world.backend().catalog().apply(AppId::new(), &changes, Revision(0)).await;
    let found = answer.as_ref().map_err(|error| (error.kind(), error.code()));
    assert_eq!(found, Err((ErrorKind::NotFound, "app.not_found")));
    Ok(())
}

async fn an_unknown_app_has_no_versions(world: World) -> Result<()> {
    assert_eq!(world.backend().catalog().versions(AppId::new(), ScriptId::new()).await?, []);
    Ok(())
}

/// Fails unless the number changes within a time that no working backend needs.
async fn assert_changes(mut changes: watch::Receiver<u64>) -> Result<()> {
    match tokio::time::timeout(Duration::from_secs(10), changes.changed()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Error::internal("the backend gave up telling of changes")),
        Err(_) => Err(Error::internal("the number of changes stayed the same for ten seconds")),
    }
}

async fn creating_an_app_changes_the_number_of_changes(world: World) -> Result<()> {
    let changes = world.backend().catalog().changes();
    world.app().await?;
    assert_changes(changes).await
}

async fn applying_changes_the_number_of_changes(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut changes = shop.catalog.changes();
    changes.mark_unchanged();
    shop.apply(&[CatalogChange::PutScript(script(&world, "a")?)]).await?;
    assert_changes(changes).await
}
