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
        a_taken_name_is_told_before_a_missing_script,
        a_trigger_of_another_app_cannot_be_deleted,
        a_trigger_cannot_lead_to_a_script_of_another_app,
        a_trigger_id_of_another_app_is_free,
        every_backoff_and_registrant_reads_back,
        deleting_a_missing_trigger_is_no_error,
        a_trigger_to_a_script_deleted_before_is_refused,
        steps_on_triggers_take_effect_in_order,
        a_trigger_alone_makes_a_greater_revision,
    ]
}

pub(crate) fn trigger(world: &World, script: ScriptId) -> Result<TriggerRecord> {
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

async fn a_trigger_id_of_another_app_is_free(world: World) -> Result<()> {
    let (mine, theirs) = (Catalogued::new(&world).await?, Catalogued::new(&world).await?);
    let (own, other) = (script(&world, "a")?, script(&world, "a")?);
    let their_trigger = trigger(&world, other.id)?;
    let my_trigger = TriggerRecord { id: their_trigger.id, enabled: false, ..trigger(&world, own.id)? };
    theirs.apply(&[PutScript(other), PutTrigger(their_trigger.clone())]).await?;
    mine.apply(&[PutScript(own), PutTrigger(my_trigger.clone())]).await?;
    let found = (mine.snapshot().await?.triggers, theirs.snapshot().await?.triggers);
    assert_eq!(found, (vec![my_trigger], vec![their_trigger]));
    Ok(())
}

async fn every_backoff_and_registrant_reads_back(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let kinds = [PrincipalKind::User, PrincipalKind::ApiKey, PrincipalKind::Host, PrincipalKind::Caller];
    let backoffs = [Backoff::Exponential, Backoff::Linear, Backoff::Constant];
    let mut put = Vec::new();
    for kind in kinds {
        for backoff in backoffs {
            let retry = RetryPolicy { backoff, ..RetryPolicy::default() };
            let registered_by = Registrant { kind, id: String::new() };
            put.push(TriggerRecord { retry, registered_by, ..trigger(&world, one.id)? });
        }
    }
    let steps: Vec<_> = put.iter().cloned().map(PutTrigger).collect();
    shop.apply(&[vec![PutScript(one)], steps].concat()).await?;
    assert_eq!(shop.snapshot().await?.triggers, put);
    Ok(())
}

async fn deleting_a_missing_trigger_is_no_error(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    shop.apply(&[DeleteTrigger(TriggerId::new()), PutScript(script(&world, "a")?)]).await?;
    assert_eq!(shop.names().await?, ["a"]);
    Ok(())
}

async fn a_trigger_to_a_script_deleted_before_is_refused(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let revision = shop.apply(&[PutScript(one.clone())]).await?;
    let changes = [DeleteScript(one.id), PutTrigger(trigger(&world, one.id)?)];
    shop.assert_refused(&changes, revision, "trigger.no_such_script").await
}

async fn steps_on_triggers_take_effect_in_order(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let (gone, back) = (trigger(&world, one.id)?, trigger(&world, one.id)?);
    shop.apply(&[
        PutScript(one),
        PutTrigger(gone.clone()),
        DeleteTrigger(gone.id),
        DeleteTrigger(back.id),
        PutTrigger(back.clone()),
    ])
    .await?;
    assert_eq!(shop.snapshot().await?.triggers, [back]);
    Ok(())
}

async fn a_trigger_alone_makes_a_greater_revision(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let one = script(&world, "a")?;
    let with_script = shop.apply(&[PutScript(one.clone())]).await?;
    let trigger = trigger(&world, one.id)?;
    let with_trigger = shop.apply(&[PutTrigger(trigger.clone())]).await?;
    let without = shop.apply(&[DeleteTrigger(trigger.id)]).await?;
    assert!(with_script < with_trigger && with_trigger < without, "{with_trigger:?}, then {without:?}");
    Ok(())
}

async fn a_taken_name_is_told_before_a_missing_script(world: World) -> Result<()> {
    let shop = Catalogued::new(&world).await?;
    let changes = [
        PutTrigger(trigger(&world, ScriptId::new())?),
        PutScript(script(&world, "a")?),
        PutScript(script(&world, "a")?),
    ];
    shop.assert_refused(&changes, Revision(0), "script.name_taken").await
}
