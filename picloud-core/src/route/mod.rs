//! Routes: which script answers a request.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod types;

pub use types::{DEFAULT_RESERVED_PREFIXES, DispatchMode, RouteMethod, RouteRecord};
pub(crate) fn parse_query(_q: &str) -> Vec<(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    vec![]
}
mod stub;
pub use stub::*;
