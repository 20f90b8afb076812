//! KV through a script.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use picloud_core::{App, Picloud, PicloudConfig};
use tokio::runtime::Runtime;

use crate::hello::{cloud, runtime};
use crate::measure::{Goal, Table, each, in_turns, nanos, show};

/// Calls in one run of a script, so that the script's own cost does not count.
const CALLS: u32 = 1_000;

const GET: &str = "let c = kv::collection(\"bench\"); for i in 0..1000 { c.get(\"key\"); }";
const SET: &str =
    "let c = kv::collection(\"bench\"); for i in 0..1000 { c.set(\"key\", \"a value of some length\"); }";
const EMPTY: &str = "let c = kv::collection(\"bench\"); for i in 0..1000 { }";

/// Nanoseconds for one call, on an executor thread.
fn call(cloud: &Picloud, app: &App, runtime: &Runtime, script: &'static str) -> f64 {
    let (cloud, app) = (cloud.clone(), app.clone());
    let handle = cloud.executor().runtimes().next().unwrap().clone();
    let task = handle.spawn(async move {
        let script = app.script(script).unwrap();
        let begin = Instant::now();
        for _ in 0..20 {
            script.execute(script.invocation()).await.result.unwrap();
        }
        nanos(begin.elapsed()) / f64::from(20 * CALLS)
    });
    runtime.block_on(task).unwrap()
}

pub(crate) fn run(table: &mut Table) {
    let runtime = runtime();
    let (cloud, app) =
        cloud(&runtime, &[("get", GET), ("set", SET), ("empty", EMPTY)], PicloudConfig::default());
    let map = Mutex::new(HashMap::from([("key".to_owned(), "\"a value of some length\"".to_owned())]));
    let read = || drop(std::hint::black_box(map.lock().unwrap().get("key").cloned()));
    let write = || {
        std::hint::black_box(
            map.lock().unwrap().insert("key".to_owned(), "\"a value of some length\"".to_owned()),
        );
    };
    let [get, set, empty, bare_get, bare_set] = in_turns(
        7,
        [
            &mut || call(&cloud, &app, &runtime, "get"),
            &mut || call(&cloud, &app, &runtime, "set"),
            &mut || call(&cloud, &app, &runtime, "empty"),
            &mut || each(200_000, read),
            &mut || each(200_000, write),
        ],
    );
    let what = |name: &str| {
        format!("KV {name} through a script (the loop around it: {}), beside a `HashMap`", show(empty))
    };
    table.row(what("get"), show(get), show(bare_get), (get - bare_get) / 1e3, " µs more", Goal::None);
    table.row(what("set"), show(set), show(bare_set), (set - bare_set) / 1e3, " µs more", Goal::None);
    runtime.block_on(cloud.shutdown(std::time::Duration::from_secs(5)));
}
