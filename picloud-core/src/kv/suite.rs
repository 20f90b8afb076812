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
        fanout::cases_with_expiry(),
        revision::cases(),
    ]
    .concat()
}

/// The cases that hold inside a transaction as well, run there. Not those about time, which may stand still inside. Where
/// a case looks at the outbox, the transaction is committed first, since nobody sees its rows before.
pub(crate) fn cases_within_transaction() -> Vec<Case> {
    let inside = [
        values::cases(),
        list::cases(),
        atomic::cases(),
        isolation::cases(),
        fanout::cases(),
        revision::cases(),
    ]
    .concat();
    inside.into_iter().map(Case::within_transaction).collect()
}

/// The text of a value that nests as deep as values may.
fn deepest() -> String {
    format!("{}{}", "[".repeat(Json::MAX_DEPTH), "]".repeat(Json::MAX_DEPTH))
}
