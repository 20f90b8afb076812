//! Points at which a test ends the process: before and after each commit. Without the feature they compile to nothing.

/// A commit of the backend's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
#[cfg_attr(
    not(feature = "fault-points"),
    allow(unreachable_pub, reason = "public where a test can reach it")
)]
#[non_exhaustive]
pub enum Commit {
    Write,
    Claim,
    Completion,
    Retry,
    DeadLetter,
}

#[cfg(feature = "fault-points")]
mod armed {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Mutex, PoisonError};

    use super::Commit;

    static ARMED: Mutex<Option<(Commit, bool)>> = Mutex::new(None);
    static LEFT: AtomicU32 = AtomicU32::new(0);

    /// Ends the process, as a crash would, when it is about to make (or has just made: `after`) this commit for the
    /// `nth` time.
    pub fn arm(commit: Commit, after: bool, nth: u32) {
        LEFT.store(nth, Ordering::Release);
        *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = Some((commit, after));
    }

    pub(crate) fn point(commit: Commit, after: bool) {
        let armed = *ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        if armed == Some((commit, after)) && LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
            std::process::abort();
        }
    }
}

#[cfg(feature = "fault-points")]
pub use armed::arm;
#[cfg(feature = "fault-points")]
pub(crate) use armed::point;

#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub(crate) fn point(_commit: Commit, _after: bool) {}
