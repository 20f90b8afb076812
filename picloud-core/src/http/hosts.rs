//! Which hosts an app may call.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::AppId;
use crate::route::{HostPattern, PatternError, normalize_host};

/// Decides on hosts by app. Asked for each request and each redirect, on the thread that sends: it must not wait.
///
/// It comes on top of the guard: no answer opens what is refused there.
pub trait HostPolicy: fmt::Debug + Send + Sync + 'static {
    /// Whether `app` may send requests to `host`: a name in lower case without a trailing dot, or an address, IPv6 in
    /// brackets.
    fn allows(&self, app: AppId, host: &str) -> bool;
}

/// A list of hosts for each app. Clones are one: a host keeps one to change lists while the system runs.
///
/// ```
/// use picloud_core::AppId;
/// use picloud_core::http::{AllowedHosts, HostPolicy};
///
/// let (shop, blog) = (AppId::new(), AppId::new());
/// let hosts = AllowedHosts::any_unless_listed();
/// hosts.set(shop, ["api.example.com", "*.mail.example"])?;
///
/// assert!(hosts.allows(shop, "eu.mail.example"));
/// assert!(!hosts.allows(shop, "example.com"));
/// assert!(hosts.allows(blog, "example.com"), "an app without a list may call any");
/// # Ok::<(), picloud_core::route::PatternError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    lists: Arc<RwLock<HashMap<AppId, Vec<HostPattern>>>>,
    unlisted: bool,
}

impl AllowedHosts {
    /// Apps without a list may call any host. The default of [`HttpConfig`](super::HttpConfig).
    pub fn any_unless_listed() -> Self {
        AllowedHosts { lists: Arc::default(), unlisted: true }
    }

    /// Apps without a list may call none.
    pub fn only_listed() -> Self {
        AllowedHosts { lists: Arc::default(), unlisted: false }
    }

    /// Sets the list of an app: hosts, `*.example.com` for all below one, `*` for any. An empty list allows none.
    ///
    /// # Errors
    /// Where a pattern goes wrong; the list is as it was.
    pub fn set<P: AsRef<str>>(
        &self,
        app: AppId,
        hosts: impl IntoIterator<Item = P>,
    ) -> Result<(), PatternError> {
        let list =
            hosts.into_iter().map(|host| HostPattern::parse(host.as_ref())).collect::<Result<_, _>>()?;
        self.lists.write().unwrap_or_else(PoisonError::into_inner).insert(app, list);
        Ok(())
    }

    /// Removes the list of an app.
    pub fn clear(&self, app: AppId) {
        self.lists.write().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }
}

impl Default for AllowedHosts {
    fn default() -> Self {
        AllowedHosts::any_unless_listed()
    }
}

impl HostPolicy for AllowedHosts {
    fn allows(&self, app: AppId, host: &str) -> bool {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let host = normalize_host(host);
        lists.get(&app).map_or(self.unlisted, |list| list.iter().any(|pattern| pattern.matches(&host)))
    }
}
