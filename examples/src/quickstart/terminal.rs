//! Script logs and errors on the terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picloud_core::Result;
use picloud_core::execution::{ExecutionLogSink, ExecutionRecord, ExecutionStatus};
use picloud_core::log::LogLevel;

/// Prints what scripts logged and failed with, and passes every record on.
#[derive(Debug)]
pub(crate) struct TerminalSink {
    next: Arc<dyn ExecutionLogSink>,
}

impl TerminalSink {
    pub(crate) fn new(next: Arc<dyn ExecutionLogSink>) -> Self {
        TerminalSink { next }
    }
}

#[async_trait]
impl ExecutionLogSink for TerminalSink {
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
        let mut text = String::new();
        for record in &records {
            describe(record, &mut text);
        }
        if !text.is_empty() {
            // A closed terminal is no reason to lose the records.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
        self.next.write(records).await
    }
}

fn describe(record: &ExecutionRecord, text: &mut String) {
    let script = visible(&record.script_name);
    // What is said of the whole run is said at its end, as the lines that it logged come at the time that they have.
    let duration = Duration::from_micros(record.duration_us);
    let ended = record.started_at.checked_add(duration).unwrap_or(record.started_at);
    for line in &record.log.lines {
        let level = match line.level {
            LogLevel::Trace => "trace",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        let _ = write!(text, "{:.0} {script} {level}: {}", line.at, visible(&line.message));
        if let Some(data) = &line.data {
            let _ = write!(text, " {data}");
        }
        text.push('\n');
    }
    if record.log.dropped > 0 {
        let _ = writeln!(text, "{ended:.0} {script} … and {} lines more", record.log.dropped);
    }
    if let (Some(class), Some(error)) = (record.class, &record.error) {
        let _ = write!(text, "{ended:.0} {script} failed, {}: {}", class.as_str(), visible(error));
        if let Some(at) = record.position {
            let _ = write!(text, " (line {}, column {})", at.line, at.column);
        }
        if let Some(attempt) = record.attempt {
            let _ = write!(text, ", attempt {attempt}");
        }
        let _ = writeln!(text, " [{}]", record.id);
    } else if record.status == ExecutionStatus::Loop
        && let Some(error) = &record.error
    {
        let _ = writeln!(text, "{ended:.0} {script} {}", visible(error));
    }
}

/// What scripts print must not steer the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_failure_is_told_at_the_time_that_it_happened() {
        let id = "01890000-0000-7000-8000-000000000001";
        let record = json!({
            "id": id, "app": id, "script": id, "script_name": "slow", "script_version": 1, "invocation_type": "trigger",
            "request_id": id, "trace": id, "parent": null, "trigger_depth": 1, "trigger": null, "event": id,
            "attempt": 2, "status": "timeout", "class": "timeout", "error": "too\nlong", "position": null,
            "request": null, "response": null, "log": { "lines": [], "dropped": 3 },
            "started_at": "2026-03-01T12:00:00Z", "duration_us": 30_000_000, "operations": 7,
        });
        let mut text = String::new();
        describe(&serde_json::from_value(record).unwrap(), &mut text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "2026-03-01T12:00:30Z slow … and 3 lines more");
        assert_eq!(
            lines[1],
            format!("2026-03-01T12:00:30Z slow failed, timeout: too\u{fffd}long, attempt 2 [{id}]")
        );
    }
}
