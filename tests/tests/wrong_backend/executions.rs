//! The wrong execution log: the memory backend's, except in one way.

mod wrong;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picloud_core::execution::{
    ExecutionListOptions, ExecutionLogSink, ExecutionRecord, ExecutionStatus, ExecutionStore, InvocationType,
};
use picloud_core::log::LogLevel;
use picloud_core::page::{Cursor, Page};
use picloud_core::{AppId, Error, ExecutionId, Result, Timestamp, async_trait};

pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongExecutions {
    wrong: Option<Wrong>,
    inner: Arc<dyn ExecutionStore>,
    notes: Mutex<Notes>,
}

/// What being wrong takes.
#[derive(Debug, Default)]
struct Notes {
    written: Vec<ExecutionRecord>,
    /// How many records come before a cursor.
    offsets: BTreeMap<String, usize>,
}

impl WrongExecutions {
    pub(crate) fn new(inner: Arc<dyn ExecutionStore>, wrong: Option<Wrong>) -> Self {
        WrongExecutions { wrong, inner, notes: Mutex::default() }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_known(&self, id: ExecutionId) -> bool {
        self.notes().written.iter().any(|record| record.id == id)
    }

    /// A record as it is read.
    fn read(&self, mut record: ExecutionRecord) -> ExecutionRecord {
        match self.wrong {
            Some(Wrong::LaterContentWins) => {
                let notes = self.notes();
                let latest = notes.written.iter().rfind(|written| written.id == record.id);
                record = latest.cloned().unwrap_or(record);
            }
            Some(Wrong::RecordsForgetTheError) => record.error = None,
            Some(Wrong::RecordsForgetTheNameOfTheScript) => record.script_name = "".into(),
            Some(Wrong::TimesAreInMilliseconds) => {
                record.started_at = Timestamp::from_millisecond(record.started_at.as_millisecond()).unwrap();
            }
            Some(Wrong::RecordsForgetTheEvent) => record.event = None,
            Some(Wrong::RecordsForgetThePosition) => record.position = None,
            Some(Wrong::RecordsForgetTheRequest) => record.request = None,
            Some(Wrong::RecordsForgetTheResponse) => record.response = None,
            Some(Wrong::RecordsForgetTheData) => {
                record.log.lines.iter_mut().for_each(|line| line.data = None);
            }
            Some(Wrong::RecordsForgetTheDroppedLines) => record.log.dropped = 0,
            Some(Wrong::RecordsForgetTheLog) => record.log.lines.clear(),
            Some(Wrong::NumbersAreSmall) => record.operations = record.operations.min(u32::MAX.into()),
            Some(Wrong::FailuresAreErrors) if record.status != ExecutionStatus::Success => {
                record.status = ExecutionStatus::Error;
            }
            Some(Wrong::ClassesAreForgotten) => record.class = None,
            Some(Wrong::EverythingIsAnInvoke) => record.invocation_type = InvocationType::Invoke,
            Some(Wrong::LinesAreInformation) => {
                record.log.lines.iter_mut().for_each(|line| line.level = LogLevel::Info);
            }
            Some(Wrong::LongLogsAreCut) => record.log.lines.truncate(100),
            _ => (),
        }
        record
    }

    /// All records of an app that the filters choose, from the first.
    async fn all(&self, app: AppId, options: &ExecutionListOptions) -> Result<Vec<ExecutionRecord>> {
        let mut options = options.clone();
        (options.cursor, options.limit) = (None, None);
        let mut all = Vec::new();
        loop {
            let page = self.inner.list(app, &options).await?;
            all.extend(page.items);
            match page.cursor {
                Some(cursor) => options.cursor = Some(cursor),
                None => return Ok(all),
            }
        }
    }

    /// A page of a list that is made here: the records after the cursor.
    fn page_of(
        &self,
        mut all: Vec<ExecutionRecord>,
        options: &ExecutionListOptions,
    ) -> Page<ExecutionRecord> {
        let before = options.cursor.as_ref().and_then(|at| self.notes().offsets.get(at.as_str()).copied());
        let before = before.unwrap_or_default();
        let items: Vec<_> = all.drain(before.min(all.len())..).take(options.page_size()).collect();
        let end = before + items.len();
        let cursor = Cursor::new(format!("after {end}"));
        self.notes().offsets.insert(cursor.as_str().to_owned(), end);
        let is_last = items.len() < options.page_size();
        Page { items, cursor: (!is_last).then_some(cursor) }
    }

    async fn wrong_list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>> {
        let mut wanted = options.clone();
        match self.wrong {
            Some(Wrong::ListIsOldestFirst) => {
                let mut all = self.all(app, options).await?;
                all.reverse();
                return Ok(self.page_of(all, options));
            }
            Some(Wrong::ListIgnoresIds) => {
                let mut all = self.all(app, options).await?;
                all.sort_by_key(|record| (std::cmp::Reverse(record.started_at), record.id));
                return Ok(self.page_of(all, options));
            }
            Some(Wrong::PagesAreByOffset) => {
                return Ok(self.page_of(self.all(app, options).await?, options));
            }
            Some(Wrong::PagesForgetTheFilter) if options.cursor.is_some() => {
                let all = self.all(app, &ExecutionListOptions::default()).await?;
                return Ok(self.page_of(all, options));
            }
            Some(Wrong::PagesForgetTheFilter) => {
                return Ok(self.page_of(self.all(app, options).await?, options));
            }
            Some(Wrong::PagesHaveNoLimit) => {
                return Ok(Page { items: self.all(app, options).await?, cursor: None });
            }
            Some(Wrong::ALimitOfNothingIsNothing) if options.limit == Some(0) => {
                return Ok(Page { items: Vec::new(), cursor: None });
            }
            Some(Wrong::OneFilterIsEnough) if options.status.is_some() => wanted.script = None,
            Some(Wrong::PagesHaveTen) if options.limit.is_none() => wanted.limit = Some(10),
            Some(Wrong::PagesSkipOne) => wanted.limit = Some(options.page_size() + 1),
            Some(Wrong::TheScriptIsIgnored) => wanted.script = None,
            Some(Wrong::TheStatusIsIgnored) => wanted.status = None,
            Some(Wrong::CursorsAreTrimmed) => {
                wanted.cursor = options.cursor.as_ref().map(|cursor| Cursor::new(cursor.as_str().trim()));
            }
            _ => (),
        }
        let answer = self.inner.list(app, &wanted).await;
        let mut page = match answer {
            Err(_) if self.is(Wrong::CursorsAreNotChecked) => {
                wanted.cursor = None;
                self.inner.list(app, &wanted).await?
            }
            answer => answer?,
        };
        match self.wrong {
            Some(Wrong::PagesSkipOne) => page.items.truncate(options.page_size()),
            Some(Wrong::CursorAtTheEnd) => page.cursor = page.cursor.or_else(|| Some(Cursor::new("end"))),
            Some(Wrong::EmptyAppsAreAnError) if page.items.is_empty() => {
                return Err(Error::not_found("executions.not_found", "there are no records"));
            }
            Some(Wrong::RecordsAreForEveryApp) => page.items.clone_from(&self.notes().written),
            _ => (),
        }
        Ok(page)
    }
}

#[async_trait]
impl ExecutionLogSink for WrongExecutions {
    async fn write(&self, mut records: Vec<ExecutionRecord>) -> Result<()> {
        let refuse = || Err(Error::invalid("executions.refused", "such batches are not stored"));
        match self.wrong {
            Some(Wrong::BatchesLoseTheLast) => drop(records.pop()),
            Some(Wrong::KnownRecordsSpoilTheBatch) if records.iter().any(|one| self.is_known(one.id)) => {
                return Ok(());
            }
            Some(Wrong::EmptyBatchesAreAnError) if records.is_empty() => return refuse(),
            _ => (),
        }
        let mut is_repeated = false;
        for record in &mut records {
            if self.is_known(record.id) {
                is_repeated = true;
                if self.is(Wrong::RepeatedRecordsAreStored) {
                    record.id = ExecutionId::new();
                }
            }
            self.notes().written.push(record.clone());
        }
        if is_repeated && self.is(Wrong::KnownRecordsAreAnError) {
            return refuse();
        }
        self.inner.write(records).await
    }
}

#[async_trait]
impl ExecutionStore for WrongExecutions {
    async fn list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>> {
        let Page { items, cursor } = self.wrong_list(app, options).await?;
        Ok(Page { items: items.into_iter().map(|record| self.read(record)).collect(), cursor })
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize> {
        match self.wrong {
            Some(Wrong::NothingIsForgotten) => Ok(0),
            Some(Wrong::RecordsAreForgottenAtOnce) => self.inner.forget(before, usize::MAX).await,
            Some(Wrong::YoungRecordsAreForgotten) => self.inner.forget(Timestamp::MAX, limit).await,
            _ => self.inner.forget(before, limit).await,
        }
    }

    async fn get(&self, app: AppId, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        let found = self.inner.get(app, id).await?.map(|record| self.read(record));
        let notes = self.notes();
        Ok(match self.wrong {
            Some(Wrong::NothingIsGot) => None,
            Some(Wrong::MissingIsTheFirst) => {
                found.or_else(|| Some(notes.written.first().cloned().unwrap_or_else(|| made_up(app, id))))
            }
            Some(Wrong::AnyAppGetsARecord) => {
                found.or_else(|| notes.written.iter().find(|record| record.id == id).cloned())
            }
            _ => found,
        })
    }
}

/// A record that nobody wrote.
fn made_up(app: AppId, id: ExecutionId) -> ExecutionRecord {
    let text = format!(
        r#"{{"id":"{id}","app":"{app}","script":"{id}","script_name":"","script_version":1,"invocation_type":"invoke",
        "request_id":"{id}","trace":"{id}","parent":null,"trigger_depth":0,"trigger":null,"event":null,"attempt":null,
        "status":"success","class":null,"error":null,"position":null,"request":null,"response":null,
        "log":{{"lines":[],"dropped":0}},"started_at":"1970-01-01T00:00:00Z","duration_us":0,"operations":0}}"#
    );
    serde_json::from_str(&text).unwrap()
}
