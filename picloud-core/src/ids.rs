//! Identifiers: one newtype over UUID v7 for each kind of thing, so that they cannot be mixed up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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
    let [id] = many();
    id
}

/// Some ids of one moment, in order: the clock is asked once.
pub(crate) fn many<const N: usize>() -> [Uuid; N] {
    POOL.with_borrow_mut(|pool| {
        let now = Pool::ticks();
        // A system without randomness or with a clock before 1970: let the library decide.
        std::array::from_fn(|_| now.and_then(|now| pool.next(now)).unwrap_or_else(Uuid::now_v7))
    })
}

/// A random number, from the same pool: for jitter.
pub(crate) fn random_u16() -> u16 {
    let id = v7();
    let [.., high, low] = id.as_bytes();
    u16::from_be_bytes([*high, *low])
}

impl Pool {
    /// Now, in 1/4096 of a millisecond.
    fn ticks() -> Option<u64> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let millis = u64::try_from(since_epoch.as_millis()).ok()?;
        let fraction = u64::from(since_epoch.subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
        Some(millis * 4096 + fraction)
    }

    fn next(&mut self, now: u64) -> Option<Uuid> {
        if self.used + ID_BYTES > POOL_BYTES {
            getrandom::fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let mut random: [u8; ID_BYTES] = self.bytes.get(self.used..self.used + ID_BYTES)?.try_into().ok()?;
        self.used += ID_BYTES;
        // Ids of one thread are in order even when the clock stands still.
        self.last = now.max(self.last + 1);
        // The twelve bits after the version hold the fraction of the millisecond.
        let fraction = u16::try_from(self.last % 4096).unwrap_or_default();
        random[..2].copy_from_slice(&fraction.to_be_bytes());
        Some(Builder::from_unix_timestamp_millis(self.last / 4096, &random).into_uuid())
    }
}

/// A map by id, for look-ups that every request makes.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A hasher for sets and maps by id, for backends.
///
/// Takes an id's last bytes for its hash: they are random, and nobody but the host and its backend makes ids. Not for ids
/// that somebody else has chosen.
///
/// ```
/// use std::collections::HashSet;
/// use std::hash::BuildHasherDefault;
///
/// use picloud_core::{ExecutionId, IdHasher};
///
/// let mut seen: HashSet<ExecutionId, BuildHasherDefault<IdHasher>> = HashSet::default();
/// assert!(seen.insert(ExecutionId::new()));
/// ```
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            // Odd, so that nothing is lost; spreads the few bits of the tail that are not random.
            self.0 = u64::from_be_bytes(*last).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.0
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
    fn ids_hash_apart() {
        let hash = |id: &EventId| {
            let hash = std::hash::BuildHasher::hash_one(&BuildHasherDefault::<IdHasher>::default(), id);
            // What a table uses: low bits for the place, high bits to tell apart who shares one.
            (hash % 4096, hash >> 57)
        };
        let ids: Vec<EventId> = (0..1_000).map(|_| EventId::new()).collect();
        let (places, tags): (std::collections::HashSet<_>, std::collections::HashSet<_>) =
            ids.iter().map(hash).unzip();
        assert!(places.len() > 800, "{}", places.len());
        assert!(tags.len() > 100, "{}", tags.len());
    }

    #[test]
    fn ids_carry_the_time() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let (seconds, nanos) = v7().get_timestamp().unwrap().to_unix();
        let millis = u128::from(seconds) * 1_000 + u128::from(nanos) / 1_000_000;
        assert!(millis.abs_diff(before) < 1_000);
    }
}
