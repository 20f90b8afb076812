//! Triggers that change, and those who registered them.

use super::*;

#[tokio::test]
async fn a_trigger_has_the_retries_that_it_was_registered_with() {
    let world = World::new().await;
    world.deploy(&[("broken", "throw 1")]).await;
    let retry = RetryPolicy {
        max_attempts: 2,
        backoff: Backoff::Constant,
        base_ms: 50,
        jitter_percent: 0,
        ..RetryPolicy::default()
    };
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let host = Principal::host(world.app.id());
    world.app.create_trigger("broken", kind, Some(retry), &host).await.unwrap();

    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;
    world.after(Duration::from_millis(50)).await;

    assert_eq!(letters_of(&world.app).await.len(), 1);
}

#[tokio::test]
async fn a_handler_runs_as_whoever_registered_it_with_the_roles_of_now() {
    let people = People::default();
    let world = World::with(PicloudConfig::default(), Some(people.clone())).await;
    world.deploy(&[("note", "kv::collection(\"seen\").set(ctx.event.kv.key, ctx.principal.name);")]).await;
    let id = world.app.id();
    let ada = |role| Principal::new(PrincipalKind::User, "ada", "Ada").member(id, role);
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let orders = world.app.kv("orders").unwrap();
    world.app.create_trigger("note", kind.clone(), None, &ada(AppRole::AppAdmin)).await.unwrap();
    let refused = world.app.create_trigger("note", kind, None, &ada(AppRole::Editor)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);

    people.put("ada", Ok(ada(AppRole::Editor)));
    orders.set("as an editor", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("as an editor").await, Some(json!("Ada")));

    // A viewer may not write; the handler fails like any other.
    people.put("ada", Ok(ada(AppRole::Viewer)));
    orders.set("as a viewer", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("as a viewer").await, None);

    // Nobody is run as somebody who is gone.
    people.put("ada", Ok(Principal::new(PrincipalKind::User, "ada", "Ada")));
    orders.set("without a role", &1).await.unwrap();
    world.settle().await;
    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, DeadLetterReason::RegistrantInvalid);
}

#[tokio::test]
async fn a_registrant_that_cannot_be_looked_up_makes_the_event_wait() {
    let people = People::default();
    let world = World::with(PicloudConfig::default(), Some(people.clone())).await;
    world.deploy(&[("note", "kv::collection(\"seen\").set(ctx.event.kv.key, ctx.event.attempt);")]).await;
    let ada = Principal::new(PrincipalKind::User, "ada", "Ada").member(world.app.id(), AppRole::AppAdmin);
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    world.app.create_trigger("note", kind, None, &ada).await.unwrap();

    people.put("ada", Err(Error::new(ErrorKind::Unavailable, "people.down", "no answer")));
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..10 {
        world.after(Duration::from_secs(6)).await;
    }
    assert_eq!(letters_of(&world.app).await, []);
    people.put("ada", Ok(ada));
    world.after(Duration::from_secs(6)).await;

    assert_eq!(world.seen("42").await, Some(json!(1)), "waiting costs no attempt");
}

#[tokio::test]
async fn a_disabled_trigger_matches_nothing_new_and_what_waits_still_runs() {
    let world = World::new().await;
    let flaky = "if ctx.event.attempt == 1 { throw 1 } kv::collection(\"seen\").set(ctx.event.kv.key, 1);";
    world.deploy(&[("flaky", flaky)]).await;
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let host = Principal::host(world.app.id());
    let trigger = world.app.create_trigger("flaky", kind, None, &host).await.unwrap();
    let orders = world.app.kv("orders").unwrap();
    orders.set("before", &1).await.unwrap();
    world.settle().await;

    world.app.enable_trigger(trigger, false).await.unwrap();
    orders.set("after", &1).await.unwrap();
    world.after(Duration::from_secs(2)).await;

    assert_eq!((world.seen("before").await, world.seen("after").await), (Some(json!(1)), None));
}

#[tokio::test]
async fn what_waits_for_a_deleted_trigger_is_dropped() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow 1")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.app.waiting_events(10).await.unwrap().len(), 1);

    world.deploy(&[("broken", "throw 1")]).await;
    world.after(Duration::from_secs(2)).await;

    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
    assert_eq!(letters_of(&world.app).await, []);
    assert_eq!(world.statuses().await.len(), 1);
}

#[tokio::test]
async fn a_directive_that_changes_keeps_what_waits_for_it() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow 1")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;

    let mended = NOTE.replace("on kv orders", "on kv orders insert");
    let report = world.app.deploy(&bundle(&[("broken", &mended)])).await.unwrap();
    world.after(Duration::from_secs(2)).await;

    assert_eq!(report.triggers.len(), 1);
    assert_eq!(report.triggers[0].change, Change::Added);
    assert!(world.seen("42").await.is_some(), "the event waited for the mended script");
}

#[tokio::test]
async fn a_deployment_tells_its_triggers_and_owns_those_of_its_directives_only() {
    let world = World::new().await;
    let report = world.app.deploy(&bundle(&[("note", NOTE), ("idle", "1")])).await.unwrap();
    assert!(report.to_string().contains("+ on kv orders"), "{report}");
    assert_eq!(report.warnings.len(), 1, "{report}");
    assert!(report.warnings[0].starts_with("idle.rhai"), "{report}");
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "mine" })).unwrap());
    let host = Principal::host(world.app.id());
    let mine = world.app.create_trigger("note", kind, None, &host).await.unwrap();

    let again = world.app.deploy(&bundle(&[("note", NOTE)])).await.unwrap();
    assert!(again.triggers.iter().all(|trigger| trigger.change == Change::Kept), "{again}");
    let without = world.app.deploy(&bundle(&[("note", "1")])).await.unwrap();
    assert_eq!(without.triggers.iter().map(|trigger| trigger.change).collect::<Vec<_>>(), [Change::Removed]);
    let state = world.app.state().unwrap();
    assert_eq!(state.triggers().map(|trigger| trigger.id).collect::<Vec<_>>(), [mine]);
}
