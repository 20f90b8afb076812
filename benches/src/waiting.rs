//! Many scripts at once: waiting ones, and spinning ones beside a greeting.

use std::time::{Duration, Instant};

use picloud_core::PicloudConfig;

use crate::hello::{HANDED_OVER, cloud, greet, runtime};
use crate::measure::{Goal, Table, median, nanos, process, show};

const WAITING: usize = 10_000;

pub(crate) fn run(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = PicloudConfig::default();
    config.executor.gate.max_executions = 2 * WAITING;
    config.executor.gate.max_executions_per_app = 2 * WAITING;
    let (picloud, app) = cloud(&runtime, &[("wait", "sleep(1.0)")], config);
    let (before, _) = process(std::process::id());
    let script = app.script("wait").unwrap();
    let begin = Instant::now();
    let (memory, threads) = runtime.block_on(async {
        let tasks: Vec<_> = (0..WAITING)
            .map(|_| {
                let script = script.clone();
                tokio::spawn(async move { script.execute(script.invocation()).await.result.map(drop) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(900)).await;
        let seen = process(std::process::id());
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        seen
    });
    let wall = begin.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    table.row(
        "10 000 scripts that wait one second: wall",
        show(wall * 1e9),
        "1 s",
        wall,
        " s",
        Goal::AtMost(1.5),
    );
    #[allow(clippy::cast_precision_loss)]
    table.row(
        "the same: threads of the process",
        threads.to_string(),
        format!("{cores} cores"),
        threads as f64,
        "",
        Goal::AtMost((cores + 8) as f64),
    );
    table.row(
        "the same: memory",
        format!("{memory:.0} MiB"),
        format!("{before:.0} MiB before"),
        memory,
        " MiB",
        Goal::AtMost(200.0),
    );
    runtime.block_on(picloud.shutdown(Duration::from_secs(5)));
    drop((picloud, app));
    for spinning in [8, 600] {
        beside(spinning, table);
    }
}

/// Hello while scripts of another app spin.
fn beside(spinning: usize, table: &mut Table) {
    let runtime = runtime();
    let mut config = PicloudConfig::default();
    config.limits.max_operations = u64::MAX;
    config.executor.gate.max_executions = 4_000;
    config.executor.gate.max_executions_per_app = 2_000;
    let (picloud, app) = cloud(&runtime, &[("greet", HANDED_OVER)], config);
    let mut alone = Vec::new();
    let mut together = Vec::new();
    runtime.block_on(async {
        let other = picloud.create_app("other").await.unwrap();
        let bundle = picloud_core::script::Bundle::new().file("spin", "let n = 0; loop { n += 1; }").unwrap();
        other.deploy(&bundle).await.unwrap();
        let hello = async |times: &mut Vec<f64>| {
            for _ in 0..400 {
                let begin = Instant::now();
                picloud.executor().run(greet(&app, "greet")).await.result.unwrap();
                times.push(nanos(begin.elapsed()));
            }
        };
        hello(&mut alone).await;
        let spin = other.script("spin").unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..spinning {
            let spin = spin.clone();
            tasks.spawn(async move { drop(spin.execute(spin.invocation()).await) });
        }
        while picloud.executor().in_flight() < spinning {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hello(&mut together).await;
        tasks.shutdown().await;
    });
    let (p50, before) = (median(&mut together), median(&mut alone));
    table.row(
        format!("hello, handed over, while {spinning} scripts of another app spin, p50, beside hello alone"),
        show(p50),
        show(before),
        p50 / 1e6,
        " ms",
        Goal::AtMost(2.0),
    );
    runtime.block_on(picloud.shutdown(Duration::from_millis(200)));
}
