//! Who imports whom.

use super::triggers::trigger;
use super::{Catalogued, script};
use crate::catalog::CatalogChange::{DeleteScript, PutImports, PutScript, PutTrigger};
use crate::conformance::{Case, World, case_list};
use crate::outbox::Revision;
use crate::script::{MAX_MODULE_NAME, ModuleName, ScriptImports, ScriptKind};
use crate::{Result, ScriptId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        imports_read_back_in_order_of_their_names,
        imports_are_listed_by_script,
        imports_that_are_put_again_are_replaced,
        a_script_that_imports_nothing_is_not_listed,
        deleting_a_script_removes_its_imports_and_no_others,
        what_others_import_stays_when_a_module_goes,
        imports_of_a_missing_script_are_refused,
        imports_of_a_script_deleted_before_are_refused,
        imports_may_come_before_their_script_within_a_change_set,
        a_missing_script_is_told_of_a_trigger_before_imports,
        refused_imports_leave_no_trace,
        imports_alone_make_a_greater_revision,
        a_newer_version_keeps_the_imports,
        imports_of_a_script_of_another_app_are_refused,
        imports_leave_other_apps_alone,
    ]
}

fn imports(script: ScriptId, modules: &[&str]) -> Result<ScriptImports> {
    Ok(ScriptImports::new(script, modules.iter().map(ModuleName::new).collect::<Result<Vec<_>>>()?))
}

async fn imports_read_back_in_order_of_their_names(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let long = "z".repeat(MAX_MODULE_NAME);
    let names = ["_", "a-b", "a", &long, "0", "a_b", "ab", "b"];
    let wanted = imports(one.id, &names)?;
    shop.apply(&[PutScript(one), PutImports(wanted.clone())]).await?;
    let found = shop.snapshot().await?.imports;
    assert_eq!(found, [wanted]);
    let names: Vec<_> = found.iter().flat_map(|found| &found.modules).map(ModuleName::as_str).collect();
    assert_eq!(names, ["0", "_", "a", "a-b", "a_b", "ab", "b", &long]);
    Ok(())
}

async fn imports_are_listed_by_script(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut ids = Vec::new();
    let mut changes = Vec::new();
    for name in ["a", "b", "c"] {
        let one = script(&world, name)?;
        ids.push(one.id);
        changes.extend([PutImports(imports(one.id, &["prices"])?), PutScript(one)]);
    }
    changes.reverse();
    shop.apply(&changes).await?;
    ids.sort();
    let listed: Vec<_> = shop.snapshot().await?.imports.iter().map(|imports| imports.script).collect();
    assert_eq!(listed, ids);
    Ok(())
}

async fn imports_that_are_put_again_are_replaced(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let (old, new) = (imports(one.id, &["a", "b"])?, imports(one.id, &["b", "c"])?);
    shop.apply(&[PutScript(one), PutImports(old)]).await?;
    shop.apply(&[PutImports(new.clone())]).await?;
    assert_eq!(shop.snapshot().await?.imports, [new]);
    Ok(())
}

async fn a_script_that_imports_nothing_is_not_listed(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, two) = (script(&world, "a")?, script(&world, "b")?);
    let (some, none) = (imports(one.id, &["prices"])?, imports(one.id, &[])?);
    let changes = [PutImports(some), PutImports(imports(two.id, &[])?), PutScript(one), PutScript(two)];
    shop.apply(&changes).await?;
    shop.apply(&[PutImports(none)]).await?;
    assert_eq!(shop.snapshot().await?.imports, []);
    Ok(())
}

async fn deleting_a_script_removes_its_imports_and_no_others(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (gone, kept) = (script(&world, "gone")?, script(&world, "kept")?);
    let (first, second) = (imports(gone.id, &["prices"])?, imports(kept.id, &["prices"])?);
    let delete = DeleteScript(gone.id);
    shop.apply(&[PutScript(gone), PutScript(kept), PutImports(first), PutImports(second.clone())]).await?;
    shop.apply(&[delete]).await?;
    assert_eq!(shop.snapshot().await?.imports, [second]);
    Ok(())
}

async fn what_others_import_stays_when_a_module_goes(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (mut module, main) = (script(&world, "prices")?, script(&world, "main")?);
    module.kind = ScriptKind::Module;
    let wanted = imports(main.id, &["prices"])?;
    let delete = DeleteScript(module.id);
    shop.apply(&[PutScript(module), PutScript(main), PutImports(wanted.clone())]).await?;
    shop.apply(&[delete]).await?;
    assert_eq!(shop.snapshot().await?.imports, [wanted]);
    Ok(())
}

async fn imports_of_a_missing_script_are_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let dangling = [PutImports(imports(ScriptId::new(), &["prices"])?)];
    shop.assert_refused(&dangling, Revision(0), "import.no_such_script").await
}

async fn imports_of_a_script_deleted_before_are_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let changes = [DeleteScript(one.id), PutImports(imports(one.id, &["prices"])?)];
    let revision = shop.apply(&[PutScript(one)]).await?;
    shop.assert_refused(&changes, revision, "import.no_such_script").await
}

async fn imports_may_come_before_their_script_within_a_change_set(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let wanted = imports(one.id, &["prices"])?;
    shop.apply(&[PutImports(wanted.clone()), PutScript(one)]).await?;
    assert_eq!(shop.snapshot().await?.imports, [wanted]);
    Ok(())
}

async fn a_missing_script_is_told_of_a_trigger_before_imports(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let changes =
        [PutImports(imports(ScriptId::new(), &["prices"])?), PutTrigger(trigger(&world, ScriptId::new())?)];
    shop.assert_refused(&changes, Revision(0), "trigger.no_such_script").await
}

async fn refused_imports_leave_no_trace(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let before = imports(one.id, &["a"])?;
    let changes = [PutImports(imports(one.id, &["b"])?), PutScript(script(&world, "main")?)];
    let revision = shop.apply(&[PutScript(one), PutImports(before)]).await?;
    shop.assert_refused(&changes, revision, "script.name_taken").await
}

async fn imports_alone_make_a_greater_revision(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "main")?;
    let changes = [PutImports(imports(one.id, &["prices"])?)];
    let before = shop.apply(&[PutScript(one)]).await?;
    assert!(shop.apply(&changes).await? > before);
    Ok(())
}

async fn a_newer_version_keeps_the_imports(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let mut one = script(&world, "main")?;
    let wanted = imports(one.id, &["prices"])?;
    shop.apply(&[PutScript(one.clone()), PutImports(wanted.clone())]).await?;
    one.version = 2;
    shop.apply(&[PutScript(one)]).await?;
    assert_eq!(shop.snapshot().await?.imports, [wanted]);
    Ok(())
}

async fn imports_of_a_script_of_another_app_are_refused(world: World) -> Result<()> {
    let (mine, theirs) = (Catalogued::new(&world).await?, Catalogued::new(&world).await?);
    let one = script(&world, "main")?;
    let changes = [PutImports(imports(one.id, &["prices"])?)];
    theirs.apply(&[PutScript(one)]).await?;
    mine.assert_refused(&changes, Revision(0), "import.no_such_script").await
}

async fn imports_leave_other_apps_alone(world: World) -> Result<()> {
    let (mine, theirs) = (Catalogued::new(&world).await?, Catalogued::new(&world).await?);
    let one = script(&world, "main")?;
    let (own, other) = (imports(one.id, &["a"])?, imports(one.id, &["b"])?);
    theirs.apply(&[PutScript(one.clone()), PutImports(other.clone())]).await?;
    mine.apply(&[PutScript(one.clone()), PutImports(own)]).await?;
    mine.apply(&[DeleteScript(one.id)]).await?;
    assert_eq!(theirs.snapshot().await?.imports, [other]);
    Ok(())
}
