//! Rounds, medians, and the table.

use std::fmt;
use std::time::{Duration, Instant};

/// How a figure compares with what it must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

#[derive(Debug)]
struct Row {
    what: String,
    figure: String,
    limit: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
}

#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds a row: what was measured, its figure, that of its limit, and how they compare.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        figure: impl Into<String>,
        limit: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        let row = Row { what: what.into(), figure: figure.into(), limit: limit.into(), value, unit, goal };
        eprintln!("  {}: {} beside {}: {:.2}{}", row.what, row.figure, row.limit, row.value, row.unit);
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | picloud | limit in the same run | ratio or figure | asked | |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for row in &self.0 {
            let (asked, reached) = match row.goal {
                Goal::AtMost(most) => (format!("≤ {most}{}", row.unit), row.value <= most),
                Goal::AtLeast(least) => (format!("≥ {least}{}", row.unit), row.value >= least),
                Goal::None => (String::new(), true),
            };
            let mark = if reached { "" } else { "missed" };
            writeln!(
                f,
                "| {} | {} | {} | {:.2}{} | {asked} | {mark} |",
                row.what, row.figure, row.limit, row.value, row.unit
            )?;
        }
        Ok(())
    }
}

/// Every core that there may be; those that are not are left out.
pub(crate) const ALL_CORES: &str = "0-255";

/// All threads of a process, onto these cores; answers whether they are there.
pub(crate) fn taskset(cores: &str, pid: &str) -> bool {
    let done = std::process::Command::new("taskset").args(["-a", "-c", "-p", cores, pid]).output();
    done.is_ok_and(|output| output.status.success())
}

/// This process onto one core; answers the other for whoever is at the other end, if there is one. Where the system puts
/// the two ends of a connection decides more than what is measured, and it decides differently from moment to moment.
pub(crate) fn pin() -> Option<&'static str> {
    let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    (several && taskset("0", &std::process::id().to_string())).then_some("1")
}

/// This thread onto that core.
pub(crate) fn pin_thread(core: &str) {
    // `<pid>/task/<tid>`
    let this = std::fs::read_link("/proc/thread-self").unwrap();
    let id = this.file_name().and_then(std::ffi::OsStr::to_str).unwrap();
    let done = std::process::Command::new("taskset").args(["-c", "-p", core, id]).output();
    assert!(done.is_ok_and(|output| output.status.success()), "the load is not where it should be");
}

/// This process onto all cores again.
pub(crate) fn unpin() {
    taskset(ALL_CORES, &std::process::id().to_string());
}

/// The medians of several measurements that take turns.
pub(crate) fn in_turns<const N: usize>(
    rounds: usize,
    mut contenders: [&mut dyn FnMut() -> f64; N],
) -> [f64; N] {
    let mut figures = vec![Vec::with_capacity(rounds); N];
    for round in 0..=rounds {
        for (contender, figures) in contenders.iter_mut().zip(&mut figures) {
            let figure = contender();
            // The first round warms up.
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let mut medians = [0.0; N];
    for (median_of, figures) in medians.iter_mut().zip(&mut figures) {
        *median_of = median(figures);
    }
    medians
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds for one of `times` runs.
pub(crate) fn each(times: u32, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        work();
    }
    nanos(begin.elapsed()) / f64::from(times)
}

pub(crate) fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// A duration for people.
pub(crate) fn show(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

pub(crate) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

/// Resident memory of a process in MiB, and its threads.
pub(crate) fn process(pid: u32) -> (f64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    (field("VmRSS:") / 1024.0, field("Threads:") as u64)
}
