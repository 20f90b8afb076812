//! Apps do not see each other.

use super::{Catalogued, route, script};
use crate::Result;
use crate::catalog::CatalogChange::{DeleteRoute, DeleteScript, PutRoute, PutScript};
use crate::conformance::{Case, World, case_list};
use crate::outbox::Revision;
use crate::route::RouteRecord;
use crate::script::ScriptRecord;

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        a_change_leaves_other_apps_alone,
        two_apps_may_have_scripts_of_one_name,
        a_script_of_another_app_cannot_be_deleted,
        a_route_of_another_app_cannot_be_deleted,
        a_route_cannot_lead_to_a_script_of_another_app,
        a_script_of_another_app_has_no_versions,
        a_script_id_of_another_app_is_free,
    ]
}

/// Two apps; the second one has a script with a route.
async fn mine_and_theirs(world: &World) -> Result<(Catalogued, Catalogued, ScriptRecord, RouteRecord)> {
    let (mine, theirs) = (Catalogued::new(world).await?, Catalogued::new(world).await?);
    let script = script(world, "a")?;
    let route = route(world, script.id, "/a");
    theirs.apply(&[PutScript(script.clone()), PutRoute(route.clone())]).await?;
    Ok((mine, theirs, script, route))
}

async fn a_change_leaves_other_apps_alone(world: World) -> Result<()> {
    let (mine, theirs, ..) = mine_and_theirs(&world).await?;
    let before = theirs.snapshot().await?;
    mine.apply(&[PutScript(script(&world, "b")?)]).await?;
    assert_eq!(theirs.snapshot().await?, before);
    Ok(())
}

async fn two_apps_may_have_scripts_of_one_name(world: World) -> Result<()> {
    let (mine, _, theirs, _) = mine_and_theirs(&world).await?;
    mine.apply(&[PutScript(script(&world, theirs.name.as_str())?)]).await?;
    assert_eq!(mine.names().await?, [theirs.name.as_str()]);
    Ok(())
}

async fn a_script_of_another_app_cannot_be_deleted(world: World) -> Result<()> {
    let (mine, theirs, script, _) = mine_and_theirs(&world).await?;
    let before = theirs.snapshot().await?;
    mine.apply(&[DeleteScript(script.id)]).await?;
    assert_eq!(theirs.snapshot().await?, before);
    Ok(())
}

async fn a_route_of_another_app_cannot_be_deleted(world: World) -> Result<()> {
    let (mine, theirs, _, route) = mine_and_theirs(&world).await?;
    let before = theirs.snapshot().await?;
    mine.apply(&[DeleteRoute(route.id)]).await?;
    assert_eq!(theirs.snapshot().await?, before);
    Ok(())
}

async fn a_route_cannot_lead_to_a_script_of_another_app(world: World) -> Result<()> {
    let (mine, _, script, _) = mine_and_theirs(&world).await?;
    let changes = [PutRoute(route(&world, script.id, "/b"))];
    mine.assert_refused(&changes, Revision(0), "route.no_such_script").await
}

async fn a_script_of_another_app_has_no_versions(world: World) -> Result<()> {
    let (mine, _, script, _) = mine_and_theirs(&world).await?;
    assert_eq!(mine.catalog.versions(mine.app, script.id).await?, []);
    Ok(())
}

async fn a_script_id_of_another_app_is_free(world: World) -> Result<()> {
    let (mine, theirs, script, _) = mine_and_theirs(&world).await?;
    let before = theirs.snapshot().await?;
    let mut own = script;
    own.source = "own".into();
    mine.apply(&[PutScript(own.clone())]).await?;
    assert_eq!((mine.snapshot().await?.scripts, theirs.snapshot().await?), (vec![own], before));
    Ok(())
}
