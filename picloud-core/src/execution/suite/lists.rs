//! Lists: order, filters, pages and cursors.

use super::{Log, limit};
use crate::conformance::{Case, World, case_list};
use crate::execution::{ExecutionListOptions, ExecutionRecord, ExecutionStatus, MAX_EXECUTIONS_PAGE};
use crate::page::Cursor;
use crate::{AppId, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["executions":
        old_records_are_forgotten_up_to_the_limit,
        records_that_are_not_old_stay,
        records_are_listed_newest_first,
        records_of_one_moment_are_listed_by_id,
        pages_list_every_record_once,
        a_page_has_at_most_200_records,
        records_are_filtered_by_script,
        records_are_filtered_by_status,
        records_of_another_app_are_not_seen,
        a_cursor_is_good_for_its_list_only,
        a_cursor_that_was_altered_is_refused,
        an_invented_cursor_is_refused,
        an_app_without_records_is_one_empty_page,
        the_last_page_has_no_cursor,
        pages_keep_to_their_filters,
        records_that_stay_are_listed_once_while_others_come,
        filters_of_script_and_status_both_count,
    ]
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

async fn old_records_are_forgotten_up_to_the_limit(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let records = (0..5).map(|second| log.record(second)).collect::<Result<Vec<_>>>()?;
    log.store.write(records.clone()).await?;
    let after = log.record(100)?.started_at;
    assert_eq!(log.store.forget(after, 3).await?, 3);
    let left = log.store.list(log.app, &ExecutionListOptions::default()).await?.items;
    assert_eq!(left.len(), 2);
    assert_eq!(log.store.forget(after, 3).await?, 2);
    for record in &records {
        assert_eq!(log.store.get(log.app, record.id).await?, None);
    }
    Ok(())
}

async fn records_that_are_not_old_stay(world: World) -> Result<()> {
    let log = Log::new(world).await?;
    let (old, young) = (log.record(1)?, log.record(2)?);
    log.store.write(vec![old.clone(), young.clone()]).await?;
    assert_eq!(log.store.forget(young.started_at, 10).await?, 1);
    assert_eq!(log.store.get(log.app, old.id).await?, None);
    assert_eq!(log.store.get(log.app, young.id).await?, Some(young));
    Ok(())
}
