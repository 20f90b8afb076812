//! The execution log: the last runs of each app.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, PoisonError};

use picloud_core::execution::{ExecutionListOptions, ExecutionLogSink, ExecutionRecord, ExecutionStore};
use picloud_core::page::Page;
use picloud_core::{AppId, ExecutionId, IdHasher, Result, Timestamp, async_trait};

/// Most execution records kept of one app; the oldest go first. A busy app fills it in a moment, and more of them would push
/// out of the processor's caches what requests need.
pub const MAX_EXECUTIONS: usize = 1_000;

/// Most memory that the records of one app take, in bytes: a record may carry 256 KiB of log.
pub const MAX_EXECUTION_BYTES: usize = 16 << 20;

/// The records of one app, and what they weigh.
#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<ExecutionRecord>,
    ids: HashSet<ExecutionId, BuildHasherDefault<IdHasher>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, record: ExecutionRecord) {
        if !self.ids.insert(record.id) {
            return;
        }
        self.bytes += record.weight();
        self.records.push_back(record);
        while self.records.len() > MAX_EXECUTIONS || self.bytes > MAX_EXECUTION_BYTES {
            match self.records.pop_front() {
                Some(oldest) => {
                    self.ids.remove(&oldest.id);
                    self.bytes -= oldest.weight();
                }
                None => break,
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ExecutionLog(Mutex<BTreeMap<AppId, Kept>>);

impl ExecutionLog {
    /// What is kept of `app`, oldest first.
    pub(crate) fn of(&self, app: AppId) -> Vec<ExecutionRecord> {
        let apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        apps.get(&app).map(|kept| kept.records.iter().cloned().collect()).unwrap_or_default()
    }
}

#[async_trait]
impl ExecutionLogSink for ExecutionLog {
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
        let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            apps.entry(record.app).or_default().push(record);
        }
        Ok(())
    }
}

#[async_trait]
impl ExecutionStore for ExecutionLog {
    async fn list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>> {
        let before = options.place(app)?.map(|(at, id)| (at.as_microsecond(), id));
        let mut found = self.of(app);
        found.retain(|record| {
            options.script.is_none_or(|script| record.script == script)
                && options.status.is_none_or(|status| record.status == status)
                && before.is_none_or(|before| place(record) < before)
        });
        found.sort_by_key(|record| std::cmp::Reverse(place(record)));
        Ok(Page::cut(found, options.page_size(), |last| options.cursor_after(app, last)))
    }

    async fn get(&self, app: AppId, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        Ok(self.of(app).into_iter().find(|record| record.id == id))
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = limit;
        for Kept { records, ids, bytes } in apps.values_mut() {
            records.retain(|record| {
                let goes = left > 0 && record.started_at < before;
                if goes {
                    left -= 1;
                    ids.remove(&record.id);
                    *bytes -= record.weight();
                }
                !goes
            });
        }
        Ok(limit - left)
    }
}

/// Where a record stands in the order of lists.
fn place(record: &ExecutionRecord) -> (i64, ExecutionId) {
    (record.started_at.as_microsecond(), record.id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use picloud_core::execution::{Failure, FailureClass, Invocation, Outcome};
    use picloud_core::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
    use picloud_core::{ScriptId, Timestamp};

    use super::*;

    fn record(app: AppId) -> ExecutionRecord {
        let script = ScriptRecord {
            id: ScriptId::new(),
            name: ScriptName::new("hello").unwrap(),
            kind: ScriptKind::Endpoint,
            source: "1".into(),
            version: 1,
            sandbox: Default::default(),
            timeout_seconds: None,
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let invocation = Invocation::new(app, Arc::new(script));
        let failure = Failure::new(FailureClass::Overloaded, "no room");
        ExecutionRecord::new(
            &invocation,
            &Outcome::refused(invocation.execution, failure),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[tokio::test]
    async fn records_are_kept_by_app_in_the_order_of_writing() {
        let (log, [mine, other]) = (ExecutionLog::default(), [AppId::new(), AppId::new()]);
        let records = [record(mine), record(other), record(mine)];

        log.write(records.to_vec()).await.unwrap();

        assert_eq!(log.of(mine), [records[0].clone(), records[2].clone()]);
    }

    #[tokio::test]
    async fn a_full_log_drops_the_oldest() {
        let (log, app) = (ExecutionLog::default(), AppId::new());
        log.write(vec![record(app)]).await.unwrap();
        let later: Vec<_> = std::iter::repeat_with(|| record(app)).take(MAX_EXECUTIONS).collect();

        log.write(later.clone()).await.unwrap();

        assert_eq!(log.of(app), later);
    }
}
