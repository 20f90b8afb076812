//! The contract of [`KvService`](super::KvService), sentence by sentence.

mod atomic;
mod fanout;
mod isolation;
mod list;
mod revision;
mod ttl;
mod values;

use crate::Json;
use crate::conformance::Case;

pub(crate) fn cases() -> Vec<Case> {
    [
        values::cases(),
        list::cases(),
        ttl::cases(),
        atomic::cases(),
        isolation::cases(),
        fanout::cases(),
        revision::cases(),
    ]
    .concat()
}

/// The text of a value that nests as deep as values may.
fn deepest() -> String {
    format!("{}{}", "[".repeat(Json::MAX_DEPTH), "]".repeat(Json::MAX_DEPTH))
}
