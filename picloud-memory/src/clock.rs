//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use picloud_core::{Clock, Timestamp};

/// A clock for tests: it starts at a fixed time and moves only by [`TestClock::advance`]. Clones are the same
/// clock.
///
/// ```
/// use std::time::Duration;
///
/// use picloud_core::Clock;
/// use picloud_memory::TestClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = TestClock::new();
/// let hour = clock.sleep(Duration::from_secs(3600));
/// clock.advance(Duration::from_secs(3600));
/// hour.await;
/// assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Mutex<State>>);

/// When a sleeper wakes; sleepers of one moment wake in the order in which they lay down.
type Alarm = (Timestamp, u64);

#[derive(Debug)]
struct State {
    now: Timestamp,
    sleeps: u64,
    /// `None` until the sleeper was first polled.
    sleepers: BTreeMap<Alarm, Option<Waker>>,
}

impl TestClock {
    /// A clock that shows the first moment of 2026, UTC.
    pub fn new() -> Self {
        TestClock::starting_at(Timestamp::constant(1_767_225_600, 0))
    }

    /// A clock that shows `now`: for schedules around a particular date.
    pub fn starting_at(now: Timestamp) -> Self {
        TestClock(Arc::new(Mutex::new(State { now, sleeps: 0, sleepers: BTreeMap::new() })))
    }

    /// Moves the clock by `duration` and wakes those whose time has come, earliest first, those of one moment
    /// in the order in which they began to sleep. All of them see the new time. It stops at the end of time
    /// rather than beyond.
    pub fn advance(&self, duration: Duration) {
        let due = {
            let mut state = self.lock();
            state.now = later(state.now, duration);
            let now = state.now;
            let after = state.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.sleepers, after)
        };
        // Not under the lock: a waker may run code that asks for the time.
        due.into_values().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TestClock {
    fn default() -> Self {
        TestClock::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut state = self.lock();
        state.sleeps += 1;
        let alarm = (later(state.now, duration), state.sleeps);
        if !duration.is_zero() {
            state.sleepers.insert(alarm, None);
        }
        Box::pin(Sleep { clock: self.clone(), alarm })
    }
}

/// The end of a wait; no wait is longer than time itself.
pub(crate) fn later(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[derive(Debug)]
struct Sleep {
    clock: TestClock,
    alarm: Alarm,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        match self.clock.lock().sleepers.get_mut(&self.alarm) {
            Some(waker) => {
                *waker = Some(task.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.alarm);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    /// Says its name when it is woken.
    struct Bell(&'static str, mpsc::Sender<&'static str>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0).unwrap();
        }
    }

    fn poll(sleep: &mut Pin<Box<dyn Future<Output = ()> + Send>>, bell: Bell) -> Poll<()> {
        sleep.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(bell))))
    }

    #[test]
    fn sleepers_wake_earliest_first_and_equals_in_the_order_of_lying_down() {
        let clock = TestClock::new();
        let (sender, woken) = mpsc::channel();
        let mut sleeps = [("late", 30), ("early", 10), ("first of two", 20), ("second of two", 20)]
            .map(|(name, seconds)| (name, clock.sleep(Duration::from_secs(seconds))));
        for (name, sleep) in &mut sleeps {
            assert_eq!(poll(sleep, Bell(name, sender.clone())), Poll::Pending);
        }

        clock.advance(Duration::from_secs(30));

        assert_eq!(woken.try_iter().collect::<Vec<_>>(), ["early", "first of two", "second of two", "late"]);
    }

    #[test]
    fn nobody_wakes_before_the_time() {
        let clock = TestClock::new();
        let (sender, woken) = mpsc::channel();
        let mut sleep = clock.sleep(Duration::from_secs(10));
        assert_eq!(poll(&mut sleep, Bell("sleeper", sender.clone())), Poll::Pending);

        clock.advance(Duration::from_millis(9_999));

        assert_eq!(woken.try_iter().count(), 0);
        assert_eq!(poll(&mut sleep, Bell("sleeper", sender)), Poll::Pending);
    }

    #[test]
    fn a_sleep_whose_time_passed_before_it_was_awaited_is_over() {
        let clock = TestClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(10));
        clock.advance(Duration::from_secs(10));
        assert_eq!(poll(&mut sleep, Bell("sleeper", mpsc::channel().0)), Poll::Ready(()));
    }

    #[test]
    fn a_sleep_of_no_time_is_over_at_once() {
        let mut sleep = TestClock::new().sleep(Duration::ZERO);
        assert_eq!(poll(&mut sleep, Bell("sleeper", mpsc::channel().0)), Poll::Ready(()));
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let clock = TestClock::new();
        drop(clock.sleep(Duration::from_secs(10)));
        assert!(clock.lock().sleepers.is_empty());
    }

    #[test]
    fn the_clock_stops_at_the_end_of_time() {
        let clock = TestClock::new();
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
