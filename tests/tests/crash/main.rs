//! Nothing acknowledged is lost when a process dies.
//!
//! A child writes under load and handles events; it is killed at random, or ends itself right before or after a commit.
//! What it meant to write and what it was told is written are kept here, outside. In the end a last child handles what is
//! left, and the database is held against that ledger.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod child;
mod ledger;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use picloud_core::alloc::CountingAllocator;

use ledger::Ledger;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Random kills in one run; `scripts/chaos` asks for more.
const KILLS: u32 = 6;

const POINTS: [&str; 10] = [
    "write-before",
    "write-after",
    "claim-before",
    "claim-after",
    "completion-before",
    "completion-after",
    "retry-before",
    "retry-after",
    "dead-letter-before",
    "dead-letter-after",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        child::main(&arguments);
        return;
    }
    let mut trials = vec![Trial::test("random_kills_lose_nothing", random_kills)];
    for point in POINTS {
        trials.push(Trial::test(format!("a_crash_at_{point}_loses_nothing"), move || crash_at(point)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// A child at work, and what it says.
struct Worker {
    process: Child,
    said: mpsc::Receiver<String>,
}

impl Worker {
    fn start(schema: &str, round: u32, work: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", &picloud_test_postgres::url(), schema, &round.to_string(), work])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = mpsc::channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            // Ends with the child. A line that it did not finish is not one.
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Worker { process, said }
    }

    /// Notes what it says for a while; answers whether it is still alive.
    fn follow(&mut self, ledger: &mut Ledger, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(line) => ledger.note(&line),
                Err(mpsc::RecvTimeoutError::Timeout) => return true,
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Kills it, if it is not dead yet, and notes its last words.
    fn end(mut self, ledger: &mut Ledger) {
        // It may have ended itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
        while let Ok(line) = self.said.recv() {
            ledger.note(&line);
        }
    }
}

/// A number that differs from run to run, said so that a failure can be looked into.
fn random() -> u64 {
    let id = picloud_core::EventId::new();
    let bytes: [u8; 8] = id.as_uuid().as_bytes()[8..].try_into().unwrap();
    u64::from_be_bytes(bytes)
}

fn random_kills() -> Result<(), Failed> {
    let kills = std::env::var("PICLOUD_CHAOS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let schema = picloud_test_postgres::unused_schema();
    child::prepare(&schema);
    let mut ledger = Ledger::default();
    for round in 0..kills {
        let mut worker = Worker::start(&schema, round, "load");
        // From before its first write until well into its work.
        let patience = Duration::from_millis(150 + random() % 700);
        assert!(worker.follow(&mut ledger, patience), "the child ended by itself");
        worker.end(&mut ledger);
    }
    finish(&schema, kills, ledger)
}

fn crash_at(point: &str) -> Result<(), Failed> {
    let schema = picloud_test_postgres::unused_schema();
    child::prepare(&schema);
    let mut ledger = Ledger::default();
    let mut worker = Worker::start(&schema, 0, point);
    assert!(!worker.follow(&mut ledger, Duration::from_secs(30)), "{point} was never reached");
    worker.end(&mut ledger);
    finish(&schema, 1, ledger)
}

/// Lets a last child handle what is left, and looks.
fn finish(schema: &str, round: u32, mut ledger: Ledger) -> Result<(), Failed> {
    let mut worker = Worker::start(schema, round, "drain");
    assert!(!worker.follow(&mut ledger, Duration::from_secs(90)), "events are left over");
    let ended = worker.process.wait()?;
    assert!(ended.success(), "the last child failed: {ended}");
    ledger.hold_against(&child::found(schema)).map_err(Failed::from)
}
