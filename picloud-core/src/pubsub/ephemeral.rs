//! Messages that nobody keeps, and how they get from node to node.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use async_trait::async_trait;

use super::Topic;
use crate::{AppId, CallCx, EventId, Json, Result};

/// Largest message that is not stored, in bytes of canonical JSON: it is copied to every node and held for every
/// subscriber that has not read it yet.
pub const MAX_EPHEMERAL_BYTES: usize = 64 * 1024;

/// A message on its way to whoever listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ephemeral {
    /// Tells it from every other message. Ids of one publisher grow.
    pub id: EventId,
    /// The app; nobody else hears of it.
    pub app: AppId,
    /// What it is about.
    pub topic: Topic,
    /// The message.
    pub message: Json,
}

impl Ephemeral {
    /// A new message of a call's app.
    pub fn new(cx: &CallCx, topic: &Topic, message: &Json) -> Self {
        Ephemeral { id: EventId::new(), app: cx.app(), topic: topic.clone(), message: message.clone() }
    }

    /// A message of another node.
    pub fn from_parts(id: EventId, app: AppId, topic: Topic, message: Json) -> Self {
        Ephemeral { id, app, topic, message }
    }
}

/// Messages to whoever listens just now, on all nodes.
///
/// # Contract
///
/// - Every listener on every node hears a message once, as it was published, or not at all: a node that is cut off misses
///   what is published meanwhile.
/// - Listeners of the publishing node have heard it when [`publish_ephemeral`](Broadcast::publish_ephemeral) returns.
/// - Messages that one caller publishes one after the other are heard in that order by all.
/// - A listener hears what is published anywhere after [`listen`](Broadcast::listen) returned. It is held weakly, and
///   forgotten when its owner drops it.
/// - Nothing is enqueued, whatever [`CallCx::fanout`] says, and a transaction makes no difference: what is published has
///   been published.
/// - The size of the message was checked before a backend sees it.
#[async_trait]
pub trait Broadcast: Debug + Send + Sync + 'static {
    /// Hands a message to the listeners of this node and sends it on its way to the others. Never waits for any of them.
    ///
    /// # Errors
    /// [`overloaded`] when too much is on its way to other nodes; nobody hears it then.
    fn publish_ephemeral(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<()>;

    /// From when this returns, `listener` hears everything.
    ///
    /// # Errors
    /// When other nodes cannot be heard.
    async fn listen(&self, listener: &Arc<dyn Listener>) -> Result<()>;
}

/// Hears messages. Called by publishers: it must not wait.
pub trait Listener: Debug + Send + Sync + 'static {
    /// A message was published.
    fn hear(&self, message: &Arc<Ephemeral>);

    /// Whether anybody waits for messages just now. If not, a backend need not fetch them.
    fn is_wanted(&self) -> bool;
}

/// Too much of this app is on its way to other nodes.
pub fn overloaded() -> crate::Error {
    crate::Error::new(
        crate::ErrorKind::Unavailable,
        "pubsub.overloaded",
        "too many messages of this app are on their way to other nodes; publish fewer",
    )
}

/// The listeners of a node: for backends.
#[derive(Debug, Default)]
pub struct Listeners(RwLock<Vec<Weak<dyn Listener>>>);

impl Listeners {
    /// Adds one, for as long as somebody else holds it.
    pub fn add(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// Tells all of them.
    pub fn hear(&self, message: &Arc<Ephemeral>) {
        // Nothing is called, and nothing dropped, while the lock is held.
        for listener in self.present() {
            listener.hear(message);
        }
    }

    /// Whether any of them has somebody who waits.
    pub fn are_wanted(&self) -> bool {
        self.present().iter().any(|listener| listener.is_wanted())
    }

    fn present(&self) -> Vec<Arc<dyn Listener>> {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }
}
