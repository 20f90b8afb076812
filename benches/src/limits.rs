//! What a deadline, a cancellation and a cached script cost.

use std::time::{Duration, Instant};

use picloud_core::PicloudConfig;
use picloud_core::engine::Limits;
use picloud_core::execution::FailureClass;
use picloud_core::fuzzing::compiled_bytes;

use crate::hello::{cloud, runtime};
use crate::measure::{Goal, Table, median, nanos, show};

const TWENTY_LINES: &str = r#"//! route POST /orders
let order = ctx.request.body;
let orders = kv::collection("orders");
if order.count < 1 || order.count > 100 {
    throw #{ statusCode: 422, body: #{ error: "count must be 1 to 100" } };
}
fn total(order) {
    let sum = 0;
    for line in order.lines {
        sum += line.price * line.count;
    }
    sum
}
let sum = total(order);
let id = orders.increment("last", 1);
orders.set(`order-${id}`, #{ customer: order.customer, sum: sum, lines: order.lines });
log::info("ordered", #{ id: id, sum: sum });
if sum > 1000 {
    orders.set(`review-${id}`, true);
}
#{ statusCode: 201, headers: #{ location: `/orders/${id}` }, body: #{ id: id, sum: sum } }"#;

pub(crate) fn run(table: &mut Table) {
    let runtime = runtime();
    let mut config = PicloudConfig::default();
    config.limits.max_operations = u64::MAX;
    let scripts = [("spin", "//! timeout 1\nloop {}"), ("spin_long", "loop {}")];
    let (cloud, app) = cloud(&runtime, &scripts, config);

    let mut over = Vec::new();
    for _ in 0..9 {
        let script = app.script("spin").unwrap();
        let begin = Instant::now();
        let outcome = runtime.block_on(script.execute(script.invocation()));
        assert_eq!(outcome.result.unwrap_err().class, FailureClass::Timeout);
        over.push(nanos(begin.elapsed()) - 1e9);
    }
    let late = median(&mut over);
    table.row(
        "a spinning script past its deadline of 1 s, p50",
        show(late),
        "0",
        late / 1e6,
        " ms",
        Goal::AtMost(1.0),
    );

    let mut waits = Vec::new();
    for _ in 0..50 {
        let wait = runtime.block_on(async {
            let script = app.script("spin_long").unwrap();
            let running = tokio::spawn({
                let script = script.clone();
                async move { script.execute(script.invocation()).await }
            });
            while cloud.executor().in_flight() == 0 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            let begin = Instant::now();
            running.abort();
            while cloud.executor().in_flight() > 0 {
                tokio::task::yield_now().await;
            }
            nanos(begin.elapsed())
        });
        waits.push(wait);
    }
    let late = median(&mut waits);
    table.row(
        "a spinning script cancelled by its caller, p50",
        show(late),
        "0",
        late / 1e6,
        " ms",
        Goal::AtMost(1.0),
    );

    let bytes = compiled_bytes(TWENTY_LINES, &Limits::default());
    table.row(
        "a cached script of 20 lines",
        format!("{bytes} bytes"),
        "",
        bytes as f64 / 1e3,
        " KB",
        Goal::AtMost(20.0),
    );
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}
