//! Apps: the tenants.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod state;
mod types;

pub use state::{AppState, Apps};
pub use types::{AppRecord, AppResolver, AppSlug, FixedApp};
