//! Sealed secrets.

use std::sync::Arc;

use picloud_core::secrets::{SealedSecret, SecretInfo, SecretName, SecretStore};
use picloud_core::{AppId, Result, async_trait};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::backend::Inner;
use crate::error::of_database;
use crate::source::Source;
use crate::time::Time;

#[derive(Debug)]
pub(crate) struct PostgresSecrets(pub(crate) Arc<Inner>);

#[async_trait]
impl SecretStore for PostgresSecrets {
    async fn get(&self, app: AppId, name: &SecretName) -> Result<Option<SealedSecret>> {
        let query = || self.0.sql.secret_get.query().bind(*app.as_uuid()).bind(name.as_str().to_owned());
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        rows.first()
            .map(|row| {
                let SecretInfo { name, hosts, updated_at } = info(row)?;
                Ok(SealedSecret { name, sealed: row.try_get(3).map_err(of_database)?, hosts, updated_at })
            })
            .transpose()
    }

    async fn put(&self, app: AppId, secret: &SealedSecret, expected: Option<&[u8]>) -> Result<bool> {
        let rows = self.0.write(|| {
            let statement =
                if expected.is_some() { &self.0.sql.secret_replace } else { &self.0.sql.secret_put };
            let query = statement.query().bind(*app.as_uuid()).bind(secret.name.as_str().to_owned());
            let query = query.bind(secret.sealed.clone()).bind(secret.hosts.clone());
            let query = query.bind(Time(secret.updated_at));
            match expected {
                Some(expected) => query.bind(expected.to_vec()),
                None => query,
            }
        });
        Ok(!rows.await?.is_empty())
    }

    async fn delete(&self, app: AppId, name: &SecretName) -> Result<bool> {
        let query = || self.0.sql.secret_delete.query().bind(*app.as_uuid()).bind(name.as_str().to_owned());
        Ok(!self.0.write(query).await?.is_empty())
    }

    async fn list(&self, app: AppId) -> Result<Vec<SecretInfo>> {
        let query = || self.0.sql.secrets_list.query().bind(*app.as_uuid());
        let rows = self.0.read_all(&Source::Lanes(self.0.lanes.clone()), query).await?;
        rows.iter().map(info).collect()
    }
}

fn info(row: &PgRow) -> Result<SecretInfo> {
    let name: String = row.try_get(0).map_err(of_database)?;
    let hosts = row.try_get(1).map_err(of_database)?;
    let Time(updated_at) = row.try_get(2).map_err(of_database)?;
    Ok(SecretInfo { name: SecretName::new(name)?, hosts, updated_at })
}
