//! The secrets of an app, as host code uses them.

use std::sync::Arc;

use crate::route::HostPattern;
use crate::secrets::{SecretInfo, SecretName, SecretsError, SecretsService};
use crate::{CallCx, Result, Services};

/// The secrets of an app, for host code.
#[derive(Debug, Clone)]
pub struct AppSecrets {
    secrets: Arc<dyn SecretsService>,
    cx: CallCx,
}

impl AppSecrets {
    pub(super) fn new(services: &Services, cx: CallCx) -> Self {
        AppSecrets { secrets: services.secrets.clone(), cx }
    }

    /// Sets a secret, and the hosts that requests may carry it to: `api.example.com`, or `*.example.com` for all below.
    /// Without any it is good for signing and comparing.
    ///
    /// # Errors
    /// `secrets.invalid_name`, `secrets.invalid_value`, `secrets.invalid_host`, `secrets.too_many`,
    /// `secrets.not_enabled`; those of the backend.
    pub async fn set<H: AsRef<str>>(
        &self,
        name: &str,
        value: impl AsRef<[u8]>,
        hosts: impl IntoIterator<Item = H>,
    ) -> Result<()> {
        let hosts = hosts.into_iter().map(|host| {
            HostPattern::parse(host.as_ref()).map_err(|error| SecretsError::InvalidHost(error.to_string()))
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        self.secrets.set(&self.cx, &SecretName::new(name)?, value.as_ref(), &hosts).await
    }

    /// Removes a secret; answers whether it was there.
    ///
    /// # Errors
    /// `secrets.invalid_name`, `secrets.not_enabled`; those of the backend.
    pub async fn delete(&self, name: &str) -> Result<bool> {
        self.secrets.delete(&self.cx, &SecretName::new(name)?).await
    }

    /// What there is, in order of the names: never the secrets themselves.
    ///
    /// # Errors
    /// `secrets.not_enabled`; those of the backend.
    pub async fn list(&self) -> Result<Vec<SecretInfo>> {
        self.secrets.list(&self.cx).await
    }

    /// Seals anew what was sealed under an older key of the host's; answers how many these were.
    ///
    /// # Errors
    /// `secrets.unreadable`, naming one whose key is gone; `secrets.not_enabled`; those of the backend.
    pub async fn reseal(&self) -> Result<usize> {
        self.secrets.reseal(&self.cx).await
    }
}
