//! The execution log.

use std::sync::Arc;

use picloud_core::execution::{ExecutionListOptions, ExecutionLogSink, ExecutionRecord, ExecutionStore};
use picloud_core::page::Page;
use picloud_core::{AppId, Error, ExecutionId, Result, Timestamp, async_trait};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::{corrupt, of_database};
use crate::source::Source;
use crate::time::{LATEST, Time};

#[derive(Debug)]
pub(crate) struct PostgresExecutions(pub(crate) Arc<Inner>);

#[async_trait]
impl ExecutionLogSink for PostgresExecutions {
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
        let mut texts = Vec::with_capacity(records.len());
        for record in &records {
            let text = serde_json::to_string(record);
            texts.push(text.map_err(|error| Error::internal("a record is not JSON").caused_by(error))?);
        }
        let ids = |id: fn(&ExecutionRecord) -> Uuid| records.iter().map(id).collect::<Vec<Uuid>>();
        let query = || {
            let query = self.0.sql.executions_write.query().bind(ids(|record| *record.app.as_uuid()));
            let query = query.bind(ids(|record| *record.id.as_uuid()));
            let query = query.bind(ids(|record| *record.script.as_uuid()));
            let query = query.bind(records.iter().map(|record| record.status.as_str()).collect::<Vec<_>>());
            let started = records.iter().map(|record| Time(record.started_at));
            query.bind(started.collect::<Vec<_>>()).bind(texts.clone())
        };
        self.0.write(query).await.map(drop)
    }
}

#[async_trait]
impl ExecutionStore for PostgresExecutions {
    async fn list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>> {
        let (at, before) = options.place(app)?.map_or((LATEST, Uuid::max()), |(at, id)| (at, *id.as_uuid()));
        let limit = options.page_size();
        let query = || {
            let query = self.0.sql.executions_list.query().bind(*app.as_uuid()).bind(Time(at)).bind(before);
            let query = query.bind(options.script.map(|script| *script.as_uuid()));
            let query = query.bind(options.status.map(|status| status.as_str()));
            query.bind(i64::try_from(limit).unwrap_or(i64::MAX) + 1)
        };
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        let items = rows.iter().map(record_of).collect::<Result<_>>()?;
        Ok(Page::cut(items, limit, |last| options.cursor_after(app, last)))
    }

    async fn get(&self, app: AppId, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        let query = || self.0.sql.execution_get.query().bind(*app.as_uuid()).bind(*id.as_uuid());
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        rows.first().map(record_of).transpose()
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = self.0.sql.executions_forget.query().bind(Time(before)).bind(limit);
        let gone = self.0.lanes.acquire().await?.written(query).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}

fn record_of(row: &PgRow) -> Result<ExecutionRecord> {
    let text: String = row.try_get(0).map_err(of_database)?;
    serde_json::from_str(&text).map_err(|error| corrupt("execution record", error))
}
