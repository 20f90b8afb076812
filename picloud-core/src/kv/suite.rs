//! The contract of [`KvService`](super::KvService), sentence by sentence.

mod atomic;
mod fanout;
mod isolation;
mod list;
mod ttl;
mod values;

use crate::conformance::Case;

pub(crate) fn cases() -> Vec<Case> {
    [values::cases(), list::cases(), ttl::cases(), atomic::cases(), isolation::cases(), fanout::cases()]
        .concat()
}
