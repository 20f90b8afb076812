//! What an attempt on a thread of the host's may do, and what it must leave to the executor.

use std::sync::mpsc::{Sender, channel};
use std::task::Waker;

use super::tests::{executor_with, script};
use super::*;
use crate::engine::{Limits, ScriptModule};
use crate::execution::{ExecutionLogSink, HttpRequest};
use crate::script::ScriptRecord;
use crate::{AppId, CallCx};

/// Records as a sink gets them.
#[derive(Debug, Default)]
struct Records(Mutex<Vec<ExecutionRecord>>);

#[async_trait]
impl ExecutionLogSink for Records {
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
        self.0.lock().unwrap().extend(records);
        Ok(())
    }
}

/// Every record of the executor since its start. Can be asked once.
async fn records(executor: &LocalExecutor) -> Vec<ExecutionRecord> {
    let sink = Arc::new(Records::default());
    executor.shared.log.collect().await;
    executor.shared.log.close();
    executor.shared.log.clone().run(sink.clone()).await;
    std::mem::take(&mut *sink.0.lock().unwrap())
}

fn executor(modules: Vec<ScriptModule>) -> LocalExecutor {
    let limits = Limits { max_operations: u64::MAX, ..Limits::default() };
    executor_with(limits, GateConfig::default(), modules)
}

/// Keeps every executor thread busy until the answer is dropped.
fn blocked(executor: &LocalExecutor) -> Vec<Sender<()>> {
    let block = |handle: &Handle| {
        let (blocker, is_over) = channel::<()>();
        let (entered, is_in) = channel();
        handle.spawn(async move {
            entered.send(()).unwrap();
            is_over.recv().unwrap_err();
        });
        is_in.recv().unwrap();
        blocker
    };
    executor.runtimes().map(block).collect()
}

/// A script that is in the cache already, so that the first poll begins it.
async fn cached(executor: &LocalExecutor, source: &str) -> Arc<ScriptRecord> {
    let script = script(source);
    executor.shared.cache.get(&script).await.unwrap();
    script
}

fn execute(executor: &LocalExecutor, script: &Arc<ScriptRecord>) -> Execute {
    executor.run(Invocation::new(AppId::new(), script.clone()))
}

fn poll_once(execute: &mut Execute) -> Poll<Outcome> {
    Pin::new(execute).poll(&mut Context::from_waker(Waker::noop()))
}

fn text(outcome: Outcome) -> String {
    match outcome.result.unwrap() {
        Answer::Value(json) => json.to_string(),
        Answer::Response(response) => panic!("{response:?}"),
    }
}

#[tokio::test]
async fn a_short_script_ends_on_the_thread_that_polls_it_whatever_thread_that_is() {
    let executor = executor(Vec::new());
    let script = cached(&executor, "let a = 20; a + 22").await;
    let blockers = blocked(&executor);
    for _ in 0..3 {
        let mut execute = execute(&executor, &script);
        let id = match &execute.state {
            State::New(_, invocation) => invocation.execution,
            _ => panic!("it has begun"),
        };
        // A thread without any runtime.
        let polled = std::thread::spawn(move || poll_once(&mut execute)).join().unwrap();
        let Poll::Ready(outcome) = polled else { panic!("it was handed over") };
        assert_eq!(outcome.execution, id);
        assert!(outcome.operations > 0);
        assert_eq!(text(outcome), "42");
        assert_eq!(executor.in_flight(), 0);
    }
    drop(blockers);
    assert_eq!(records(&executor).await.len(), 3);
}

#[tokio::test]
async fn what_ends_an_attempt_early_is_its_outcome() {
    let limits = Limits { max_operations: 50, ..Limits::default() };
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let blockers = blocked(&executor);
    for (source, class, part) in [
        ("throw 5", FailureClass::Runtime, "5"),
        ("try { loop {} } catch { 1 }", FailureClass::Budget, "max_operations"),
        ("|| 5", FailureClass::Runtime, "a function"),
    ] {
        let script = cached(&executor, source).await;
        // A machine that stops this thread for a while ends the slice.
        let failure = (0..1000).find_map(|_| match poll_once(&mut execute(&executor, &script)) {
            Poll::Ready(outcome) => Some(outcome.result.unwrap_err()),
            Poll::Pending => None,
        });
        let failure = failure.unwrap();
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains(part), "{failure}");
    }
    drop(blockers);
}

#[tokio::test]
async fn an_attempt_ends_before_a_function_of_the_host_begins() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (at_once, later) = (calls.clone(), calls.clone());
    let module = ScriptModule::new("host")
        .function("count(n: int) -> int", move |_: CallCx, n: i64| {
            at_once.fetch_add(1, Ordering::Relaxed);
            n
        })
        .async_function("count_later()", move |_: CallCx| {
            later.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    let executor = executor(vec![module, crate::log::script_module()]);
    for (source, count) in [
        ("host::count(1)", 1),
        ("for i in 0..3 { try { host::count(i) } catch {} }", 3),
        ("try { host::count_later() } catch { 0 }", 1),
        ("[3, 1, 2].map(|n| host::count(n))", 3),
        ("sleep(0.0)", 0),
        ("log::info(\"a line\")", 0),
        ("print(\"a line\")", 0),
        ("debug(1)", 0),
    ] {
        calls.store(0, Ordering::Relaxed);
        let script = cached(&executor, source).await;
        let blockers = blocked(&executor);
        let mut execute = execute(&executor, &script);
        assert!(poll_once(&mut execute).is_pending(), "{source}");
        assert_eq!((calls.load(Ordering::Relaxed), executor.in_flight()), (0, 1), "{source}");
        drop(blockers);
        assert!(execute.await.result.is_ok(), "{source}");
        assert_eq!((calls.load(Ordering::Relaxed), executor.in_flight()), (count, 0), "{source}");
    }
    assert_eq!(records(&executor).await.len(), 8);
}

#[tokio::test]
async fn lines_of_an_attempt_that_was_given_up_are_there_once() {
    let executor = executor(vec![crate::log::script_module()]);
    let script = cached(&executor, "print(1); log::info(\"2\"); sleep(0.0); debug(3);").await;
    let outcome = execute(&executor, &script).await;
    let record = records(&executor).await.pop().unwrap();
    for lines in [outcome.log.lines, record.log.lines] {
        let lines: Vec<_> = lines.into_iter().map(|line| line.message).collect();
        assert_eq!(lines, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_script_that_goes_on_is_handed_over_and_still_ends_at_its_deadline() {
    let executor = executor(Vec::new());
    for source in ["loop {}", "let a = []; a.pad(100, 1); loop { a.map(|x| try { x + 1 } catch { 0 }); }"] {
        let mut record = ScriptRecord::clone(&script(source));
        record.timeout_seconds = Some(1);
        let record = Arc::new(record);
        executor.shared.cache.get(&record).await.unwrap();
        let began = Instant::now();
        let mut execute = execute(&executor, &record);
        assert!(poll_once(&mut execute).is_pending(), "{source}");
        assert!(began.elapsed() < Duration::from_millis(500), "{source}: it kept the thread");
        assert_eq!(execute.await.result.unwrap_err().class, FailureClass::Timeout);
        assert!(began.elapsed() >= Duration::from_secs(1));
    }
    assert_eq!((records(&executor).await.len(), executor.in_flight()), (2, 0));
}

#[tokio::test]
async fn a_script_that_was_given_up_is_handed_over_at_once_for_a_while() {
    let executor = executor(Vec::new());
    let script = cached(&executor, "sleep(0.0)").await;
    let compiled = executor.shared.cache.get(&script).await.unwrap();
    let invocation = Invocation::new(AppId::new(), script.clone());
    assert!(compiled.may_attempt(&invocation) && compiled.may_attempt(&invocation));
    execute(&executor, &script).await;
    let mut handed_over = 0;
    while !compiled.may_attempt(&invocation) {
        handed_over += 1;
    }
    assert!((10..1000).contains(&handed_over), "{handed_over}");
}

#[tokio::test]
async fn large_bodies_and_large_results_are_left_to_the_executor() {
    let executor = executor(Vec::new());
    let big = format!("[{}1]", "1,".repeat(50_000));
    let mut request = HttpRequest::new(http::Method::POST, "/");
    request.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    request.body = big.clone().into();
    for (source, request) in
        [("ctx.request.body.len()", Some(request)), ("let t = \"\"; t.pad(50000, 'x'); [t]", None)]
    {
        let script = cached(&executor, source).await;
        let blockers = blocked(&executor);
        let mut invocation = Invocation::new(AppId::new(), script);
        invocation.request = request;
        let mut execute = executor.run(invocation);
        assert!(poll_once(&mut execute).is_pending(), "{source}");
        drop(blockers);
        assert!(execute.await.result.is_ok(), "{source}");
    }
}

#[tokio::test]
async fn what_an_attempt_leaks_is_charged_to_its_app_given_up_or_not() {
    let app = AppId::new();
    // So few operations that nobody looks at the clock: no slow machine ends the slice.
    let leak = "let a = #{}; a.f = || a;";
    for end in ["1", "sleep(0.0)"] {
        let gate = GateConfig { max_leaked_memory: 1, ..GateConfig::default() };
        let executor = executor_with(Limits::default(), gate, Vec::new());
        let script = cached(&executor, &format!("{leak} {end}")).await;
        let blockers = blocked(&executor);
        let mut execute = executor.run(Invocation::new(app, script.clone()));
        let _ = poll_once(&mut execute);
        let Poll::Ready(refused) = poll_once(&mut executor.run(Invocation::new(app, script))) else {
            panic!("it was not charged");
        };
        let refused = refused.result.unwrap_err();
        assert_eq!(refused.limit.unwrap().limit, "max_leaked_memory", "{end}");
        drop(blockers);
    }
}

#[tokio::test]
async fn no_attempt_begins_on_the_fiber_of_another_execution() {
    let inner = executor(Vec::new());
    let script = cached(&inner, "1").await;
    let (on_fiber, in_future) = (inner.clone(), inner.clone());
    let (same, again) = (script.clone(), script.clone());
    let module = ScriptModule::new("host")
        .function("on_fiber() -> bool", move |_: CallCx| poll_once(&mut execute(&on_fiber, &same)).is_ready())
        .async_function("in_future() -> bool", move |_: CallCx| {
            let ready = poll_once(&mut execute(&in_future, &again)).is_ready();
            let mut execute = execute(&in_future, &again);
            async move { !ready && poll_once(&mut execute).is_ready() }
        });
    let outer = executor(vec![module]);
    let script = cached(&outer, "[host::on_fiber(), host::in_future()]").await;
    let blockers = blocked(&inner);
    assert_eq!(text(execute(&outer, &script).await), "[false,true]");
    drop(blockers);
    tokio::time::timeout(Duration::from_secs(5), inner.shared.gate.wait_idle()).await.unwrap();
    // Each in the log of its own executor, although a thread of the other ran it.
    assert_eq!((records(&outer).await.len(), records(&inner).await.len()), (1, 3));
}

/// Polls an execution when its thread ends.
struct AtExit(Option<(Execute, Sender<Execute>)>);

impl Drop for AtExit {
    fn drop(&mut self) {
        let (mut execute, back) = self.0.take().unwrap();
        assert!(poll_once(&mut execute).is_pending());
        back.send(execute).unwrap();
    }
}

#[tokio::test]
async fn a_thread_that_is_ending_hands_over() {
    thread_local!(static AT_EXIT: std::cell::RefCell<AtExit> = const { std::cell::RefCell::new(AtExit(None)) });
    let executor = executor(Vec::new());
    let script = cached(&executor, "7").await;
    let (mut first, last) = (execute(&executor, &script), execute(&executor, &script));
    let (back, execute) = channel();
    let blockers = blocked(&executor);
    std::thread::spawn(move || {
        // Before the attempt, so that what that keeps is gone when this one's turn to be dropped comes.
        AT_EXIT.with_borrow_mut(|at_exit| at_exit.0 = Some((last, back)));
        assert!(poll_once(&mut first).is_ready());
    })
    .join()
    .unwrap();
    drop(blockers);
    let execute = execute.recv().unwrap();
    assert_eq!(text(execute.await), "7");
}

#[tokio::test]
async fn while_the_host_shuts_down_an_attempt_ends_or_is_refused() {
    let executor = executor(Vec::new());
    let (pure, waits) = (cached(&executor, "1").await, cached(&executor, "sleep(0.0)").await);
    let done = Arc::new(AtomicBool::new(false));
    let asks = |script: Arc<ScriptRecord>| {
        let (executor, done) = (executor.clone(), done.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut refused = 0;
            while !done.load(Ordering::Relaxed) || refused == 0 {
                match runtime.block_on(execute(&executor, &script)).result {
                    Ok(_) => {}
                    Err(failure) => {
                        assert_eq!(failure.class, FailureClass::Cancelled, "{failure}");
                        refused += 1;
                    }
                }
            }
        })
    };
    let threads = [asks(pure), asks(waits)];
    tokio::time::sleep(Duration::from_millis(30)).await;
    executor.shutdown(Duration::from_secs(5)).await;
    executor.end();
    let joining = executor.clone();
    tokio::task::spawn_blocking(move || joining.join()).await.unwrap();
    done.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(executor.in_flight(), 0);
}
