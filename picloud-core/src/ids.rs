//! Identifiers: one newtype over UUID v7 for each kind of thing, so that they cannot be mixed up.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{Error, Result};

/// Random bytes fetched at once: asking the system for ten bytes at a time costs more than the rest of a short
/// execution.
const POOL_BYTES: usize = 1_000;
const ID_BYTES: usize = 10;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

fn v7() -> Uuid {
    let random = POOL.with_borrow_mut(|pool| {
        if pool.used + ID_BYTES > POOL_BYTES {
            getrandom::fill(&mut pool.bytes).ok()?;
            pool.used = 0;
        }
        let random: [u8; ID_BYTES] = pool.bytes.get(pool.used..pool.used + ID_BYTES)?.try_into().ok()?;
        pool.used += ID_BYTES;
        Some(random)
    });
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok());
    match (random, since_epoch) {
        (Some(random), Some(millis)) => Builder::from_unix_timestamp_millis(millis, &random).into_uuid(),
        // A system without randomness or with a clock before 1970: let the library decide.
        _ => Uuid::now_v7(),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A UUID v7: ids made later sort later, to the millisecond.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                $name(v7())
            }

            /// The id as a UUID, for storage.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// An id read back from storage.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                $name(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Uuid::parse_str(text).map($name).map_err(|error| {
                    Error::invalid(concat!($what, ".invalid_id"), "expected a UUID").with("id", text).caused_by(error)
                })
            }
        }
    };
}

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
