//! What was given up: listed, sent again, closed, forgotten.

use super::*;

#[tokio::test]
async fn what_fails_as_often_as_it_may_is_a_dead_letter() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow `no luck with ${ctx.event.kv.key}`;")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }

    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].reason), (5, DeadLetterReason::Failed));
    assert!(letters[0].error.contains("no luck with 42"), "{}", letters[0].error);
    assert_eq!(letters[0].row.payload.to_value::<Value>().unwrap()["key"], "42");
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
    assert_eq!(letters_of(&world.other).await, []);
    assert_eq!(world.statuses().await, [ExecutionStatus::Error; 5]);
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_when_its_handler_is_mended() {
    let world = World::new().await;
    world.deploy(&[("handler", "//! on kv orders\nthrow \"broken\";")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let id = letters_of(&world.app).await[0].row.id;
    assert_eq!(world.app.open_dead_letters().await.unwrap(), 1);
    assert_eq!(world.other.replay(id).await.unwrap_err().code(), "dead_letters.not_found");
    let wrong = world.app.resolve(id, Resolution::Replayed).await.unwrap_err();
    assert_eq!(wrong.code(), "dead_letters.invalid_resolution");

    world
        .deploy(&[(
            "handler",
            "//! on kv orders\nkv::collection(\"seen\").set(ctx.event.id, ctx.event.attempt);",
        )])
        .await;
    world.app.replay(id).await.unwrap();
    world.settle().await;

    assert_eq!(world.seen(&id.to_string()).await, Some(json!(1)));
    assert_eq!(letters_of(&world.app).await[0].resolution, Some(Resolution::Replayed));
    let statuses = world.statuses().await;
    assert_eq!(statuses.len(), 6, "each run has a record of its own: {statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == ExecutionStatus::Success).count(), 1);
    assert_eq!(world.app.open_dead_letters().await.unwrap(), 0);
    assert_eq!(world.app.replay(id).await.unwrap_err().code(), "dead_letters.already_resolved");
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_forgotten() {
    let world = World::new().await;
    world.deploy(&[("handler", "//! on kv orders\nthrow `broken`;")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    assert_eq!((letters_of(&world.app).await.len(), world.statuses().await.len()), (1, 5));

    // By hand, as a month of clock in one go: the sweeper looks when it wakes.
    let mut looked = 0;
    while !letters_of(&world.app).await.is_empty() || !world.statuses().await.is_empty() {
        looked += 1;
        assert!(looked < 100, "nothing is forgotten");
        world.after(Duration::from_secs(31 * 24 * 3_600)).await;
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn scripts_manage_dead_letters_for_those_who_may() {
    let world = World::new().await;
    let manage = r#"
        let open = dead_letters::list(#{ unresolved: true }).items;
        let first = open[0];
        let told = [dead_letters::count(), open.len(), first.source, dead_letters::get(first.id).event.key, first.attempts, first.error.contains("broken")];
        dead_letters::resolve(first.id, "ignored");
        try {
            dead_letters::replay(first.id);
        } catch (problem) {
            return told + [problem.code, dead_letters::get(first.id).resolution];
        }"#;
    world.deploy(&[("handler", "//! on kv orders\nthrow `broken`;"), ("manage", manage)]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }

    let script = world.app.script("manage").unwrap();
    for (principal, is_allowed) in [
        (None, false),
        (Some(Principal::new(PrincipalKind::Caller, "eve", "Eve")), false),
        (
            Some(Principal::new(PrincipalKind::User, "ed", "Ed").member(world.app.id(), AppRole::Editor)),
            false,
        ),
        (
            Some(Principal::new(PrincipalKind::User, "ada", "Ada").member(world.app.id(), AppRole::AppAdmin)),
            true,
        ),
    ] {
        let mut invocation = script.invocation();
        invocation.principal = principal.map(Arc::new);
        let outcome = script.execute(invocation).await;
        if is_allowed {
            let Answer::Value(told) = outcome.result.unwrap() else { panic!("a response") };
            assert_eq!(
                told.to_value::<Value>().unwrap(),
                json!([1, 1, "kv", "42", 5, true, "dead_letters.already_resolved", "ignored"])
            );
        } else {
            let failure = outcome.result.unwrap_err();
            assert!(failure.message.contains("AppDeadLetterManage"), "{}", failure.message);
        }
    }
}

/// Writes what it was told of a letter, and closes it if the event was that of key 1.
const UNDERTAKER: &str = r#"
    let letter = ctx.event.dead_letter;
    kv::collection("seen").set(letter.event.key, letter);
    if letter.event.key == "1" { dead_letters::resolve(letter.id, "handled_by_script"); }"#;

#[tokio::test]
async fn a_script_handles_what_was_given_up() {
    let world = World::new().await;
    world
        .deploy(&[
            ("broken", "//! on kv orders\nthrow `no luck`;"),
            ("undertaker", &format!("//! on dead_letter kv broken\n{UNDERTAKER}")),
            ("not_me", "//! on dead_letter pubsub\nkv::collection(\"seen\").set(\"wrong\", 1);"),
            ("nor_me", "//! on dead_letter * undertaker\nkv::collection(\"seen\").set(\"wrong\", 1);"),
        ])
        .await;
    for key in ["1", "2"] {
        world.app.kv("orders").unwrap().set(key, &1).await.unwrap();
    }
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        let key = letter.row.payload.to_value::<Value>().unwrap()["key"].as_str().unwrap().to_owned();
        let seen = world.seen(&key).await.unwrap();
        assert_eq!(seen["id"], json!(letter.row.id));
        assert_eq!((&seen["source"], &seen["attempts"]), (&json!("kv"), &json!(5)));
        assert_eq!(seen["script_id"], json!(letter.row.script));
        assert_eq!(seen["trigger_id"], json!(letter.row.trigger));
        assert!(seen["error"].as_str().unwrap().contains("no luck"));
        let wanted = if key == "1" { Some(Resolution::HandledByScript) } else { None };
        assert_eq!(
            letter.resolution, wanted,
            "a handler that succeeds leaves a letter open unless it closes it"
        );
    }
    assert_eq!(world.seen("wrong").await, None);
}

#[tokio::test]
async fn a_handler_of_dead_letters_that_fails_is_not_tried_again() {
    let world = World::new().await;
    world
        .deploy(&[
            ("broken", "//! on kv orders\nthrow `no luck`;"),
            (
                "undertaker",
                "//! on dead_letter\nkv::collection(\"seen\").increment(\"runs\", 1); throw `nor I`;",
            ),
        ])
        .await;
    world.app.kv("orders").unwrap().set("1", &1).await.unwrap();
    for _ in 0..12 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 1, "a failing handler makes no letter of its own: {letters:?}");
    assert_eq!(letters[0].resolution, Some(Resolution::HandlerFailed));
    assert_eq!(world.seen("runs").await, Some(json!(1)));
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
}

#[tokio::test]
async fn handlers_of_dead_letters_are_cut_where_loops_are() {
    let mut config = PicloudConfig::default();
    config.triggers.max_depth = 1;
    let world = World::with(config, None).await;
    world
        .deploy(&[
            ("broken", "//! on kv orders\nthrow `no luck`;"),
            ("undertaker", "//! on dead_letter\nkv::collection(\"seen\").increment(\"runs\", 1);"),
        ])
        .await;
    world.app.kv("orders").unwrap().set("1", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    assert_eq!(letters_of(&world.app).await.len(), 1);
    assert_eq!(world.seen("runs").await, None);
}
