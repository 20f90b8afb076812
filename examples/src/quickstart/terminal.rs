//! Script logs and errors on the terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

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
        let _ = writeln!(text, "{:.0} {script} … and {} lines more", record.started_at, record.log.dropped);
    }
    if let (Some(class), Some(error)) = (record.class, &record.error) {
        let _ =
            write!(text, "{:.0} {script} failed, {}: {}", record.started_at, class.as_str(), visible(error));
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
        let _ = writeln!(text, "{:.0} {script} {}", record.started_at, visible(error));
    }
}

/// What scripts print must not steer the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
