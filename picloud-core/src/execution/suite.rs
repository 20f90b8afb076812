//! The contract of [`ExecutionStore`](super::ExecutionStore), sentence by sentence.

use std::sync::Arc;

use super::{
    ExecutionListOptions, ExecutionRecord, ExecutionStatus, ExecutionStore, Failure, FailureClass,
    Invocation, InvocationType, MAX_EXECUTIONS_PAGE, Outcome, Position, RequestSummary, ResponseSummary,
};
use crate::conformance::{Case, World, case_list};
use crate::log::{LogLevel, LogLine, LogLines};
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
    let text = cursor.map(|cursor| cursor.as_str().to_owned()).unwrap_or_default();
    for altered in [format!("{text}0"), text.replacen(char::is_alphanumeric, "z", 1), String::new()] {
        let options = ExecutionListOptions { cursor: Some(Cursor::new(altered)), ..limit(1) };
        assert_refused(&log, log.app, &options).await;
    }
    Ok(())
}
