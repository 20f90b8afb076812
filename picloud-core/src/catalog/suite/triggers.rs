//! Triggers.

use super::{Catalogued, route, script};
use crate::authz::PrincipalKind;
use crate::catalog::CatalogChange::{DeleteScript, DeleteTrigger, PutRoute, PutScript, PutTrigger};
use crate::conformance::{Case, World, case_list};
use crate::kv::KvOp;
use crate::outbox::Revision;
use crate::route::DispatchMode;
use crate::script::Owner;
use crate::trigger::{Backoff, KvTrigger, Registrant, RetryPolicy, TriggerKind, TriggerRecord};
use crate::{Result, ScriptId, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["catalog":
        a_trigger_reads_back_as_it_was_put,
        a_trigger_that_is_put_again_is_replaced,
        a_deleted_trigger_is_gone,
        triggers_are_ordered_by_id,
        deleting_a_script_removes_its_triggers_and_no_others,
        a_trigger_to_a_missing_script_is_refused,
        a_trigger_may_come_before_its_script_within_a_change_set,
        a_missing_script_is_told_of_a_route_before_a_trigger,
        a_trigger_of_another_app_cannot_be_deleted,
        a_trigger_cannot_lead_to_a_script_of_another_app,
    ]
}

fn trigger(world: &World, script: ScriptId) -> Result<TriggerRecord> {
    Ok(TriggerRecord {
        id: TriggerId::new(),
        script,
        kind: TriggerKind::Kv(KvTrigger { collection: "*".parse()?, ops: vec![] }),
        enabled: true,
        dispatch_mode: DispatchMode::Async,
        retry: RetryPolicy::default(),
        registered_by: Registrant { kind: PrincipalKind::Host, id: "host".into() },
        owner: Owner::Api,
        created_at: world.now(),
    })
}

async fn a_trigger_reads_back_as_it_was_put(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let detailed = TriggerRecord {
        kind: TriggerKind::Kv(KvTrigger {
            collection: "orders:eu:*".parse()?,
            ops: vec![KvOp::Delete, KvOp::Insert],
        }),
        enabled: false,
        retry: RetryPolicy {
            max_attempts: u32::MAX,
            backoff: Backoff::Linear,
            base_ms: 1,
            max_ms: 31_622_400_000,
            jitter_percent: 100,
        },
        registered_by: Registrant { kind: PrincipalKind::User, id: "ada \"ü\"".into() },
        owner: Owner::Directive,
        ..trigger(&world, one.id)?
    };
    shop.apply(&[PutScript(one), PutTrigger(detailed.clone())]).await?;
    assert_eq!(shop.snapshot().await?.triggers, [detailed]);
    Ok(())
}

async fn a_trigger_that_is_put_again_is_replaced(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (one, two) = (script(&world, "a")?, script(&world, "b")?);
    let first = trigger(&world, one.id)?;
    let second = TriggerRecord { script: two.id, enabled: false, ..first.clone() };
    shop.apply(&[PutScript(one), PutScript(two), PutTrigger(first)]).await?;
    shop.apply(&[PutTrigger(second.clone())]).await?;
    assert_eq!(shop.snapshot().await?.triggers, [second]);
    Ok(())
}

async fn a_deleted_trigger_is_gone(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let (kept, gone) = (trigger(&world, one.id)?, trigger(&world, one.id)?);
    shop.apply(&[PutScript(one), PutTrigger(kept.clone()), PutTrigger(gone.clone())]).await?;
    shop.apply(&[DeleteTrigger(gone.id)]).await?;
    assert_eq!(shop.snapshot().await?.triggers, [kept]);
    Ok(())
}

async fn triggers_are_ordered_by_id(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let triggers = [trigger(&world, one.id)?, trigger(&world, one.id)?, trigger(&world, one.id)?];
    let [a, b, c] = triggers.clone();
    shop.apply(&[PutScript(one), PutTrigger(c), PutTrigger(a), PutTrigger(b)]).await?;
    assert_eq!(shop.snapshot().await?.triggers, triggers);
    Ok(())
}

async fn deleting_a_script_removes_its_triggers_and_no_others(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let (gone, kept) = (script(&world, "a")?, script(&world, "b")?);
    let (with_it, stays) = (trigger(&world, gone.id)?, trigger(&world, kept.id)?);
    let id = gone.id;
    shop.apply(&[PutScript(gone), PutScript(kept), PutTrigger(with_it), PutTrigger(stays.clone())]).await?;
    shop.apply(&[DeleteScript(id)]).await?;
    assert_eq!(shop.snapshot().await?.triggers, [stays]);
    Ok(())
}

async fn a_trigger_to_a_missing_script_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let dangling = [PutTrigger(trigger(&world, ScriptId::new())?)];
    shop.assert_refused(&dangling, Revision(0), "trigger.no_such_script").await
}

async fn a_trigger_may_come_before_its_script_within_a_change_set(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    shop.apply(&[PutTrigger(trigger(&world, one.id)?), PutScript(one)]).await?;
    assert_eq!(shop.snapshot().await?.triggers.len(), 1);
    Ok(())
}

async fn a_missing_script_is_told_of_a_route_before_a_trigger(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let dangling =
        [PutTrigger(trigger(&world, ScriptId::new())?), PutRoute(route(&world, ScriptId::new(), "/a"))];
    shop.assert_refused(&dangling, Revision(0), "route.no_such_script").await
}

async fn a_trigger_of_another_app_cannot_be_deleted(world: World) -> Result<()> {
    let (mine, theirs) = (Catalogued::new(&world).await?, Catalogued::new(&world).await?);
    let one = script(&world, "a")?;
    let trigger = trigger(&world, one.id)?;
    theirs.apply(&[PutScript(one), PutTrigger(trigger.clone())]).await?;
    mine.apply(&[PutScript(script(&world, "b")?), DeleteTrigger(trigger.id)]).await?;
    assert_eq!(theirs.snapshot().await?.triggers, [trigger]);
    Ok(())
}

async fn a_trigger_cannot_lead_to_a_script_of_another_app(world: World) -> Result<()> {
    let (mine, theirs) = (Catalogued::new(&world).await?, Catalogued::new(&world).await?);
    let one = script(&world, "a")?;
    theirs.apply(&[PutScript(one.clone())]).await?;
    let across = [PutTrigger(trigger(&world, one.id)?)];
    mine.assert_refused(&across, Revision(0), "trigger.no_such_script").await
}
