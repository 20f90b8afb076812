//! The contract of [`FilesService`](super::FilesService), sentence by sentence.

mod fanout;
mod records;

use crate::conformance::Case;

/// All of them hold inside a transaction as well.
pub(crate) fn cases() -> Vec<Case> {
    [records::cases(), fanout::cases()].concat()
}

/// The same cases, run inside a transaction. Where a case looks at the outbox, the transaction is committed first, since
/// nobody sees its rows before.
pub(crate) fn cases_within_transaction() -> Vec<Case> {
    cases().into_iter().map(Case::within_transaction).collect()
}
