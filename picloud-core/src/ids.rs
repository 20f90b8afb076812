//! Identifiers: one newtype over UUID v7 for each kind of thing, so that they cannot be mixed up.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{Builder, Uuid};

/// Random bytes fetched at once: asking the system for ten bytes at a time costs more than the rest of a short
/// execution.
const POOL_BYTES: usize = 1_000;
const ID_BYTES: usize = 10;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
    /// The time of the last id of this thread, in units of a 4096th of a millisecond.
    last: u64,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES, last: 0 }) };
}

pub(crate) fn v7() -> Uuid {
    // A system without randomness or with a clock before 1970: let the library decide.
    POOL.with_borrow_mut(Pool::next).unwrap_or_else(Uuid::now_v7)
}

/// A random number, from the same pool: for jitter.
pub(crate) fn random_u16() -> u16 {
    let id = v7();
    let [.., high, low] = id.as_bytes();
    u16::from_be_bytes([*high, *low])
}

impl Pool {
    fn next(&mut self) -> Option<Uuid> {
        if self.used + ID_BYTES > POOL_BYTES {
            getrandom::fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let mut random: [u8; ID_BYTES] = self.bytes.get(self.used..self.used + ID_BYTES)?.try_into().ok()?;
        self.used += ID_BYTES;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let ticks = u64::try_from(since_epoch.as_nanos() * 4096 / 1_000_000).ok()?;
        // Ids of one thread are in order even when the clock stands still.
        self.last = ticks.max(self.last + 1);
        // The twelve bits after the version hold the fraction of the millisecond.
        let fraction = u16::try_from(self.last % 4096).unwrap_or_default();
        random[..2].copy_from_slice(&fraction.to_be_bytes());
        Some(Builder::from_unix_timestamp_millis(self.last / 4096, &random).into_uuid())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A UUID v7: ids that one thread makes are in order; those of different threads and machines are as much in
        /// order as their clocks agree.
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(::uuid::Uuid);

        impl $name {
            /// A new id.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                $name($crate::ids::v7())
            }

            /// The id as a UUID, for storage.
            pub const fn as_uuid(&self) -> &::uuid::Uuid {
                &self.0
            }

            /// An id read back from storage.
            pub const fn from_uuid(uuid: ::uuid::Uuid) -> Self {
                $name(uuid)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(text: &str) -> $crate::Result<Self> {
                ::uuid::Uuid::parse_str(text).map($name).map_err(|error| {
                    $crate::Error::invalid(concat!($what, ".invalid_id"), "expected a UUID").with("id", text).caused_by(error)
                })
            }
        }
    };
}

pub(crate) use id;

id!(
    /// Identifies an app, the isolation boundary.
    AppId, "app"
);
id!(
    /// Identifies a script for as long as it exists, across versions and renames.
    ScriptId, "script"
);
id!(
    /// Identifies a route.
    RouteId, "route"
);
id!(
    /// Identifies a trigger.
    TriggerId, "trigger"
);
id!(
    /// Identifies one run of a script.
    ExecutionId, "execution"
);
id!(
    /// Identifies an incoming request; executions it causes carry it on.
    RequestId, "request"
);
id!(
    /// Identifies everything that one request or event caused, however many hops later.
    TraceId, "trace"
);
id!(
    /// Identifies an event; stable across the deliveries of that event, so that handlers can deduplicate.
    EventId, "event"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_thread_are_in_order_and_never_repeat() {
        let ids: Vec<Uuid> = (0..10_000).map(|_| v7()).collect();
        assert!(ids.is_sorted_by(|one, two| one < two));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn ids_carry_the_time() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let (seconds, nanos) = v7().get_timestamp().unwrap().to_unix();
        let millis = u128::from(seconds) * 1_000 + u128::from(nanos) / 1_000_000;
        assert!(millis.abs_diff(before) < 1_000);
    }
}
