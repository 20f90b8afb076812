//! Scripts with their versions, and routes.

use super::{Catalogued, route, script};
use crate::Result;
use crate::catalog::CatalogChange::{DeleteRoute, DeleteScript, PutRoute, PutScript};
use crate::conformance::{Case, World, case_list};
use crate::route::{DispatchMode, RouteMethod};
use crate::script::{MAX_SOURCE_BYTES, Owner, ScriptKind, ScriptName};

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        a_script_reads_back_as_it_was_put,
        a_route_reads_back_as_it_was_put,
        the_longest_source_reads_back,
        scripts_are_ordered_by_name,
        routes_are_ordered_by_id,
        a_newer_version_replaces_the_script,
        old_versions_are_kept_newest_first,
        a_renamed_script_keeps_its_version,
        deleting_a_script_removes_it,
        deleting_a_script_removes_its_versions,
        deleting_a_script_removes_its_routes_and_no_others,
        a_route_that_is_put_again_is_replaced,
        a_deleted_route_is_gone,
    ]
}

async fn a_script_reads_back_as_it_was_put(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut module = script(&world, "hooks/Ämter 世界 %_'\"")?;
    module.kind = ScriptKind::Module;
    module.source = "// 🦀\r\n\tlet a = \"\\u0000\";  \n".into();
    module.sandbox.max_operations = Some(1_234_567_890_123);
    module.timeout_seconds = Some(300);
    module.owner = Owner::Folder("übung".to_owned());
    shop.apply(&[PutScript(module.clone())]).await?;
    assert_eq!(shop.snapshot().await?.scripts, [module]);
    Ok(())
}

async fn a_route_reads_back_as_it_was_put(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let mut detailed = route(&world, one.id, "/Käse/{id}/{*rest}");
    detailed.method = RouteMethod::Only(http::Method::DELETE);
    detailed.host = Some("*.shop.example".to_owned());
    detailed.dispatch_mode = DispatchMode::Async;
    detailed.owner = Owner::Directive;
    shop.apply(&[PutScript(one), PutRoute(detailed.clone())]).await?;
    assert_eq!(shop.snapshot().await?.routes, [detailed]);
    Ok(())
}

async fn the_longest_source_reads_back(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut long = script(&world, "a")?;
    long.source = "/".repeat(MAX_SOURCE_BYTES).into();
    shop.apply(&[PutScript(long.clone())]).await?;
    assert_eq!(shop.snapshot().await?.scripts, [long]);
    Ok(())
}

async fn scripts_are_ordered_by_name(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let ordered =
        ["-", "1", "10", "2", "A", "B", "a", "a b", "a-b", "a/b", "ab", "ä", "\u{fffd}", "\u{1f980}"];
    for name in ordered.iter().rev() {
        shop.apply(&[PutScript(script(&world, name)?)]).await?;
    }
    assert_eq!(shop.names().await?, ordered);
    Ok(())
}

async fn routes_are_ordered_by_id(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    shop.apply(&[PutScript(one.clone())]).await?;
    let mut routes: Vec<_> = (0..5).map(|number| route(&world, one.id, &format!("/{number}"))).collect();
    routes.sort_by_key(|route| route.id);
    for route in routes.iter().rev() {
        shop.apply(&[PutRoute(route.clone())]).await?;
    }
    assert_eq!(shop.snapshot().await?.routes, routes);
    Ok(())
}

async fn a_newer_version_replaces_the_script(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut one = script(&world, "a")?;
    shop.apply(&[PutScript(one.clone())]).await?;
    (one.version, one.source) = (2, "2".into());
    shop.apply(&[PutScript(one.clone())]).await?;
    assert_eq!(shop.snapshot().await?.scripts, [one]);
    Ok(())
}

async fn old_versions_are_kept_newest_first(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut one = script(&world, "a")?;
    let mut put = Vec::new();
    for version in 1..=11 {
        (one.version, one.source) = (version, version.to_string().into());
        shop.apply(&[PutScript(one.clone())]).await?;
        put.insert(0, one.clone());
    }
    assert_eq!(shop.catalog.versions(shop.app, one.id).await?, put);
    Ok(())
}

async fn a_renamed_script_keeps_its_version(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut one = script(&world, "a")?;
    shop.apply(&[PutScript(one.clone())]).await?;
    one.name = ScriptName::new("b")?;
    shop.apply(&[PutScript(one.clone())]).await?;
    assert_eq!(shop.catalog.versions(shop.app, one.id).await?, [one]);
    Ok(())
}

async fn deleting_a_script_removes_it(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, two) = (script(&world, "a")?, script(&world, "b")?);
    shop.apply(&[PutScript(one.clone()), PutScript(two)]).await?;
    shop.apply(&[DeleteScript(one.id)]).await?;
    assert_eq!(shop.names().await?, ["b"]);
    Ok(())
}

async fn deleting_a_script_removes_its_versions(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut one = script(&world, "a")?;
    shop.apply(&[PutScript(one.clone())]).await?;
    one.version = 2;
    shop.apply(&[PutScript(one.clone())]).await?;
    shop.apply(&[DeleteScript(one.id)]).await?;
    assert_eq!(shop.catalog.versions(shop.app, one.id).await?, []);
    Ok(())
}

async fn deleting_a_script_removes_its_routes_and_no_others(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, two) = (script(&world, "a")?, script(&world, "b")?);
    let routes = [(one.id, "/1"), (two.id, "/2"), (one.id, "/3")];
    let routes = routes.map(|(script, path)| PutRoute(route(&world, script, path)));
    shop.apply(&[&[PutScript(one.clone()), PutScript(two)], &routes[..]].concat()).await?;
    shop.apply(&[DeleteScript(one.id)]).await?;
    assert_eq!(shop.paths().await?, ["/2"]);
    Ok(())
}

async fn a_route_that_is_put_again_is_replaced(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, two) = (script(&world, "a")?, script(&world, "b")?);
    let mut moving = route(&world, one.id, "/a");
    shop.apply(&[PutScript(one), PutScript(two.clone()), PutRoute(moving.clone())]).await?;
    (moving.path, moving.script) = ("/b".to_owned(), two.id);
    shop.apply(&[PutRoute(moving.clone())]).await?;
    assert_eq!(shop.snapshot().await?.routes, [moving]);
    Ok(())
}

async fn a_deleted_route_is_gone(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let (gone, kept) = (route(&world, one.id, "/gone"), route(&world, one.id, "/kept"));
    shop.apply(&[PutScript(one), PutRoute(gone.clone()), PutRoute(kept)]).await?;
    shop.apply(&[DeleteRoute(gone.id)]).await?;
    assert_eq!(shop.paths().await?, ["/kept"]);
    Ok(())
}
