//! A picloud under attack: attacks, the bystander who must not notice them, and what is checked of both.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use picloud_core::engine::{SandboxCeiling, ScriptSandbox};
use picloud_core::execution::{Answer, FailureClass, HttpRequest, Invocation, Outcome};
use picloud_core::http::HttpConfig;
use picloud_core::script::{Bundle, Owner, ScriptKind, ScriptName, ScriptRecord};
use picloud_core::{App, Picloud, PicloudConfig, ScriptId, Timestamp};
use picloud_memory::MemoryBackend;

/// The wall-clock limit of every script here.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much later than its limit a script may end.
const GRACE: Duration = Duration::from_secs(1);

/// When an attack counts as hanging; past it nothing of that cloud can be trusted.
const HANGING: Duration = Duration::from_secs(30);

/// What a bystander may wait: usually, and once.
const MEDIAN: Duration = Duration::from_millis(20);
const WORST: Duration = Duration::from_millis(1_500);

/// Between two greetings. Without a pause the bystander would be an attack of its own.
const PACE: Duration = Duration::from_millis(2);

/// What a process may keep after all attacks of a test.
const KEPT_KIB: u64 = 64 << 10;

/// How an execution may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Answer,
    Compile,
    Runtime,
    Budget,
    Timeout,
    Internal,
    Other,
}

impl End {
    fn of(outcome: &Outcome) -> Self {
        match &outcome.result {
            Ok(_) => End::Answer,
            Err(failure) => match failure.class {
                FailureClass::Compile => End::Compile,
                FailureClass::Runtime => End::Runtime,
                FailureClass::Budget => End::Budget,
                FailureClass::Timeout => End::Timeout,
                FailureClass::Internal => End::Internal,
                _ => End::Other,
            },
        }
    }
}

/// A limit of the sandbox ends it.
pub(crate) const STOPPED: &[End] = &[End::Budget, End::Timeout];
/// The call itself is refused.
pub(crate) const REFUSED: &[End] = &[End::Runtime];
/// The source does not compile.
pub(crate) const NOT_COMPILED: &[End] = &[End::Compile];
/// Whatever the script gets, it is its own affair.
pub(crate) const HARMLESS: &[End] = &[End::Answer, End::Compile, End::Runtime, End::Budget, End::Timeout];

/// A hostile script and how it may end. In the source `@ARRAY`, `@STRING` and `@MAP` stand for the limits in force.
pub(crate) type Attack<'a> = (&'a str, &'a str, &'a [End]);

/// The limits that a test runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    Default,
    Ceiling,
}

/// One picloud, with one executor thread: nobody evades an attack by running elsewhere.
pub(crate) struct World {
    pub(crate) cloud: Picloud,
    limits: Limits,
    config: PicloudConfig,
    bystander: App,
    rss: u64,
    problems: Vec<String>,
    /// The parser cannot be interrupted: sources may take longer than scripts, on threads that nobody waits for.
    pub(crate) compiles_long: bool,
    /// Single operations may take longer than a bystander usually waits.
    pub(crate) coarse: bool,
    /// It is known that deadlines and turns of others are missed: only outcome and aftermath are checked.
    pub(crate) stalls: bool,
}

impl World {
    pub(crate) async fn new(limits: Limits) -> Self {
        let mut config = PicloudConfig::default();
        config.limits.timeout_seconds = TIMEOUT.as_secs() as u32;
        config.executor.threads = NonZeroUsize::MIN;
        if limits == Limits::Ceiling {
            let ceiling = SandboxCeiling::default();
            config.limits.max_operations = ceiling.max_operations;
            config.limits.max_string_size = ceiling.max_string_size;
            config.limits.max_array_size = ceiling.max_array_size;
            config.limits.max_map_size = ceiling.max_map_size;
            config.limits.max_call_levels = ceiling.max_call_levels;
            config.limits.max_expr_depth = ceiling.max_expr_depth;
        }
        let cloud = Picloud::builder(MemoryBackend::new())
            .config(config.clone())
            .http(HttpConfig::default())
            .start()
            .await
            .unwrap();
        let bystander = cloud.create_app("bystander").await.unwrap();
        let greet = Bundle::new().file("greet", "`hello ${ctx.request.body.name}`").unwrap();
        bystander.deploy(&greet).await.unwrap();
        greeting(&bystander).await.unwrap();
        World {
            cloud,
            limits,
            config,
            bystander,
            rss: rss_kib(),
            problems: Vec::new(),
            compiles_long: false,
            coarse: false,
            stalls: false,
        }
    }

    /// A new app.
    pub(crate) async fn app(&self) -> App {
        self.cloud.create_app(&format!("a{}", ScriptId::new())).await.unwrap()
    }

    /// A script of this source, at its first version.
    pub(crate) fn script(&self, source: &str) -> Arc<ScriptRecord> {
        let limits = &self.config.limits;
        let source = source
            .replace("@ARRAY", &limits.max_array_size.to_string())
            .replace("@STRING", &limits.max_string_size.to_string())
            .replace("@MAP", &limits.max_map_size.to_string());
        Arc::new(ScriptRecord {
            id: ScriptId::new(),
            name: ScriptName::new("attack").unwrap(),
            kind: ScriptKind::Endpoint,
            source: source.into(),
            version: 1,
            sandbox: ScriptSandbox::default(),
            timeout_seconds: None,
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        })
    }

    /// Runs a script in an app, as called by the host.
    pub(crate) async fn run(&self, app: &App, source: &str) -> Outcome {
        self.cloud.executor().run(Invocation::new(app.id(), self.script(source))).await
    }

    /// Runs a script in an app, as a request.
    pub(crate) async fn respond(&self, app: &App, source: &str) -> Outcome {
        let invocation = Invocation::new(app.id(), self.script(source));
        self.cloud.executor().run(invocation.request(HttpRequest::default())).await
    }

    /// Its answer as JSON text, or its failure as text.
    pub(crate) async fn value(&self, app: &App, source: &str) -> String {
        match self.run(app, source).await.result {
            Ok(Answer::Value(value)) => value.to_string(),
            Ok(Answer::Response(response)) => panic!("{response:?}"),
            Err(failure) => failure.to_string(),
        }
    }

    /// Runs attacks one after the other.
    pub(crate) async fn one_by_one(&mut self, attacks: &[Attack<'_>]) {
        for attack in attacks {
            self.all_at_once(std::slice::from_ref(attack)).await;
        }
    }

    /// Runs attacks together, each in an app of its own.
    pub(crate) async fn all_at_once(&mut self, attacks: &[Attack<'_>]) {
        let patient = Patient::new(self.bystander.clone());
        let mut running = Vec::new();
        for (name, source, allowed) in attacks {
            let invocation = Invocation::new(self.app().await.id(), self.script(source));
            let run = self.cloud.executor().run(invocation);
            let started = Instant::now();
            let task = tokio::spawn(async move {
                let outcome = tokio::time::timeout(HANGING, run).await;
                (outcome, started.elapsed())
            });
            running.push((*name, *allowed, task));
        }
        let names: Vec<_> = attacks.iter().map(|attack| attack.0).collect();
        for (name, allowed, task) in running {
            let (outcome, took) = task.await.unwrap();
            let Ok(outcome) = outcome else {
                self.problem(name, "it hangs, and everything with it");
                self.verdict();
                return;
            };
            let end = End::of(&outcome);
            if !allowed.contains(&end) {
                self.problem(name, format!("{end:?} is none of {allowed:?}: {:?}", shortened(&outcome)));
            }
            if outcome.duration > TIMEOUT + GRACE && !self.stalls {
                self.problem(name, format!("ran for {:?}", outcome.duration));
            }
            if took > TIMEOUT + GRACE && !self.compiles_long && !self.stalls {
                self.problem(name, format!("was answered after {took:?}"));
            }
            if std::env::var_os("HOSTILE_VERBOSE").is_some() {
                println!(
                    "{:?} {name}: {end:?} in {took:?}, peak {} KiB",
                    self.limits,
                    outcome.peak_memory >> 10
                );
            }
        }
        let greetings = patient.finish().await;
        match greetings {
            Ok(mut waits) => {
                waits.sort_unstable();
                let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
                if std::env::var_os("HOSTILE_VERBOSE").is_some() {
                    println!(
                        "  {} greetings, median {median:?}, worst {worst:?}, rss {} MiB",
                        waits.len(),
                        rss_kib() >> 10
                    );
                }
                if waits.len() > 10 && median > MEDIAN && !self.coarse && !self.stalls {
                    self.problem(&names.join(", "), format!("greetings wait {median:?}"));
                }
                if worst > WORST && !self.stalls {
                    self.problem(&names.join(", "), format!("a greeting waited {worst:?}"));
                }
            }
            Err(error) => self.problem(&names.join(", "), format!("a greeting failed: {error}")),
        }
        let app = self.app().await;
        if self.value(&app, "1 + 1").await != "2" {
            self.problem(&names.join(", "), "a trivial script does not run any more");
        }
    }

    pub(crate) fn problem(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{name} ({:?} limits): {what}", self.limits));
    }

    fn verdict(&self) {
        assert!(self.problems.is_empty(), "\n{}\n", self.problems.join("\n"));
    }

    /// Says what went wrong, if anything did.
    pub(crate) async fn finish(mut self) {
        let kept = rss_kib().saturating_sub(self.rss);
        if kept > KEPT_KIB {
            self.problem("all attacks together", format!("{kept} KiB are still held"));
        }
        self.cloud.shutdown(GRACE).await;
        self.verdict();
    }
}

/// Runs attacks under both limits, one after the other.
pub(crate) async fn one_by_one(attacks: &[Attack<'_>]) {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        world.one_by_one(attacks).await;
        world.finish().await;
    }
}

/// Runs attacks under both limits, `many` together: for those that end by the clock.
pub(crate) async fn together(many: usize, attacks: &[Attack<'_>]) {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        for attacks in attacks.chunks(many) {
            world.all_at_once(attacks).await;
        }
        world.finish().await;
    }
}

/// What an outcome says, in a line.
fn shortened(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(Answer::Value(value)) => value.to_string().chars().take(200).collect(),
        Ok(Answer::Response(response)) => format!("{} {:?}", response.status, response.headers),
        Err(failure) => failure.to_string(),
    }
}

async fn greeting(app: &App) -> picloud_core::Result<()> {
    let answer: String = app.script("greet")?.call(&serde_json::json!({ "name": "ada" })).await?;
    assert_eq!(answer, "hello ada");
    Ok(())
}

/// Somebody who asks for a greeting over and over, and notes how long it takes.
struct Patient {
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<picloud_core::Result<Vec<Duration>>>,
}

impl Patient {
    fn new(app: App) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let task = tokio::spawn(async move {
            let mut waits = Vec::new();
            let mut pace = tokio::time::interval(PACE);
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                let started = Instant::now();
                greeting(&app).await?;
                waits.push(started.elapsed());
                if until.load(Ordering::Acquire) {
                    return Ok(waits);
                }
            }
        });
        Patient { over, task }
    }

    async fn finish(self) -> picloud_core::Result<Vec<Duration>> {
        self.over.store(true, Ordering::Release);
        tokio::time::timeout(HANGING, self.task).await.expect("the bystander waits for ever").unwrap()
    }
}

/// Resident memory of this process, without what the allocator keeps for later: fragments of what was freed would
/// look like a leak, and they do not add up.
fn rss_kib() -> u64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a call of the C library without arguments that could be wrong")]
    // SAFETY: takes a number, touches nothing but memory that nobody uses.
    unsafe {
        libc::malloc_trim(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
