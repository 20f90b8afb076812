//! Triggers that fire by the clock.

use super::*;

#[tokio::test]
async fn a_schedule_fires_by_the_clock_of_its_zone() {
    let world = World::new().await;
    let source = "//! cron \"0 30 8 * * *\" Asia/Kolkata\nkv::collection(\"seen\").set(ctx.event.cron.scheduled_for, ctx.event.cron);";
    world.deploy(&[("report", source)]).await;
    world.settle().await;
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);

    // A day has one such time, wherever it begins.
    world.after(Duration::from_secs(24 * 3_600)).await;

    let seen = world.app.kv("seen").unwrap().list(&ListOptions::default()).await.unwrap().items;
    assert_eq!(seen.len(), 1);
    let at: picloud_core::Timestamp = seen[0].key.as_str().parse().unwrap();
    assert_eq!(at.as_second().rem_euclid(24 * 3_600), 3 * 3_600, "08:30 in India is 03:00 UTC");
    let told: Value = seen[0].value.to_value().unwrap();
    assert_eq!((&told["schedule"], &told["timezone"]), (&json!("0 30 8 * * *"), &json!("Asia/Kolkata")));
}

#[tokio::test]
async fn a_schedule_fires_each_time_and_once_for_what_it_slept_through() {
    let world = World::new().await;
    world.deploy(&[("tick", "//! cron @hourly\nkv::collection(\"seen\").increment(\"n\", 1);")]).await;
    world.settle().await;
    for _ in 0..5 {
        world.after(Duration::from_secs(3_600)).await;
    }
    assert_eq!(world.seen("n").await, Some(json!(5)));
    // Asleep for longer than a minute, it missed them.
    world.after(Duration::from_secs(5 * 3_600)).await;
    assert_eq!(world.seen("n").await, Some(json!(6)));
}

#[tokio::test]
async fn a_schedule_by_the_second_makes_up_for_a_busy_minute() {
    let world = World::new().await;
    world
        .deploy(&[("tick", "//! cron \"* * * * * *\"\nkv::collection(\"seen\").increment(\"n\", 1);")])
        .await;
    world.settle().await;
    world.after(Duration::from_secs(30)).await;
    assert_eq!(world.seen("n").await, Some(json!(30)));
}

#[tokio::test]
async fn a_schedule_that_is_disabled_does_not_make_up_for_the_time() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let start = async || Picloud::builder(backend.clone()).start().await.unwrap();
    let cloud = start().await;
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&bundle(&[("tick", "kv::collection(\"seen\").increment(\"n\", 1);")])).await.unwrap();
    let kind =
        serde_json::from_value(json!({ "kind": "cron", "schedule": "@hourly", "timezone": "UTC" })).unwrap();
    let id = app.create_trigger("tick", kind, None, &Principal::host(app.id())).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    app.enable_trigger(id, false).await.unwrap();
    clock.advance(Duration::from_secs(10 * 3_600));
    cloud.run_until_idle().await.unwrap();
    app.enable_trigger(id, true).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    cloud.shutdown(Duration::from_secs(5)).await;

    let cloud = start().await;
    cloud.run_until_idle().await.unwrap();
    let seen = cloud.app(app.id()).kv("seen").unwrap();
    assert_eq!(seen.get::<i64>("n").await.unwrap(), None);
    clock.advance(Duration::from_secs(3_600));
    cloud.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("n").await.unwrap(), Some(1));
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_schedule_that_was_missed_fires_once_unless_it_says_skip() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let start = async || Picloud::builder(backend.clone()).start().await.unwrap();
    let cloud = start().await;
    let app = cloud.create_app("shop").await.unwrap();
    let count = |name: &str| format!("kv::collection(\"seen\").increment({name:?}, 1);");
    let once = format!("//! cron @hourly\n{}", count("once"));
    let skip = format!("//! cron @hourly UTC skip\n{}", count("skip"));
    app.deploy(&bundle(&[("once", &once), ("skip", &skip)])).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    cloud.shutdown(Duration::from_secs(5)).await;

    clock.advance(Duration::from_secs(10 * 3_600));
    // Two processes start again: the missed time counts once all the same.
    let (cloud, other) = (start().await, start().await);
    cloud.run_until_idle().await.unwrap();
    other.run_until_idle().await.unwrap();
    let seen = cloud.app(app.id()).kv("seen").unwrap();
    assert_eq!(seen.get::<i64>("once").await.unwrap(), Some(1));
    assert_eq!(seen.get::<i64>("skip").await.unwrap(), None);

    clock.advance(Duration::from_secs(3_600));
    cloud.run_until_idle().await.unwrap();
    other.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("once").await.unwrap(), Some(2));
    assert_eq!(seen.get::<i64>("skip").await.unwrap(), Some(1));
    other.shutdown(Duration::from_secs(5)).await;
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_schedule_that_is_changed_or_gone_does_not_fire_as_before() {
    let world = World::new().await;
    let tick = |schedule: &str| format!("//! cron {schedule}\nkv::collection(\"seen\").increment(\"n\", 1);");
    world.deploy(&[("tick", &tick("@hourly"))]).await;
    world.settle().await;
    world.deploy(&[("tick", &tick("\"0 0 0 1 1 *\""))]).await;
    world.after(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(world.seen("n").await, None);
    world.deploy(&[("tick", "1")]).await;
    world.after(Duration::from_secs(800 * 24 * 3_600)).await;
    assert_eq!(world.seen("n").await, None);
}
