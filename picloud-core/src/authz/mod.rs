//! Who may do what: principals, roles, scopes, capabilities, and the one decision over them.

mod decide;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;

pub use types::{AppRole, Capability, InstanceRole, Principal, PrincipalKind, Scope};

use crate::Result;

/// Tells who sent a request, and who an id is now: what a host brings when it has its own identities.
///
/// A host's own login becomes a picloud principal here. Without a resolver every request is anonymous.
#[async_trait]
pub trait PrincipalResolver: Debug + Send + Sync + 'static {
    /// Who sent a request with these headers. `Ok(None)` is anonymous.
    ///
    /// # Errors
    /// A failing look-up. On the data plane it counts as anonymous (and is logged); it is never a 500.
    async fn resolve(&self, headers: &http::HeaderMap) -> Result<Option<Principal>>;

    /// Who `id` is now, with the roles of now. `Ok(None)` when there is no such principal any more.
    ///
    /// # Errors
    /// A failing look-up; whoever asked tries again later.
    async fn by_id(&self, id: &str) -> Result<Option<Principal>>;
}

/// The resolver of a host without identities: everybody is anonymous.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

#[async_trait]
impl PrincipalResolver for Anonymous {
    async fn resolve(&self, _headers: &http::HeaderMap) -> Result<Option<Principal>> {
        Ok(None)
    }

    async fn by_id(&self, _id: &str) -> Result<Option<Principal>> {
        Ok(None)
    }
}
