//! The opaque value.

use std::fmt;
use std::sync::Arc;

use super::{MAX_SECRET_BYTES, SecretName};
use crate::route::{HostPattern, normalize_host};
use crate::{Error, ErrorKind, Result};

/// Longest text before a secret, together with the texts before it.
const MAX_PREFIX_BYTES: usize = 256;

/// A secret in use. Whoever prints it sees its name; the bytes are for services that [take](Secret::expose) it.
///
/// Scripts get it from `secrets::get`, as a value of which nothing can be made but what the contract says: it does not
/// become JSON, and has no properties. Its bytes are overwritten when the last one is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    name: SecretName,
    bytes: Vec<u8>,
    prefix: usize,
    hosts: Arc<[HostPattern]>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.bytes.fill(0);
        // Otherwise the compiler may see that nobody reads them any more.
        std::hint::black_box(&self.bytes);
    }
}

impl Secret {
    /// A secret, bound to hosts: for services that replace ours.
    pub fn new(name: SecretName, bytes: Vec<u8>, hosts: Vec<HostPattern>) -> Self {
        Secret(Arc::new(Inner { name, bytes, prefix: 0, hosts: hosts.into() }))
    }

    /// The name.
    pub fn name(&self) -> &SecretName {
        &self.0.name
    }

    /// Whether it may be sent to `host`: a name or an address, as URLs have them.
    pub fn is_for(&self, host: &str) -> bool {
        let host = normalize_host(host);
        self.0.hosts.iter().any(|pattern| pattern.matches(&host))
    }

    /// The bytes. For services that use a secret; what they do with it must not come back to the script.
    pub fn expose(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The same secret with a text before it, as in `Bearer …`.
    ///
    /// # Errors
    /// `secrets.prefix_too_long`.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self> {
        let total = self.0.prefix + prefix.len();
        if total > MAX_PREFIX_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "secrets.prefix_too_long",
                format!(
                    "the text before a secret has at most {MAX_PREFIX_BYTES} bytes, this one has {total}"
                ),
            ));
        }
        // Made at its full length, so that no copy is left behind by growing.
        let mut bytes = Vec::with_capacity(prefix.len() + self.0.bytes.len());
        bytes.extend_from_slice(prefix.as_bytes());
        bytes.extend_from_slice(&self.0.bytes);
        debug_assert!(bytes.len() <= MAX_SECRET_BYTES + MAX_PREFIX_BYTES, "bounded by both");
        let (name, hosts) = (self.0.name.clone(), self.0.hosts.clone());
        Ok(Secret(Arc::new(Inner { name, bytes, prefix: total, hosts })))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {}", self.0.name)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.0.name)
    }
}

/// The name only: two of one name are equal here, whatever they hold.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Secret {}
