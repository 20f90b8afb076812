//! The secrets room: what scripts can use and not read.
//!
//! Lacks `event`: a change of a secret fires nothing. Has two traits, since storing and sealing are two jobs: a backend
//! stores bytes ([`SecretStore`], with its suite); the service ([`SecretsService`]) seals and opens them, in `seal`, behind
//! feature `secrets`, or elsewhere, if the host keeps its secrets in a vault of its own.

mod script;
#[cfg(feature = "secrets")]
mod seal;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;
mod value;

use std::fmt::Debug;

use async_trait::async_trait;

pub(crate) use script::module as script_module;
#[cfg(feature = "secrets")]
pub use seal::{SealedSecrets, SecretKeys};
pub use types::{MAX_HOSTS, MAX_SECRET_BYTES, MAX_SECRETS, SealedSecret, SecretInfo, SecretName};
pub use value::Secret;

use crate::route::HostPattern;
use crate::{AppId, CallCx, Result};

/// Keeps sealed secrets: what a backend supplies.
///
/// # Contract
///
/// - A secret is identified by app and name; those of another app cannot be read, replaced, deleted or listed.
/// - It reads back exactly as it was put: bytes, hosts in their order, time to the microsecond.
/// - Putting replaces what was there, as a whole. With an expectation it replaces only what has exactly those bytes, and
///   otherwise changes nothing.
/// - Lists are in byte order of the names.
/// - Names and sizes were checked before.
#[async_trait]
pub trait SecretStore: Debug + Send + Sync + 'static {
    /// The secret, or `None`.
    async fn get(&self, app: AppId, name: &SecretName) -> Result<Option<SealedSecret>>;

    /// Stores a secret; answers whether it did. With `expected` only in the place of one with these sealed bytes.
    async fn put(&self, app: AppId, secret: &SealedSecret, expected: Option<&[u8]>) -> Result<bool>;

    /// Removes a secret; answers whether it was there.
    async fn delete(&self, app: AppId, name: &SecretName) -> Result<bool>;

    /// All secrets of an app, without their bytes.
    async fn list(&self, app: AppId) -> Result<Vec<SecretInfo>>;
}

/// Secrets of an app.
///
/// # Contract
///
/// - What was set is what is used, until it is set again or deleted.
/// - A secret of another app does not exist.
/// - Nothing that is answered but [`Secret::expose`] tells the bytes, no error and no log line does.
/// - Hosts that a secret is bound to are as safe from changes in the store as the secret itself.
#[async_trait]
pub trait SecretsService: Debug + Send + Sync + 'static {
    /// A secret, to be used.
    ///
    /// # Errors
    /// `secrets.not_found`; `secrets.unreadable` when it was sealed under a key that is gone, or was tampered with.
    async fn get(&self, cx: &CallCx, name: &SecretName) -> Result<Secret>;

    /// Sets a secret and the hosts that it may be sent to; with none it is good for signing and comparing only.
    ///
    /// # Errors
    /// `secrets.too_many` past [`MAX_SECRETS`].
    async fn set(&self, cx: &CallCx, name: &SecretName, value: &[u8], hosts: &[HostPattern]) -> Result<()>;

    /// Removes a secret; answers whether it was there.
    async fn delete(&self, cx: &CallCx, name: &SecretName) -> Result<bool>;

    /// What there is, in order of the names.
    async fn list(&self, cx: &CallCx) -> Result<Vec<SecretInfo>>;

    /// Seals anew what was sealed under an older key; answers how many these were. After it has succeeded for every app
    /// an older key can go.
    async fn reseal(&self, cx: &CallCx) -> Result<usize>;
}

/// The errors of the room, with stable codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// `secrets.not_enabled`.
    #[error("secrets are off; the host enables them with PicloudBuilder::secrets")]
    NotEnabled,
    /// `secrets.not_found`.
    #[error("there is no secret {0:?}")]
    NotFound(SecretName),
    /// `secrets.unreadable`: the key is not there any more, or what is stored is not what was stored.
    #[error("the secret {0:?} cannot be opened with the keys that the host has")]
    Unreadable(SecretName),
    /// `secrets.too_many`.
    #[error("an app has at most {MAX_SECRETS} secrets")]
    TooMany,
    /// `secrets.invalid_value`: empty, or longer than [`MAX_SECRET_BYTES`].
    #[error("a secret has 1 to {MAX_SECRET_BYTES} bytes, this one has {0}")]
    InvalidValue(usize),
    /// `secrets.invalid_host`: not a host pattern, any host at all, or more than [`MAX_HOSTS`].
    #[error("a secret is bound to at most {MAX_HOSTS} hosts, such as api.example.com or *.example.com: {0}")]
    InvalidHost(String),
    /// `secrets.invalid_key`: a key of the host's that cannot be used.
    #[error("a key for secrets is 32 bytes, under an id of 1 to 32 letters, digits, '-' and '_': {0}")]
    InvalidKey(&'static str),
}

impl From<SecretsError> for crate::Error {
    fn from(error: SecretsError) -> Self {
        use crate::ErrorKind::{Internal, InvalidInput, NotFound, TooLarge, Unsupported};
        let (kind, code) = match &error {
            SecretsError::NotEnabled => (Unsupported, "secrets.not_enabled"),
            SecretsError::NotFound(_) => (NotFound, "secrets.not_found"),
            SecretsError::Unreadable(_) => (Internal, "secrets.unreadable"),
            SecretsError::TooMany => (TooLarge, "secrets.too_many"),
            SecretsError::InvalidValue(_) => (InvalidInput, "secrets.invalid_value"),
            SecretsError::InvalidHost(_) => (InvalidInput, "secrets.invalid_host"),
            SecretsError::InvalidKey(_) => (InvalidInput, "secrets.invalid_key"),
        };
        crate::Error::new(kind, code, error.to_string())
    }
}

/// The service of a host that has enabled none.
#[derive(Debug)]
pub(crate) struct NotEnabled;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SecretsService for NotEnabled {
    async fn get(&self, _cx: &CallCx, _name: &SecretName) -> Result<Secret> {
        Err(SecretsError::NotEnabled.into())
    }

    async fn set(&self, _: &CallCx, _: &SecretName, _: &[u8], _: &[HostPattern]) -> Result<()> {
        Err(SecretsError::NotEnabled.into())
    }

    async fn delete(&self, _cx: &CallCx, _name: &SecretName) -> Result<bool> {
        Err(SecretsError::NotEnabled.into())
    }

    async fn list(&self, _cx: &CallCx) -> Result<Vec<SecretInfo>> {
        Err(SecretsError::NotEnabled.into())
    }

    async fn reseal(&self, _cx: &CallCx) -> Result<usize> {
        Err(SecretsError::NotEnabled.into())
    }
}
