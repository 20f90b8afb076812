//! The contract of [`DocsService`](super::DocsService), sentence by sentence.

mod atomic;
mod fanout;
mod indexes;
mod isolation;
mod pages;
mod queries;
mod values;

use crate::conformance::Case;

pub(crate) fn cases() -> Vec<Case> {
    [cases_anywhere(), indexes::cases()].concat()
}

/// All of them hold inside a transaction as well.
fn cases_anywhere() -> Vec<Case> {
    [values::cases(), queries::cases(), pages::cases(), atomic::cases(), isolation::cases(), fanout::cases()]
        .concat()
}

/// The same cases, run inside a transaction. Where a case looks at the outbox, the transaction is committed first, since
/// nobody sees its rows before.
pub(crate) fn cases_within_transaction() -> Vec<Case> {
    cases_anywhere().into_iter().map(Case::within_transaction).collect()
}

/// The text of data that nests as deep as values may.
fn deepest() -> String {
    let inside = crate::Json::MAX_DEPTH - 1;
    format!("{{\"a\":{}{}}}", "[".repeat(inside), "]".repeat(inside))
}

/// The text of data as large as it may be.
fn largest() -> String {
    format!("{{\"a\":{:?}}}", "x".repeat(super::MAX_DATA_BYTES - 8))
}
