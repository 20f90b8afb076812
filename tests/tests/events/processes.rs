//! Processes that are full, end, or die.

use super::*;

#[tokio::test]
async fn a_full_gate_makes_events_wait_and_costs_no_attempt() {
    let mut config = PicloudConfig::default();
    config.executor.gate.max_executions_per_app = 1;
    let world = World::with(config, None).await;
    let source =
        "//! on kv orders\nsleep(3600); kv::collection(\"seen\").increment(\"n\", ctx.event.attempt);";
    world.deploy(&[("slow", &format!("//! timeout 300\n{}", source.replace("3600", "1")))]).await;
    let orders = world.app.kv("orders").unwrap();
    for n in 0..3 {
        orders.set(&n.to_string(), &1).await.unwrap();
    }
    // One runs; the others find no room, again and again.
    let mut n = None;
    for _ in 0..2_000 {
        world.clock.advance(Duration::from_millis(250));
        tokio::task::yield_now().await;
        n = world.seen("n").await;
        if n == Some(json!(3)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(n, Some(json!(3)), "each ran at its first attempt");
    assert_eq!(letters_of(&world.app).await, []);
}

#[tokio::test]
async fn a_shutdown_gives_back_what_it_did_not_finish() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let start = || async { Picloud::builder(backend.clone()).start().await.unwrap() };
    let first = start().await;
    let app = first.create_app("shop").await.unwrap();
    let source = "//! on kv orders\n//! timeout 300\nlet seen = kv::collection(\"seen\");
        seen.increment(\"begun\", 1); sleep(60); seen.increment(\"done\", 1);";
    app.deploy(&bundle(&[("slow", source)])).await.unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    while app.kv("seen").unwrap().get::<i64>("begun").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.shutdown(Duration::from_millis(10)).await;

    let second = start().await;
    let app = second.app(app.id());
    assert_eq!(app.waiting_events(10).await.unwrap().len(), 1);
    while app.kv("seen").unwrap().get::<i64>("done").await.unwrap().is_none() {
        clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    second.run_until_idle().await.unwrap();
    assert_eq!(app.kv("seen").unwrap().get::<i64>("begun").await.unwrap(), Some(2));
    assert_eq!(letters_of(&app).await, []);
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_events_of_a_process_that_died_are_run_by_another_after_its_lease() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let first = Picloud::builder(backend.clone()).start().await.unwrap();
    let app = first.create_app("shop").await.unwrap();
    let source = "//! on kv orders\nkv::collection(\"seen\").increment(\"done\", ctx.event.attempt);";
    app.deploy(&bundle(&[("note", source)])).await.unwrap();
    first.shutdown(Duration::from_secs(5)).await;
    // A worker that claims the event and is never heard of again.
    let dead = picloud_core::outbox::WorkerId::new();
    let outbox = backend.outbox();
    assert!(outbox.beat(dead).await.unwrap());
    let second = Picloud::builder(backend.clone());
    let mut config = PicloudConfig::default();
    config.dispatcher.enabled = false;
    let silent = Picloud::builder(backend.clone()).config(config).start().await.unwrap();
    silent.app(app.id()).kv("orders").unwrap().set("42", &1).await.unwrap();
    assert_eq!(outbox.claim(dead, 10).await.unwrap().len(), 1);

    let second = second.start().await.unwrap();
    let seen = second.app(app.id()).kv("seen").unwrap();
    second.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("done").await.unwrap(), None, "its lease is not over");
    while seen.get::<i64>("done").await.unwrap().is_none() {
        clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen.get::<i64>("done").await.unwrap(), Some(2), "the attempt of the dead worker counts");
    let at_least = clock_seconds(&clock);
    assert!(at_least >= 10, "it was taken over after {at_least} s");
    silent.shutdown(Duration::from_secs(5)).await;
    second.shutdown(Duration::from_secs(5)).await;
}

fn clock_seconds(clock: &TestClock) -> i64 {
    use picloud_core::Clock;
    clock.now().as_second() - TestClock::new().now().as_second()
}

#[tokio::test]
async fn a_process_that_takes_its_time_to_end_shows_that_it_is_alive() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let ending = Picloud::builder(backend.clone()).start().await.unwrap();
    let app = ending.create_app("shop").await.unwrap();
    let source = "//! on kv orders\n//! timeout 300\nlet seen = kv::collection(\"seen\");
        seen.increment(\"begun\", 1); sleep(60); seen.increment(\"done\", 1);";
    app.deploy(&bundle(&[("slow", source)])).await.unwrap();
    let seen = app.kv("seen").unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    while seen.get::<i64>("begun").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let other = Picloud::builder(backend.clone()).start().await.unwrap();

    // Much longer than a lease, in steps that are shorter than one.
    let end = tokio::spawn(async move { ending.shutdown(Duration::from_secs(30)).await });
    while !end.is_finished() {
        clock.advance(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let seen = other.app(app.id()).kv("seen").unwrap();
    other.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("begun").await.unwrap(), Some(1), "it was not taken over");
    assert_eq!(seen.get::<i64>("done").await.unwrap(), Some(1));
    other.shutdown(Duration::from_secs(5)).await;
}
