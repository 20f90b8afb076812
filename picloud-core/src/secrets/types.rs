//! Names, what is stored, and limits.

use std::fmt;

use serde::Serialize;

use crate::{Error, MAX_NAME_BYTES, Result, Timestamp};

/// Longest secret, in bytes: room for any key and certificate.
pub const MAX_SECRET_BYTES: usize = 16 << 10;

/// Most secrets of an app.
pub const MAX_SECRETS: usize = 200;

/// Most hosts that a secret is bound to.
pub const MAX_HOSTS: usize = 32;

/// The name of a secret: 1 to [`MAX_NAME_BYTES`] of `A-Z a-z 0-9 _ . : -`.
///
/// ```
/// use picloud_core::secrets::SecretName;
/// assert!(SecretName::new("stripe.key").is_ok());
/// assert_eq!(SecretName::new("a key").unwrap_err().code(), "secrets.invalid_name");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl SecretName {
    /// Checks a name.
    ///
    /// # Errors
    /// `secrets.invalid_name`, quoting the name and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(SecretName(text));
        }
        let quoted: String = text.chars().take(MAX_NAME_BYTES + 12).collect();
        Err(Error::invalid(
            "secrets.invalid_name",
            format!(
                "the name of a secret has 1 to {MAX_NAME_BYTES} of A-Z, a-z, 0-9, '_', '.', ':' and '-', unlike {quoted:?}"
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A secret as a backend stores it: encrypted. What the bytes mean is not the backend's affair.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The name.
    pub name: SecretName,
    /// The ciphertext, at most some hundred bytes longer than [`MAX_SECRET_BYTES`].
    pub sealed: Vec<u8>,
    /// The hosts that it is bound to, as patterns.
    pub hosts: Vec<String>,
    /// When it was set.
    pub updated_at: Timestamp,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret")
            .field("name", &self.name)
            .field("hosts", &self.hosts)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

/// What can be told of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretInfo {
    /// The name.
    pub name: SecretName,
    /// The hosts that it is bound to, as patterns.
    pub hosts: Vec<String>,
    /// When it was set.
    pub updated_at: Timestamp,
}
