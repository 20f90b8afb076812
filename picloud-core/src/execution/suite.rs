//! The contract of [`ExecutionStore`](super::ExecutionStore), sentence by sentence.

use std::sync::Arc;

use super::{
    ExecutionListOptions, ExecutionRecord, ExecutionStatus, ExecutionStore, Failure, FailureClass,
    Invocation, InvocationType, MAX_EXECUTIONS_PAGE, Outcome, Position, RequestSummary, ResponseSummary,
};
use crate::conformance::{Case, World, case_list};
use crate::log::{LogLevel, LogLine, LogLines, MAX_LOG_LINES};
use crate::page::Cursor;
use crate::{AppId, EventId, ExecutionId, Json, Result, Timestamp, TriggerId};

pub(crate) fn cases() -> Vec<Case> {
    case_list!["executions":
        a_plain_record_reads_back_as_it_was_written,
        a_record_with_everything_reads_back_as_it_was_written,
        a_record_written_twice_is_there_once,
        records_are_listed_newest_first,
        records_of_one_moment_are_listed_by_id,
        pages_list_every_record_once,
        a_page_has_at_most_200_records,
        records_are_filtered_by_script,
        records_are_filtered_by_status,
        records_of_another_app_are_not_seen,
        a_missing_record_is_none,
        a_cursor_is_good_for_its_list_only,
        a_cursor_that_was_altered_is_refused,
        an_invented_cursor_is_refused,
        an_app_without_records_is_one_empty_page,
        the_last_page_has_no_cursor,
        pages_keep_to_their_filters,
        records_that_stay_are_listed_once_while_others_come,
        a_record_written_again_with_other_content_stays_as_it_was,
        a_batch_with_a_known_record_stores_the_others,
        a_record_twice_in_a_batch_is_there_once,
        an_empty_batch_is_no_error,
        filters_of_script_and_status_both_count,
        every_status_and_class_reads_back,
        every_invocation_type_reads_back,
        every_level_of_a_log_line_reads_back,
        a_long_log_reads_back,
    ]
}

/// The execution log of a new app.
struct Log {
    store: Arc<dyn ExecutionStore>,
    app: AppId,
    world: World,
}

impl Log {
    async fn new(world: World) -> Result<Self> {
        Ok(Log { store: world.backend().executions(), app: world.app().await?, world })
    }

    /// A record that started this many seconds after the others.
    fn record(&self, seconds: i64) -> Result<ExecutionRecord> {
        let script = crate::catalog::suite::script(&self.world, "a script")?;
        let invocation = Invocation::new(self.app, Arc::new(script));
        let outcome =
            Outcome::refused(invocation.execution, Failure::new(FailureClass::Runtime, "no \"luck\" ü"));
        let start = Timestamp::constant(1_790_000_000, 123_456_000);
        let at = Timestamp::from_microsecond(start.as_microsecond() + seconds * 1_000_000).unwrap_or(start);
        Ok(ExecutionRecord::new(&invocation, &outcome, at))
    }

    /// Writes records that started a second after each other; answers them newest first.
    async fn write(&self, count: i64) -> Result<Vec<ExecutionRecord>> {
        let records = (0..count).map(|second| self.record(second)).collect::<Result<Vec<_>>>()?;
        self.store.write(records.clone()).await?;
        Ok(records.into_iter().rev().collect())
    }

    async fn list(&self, options: &ExecutionListOptions) -> Result<Vec<ExecutionRecord>> {
        Ok(self.store.list(self.app, options).await?.items)
    }
}

fn limit(limit: usize) -> ExecutionListOptions {
    ExecutionListOptions { limit: Some(limit), ..ExecutionListOptions::default() }
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

async fn records_are_listed_newest_first(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let (early, late) = (log.record(0)?, log.record(5)?);
    log.store.write(vec![late.clone(), early.clone()]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, [late, early]);
    Ok(())
}

async fn records_of_one_moment_are_listed_by_id(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let (first, second) = (log.record(0)?, log.record(0)?);
    log.store.write(vec![second.clone(), first.clone()]).await?;
    assert_eq!(log.list(&ExecutionListOptions::default()).await?, [second, first]);
    Ok(())
}

async fn pages_list_every_record_once(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(7).await?;
    let (mut options, mut listed) = (limit(3), Vec::new());
    for _ in 0..3 {
        let page = log.store.list(log.app, &options).await?;
        listed.extend(page.items);
        options.cursor = page.cursor;
    }
    assert_eq!((listed, options.cursor), (written, None));
    Ok(())
}

async fn a_page_has_at_most_200_records(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.write(201).await?;
    assert_eq!(log.list(&limit(100_000)).await?.len(), MAX_EXECUTIONS_PAGE);
    assert_eq!(log.list(&limit(0)).await?.len(), 1);
    assert_eq!(log.list(&ExecutionListOptions::default()).await?.len(), 100);
    Ok(())
}

async fn records_are_filtered_by_script(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(3).await?;
    let wanted = written.get(1..2).unwrap_or_default();
    let script = wanted.first().map(|record| record.script);
    let options = ExecutionListOptions { script, ..ExecutionListOptions::default() };
    assert_eq!(log.list(&options).await?, wanted);
    Ok(())
}

async fn records_are_filtered_by_status(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.write(2).await?;
    let cut = ExecutionRecord { status: ExecutionStatus::Loop, ..log.record(1)? };
    log.store.write(vec![cut.clone()]).await?;
    let options =
        ExecutionListOptions { status: Some(ExecutionStatus::Loop), ..ExecutionListOptions::default() };
    assert_eq!(log.list(&options).await?, [cut]);
    Ok(())
}

async fn records_of_another_app_are_not_seen(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(1).await?;
    let other = log.world.app().await?;
    assert_eq!(log.store.list(other, &ExecutionListOptions::default()).await?.items, []);
    for record in written {
        assert_eq!(log.store.get(other, record.id).await?, None);
    }
    Ok(())
}

async fn a_missing_record_is_none(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    assert_eq!(log.store.get(log.app, ExecutionId::new()).await?, None);
    Ok(())
}

async fn assert_refused(log: &Log, app: AppId, options: &ExecutionListOptions) {
    let answer = log.store.list(app, options).await;
    let code = answer.as_ref().err().map(crate::Error::code);
    assert_eq!(code, Some("executions.invalid_cursor"), "{answer:?}");
}

async fn a_cursor_is_good_for_its_list_only(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(3).await?;
    let cursor = log.store.list(log.app, &limit(1)).await?.cursor;
    assert!(cursor.is_some(), "two more follow");
    let options = ExecutionListOptions { cursor, ..limit(1) };
    let other = log.world.app().await?;
    assert_refused(&log, other, &options).await;
    let script = written.first().map(|record| record.script);
    assert_refused(&log, log.app, &ExecutionListOptions { script, ..options.clone() }).await;
    let status = Some(ExecutionStatus::Error);
    assert_refused(&log, log.app, &ExecutionListOptions { status, ..options }).await;
    Ok(())
}

async fn a_cursor_that_was_altered_is_refused(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.write(3).await?;
    let cursor = log.store.list(log.app, &limit(1)).await?.cursor;
    let good = cursor.map(|cursor| cursor.as_str().to_owned()).unwrap_or_default();
    let mut altered = vec![format!("{good}0"), format!(" {good}"), format!("{good}{good}")];
    for (at, character) in good.char_indices() {
        let (before, after) = (&good[..at], &good[at + character.len_utf8()..]);
        altered.push(format!("{before}{after}"));
        altered.extend(['0', 'A', 'a', '+'].map(|other| format!("{before}{other}{after}")));
    }
    for text in altered.into_iter().filter(|text| *text != good) {
        let options = ExecutionListOptions { cursor: Some(Cursor::new(text)), ..limit(1) };
        assert_refused(&log, log.app, &options).await;
    }
    Ok(())
}

async fn an_invented_cursor_is_refused(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.write(2).await?;
    for text in ["", "a", "YQ==", "0", "1", "世界", "'; --", "\0", &"f".repeat(5_000)] {
        let options = ExecutionListOptions { cursor: Some(Cursor::new(text)), ..limit(1) };
        assert_refused(&log, log.app, &options).await;
    }
    Ok(())
}

async fn an_app_without_records_is_one_empty_page(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let page = log.store.list(log.app, &ExecutionListOptions::default()).await?;
    assert_eq!((page.items, page.cursor), (vec![], None));
    Ok(())
}

async fn the_last_page_has_no_cursor(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    log.write(2).await?;
    assert_eq!(log.store.list(log.app, &limit(2)).await?.cursor, None);
    Ok(())
}

/// The records of every page, at most ten pages.
async fn walk(log: &Log, mut options: ExecutionListOptions) -> Result<Vec<ExecutionRecord>> {
    let mut walked = Vec::new();
    for _ in 0..10 {
        let page = log.store.list(log.app, &options).await?;
        walked.extend(page.items);
        options.cursor = page.cursor;
        if options.cursor.is_none() {
            break;
        }
    }
    Ok(walked)
}

async fn pages_keep_to_their_filters(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let mut written = Vec::new();
    for second in 0..8 {
        let status = if second % 2 == 0 { ExecutionStatus::Loop } else { ExecutionStatus::Timeout };
        written.insert(0, ExecutionRecord { status, ..log.record(second)? });
    }
    log.store.write(written.clone()).await?;
    written.retain(|record| record.status == ExecutionStatus::Loop);
    let options = ExecutionListOptions { status: Some(ExecutionStatus::Loop), ..limit(1) };
    assert_eq!(walk(&log, options).await?, written);
    Ok(())
}

async fn records_that_stay_are_listed_once_while_others_come(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let written = log.write(4).await?;
    let first = log.store.list(log.app, &limit(2)).await?;
    // One before the place of the walk, one after it.
    let others = vec![log.record(9)?, log.record(-1)?];
    log.store.write(others.clone()).await?;
    let rest = walk(&log, ExecutionListOptions { cursor: first.cursor, ..limit(2) }).await?;
    let mut seen = [first.items, rest].concat();
    seen.retain(|record| !others.contains(record));
    assert_eq!(seen, written);
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

async fn filters_of_script_and_status_both_count(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let wanted = ExecutionRecord { status: ExecutionStatus::Loop, ..log.record(0)? };
    let of_another_script = ExecutionRecord { status: ExecutionStatus::Loop, ..log.record(1)? };
    let of_another_status = ExecutionRecord { script: wanted.script, ..log.record(2)? };
    log.store.write(vec![wanted.clone(), of_another_script, of_another_status]).await?;
    let (script, status) = (Some(wanted.script), Some(ExecutionStatus::Loop));
    let options = ExecutionListOptions { script, status, ..ExecutionListOptions::default() };
    assert_eq!(log.list(&options).await?, [wanted]);
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
