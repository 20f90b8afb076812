//! The door of the secrets room.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability::{AppSecretsRead, AppSecretsWrite};
use crate::metric::call;
use crate::route::HostPattern;
use crate::secrets::{
    MAX_HOSTS, MAX_SECRET_BYTES, Secret, SecretInfo, SecretName, SecretsError, SecretsService,
};
use crate::{CallCx, Result};

/// A secrets service behind the door.
#[derive(Debug)]
pub(super) struct GuardedSecrets {
    inner: Arc<dyn SecretsService>,
    door: Door,
}

impl GuardedSecrets {
    pub(super) fn new(inner: Arc<dyn SecretsService>, door: Door) -> Self {
        GuardedSecrets { inner, door }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SecretsService for GuardedSecrets {
    async fn get(&self, cx: &CallCx, name: &SecretName) -> Result<Secret> {
        self.door.read(cx, call!("secrets.get"), AppSecretsRead, self.inner.get(cx, name)).await
    }

    async fn set(&self, cx: &CallCx, name: &SecretName, value: &[u8], hosts: &[HostPattern]) -> Result<()> {
        if !(1..=MAX_SECRET_BYTES).contains(&value.len()) {
            return Err(SecretsError::InvalidValue(value.len()).into());
        }
        if hosts.len() > MAX_HOSTS {
            return Err(SecretsError::InvalidHost(format!("these are {}", hosts.len())).into());
        }
        // What may go anywhere is not bound.
        if hosts.iter().any(HostPattern::is_any) {
            return Err(SecretsError::InvalidHost("* is any host at all".to_owned()).into());
        }
        let set = self.inner.set(cx, name, value, hosts);
        self.door.read(cx, call!("secrets.set"), AppSecretsWrite, set).await
    }

    async fn delete(&self, cx: &CallCx, name: &SecretName) -> Result<bool> {
        self.door.read(cx, call!("secrets.delete"), AppSecretsWrite, self.inner.delete(cx, name)).await
    }

    async fn list(&self, cx: &CallCx) -> Result<Vec<SecretInfo>> {
        self.door.read(cx, call!("secrets.list"), AppSecretsRead, self.inner.list(cx)).await
    }

    async fn reseal(&self, cx: &CallCx) -> Result<usize> {
        self.door.read(cx, call!("secrets.reseal"), AppSecretsWrite, self.inner.reseal(cx)).await
    }
}
