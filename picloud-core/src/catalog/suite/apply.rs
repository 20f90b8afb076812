//! Change sets: all or nothing, at the revision that was expected.

use super::{Catalogued, route, script};
use crate::catalog::CatalogChange::{DeleteRoute, DeleteScript, PutRoute, PutScript};
use crate::conformance::{Case, World, case_list, together};
use crate::outbox::Revision;
use crate::{Result, RouteId, ScriptId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        every_change_set_makes_a_greater_revision,
        a_stale_change_set_is_refused_and_changes_nothing,
        a_change_set_for_a_revision_to_come_is_refused,
        one_of_many_change_sets_for_a_revision_succeeds,
        a_change_set_with_one_wrong_step_changes_nothing,
        a_refused_change_set_can_be_repaired_and_repeated,
        the_steps_take_effect_in_order,
        an_empty_change_set_succeeds_and_changes_nothing,
        an_empty_change_set_for_another_revision_is_refused,
        deleting_what_does_not_exist_is_no_error,
        two_scripts_of_one_name_are_refused,
        a_renamed_script_may_not_take_a_name,
        a_name_is_free_again_after_its_script_is_deleted,
        names_may_change_hands_within_a_change_set,
        names_that_differ_in_case_are_different,
        a_route_to_a_missing_script_is_refused,
        a_route_to_a_script_deleted_before_is_refused,
        a_route_may_come_before_its_script_within_a_change_set,
    ]
}

async fn every_change_set_makes_a_greater_revision(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let first = shop.apply(&[PutScript(script(&world, "a")?)]).await?;
    let second = shop.apply(&[PutScript(script(&world, "b")?)]).await?;
    assert!(Revision(0) < first && first < second, "first {first:?}, then {second:?}");
    assert_eq!(shop.revision().await?, second);
    Ok(())
}

async fn a_stale_change_set_is_refused_and_changes_nothing(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    shop.apply(&[PutScript(script(&world, "a")?)]).await?;
    let late = [PutScript(script(&world, "b")?)];
    shop.assert_refused(&late, Revision(0), "catalog.stale_revision").await
}

async fn a_change_set_for_a_revision_to_come_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let early = [PutScript(script(&world, "a")?)];
    shop.assert_refused(&early, Revision(1), "catalog.stale_revision").await
}

async fn one_of_many_change_sets_for_a_revision_succeeds(world: World) -> Result<()> {
    for round in 0..5 {
        let shop = Catalogued::new(&world).await?;
        let mut attempts = Vec::new();
        for number in 0..8 {
            let (catalog, app) = (shop.catalog.clone(), shop.app);
            let changes = [PutScript(script(&world, &number.to_string())?)];
            attempts.push(async move { Ok(catalog.apply(app, &changes, Revision(0)).await) });
        }
        let answers = together(attempts).await?;
        let refused = |answer: &Result<Revision>| {
            answer.as_ref().is_err_and(|error| error.code() == "catalog.stale_revision")
        };
        let won: Vec<_> = (0..8).filter(|at| answers.get(*at).is_some_and(Result::is_ok)).collect();
        assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 7, "round {round}: {answers:?}");
        assert_eq!(shop.names().await?, won.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    Ok(())
}

async fn a_change_set_with_one_wrong_step_changes_nothing(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (kept, new) = (script(&world, "kept")?, script(&world, "new")?);
    shop.apply(&[PutScript(kept.clone()), PutRoute(route(&world, kept.id, "/kept"))]).await?;
    let changes = [
        PutScript(new.clone()),
        PutRoute(route(&world, new.id, "/new")),
        DeleteScript(kept.id),
        PutRoute(route(&world, ScriptId::new(), "/wrong")),
    ];
    shop.assert_refused(&changes, shop.revision().await?, "route.no_such_script").await
}

async fn a_refused_change_set_can_be_repaired_and_repeated(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, wrong) = (script(&world, "a")?, script(&world, "a")?);
    shop.assert_refused(&[PutScript(one.clone()), PutScript(wrong)], Revision(0), "script.name_taken")
        .await?;
    shop.apply(&[PutScript(one)]).await?;
    assert_eq!(shop.names().await?, ["a"]);
    Ok(())
}

async fn the_steps_take_effect_in_order(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (gone, back) = (script(&world, "gone")?, script(&world, "back")?);
    let (first, second) = (route(&world, back.id, "/first"), route(&world, back.id, "/second"));
    shop.apply(&[
        PutScript(gone.clone()),
        DeleteScript(gone.id),
        DeleteScript(back.id),
        PutScript(back.clone()),
        PutRoute(first.clone()),
        DeleteRoute(first.id),
        DeleteRoute(second.id),
        PutRoute(second),
    ])
    .await?;
    assert_eq!((shop.names().await?, shop.paths().await?), (vec!["back".into()], vec!["/second".into()]));
    Ok(())
}

async fn an_empty_change_set_succeeds_and_changes_nothing(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let before = shop.apply(&[PutScript(script(&world, "a")?)]).await?;
    let answer = shop.apply(&[]).await?;
    assert_eq!((answer, shop.revision().await?), (before, before));
    Ok(())
}

async fn an_empty_change_set_for_another_revision_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    shop.assert_refused(&[], Revision(1), "catalog.stale_revision").await
}

async fn deleting_what_does_not_exist_is_no_error(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let missing = [DeleteScript(ScriptId::new()), DeleteRoute(RouteId::new()), PutScript(one)];
    shop.apply(&missing).await?;
    assert_eq!(shop.names().await?, ["a"]);
    Ok(())
}

async fn two_scripts_of_one_name_are_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let revision = shop.apply(&[PutScript(script(&world, "a")?)]).await?;
    shop.assert_refused(&[PutScript(script(&world, "a")?)], revision, "script.name_taken").await
}

async fn a_renamed_script_may_not_take_a_name(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, mut two) = (script(&world, "a")?, script(&world, "b")?);
    let revision = shop.apply(&[PutScript(one.clone()), PutScript(two.clone())]).await?;
    (two.name, two.version) = (one.name, 2);
    shop.assert_refused(&[PutScript(two)], revision, "script.name_taken").await
}

async fn a_name_is_free_again_after_its_script_is_deleted(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (old, new) = (script(&world, "a")?, script(&world, "a")?);
    shop.apply(&[PutScript(old.clone())]).await?;
    shop.apply(&[DeleteScript(old.id)]).await?;
    shop.apply(&[PutScript(new.clone())]).await?;
    assert_eq!(shop.snapshot().await?.scripts, [new]);
    Ok(())
}

async fn names_may_change_hands_within_a_change_set(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (mut one, mut two) = (script(&world, "a")?, script(&world, "b")?);
    shop.apply(&[PutScript(one.clone()), PutScript(two.clone())]).await?;
    std::mem::swap(&mut one.name, &mut two.name);
    (one.version, two.version) = (2, 2);
    shop.apply(&[PutScript(one.clone()), PutScript(two.clone())]).await?;
    assert_eq!(shop.snapshot().await?.scripts, [two, one]);
    Ok(())
}

async fn names_that_differ_in_case_are_different(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    shop.apply(&[PutScript(script(&world, "a")?), PutScript(script(&world, "A")?)]).await?;
    assert_eq!(shop.names().await?, ["A", "a"]);
    Ok(())
}

async fn a_route_to_a_missing_script_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let dangling = [PutRoute(route(&world, ScriptId::new(), "/a"))];
    shop.assert_refused(&dangling, Revision(0), "route.no_such_script").await
}

async fn a_route_to_a_script_deleted_before_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let revision = shop.apply(&[PutScript(one.clone())]).await?;
    let changes = [DeleteScript(one.id), PutRoute(route(&world, one.id, "/a"))];
    shop.assert_refused(&changes, revision, "route.no_such_script").await
}

async fn a_route_may_come_before_its_script_within_a_change_set(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    shop.apply(&[PutRoute(route(&world, one.id, "/a")), PutScript(one)]).await?;
    assert_eq!(shop.paths().await?, ["/a"]);
    Ok(())
}
