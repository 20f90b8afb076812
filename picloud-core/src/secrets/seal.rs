//! The service on a store: XChaCha20-Poly1305 under a key of the host's.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;

use super::{
    MAX_HOSTS, MAX_SECRET_BYTES, MAX_SECRETS, SealedSecret, Secret, SecretInfo, SecretName, SecretStore,
    SecretsError, SecretsService,
};
use crate::route::HostPattern;
use crate::{AppId, CallCx, Error, ErrorKind, Result};

/// How secrets are written. What is read tells its own.
const FORMAT: u8 = 1;

/// Random ones may be drawn for ever without one coming twice.
const NONCE_BYTES: usize = 24;

/// Keys of the host's: secrets are sealed under the first, and opened under whichever they were sealed.
///
/// To change keys put a new one before the others, start every process with them, call
/// [`reseal`](SecretsService::reseal) for every app, and take the old one out.
///
/// ```
/// use picloud_core::secrets::SecretKeys;
///
/// let keys = SecretKeys::new("2026", &[7; 32])?.or("2025", &[9; 32])?;
/// assert_eq!(format!("{keys:?}"), r#"SecretKeys(["2026", "2025"])"#);
/// # Ok::<(), picloud_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SecretKeys(Vec<(String, XChaCha20Poly1305)>);

impl SecretKeys {
    /// One key of 32 random bytes, under an id that it is known by in what it has sealed.
    ///
    /// # Errors
    /// `secrets.invalid_key`, for a key of another length and an id that is not 1 to 32 of `A-Z a-z 0-9 _ -`.
    pub fn new(id: &str, key: &[u8]) -> Result<Self> {
        SecretKeys(Vec::new()).or(id, key)
    }

    /// One more, for what was sealed under it.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for an id that is taken.
    pub fn or(mut self, id: &str, key: &[u8]) -> Result<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(1..=32).contains(&id.len()) || !id.bytes().all(fits) {
            return Err(SecretsError::InvalidKey("this id is not").into());
        }
        if self.0.iter().any(|(taken, _)| taken == id) {
            return Err(SecretsError::InvalidKey("two have one id").into());
        }
        let cipher = XChaCha20Poly1305::new_from_slice(key)
            .map_err(|_| SecretsError::InvalidKey("this one has another length"))?;
        self.0.push((id.to_owned(), cipher));
        Ok(self)
    }

    /// The keys in `PICLOUD_SECRETS_KEY`: base64 of 32 bytes, or several with their ids, `2026:…,2025:…`, the first to seal
    /// with. `None` when the variable is not set, and, with a warning that does not repeat it, when it is not valid.
    pub fn from_env() -> Option<Self> {
        let text = std::env::var("PICLOUD_SECRETS_KEY").ok()?;
        let keys = SecretKeys::parse(&text);
        if keys.is_none() {
            tracing::warn!(
                variable = "PICLOUD_SECRETS_KEY",
                expected = "base64 of 32 bytes, or several: id:base64,id:base64",
                "ignored: invalid value"
            );
        }
        keys
    }

    fn parse(text: &str) -> Option<Self> {
        let mut keys = SecretKeys(Vec::new());
        for part in text.split(',').map(str::trim) {
            let (id, key) = part.split_once(':').unwrap_or(("1", part));
            let mut key = BASE64.decode(key.as_bytes()).ok()?;
            let added = keys.or(id, &key);
            wipe(&mut key);
            keys = added.ok()?;
        }
        Some(keys)
    }

    fn seal(&self, app: AppId, name: &SecretName, hosts: &[String], value: &[u8]) -> Result<Vec<u8>> {
        let broken = || Error::internal("a secret could not be sealed").with("name", name);
        let (id, cipher) = self.0.first().ok_or_else(broken)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "secrets.no_randomness", "the system gives no random bytes")
                .caused_by(error)
        })?;
        let aad = associated(app, name, hosts);
        let text =
            cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad }).map_err(|_| broken())?;
        let mut sealed = vec![FORMAT, u8::try_from(id.len()).map_err(|_| broken())?];
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// The bytes, and whether they were sealed under the first key.
    fn open(&self, app: AppId, secret: &SealedSecret) -> Option<(Vec<u8>, bool)> {
        let (&[format, length], rest) = secret.sealed.split_first_chunk()?;
        if format != FORMAT {
            return None;
        }
        let (id, rest) = rest.split_at_checked(usize::from(length))?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let place = self.0.iter().position(|(known, _)| known.as_bytes() == id)?;
        let (_, cipher) = self.0.get(place)?;
        let aad = associated(app, &secret.name, &secret.hosts);
        let bytes = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad }).ok()?;
        Some((bytes, place == 0))
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.iter().map(|(id, _)| id).collect();
        write!(f, "SecretKeys({ids:?})")
    }
}

fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

/// What a ciphertext is good for, and nothing else: one app, one name, these hosts. Each part with its length, so that
/// no two combinations read the same.
fn associated(app: AppId, name: &SecretName, hosts: &[String]) -> Vec<u8> {
    let mut bytes = b"picloud secret 1".to_vec();
    bytes.extend_from_slice(app.as_uuid().as_bytes());
    for part in std::iter::once(name.as_str()).chain(hosts.iter().map(String::as_str)) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// Secrets in a backend's store, sealed under keys of the host's. [`PicloudBuilder::secrets`](crate::PicloudBuilder::secrets)
/// makes one.
#[derive(Debug)]
pub struct SealedSecrets {
    keys: SecretKeys,
    store: Arc<dyn SecretStore>,
}

impl SealedSecrets {
    /// Secrets in this store.
    pub fn new(keys: SecretKeys, store: Arc<dyn SecretStore>) -> Self {
        SealedSecrets { keys, store }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SecretsService for SealedSecrets {
    async fn get(&self, cx: &CallCx, name: &SecretName) -> Result<Secret> {
        let unreadable = || Error::from(SecretsError::Unreadable(name.clone()));
        let sealed = self.store.get(cx.app(), name).await?;
        let sealed = sealed.ok_or_else(|| SecretsError::NotFound(name.clone()))?;
        let (bytes, _) = self.keys.open(cx.app(), &sealed).ok_or_else(unreadable)?;
        let hosts = sealed.hosts.iter().map(|host| HostPattern::parse(host)).collect::<Result<_, _>>();
        Ok(Secret::new(name.clone(), bytes, hosts.map_err(|error| unreadable().caused_by(error))?))
    }

    async fn set(&self, cx: &CallCx, name: &SecretName, value: &[u8], hosts: &[HostPattern]) -> Result<()> {
        if !(1..=MAX_SECRET_BYTES).contains(&value.len()) {
            return Err(SecretsError::InvalidValue(value.len()).into());
        }
        if hosts.len() > MAX_HOSTS {
            return Err(SecretsError::InvalidHost(format!("these are {}", hosts.len())).into());
        }
        // Two that set at one moment may both find room for the last one.
        let known = self.store.list(cx.app()).await?;
        if known.len() >= MAX_SECRETS && known.iter().all(|known| known.name != *name) {
            return Err(SecretsError::TooMany.into());
        }
        let hosts: Vec<String> = hosts.iter().map(|host| host.as_str().to_owned()).collect();
        let sealed = self.keys.seal(cx.app(), name, &hosts, value)?;
        let secret = SealedSecret { name: name.clone(), sealed, hosts, updated_at: cx.clock().now() };
        self.store.put(cx.app(), &secret, None).await.map(drop)
    }

    async fn delete(&self, cx: &CallCx, name: &SecretName) -> Result<bool> {
        self.store.delete(cx.app(), name).await
    }

    async fn list(&self, cx: &CallCx) -> Result<Vec<SecretInfo>> {
        self.store.list(cx.app()).await
    }

    async fn reseal(&self, cx: &CallCx) -> Result<usize> {
        let mut count = 0;
        for info in self.store.list(cx.app()).await? {
            let Some(old) = self.store.get(cx.app(), &info.name).await? else { continue };
            let (mut bytes, is_current) =
                self.keys.open(cx.app(), &old).ok_or_else(|| SecretsError::Unreadable(info.name.clone()))?;
            if !is_current {
                let sealed = self.keys.seal(cx.app(), &old.name, &old.hosts, &bytes);
                wipe(&mut bytes);
                let new = SealedSecret { sealed: sealed?, ..old.clone() };
                // One that was set meanwhile is sealed under the first key already.
                count += usize::from(self.store.put(cx.app(), &new, Some(&old.sealed)).await?);
            }
            wipe(&mut bytes);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::new(text).unwrap()
    }

    fn sealed(keys: &SecretKeys, app: AppId) -> SealedSecret {
        let (name, hosts) = (name("key"), vec!["a.example".to_owned(), "b.example".to_owned()]);
        let sealed = keys.seal(app, &name, &hosts, b"hush").unwrap();
        SealedSecret { name, sealed, hosts, updated_at: crate::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_was_sealed_opens_for_its_app_name_and_hosts_only() {
        let (keys, app) = (SecretKeys::new("1", &[1; 32]).unwrap(), AppId::new());
        let secret = sealed(&keys, app);
        assert_eq!(keys.open(app, &secret), Some((b"hush".to_vec(), true)));
        assert!(!secret.sealed.windows(4).any(|part| part == b"hush"));
        assert_ne!(sealed(&keys, app).sealed, secret.sealed, "each has a nonce of its own");

        assert_eq!(keys.open(AppId::new(), &secret), None);
        let other = SealedSecret { name: name("kex"), ..secret.clone() };
        assert_eq!(keys.open(app, &other), None);
        for hosts in [vec![], vec!["a.example".to_owned()], vec!["a.exampleb.example".to_owned()]] {
            assert_eq!(keys.open(app, &SealedSecret { hosts, ..secret.clone() }), None);
        }
        for place in 0..secret.sealed.len() {
            let mut changed = secret.clone();
            changed.sealed[place] ^= 1;
            assert_eq!(keys.open(app, &changed), None, "byte {place}");
            changed.sealed.truncate(place);
            assert_eq!(keys.open(app, &changed), None, "{place} bytes");
        }
        assert_eq!(SecretKeys::new("1", &[2; 32]).unwrap().open(app, &secret), None);
    }

    #[test]
    fn an_older_key_opens_and_the_first_one_seals() {
        let app = AppId::new();
        let old = sealed(&SecretKeys::new("old", &[1; 32]).unwrap(), app);
        let keys = SecretKeys::new("new", &[2; 32]).unwrap().or("old", &[1; 32]).unwrap();
        assert_eq!(keys.open(app, &old), Some((b"hush".to_vec(), false)));
        assert_eq!(keys.open(app, &sealed(&keys, app)), Some((b"hush".to_vec(), true)));
    }

    #[test]
    fn keys_are_read_from_text_and_checked() {
        let key = BASE64.encode(&[1; 32]);
        let ids = |text: &str| SecretKeys::parse(text).map(|keys| format!("{keys:?}"));
        assert_eq!(ids(&key).unwrap(), r#"SecretKeys(["1"])"#);
        assert_eq!(ids(&format!("a:{key}, b:{key}")).unwrap(), r#"SecretKeys(["a", "b"])"#);
        for wrong in
            ["", "short", &format!("a:{key},a:{key}"), &format!("a b:{key}"), &BASE64.encode(&[1; 31])]
        {
            assert!(ids(wrong).is_none(), "{wrong}");
        }
        assert_eq!(SecretKeys::new("1", &[1; 16]).unwrap_err().code(), "secrets.invalid_key");
    }
}
