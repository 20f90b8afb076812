//! Apps: the tenants.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod types;

pub use types::{AppRecord, AppResolver, AppSlug, FixedApp};
