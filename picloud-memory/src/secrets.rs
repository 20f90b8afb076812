//! Sealed secrets.

use std::sync::Arc;

use picloud_core::secrets::{SealedSecret, SecretInfo, SecretName, SecretStore};
use picloud_core::{AppId, Result, async_trait};

use crate::tables::Shared;

#[derive(Debug)]
pub(crate) struct MemorySecrets(pub(crate) Arc<Shared>);

#[async_trait]
impl SecretStore for MemorySecrets {
    async fn get(&self, app: AppId, name: &SecretName) -> Result<Option<SealedSecret>> {
        Ok(self.0.lock().secrets.get(&(app, name.clone())).cloned())
    }

    async fn put(&self, app: AppId, secret: &SealedSecret, expected: Option<&[u8]>) -> Result<bool> {
        let mut tables = self.0.lock();
        let key = (app, secret.name.clone());
        let holds = match (expected, tables.secrets.get(&key)) {
            (None, _) => true,
            (Some(expected), Some(stored)) => stored.sealed == expected,
            (Some(_), None) => false,
        };
        if holds {
            tables.secrets.insert(key, secret.clone());
        }
        Ok(holds)
    }

    async fn delete(&self, app: AppId, name: &SecretName) -> Result<bool> {
        Ok(self.0.lock().secrets.remove(&(app, name.clone())).is_some())
    }

    async fn list(&self, app: AppId) -> Result<Vec<SecretInfo>> {
        let tables = self.0.lock();
        let mine = tables.secrets.iter().filter(|((owner, _), _)| *owner == app);
        let info = |secret: &SealedSecret| SecretInfo {
            name: secret.name.clone(),
            hosts: secret.hosts.clone(),
            updated_at: secret.updated_at,
        };
        Ok(mine.map(|(_, secret)| info(secret)).collect())
    }
}
