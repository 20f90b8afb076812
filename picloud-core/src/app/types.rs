//! What an app is, and how a request finds its own.

use std::fmt;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::{AppId, Error, Result, Timestamp};

/// The name of an app in URLs: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AppSlug(String);

impl AppSlug {
    /// Checks a slug.
    ///
    /// # Errors
    /// `app.invalid_slug`, quoting the slug and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = text.len() <= 63
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'-');
        if fits {
            return Ok(AppSlug(text));
        }
        Err(Error::invalid(
            "app.invalid_slug",
            format!(
                "a slug has 1 to 63 of a-z, 0-9 and '-', and begins with a letter or digit; this is {:?}",
                text.chars().take(80).collect::<String>()
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for AppSlug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AppSlug::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// An app as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Stable for the life of the app.
    pub id: AppId,
    /// Unique among apps.
    pub slug: AppSlug,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Decides which app a request belongs to.
///
/// Called on the hot path of every request: look something up in memory, do not wait. It is handed over before there
/// are apps, so it shares what it looks up with whoever creates them:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, RwLock};
/// use picloud_core::app::AppResolver;
/// use picloud_core::route::normalize_host;
/// use picloud_core::{AppId, Picloud};
/// use picloud_memory::MemoryBackend;
///
/// /// Each host name has its app.
/// #[derive(Debug, Clone, Default)]
/// struct ByHost(Arc<RwLock<HashMap<String, AppId>>>);
///
/// impl AppResolver for ByHost {
///     fn resolve(&self, host: &str, _headers: &http::HeaderMap) -> Option<AppId> {
///         self.0.read().ok()?.get(&*normalize_host(host)).copied()
///     }
/// }
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hosts = ByHost::default();
/// let cloud = Picloud::builder(MemoryBackend::new()).app_resolver(hosts.clone()).start().await?;
/// for slug in ["shop", "blog"] {
///     let app = cloud.create_app(slug).await?;
///     hosts.0.write().unwrap().insert(format!("{slug}.example.com"), app.id());
/// }
/// # Ok(()) }
/// ```
pub trait AppResolver: Debug + Send + Sync + 'static {
    /// The app for a request with this host (as sent, possibly with a port) and these headers; `None` answers
    /// 404 `app.not_found`.
    fn resolve(&self, host: &str, headers: &http::HeaderMap) -> Option<AppId>;
}

/// Every request belongs to one app.
#[derive(Debug, Clone, Copy)]
pub struct FixedApp(pub AppId);

impl AppResolver for FixedApp {
    fn resolve(&self, _host: &str, _headers: &http::HeaderMap) -> Option<AppId> {
        Some(self.0)
    }
}
