//! The execution log.

use std::sync::Arc;

use picloud_core::execution::{
    ExecutionListOptions, ExecutionLogSink, ExecutionRecord, ExecutionStore, invalid_cursor,
};
use picloud_core::page::{ListId, Page};
use picloud_core::{AppId, Error, ExecutionId, Result, Timestamp, async_trait};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::{corrupt, of_database};
use crate::source::Source;
use crate::time::Time;

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
            let started = records.iter().map(|record| since_2000(record.started_at));
            query.bind(started.collect::<Vec<i64>>()).bind(texts.clone())
        };
        self.0.write(query).await.map(drop)
    }
}

#[async_trait]
impl ExecutionStore for PostgresExecutions {
    async fn list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>> {
        let script = options.script.map(|script| script.to_string()).unwrap_or_default();
        let status = options.status.map(|status| status.as_str());
        let list = ListId::new(["executions", &app.to_string(), &script, status.unwrap_or_default()]);
        let (at, before) = match &options.cursor {
            Some(cursor) => place_of(&list.last(cursor).ok_or_else(invalid_cursor)?)?,
            None => (LATEST, Uuid::max()),
        };
        let limit = options.page_size();
        let query = || {
            let query = self.0.sql.executions_list.query().bind(*app.as_uuid()).bind(Time(at)).bind(before);
            let query = query.bind(options.script.map(|script| *script.as_uuid())).bind(status);
            query.bind(i64::try_from(limit).unwrap_or(i64::MAX) + 1)
        };
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        let items: Vec<_> = rows.iter().take(limit).map(record_of).collect::<Result<_>>()?;
        let last = items.last().filter(|_| rows.len() > limit);
        let cursor =
            last.map(|last| list.cursor(&format!("{} {}", last.started_at.as_microsecond(), last.id)));
        Ok(Page { items, cursor })
    }

    async fn get(&self, app: AppId, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        let query = || self.0.sql.execution_get.query().bind(*app.as_uuid()).bind(*id.as_uuid());
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        rows.first().map(record_of).transpose()
    }
}

/// Behind every record: the year 9000.
const LATEST: Timestamp = Timestamp::constant(221_845_392_000, 0);

/// Microseconds since the first moment of 2000.
fn since_2000(at: Timestamp) -> i64 {
    at.as_microsecond() - 946_684_800_000_000
}

fn place_of(text: &str) -> Result<(Timestamp, Uuid)> {
    let (at, id) = text.split_once(' ').ok_or_else(invalid_cursor)?;
    let at =
        at.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or_else(invalid_cursor)?;
    Ok((at, id.parse().map_err(|_| invalid_cursor())?))
}

fn record_of(row: &PgRow) -> Result<ExecutionRecord> {
    let text: String = row.try_get(0).map_err(of_database)?;
    serde_json::from_str(&text).map_err(|error| corrupt("execution record", error))
}
