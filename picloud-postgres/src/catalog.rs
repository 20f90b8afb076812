//! Apps, scripts, routes and triggers.

use std::sync::Arc;

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::catalog::{
    AppSnapshot, Catalog, CatalogChange, name_taken, no_such_script, slug_taken, stale_revision,
};
use picloud_core::outbox::Revision;
use picloud_core::route::RouteRecord;
use picloud_core::script::{ModuleName, ScriptImports, ScriptName, ScriptRecord};
use picloud_core::trigger::TriggerRecord;
use picloud_core::{AppId, Error, ErrorKind, Result, RouteId, ScriptId, TriggerId, async_trait};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::{corrupt, of_database};
use crate::lane_connection::in_time;
use crate::source::Source;
use crate::time::Time;

#[derive(Debug)]
pub(crate) struct PostgresCatalog(pub(crate) Arc<Inner>);

#[async_trait]
impl Catalog for PostgresCatalog {
    async fn create_app(&self, app: &AppRecord) -> Result<()> {
        let query = self.0.sql.app_create.query().bind(*app.id.as_uuid());
        let query = query.bind(app.slug.as_str().to_owned()).bind(Time(app.created_at));
        let answer = self.0.lanes.acquire().await?.written(query).await;
        answer.map_err(|error| match broken_constraint(&error) {
            Some("apps_slug_taken") => slug_taken(app.slug.as_str()),
            Some(_) => Error::new(ErrorKind::AlreadyExists, "app.id_taken", "another app has the id")
                .with("app", app.id),
            None => error,
        })?;
        self.0.notices.bump_catalog();
        self.tell_others().await;
        Ok(())
    }

    async fn apps(&self) -> Result<Vec<(AppRecord, Revision)>> {
        let rows = self.0.read_all(&self.source(), || self.0.sql.apps.query()).await?;
        rows.iter().map(app_of).collect()
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>> {
        // One transaction that sees one moment: the parts belong together.
        let mut connection = self.0.lanes.acquire_bare().await?;
        let limit = connection.limit();
        let answer = in_time(limit, self.read_snapshot(connection.busy()?, app)).await;
        connection.settled(answer).await?.transpose()
    }

    async fn apply(&self, app: AppId, changes: &[CatalogChange], expected: Revision) -> Result<Revision> {
        let mut connection = self.0.lanes.acquire_bare().await?;
        let limit = connection.limit();
        let answer = in_time(limit, self.apply_all(connection.busy()?, app, changes, expected)).await;
        let revision = connection.settled(answer).await??;
        if revision != expected {
            self.0.notices.bump_catalog();
        }
        Ok(revision)
    }

    async fn versions(&self, app: AppId, script: ScriptId) -> Result<Vec<ScriptRecord>> {
        let query = || self.0.sql.script_versions.query().bind(*app.as_uuid()).bind(*script.as_uuid());
        let rows = self.0.read_all(&self.source(), query).await?;
        rows.iter().map(script_of).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.notices.catalog.subscribe()
    }
}

impl PostgresCatalog {
    fn source(&self) -> Source {
        Source::Lanes(self.0.lanes.clone())
    }

    async fn tell_others(&self) {
        if !self.0.config.pooler {
            let notify = || self.0.sql.notify.query().bind(self.0.notices.catalog_channel.clone());
            // They poll as well.
            let _ = self.0.write(notify).await;
        }
    }

    async fn read_snapshot(
        &self,
        connection: &mut PgConnection,
        app: AppId,
    ) -> sqlx::Result<Option<Result<AppSnapshot>>> {
        let (sql, id) = (&self.0.sql, *app.as_uuid());
        let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let record = sql.app.query().bind(id).fetch_optional(&mut *tx).await?;
        let scripts = sql.scripts.query().bind(id).fetch_all(&mut *tx).await?;
        let routes = sql.routes.query().bind(id).fetch_all(&mut *tx).await?;
        let triggers = sql.triggers.query().bind(id).fetch_all(&mut *tx).await?;
        let imports = sql.imports.query().bind(id).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let Some(record) = record else { return Ok(None) };
        let read = || {
            let (app, revision) = app_of(&record)?;
            Ok(AppSnapshot {
                app,
                revision,
                scripts: scripts.iter().map(script_of).collect::<Result<_>>()?,
                routes: routes.iter().map(route_of).collect::<Result<_>>()?,
                triggers: triggers.iter().map(trigger_of).collect::<Result<_>>()?,
                imports: imports.iter().map(imports_of).collect::<Result<_>>()?,
            })
        };
        Ok(Some(read()))
    }

    /// The outer result is the database's, the inner one the catalog's: after that one the connection is as before.
    async fn apply_all(
        &self,
        connection: &mut PgConnection,
        app: AppId,
        changes: &[CatalogChange],
        expected: Revision,
    ) -> sqlx::Result<Result<Revision>> {
        let (sql, id) = (&self.0.sql, *app.as_uuid());
        let mut tx = connection.begin().await?;
        let found = sql.app_lock.query().bind(id).fetch_optional(&mut *tx).await?;
        let Some(found) = found else {
            tx.rollback().await?;
            return Ok(Err(Error::not_found("app.not_found", "there is no such app").with("app", app)));
        };
        let found = Revision(found.try_get::<i64, _>(0)?.unsigned_abs());
        if found != expected {
            tx.rollback().await?;
            return Ok(Err(stale_revision(expected, found)));
        }
        if changes.is_empty() {
            tx.rollback().await?;
            return Ok(Ok(expected));
        }
        for change in changes {
            if let Err(error) = self.apply_one(&mut tx, id, change).await? {
                tx.rollback().await?;
                return Ok(Err(error));
            }
        }
        if let Some(row) = sql.name_taken.query().bind(id).fetch_optional(&mut *tx).await? {
            let name: String = row.try_get(0)?;
            tx.rollback().await?;
            return Ok(Err(name_taken(&name)));
        }
        if let Some(row) = sql.no_such_script.query().bind(id).fetch_optional(&mut *tx).await? {
            let (what, script): (String, Uuid) = (row.try_get(0)?, row.try_get(1)?);
            tx.rollback().await?;
            return Ok(Err(no_such_script(&what, ScriptId::from_uuid(script))));
        }
        let next = Revision(expected.0 + 1);
        sql.app_revise.query().bind(id).bind(next.0.cast_signed()).execute(&mut *tx).await?;
        if !self.0.config.pooler {
            // Changes of apps are rare: here the lock of a notification holds nobody up.
            sql.notify.query().bind(self.0.notices.catalog_channel.clone()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Ok(next))
    }

    async fn apply_one(
        &self,
        tx: &mut PgConnection,
        app: Uuid,
        change: &CatalogChange,
    ) -> sqlx::Result<Result<()>> {
        let sql = &self.0.sql;
        match change {
            CatalogChange::PutScript(script) => {
                let (kind, sandbox, owner) =
                    match (word(&script.kind), text(&script.sandbox), text(&script.owner)) {
                        (Ok(kind), Ok(sandbox), Ok(owner)) => (kind, sandbox, owner),
                        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Ok(Err(error)),
                    };
                let id = *script.id.as_uuid();
                let query =
                    sql.script_put_version.query().bind(app).bind(id).bind(script.version.cast_signed());
                let query = query.bind(script.name.to_string()).bind(kind).bind(script.source.to_string());
                let timeout = script.timeout_seconds.map(u32::cast_signed);
                let query = query.bind(sandbox).bind(timeout).bind(owner);
                query.bind(Time(script.created_at)).bind(Time(script.updated_at)).execute(&mut *tx).await?;
                sql.script_put.query().bind(app).bind(id).execute(&mut *tx).await?;
            }
            CatalogChange::DeleteScript(id) => {
                sql.script_delete.query().bind(app).bind(*id.as_uuid()).execute(&mut *tx).await?;
            }
            CatalogChange::PutRoute(route) => {
                let (mode, owner) = match (word(&route.dispatch_mode), text(&route.owner)) {
                    (Ok(mode), Ok(owner)) => (mode, owner),
                    (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
                };
                let query =
                    sql.route_put.query().bind(app).bind(*route.id.as_uuid()).bind(*route.script.as_uuid());
                let query =
                    query.bind(route.method.to_string()).bind(route.host.clone()).bind(route.path.clone());
                query.bind(mode).bind(owner).bind(Time(route.created_at)).execute(&mut *tx).await?;
            }
            CatalogChange::DeleteRoute(id) => {
                sql.route_delete.query().bind(app).bind(*id.as_uuid()).execute(&mut *tx).await?;
            }
            CatalogChange::PutTrigger(trigger) => {
                let parts = || {
                    Ok((
                        text(&trigger.kind)?,
                        word(&trigger.dispatch_mode)?,
                        text(&trigger.retry)?,
                        text(&trigger.registered_by)?,
                        text(&trigger.owner)?,
                    ))
                };
                let (kind, mode, retry, registered_by, owner) = match parts() {
                    Ok(parts) => parts,
                    Err(error) => return Ok(Err(error)),
                };
                let query = sql
                    .trigger_put
                    .query()
                    .bind(app)
                    .bind(*trigger.id.as_uuid())
                    .bind(*trigger.script.as_uuid());
                let query = query.bind(kind).bind(trigger.enabled).bind(mode).bind(retry).bind(registered_by);
                query.bind(owner).bind(Time(trigger.created_at)).execute(&mut *tx).await?;
            }
            CatalogChange::DeleteTrigger(id) => {
                sql.trigger_delete.query().bind(app).bind(*id.as_uuid()).execute(&mut *tx).await?;
            }
            CatalogChange::PutImports(imports) => {
                let modules: Vec<_> = imports.modules.iter().map(ToString::to_string).collect();
                let query = sql.imports_put.query().bind(app).bind(*imports.script.as_uuid());
                query.bind(modules).execute(&mut *tx).await?;
            }
            other => {
                return Ok(Err(Error::new(
                    ErrorKind::Unsupported,
                    "catalog.unsupported_change",
                    format!("the Postgres backend does not know the change {other:?}"),
                )));
            }
        }
        Ok(Ok(()))
    }
}

/// The constraint that a statement would have broken.
fn broken_constraint(error: &Error) -> Option<&str> {
    let cause = std::error::Error::source(error)?.downcast_ref::<sqlx::Error>()?;
    cause.as_database_error()?.constraint()
}

/// A value as JSON text.
fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("a record is not JSON").caused_by(error))
}

/// A plain variant as its word.
fn word<T: Serialize>(value: &T) -> Result<String> {
    text(value).map(|text| text.trim_matches('"').to_owned())
}

fn of_text<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what, error))
}

fn of_word<T: DeserializeOwned>(what: &'static str, word: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| corrupt(what, error))
}

fn app_of(row: &PgRow) -> Result<(AppRecord, Revision)> {
    let read = || -> sqlx::Result<(Uuid, String, Time, i64)> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    let (id, slug, created_at, revision) = read().map_err(of_database)?;
    let record = AppRecord { id: AppId::from_uuid(id), slug: AppSlug::new(slug)?, created_at: created_at.0 };
    Ok((record, Revision(revision.unsigned_abs())))
}

fn script_of(row: &PgRow) -> Result<ScriptRecord> {
    let get = |column| row.try_get::<String, _>(column).map_err(of_database);
    let time = |column| row.try_get::<Time, _>(column).map(|time| time.0).map_err(of_database);
    Ok(ScriptRecord {
        id: ScriptId::from_uuid(row.try_get(0).map_err(of_database)?),
        name: ScriptName::new(get(1)?)?,
        kind: of_word("script", get(2)?)?,
        version: row.try_get::<i64, _>(3).map_err(of_database)?.unsigned_abs(),
        source: get(4)?.into(),
        sandbox: of_text("script", &get(5)?)?,
        timeout_seconds: row.try_get::<Option<i32>, _>(6).map_err(of_database)?.map(i32::unsigned_abs),
        owner: of_text("script", &get(7)?)?,
        created_at: time(8)?,
        updated_at: time(9)?,
    })
}

fn route_of(row: &PgRow) -> Result<RouteRecord> {
    let get = |column| row.try_get::<String, _>(column).map_err(of_database);
    Ok(RouteRecord {
        id: RouteId::from_uuid(row.try_get(0).map_err(of_database)?),
        script: ScriptId::from_uuid(row.try_get(1).map_err(of_database)?),
        method: get(2)?.parse()?,
        host: row.try_get(3).map_err(of_database)?,
        path: get(4)?,
        dispatch_mode: of_word("route", get(5)?)?,
        owner: of_text("route", &get(6)?)?,
        created_at: row.try_get::<Time, _>(7).map_err(of_database)?.0,
    })
}

fn imports_of(row: &PgRow) -> Result<ScriptImports> {
    let script = ScriptId::from_uuid(row.try_get(0).map_err(of_database)?);
    let modules: Vec<String> = row.try_get(1).map_err(of_database)?;
    let modules = modules.into_iter().map(ModuleName::new).collect::<Result<Vec<_>>>()?;
    Ok(ScriptImports::new(script, modules))
}

fn trigger_of(row: &PgRow) -> Result<TriggerRecord> {
    let get = |column| row.try_get::<String, _>(column).map_err(of_database);
    Ok(TriggerRecord {
        id: TriggerId::from_uuid(row.try_get(0).map_err(of_database)?),
        script: ScriptId::from_uuid(row.try_get(1).map_err(of_database)?),
        kind: of_text("trigger", &get(2)?)?,
        enabled: row.try_get(3).map_err(of_database)?,
        dispatch_mode: of_word("trigger", get(4)?)?,
        retry: of_text("trigger", &get(5)?)?,
        registered_by: of_text("trigger", &get(6)?)?,
        owner: of_text("trigger", &get(7)?)?,
        created_at: row.try_get::<Time, _>(8).map_err(of_database)?.0,
    })
}
