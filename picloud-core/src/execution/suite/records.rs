//! What is written reads back.

use super::Log;
use crate::conformance::{Case, World, case_list};
use crate::execution::{
    ExecutionListOptions, ExecutionRecord, ExecutionStatus, FailureClass, InvocationType, Position,
    RequestSummary, ResponseSummary,
};
use crate::log::{LogLevel, LogLine, LogLines, MAX_LOG_LINES};
use crate::{EventId, ExecutionId, Json, Result, TriggerId};

pub(super) fn cases() -> Vec<Case> {
    case_list!["executions":
        a_plain_record_reads_back_as_it_was_written,
        a_record_with_everything_reads_back_as_it_was_written,
        a_record_written_twice_is_there_once,
        a_record_written_again_with_other_content_stays_as_it_was,
        a_batch_with_a_known_record_stores_the_others,
        a_record_twice_in_a_batch_is_there_once,
        an_empty_batch_is_no_error,
        every_status_and_class_reads_back,
        every_invocation_type_reads_back,
        every_level_of_a_log_line_reads_back,
        a_long_log_reads_back,
        a_missing_record_is_none,
    ]
}

async fn a_plain_record_reads_back_as_it_was_written(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(1).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, written);
    for record in written {
        assert_eq!(log.store.get(log.app, record.id).await?, Some(record));
    }
    Ok(())
}

async fn a_record_with_everything_reads_back_as_it_was_written(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let mut record = log.record(0)?;
    record.invocation_type = InvocationType::Trigger;
    record.parent = Some(ExecutionId::new());
    record.trigger = Some(TriggerId::new());
    record.event = Some(EventId::new());
    record.attempt = Some(3);
    record.trigger_depth = 7;
    record.status = ExecutionStatus::BudgetExceeded;
    record.class = Some(FailureClass::Budget);
    record.position = Some(Position { line: 12, column: 34 });
    record.request = Some(RequestSummary {
        method: http::Method::PATCH,
        host: "shop.example".into(),
        path: "/a/ü%2F".into(),
        body_bytes: 1 << 40,
    });
    record.response = Some(ResponseSummary { status: 503, body_bytes: 0 });
    let line = |message: &str, data: Option<&str>| LogLine {
        at: record.started_at,
        level: LogLevel::Warn,
        message: message.to_owned(),
        data: data.map(Json::from_canonical),
    };
    record.log = LogLines {
        lines: vec![
            line("nul \0 and \u{1f980}", Some(r#"{"a":[1,1.0,-9223372036854775808]}"#)),
            line("", None),
        ],
        dropped: 9,
    };
    (record.duration_us, record.operations) = (u64::from(u32::MAX) * 1_000, 1 << 50);
    log.store.write(vec![record.clone()]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, [record]);
    Ok(())
}

async fn a_record_written_twice_is_there_once(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(2).await?;
    log.store.write(written.clone()).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, written);
    Ok(())
}

async fn a_missing_record_is_none(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    assert_eq!(log.store.get(log.app, ExecutionId::new()).await?, None);
    Ok(())
}

async fn a_record_written_again_with_other_content_stays_as_it_was(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(1).await?;
    for record in &written {
        let other = ExecutionRecord { error: Some("other".into()), operations: 9, ..record.clone() };
        log.store.write(vec![other]).await?;
    }
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, written);
    Ok(())
}

async fn a_batch_with_a_known_record_stores_the_others(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let (known, before, after) = (log.record(1)?, log.record(0)?, log.record(2)?);
    log.store.write(vec![known.clone()]).await?;
    log.store.write(vec![before.clone(), known.clone(), after.clone()]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, [after, known, before]);
    Ok(())
}

async fn a_record_twice_in_a_batch_is_there_once(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let record = log.record(0)?;
    log.store.write(vec![record.clone(), record.clone()]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, [record]);
    Ok(())
}

async fn an_empty_batch_is_no_error(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.store.write(vec![]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, []);
    Ok(())
}

/// Fails unless the records, given newest first, read back.
async fn assert_read_back(log: &Log, written: Vec<ExecutionRecord>) -> Result<()> {
    log.store.write(written.clone()).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, written);
    Ok(())
}

async fn every_status_and_class_reads_back(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let classes = [
        None,
        Some(FailureClass::Compile),
        Some(FailureClass::Runtime),
        Some(FailureClass::Budget),
        Some(FailureClass::Timeout),
        Some(FailureClass::Overloaded),
        Some(FailureClass::Cancelled),
        Some(FailureClass::Internal),
    ];
    let mut written = vec![ExecutionRecord { status: ExecutionStatus::Loop, ..log.record(100)? }];
    for (class, seconds) in classes.into_iter().zip((0..100).rev()) {
        let error = class.map(|class| class.as_str().to_owned());
        written.push(ExecutionRecord { class, status: class.into(), error, ..log.record(seconds)? });
    }
    assert_read_back(&log, written).await
}

async fn every_invocation_type_reads_back(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let types = [InvocationType::Http, InvocationType::Trigger, InvocationType::Invoke];
    let mut written = Vec::new();
    for (invocation_type, seconds) in types.into_iter().zip((0..10).rev()) {
        written.push(ExecutionRecord { invocation_type, ..log.record(seconds)? });
    }
    assert_read_back(&log, written).await
}

/// A record with these lines.
fn with_lines(log: &Log, lines: impl IntoIterator<Item = (LogLevel, String)>) -> Result<ExecutionRecord> {
    let mut record = log.record(0)?;
    let at = record.started_at;
    let line = |(level, message)| LogLine { at, level, message, data: None };
    record.log.lines = lines.into_iter().map(line).collect();
    Ok(record)
}

async fn every_level_of_a_log_line_reads_back(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let levels = [LogLevel::Trace, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    let record = with_lines(&log, levels.map(|level| (level, format!("{level:?}"))))?;
    assert_read_back(&log, vec![record]).await
}

async fn a_long_log_reads_back(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let line = |number: usize| (LogLevel::Info, format!("{number} {}", "x".repeat(250)));
    let record = with_lines(&log, (0..MAX_LOG_LINES).map(line))?;
    log.store.write(vec![record.clone()]).await?;
    // Not compared by `assert_eq!`, which would print all of it.
    assert!(log.store.get(log.app, record.id).await? == Some(record), "the record changed");
    Ok(())
}
