//! The subscribers of this node, and what waits for each of them.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, Waker};

use super::{Ephemeral, EventStream, Listener};
use crate::metric::count;
use crate::{AppId, Error, ErrorKind, Result};

/// How many may subscribe, and how much is held for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionConfig {
    /// Subscribers of all apps on this node. Default: 10 000, half of the connections that a server takes.
    pub max_subscribers: usize,
    /// Subscribers of one app on this node, so that one cannot take the places of the others. Default: 1 000.
    pub max_per_app: usize,
    /// Messages that wait for a subscriber that is slower than its publishers; of more the oldest are lost. Default: 64.
    pub max_waiting: usize,
    /// How large these may be together, in bytes of their text; one message always has room. Default: 128 KiB.
    pub max_waiting_bytes: usize,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        SubscriptionConfig {
            max_subscribers: 10_000,
            max_per_app: 1_000,
            max_waiting: 64,
            max_waiting_bytes: 128 * 1024,
        }
    }
}

/// Who listens on this node.
#[derive(Debug)]
pub(crate) struct Hub {
    config: SubscriptionConfig,
    rooms: RwLock<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    apps: HashMap<AppId, HashMap<u64, Arc<Seat>>>,
    taken: usize,
    /// How many ever were: names the next.
    seats: u64,
    closed: bool,
}

/// One subscriber.
#[derive(Debug)]
struct Seat {
    stream: EventStream,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Arc<Ephemeral>>,
    bytes: usize,
    lost: u64,
    ended: bool,
    waker: Option<Waker>,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Arc<Ephemeral>),
    /// It was too slow: here so many messages are missing.
    Lost(u64),
}

impl Hub {
    pub(crate) fn new(config: SubscriptionConfig) -> Self {
        Hub { config, rooms: RwLock::default() }
    }

    /// Takes a seat.
    pub(crate) fn subscribe(self: &Arc<Self>, app: AppId, stream: &EventStream) -> Result<Subscription> {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let Rooms { apps, taken, seats, closed } = &mut *rooms;
        if *closed {
            return Err(Error::new(ErrorKind::Closed, "closed", "this node is shutting down"));
        }
        let here = apps.get(&app).map_or(0, HashMap::len);
        if here >= self.config.max_per_app {
            return Err(full("of this app", self.config.max_per_app, "max_per_app"));
        }
        if *taken >= self.config.max_subscribers {
            return Err(full("of this node", self.config.max_subscribers, "max_subscribers"));
        }
        *taken += 1;
        *seats += 1;
        let seat = Arc::new(Seat { stream: stream.clone(), waiting: Mutex::default() });
        apps.entry(app).or_default().insert(*seats, seat.clone());
        Ok(Subscription { hub: self.clone(), app, number: *seats, seat })
    }

    fn leave(&self, app: AppId, number: u64) {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let Rooms { apps, taken, .. } = &mut *rooms;
        if let Some(seats) = apps.get_mut(&app)
            && seats.remove(&number).is_some()
        {
            *taken -= 1;
            if seats.is_empty() {
                apps.remove(&app);
            }
        }
    }

    /// How many have a seat.
    pub(crate) fn subscribers(&self) -> usize {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).taken
    }

    /// Ends the subscriptions of apps that are gone.
    pub(crate) fn keep_apps(&self, is_kept: impl Fn(AppId) -> bool) {
        self.end(|app| !is_kept(app));
    }

    /// Ends every subscription, and takes no more.
    pub(crate) fn close(&self) {
        self.rooms.write().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.end(|_| true);
    }

    fn end(&self, is_over: impl Fn(AppId) -> bool) {
        let ended: Vec<_> = {
            let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
            let apps = rooms.apps.iter().filter(|(app, _)| is_over(**app));
            apps.flat_map(|(_, seats)| seats.values().cloned()).collect()
        };
        ended.iter().for_each(|seat| seat.end());
    }
}

impl Listener for Hub {
    fn hear(&self, message: &Arc<Ephemeral>) {
        let mut wakers = Vec::new();
        {
            let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
            let Some(seats) = rooms.apps.get(&message.app) else { return };
            for seat in seats.values().filter(|seat| seat.stream.matches(&message.topic)) {
                wakers.extend(seat.push(message, &self.config));
            }
        }
        // Whoever is woken may leave: not under the lock.
        wakers.into_iter().for_each(Waker::wake);
    }

    fn is_wanted(&self) -> bool {
        self.subscribers() > 0
    }
}

fn full(whose: &str, most: usize, setting: &'static str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "pubsub.too_many_subscribers",
        format!("all {most} places {whose} are taken; try again later"),
    )
    .with("setting", format!("subscriptions.{setting}"))
}

impl Seat {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; makes room for it first.
    fn push(&self, message: &Arc<Ephemeral>, config: &SubscriptionConfig) -> Option<Waker> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return None;
        }
        let bytes = message.message.len();
        while !waiting.messages.is_empty()
            && (waiting.messages.len() >= config.max_waiting.max(1)
                || waiting.bytes + bytes > config.max_waiting_bytes)
        {
            if let Some(oldest) = waiting.messages.pop_front() {
                waiting.bytes -= oldest.message.len();
                waiting.lost += 1;
            }
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(message.clone());
        waiting.waker.take()
    }

    fn end(&self) {
        let waker = {
            let mut waiting = self.waiting();
            waiting.ended = true;
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Messages as they come. Dropping it gives the place free.
///
/// At most once: who is slower than the publishers loses the oldest of what waits, and is told how many.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    app: AppId,
    number: u64,
    seat: Arc<Seat>,
}

impl Subscription {
    /// The next message; `None` at the end, when the node shuts down or the app is deleted.
    pub async fn next(&mut self) -> Option<Heard> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut waiting = self.seat.waiting();
        if waiting.lost > 0 {
            count!("picloud_subscribers_lagged_total");
            return Poll::Ready(Some(Heard::Lost(std::mem::take(&mut waiting.lost))));
        }
        if let Some(message) = waiting.messages.pop_front() {
            waiting.bytes -= message.message.len();
            return Poll::Ready(Some(Heard::Message(message)));
        }
        if waiting.ended {
            return Poll::Ready(None);
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What ends it from elsewhere.
    pub fn end(&self) -> SubscriptionEnd {
        SubscriptionEnd(Arc::downgrade(&self.seat))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(self.app, self.number);
    }
}

/// Ends a [`Subscription`] from elsewhere: for servers that stop.
#[derive(Debug, Clone)]
pub struct SubscriptionEnd(Weak<Seat>);

impl SubscriptionEnd {
    /// Ends it: what waits is still answered, and then `None`.
    pub fn end(&self) {
        if let Some(seat) = self.0.upgrade() {
            seat.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::Topic;
    use crate::{CallCx, Json};

    fn hub(config: SubscriptionConfig) -> Arc<Hub> {
        Arc::new(Hub::new(config))
    }

    fn message(app: AppId, topic: &str, text: &str) -> Arc<Ephemeral> {
        let message = Json::from_value(text).unwrap();
        Arc::new(Ephemeral::new(&CallCx::new(app), &Topic::new(topic).unwrap(), &message))
    }

    fn stream(pattern: &str) -> EventStream {
        EventStream::new([pattern]).unwrap()
    }

    /// What waits, without waiting.
    fn heard(subscription: &mut Subscription) -> Vec<Option<Heard>> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(heard) = subscription.poll_next(&mut cx) {
            let is_end = heard.is_none();
            all.push(heard);
            if is_end {
                break;
            }
        }
        all
    }

    #[test]
    fn only_topics_that_match_and_only_those_of_the_app_are_heard() {
        let (hub, app) = (hub(SubscriptionConfig::default()), AppId::new());
        let mut chat = hub.subscribe(app, &stream("chat.*")).unwrap();
        let mut all = hub.subscribe(app, &stream("*")).unwrap();
        let mut other = hub.subscribe(AppId::new(), &stream("*")).unwrap();
        let (room, news) = (message(app, "chat.a", "1"), message(app, "news", "2"));
        hub.hear(&room);
        hub.hear(&news);
        assert_eq!(heard(&mut chat), [Some(Heard::Message(room.clone()))]);
        assert_eq!(heard(&mut all), [Some(Heard::Message(room)), Some(Heard::Message(news))]);
        assert_eq!(heard(&mut other), []);
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
        let config = SubscriptionConfig { max_waiting: 3, ..SubscriptionConfig::default() };
        let (hub, app) = (hub(config), AppId::new());
        let mut slow = hub.subscribe(app, &stream("*")).unwrap();
        let messages: Vec<_> = (0..5).map(|n| message(app, "a", &n.to_string())).collect();
        messages.iter().for_each(|message| hub.hear(message));
        let rest = messages[2..].iter().map(|message| Some(Heard::Message(message.clone())));
        let wanted: Vec<_> = std::iter::once(Some(Heard::Lost(2))).chain(rest).collect();
        assert_eq!(heard(&mut slow), wanted);
    }

    #[test]
    fn what_waits_is_bounded_by_its_bytes_too() {
        let config = SubscriptionConfig { max_waiting_bytes: 100, ..SubscriptionConfig::default() };
        let (hub, app) = (hub(config), AppId::new());
        let mut slow = hub.subscribe(app, &stream("*")).unwrap();
        for _ in 0..10 {
            hub.hear(&message(app, "a", &"x".repeat(48)));
        }
        assert_eq!(slow.seat.waiting().bytes, 100);
        assert_eq!(heard(&mut slow).first(), Some(&Some(Heard::Lost(8))));
        assert_eq!(slow.seat.waiting().bytes, 0);
        // One that is larger than all the room is still heard.
        hub.hear(&message(app, "a", &"x".repeat(1_000)));
        assert_eq!(heard(&mut slow).len(), 1);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let config =
            SubscriptionConfig { max_subscribers: 3, max_per_app: 2, ..SubscriptionConfig::default() };
        let (hub, app, all) = (hub(config), AppId::new(), stream("*"));
        let first = hub.subscribe(app, &all).unwrap();
        let _second = hub.subscribe(app, &all).unwrap();
        let refused = hub.subscribe(app, &all).unwrap_err();
        assert_eq!(refused.code(), "pubsub.too_many_subscribers");
        let _other = hub.subscribe(AppId::new(), &all).unwrap();
        assert!(hub.subscribe(AppId::new(), &all).is_err());
        assert_eq!(hub.subscribers(), 3);
        drop(first);
        assert_eq!(hub.subscribers(), 2);
        assert!(hub.subscribe(app, &all).is_ok());
    }

    #[test]
    fn an_app_that_is_gone_ends_its_subscriptions_and_no_others() {
        let (hub, gone, kept) = (hub(SubscriptionConfig::default()), AppId::new(), AppId::new());
        let mut ended = hub.subscribe(gone, &stream("*")).unwrap();
        let mut stays = hub.subscribe(kept, &stream("*")).unwrap();
        hub.keep_apps(|app| app == kept);
        assert_eq!(heard(&mut ended), [None]);
        assert_eq!(heard(&mut stays), []);
    }

    #[tokio::test]
    async fn the_end_wakes_those_who_wait_after_what_they_missed() {
        let (hub, app) = (hub(SubscriptionConfig::default()), AppId::new());
        let mut first = hub.subscribe(app, &stream("*")).unwrap();
        let mut second = hub.subscribe(app, &stream("*")).unwrap();
        let waits = tokio::spawn(async move { first.next().await });
        tokio::task::yield_now().await;
        let end = second.end();
        hub.hear(&message(app, "a", "1"));
        assert!(waits.await.unwrap().is_some());
        end.end();
        hub.hear(&message(app, "a", "2"));
        assert!(
            matches!(second.next().await, Some(Heard::Message(heard)) if heard.message.as_str() == "\"1\"")
        );
        assert_eq!(second.next().await, None);
        hub.close();
        assert_eq!(hub.subscribe(app, &stream("*")).unwrap_err().kind(), ErrorKind::Closed);
    }
}
