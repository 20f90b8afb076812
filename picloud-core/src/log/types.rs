//! Lines of a script's log, and the bounded buffer that collects them.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::{Json, Timestamp};

/// Most lines kept of one execution.
pub const MAX_LOG_LINES: usize = 1_000;

/// Most bytes of text and data kept of one execution.
pub const MAX_LOG_BYTES: usize = 256 * 1024;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// `log::trace`, and `debug`.
    Trace,
    /// `log::info`, and `print`.
    Info,
    /// `log::warn`.
    Warn,
    /// `log::error`.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// How important it is.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// The structured data that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

/// What was kept of a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogLines {
    /// The lines, in the order in which they were written.
    pub lines: Vec<LogLine>,
    /// How many lines were dropped because the log was full.
    pub dropped: u64,
}

/// Collects the lines of one execution, at most [`MAX_LOG_LINES`] and [`MAX_LOG_BYTES`]; what comes after is
/// counted.
#[derive(Debug, Default)]
pub struct LogBuffer(Mutex<Buffered>);

#[derive(Debug, Default)]
struct Buffered {
    kept: LogLines,
    bytes: usize,
}

impl LogBuffer {
    /// An empty log.
    pub fn new() -> Self {
        LogBuffer::default()
    }

    /// Adds a line, or counts it as dropped.
    pub fn push(&self, line: LogLine) {
        let mut buffer = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = line.message.len() + line.data.as_ref().map_or(0, Json::len);
        if buffer.kept.lines.len() >= MAX_LOG_LINES || buffer.bytes + bytes > MAX_LOG_BYTES {
            buffer.kept.dropped += 1;
        } else {
            buffer.bytes += bytes;
            buffer.kept.lines.push(line);
        }
    }

    /// Takes what was collected and leaves the log empty.
    pub fn take(&self) -> LogLines {
        let mut buffer = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *buffer).kept
    }
}
