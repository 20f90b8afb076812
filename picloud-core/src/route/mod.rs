//! Routes: which script answers a request.
//!
//! A route is stored as it was typed ([`RouteRecord`]). [`RoutePatterns`] checks it, [`find_conflict`] compares
//! it with the app's other routes, and a [`RouteTable`] made of all of them answers requests: it never changes,
//! so it is shared and replaced as a whole, and reading it takes no lock.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod conflict;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod host;
#[cfg(any(test, feature = "fuzzing"))]
mod naive;
mod normalize;
mod pattern;
mod pattern_error;
mod patterns;
mod query;
mod table;
#[cfg(test)]
mod tests;
mod types;

pub use conflict::{conflict_error, find_conflict};
pub use host::{HostPattern, MAX_HOST_BYTES, normalize_host};
#[cfg(feature = "utilities")]
pub(crate) use normalize::hex_pair;
pub use normalize::{MAX_PATH_BYTES, MAX_SEGMENTS, NormalPath, PathError, normalize_path};
pub use pattern::{MAX_PATTERN_BYTES, PathKind, PathPattern};
pub use pattern_error::PatternError;
pub use patterns::{RoutePatterns, check_reserved, is_reserved};
pub use query::{MAX_QUERY_PAIRS, parse_query};
pub use table::{Allow, RouteMatch, RouteTable};
pub use types::{DEFAULT_RESERVED_PREFIXES, DispatchMode, RouteMethod, RouteRecord};
