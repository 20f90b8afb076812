//! The execution log: the last runs of each app.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use picloud_core::execution::{ExecutionLogSink, ExecutionRecord};
use picloud_core::{AppId, Result, async_trait};

/// Most execution records kept of one app; the oldest go first. A busy app fills it in seconds.
pub const MAX_EXECUTIONS: usize = 10_000;

/// Most memory that the records of one app take, in bytes: a record may carry 256 KiB of log.
pub const MAX_EXECUTION_BYTES: usize = 16 << 20;

/// The records of one app, and what they weigh.
#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<ExecutionRecord>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, record: ExecutionRecord) {
        self.bytes += record.weight();
        self.records.push_back(record);
        while self.records.len() > MAX_EXECUTIONS || self.bytes > MAX_EXECUTION_BYTES {
            match self.records.pop_front() {
                Some(oldest) => self.bytes -= oldest.weight(),
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
        let (oldest, record) = (record(app), record(app));
        log.write(vec![oldest]).await.unwrap();

        log.write(vec![record.clone(); MAX_EXECUTIONS]).await.unwrap();

        assert!(log.of(app).iter().eq(std::iter::repeat_n(&record, MAX_EXECUTIONS)));
    }
}
