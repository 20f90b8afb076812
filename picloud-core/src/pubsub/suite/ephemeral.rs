//! Messages that are not stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::row;
use crate::conformance::{Case, World, case_list};
use crate::outbox::{Fanout, Revision};
use crate::pubsub::{Broadcast, Ephemeral, Listener, MAX_EPHEMERAL_BYTES, PUBLISH, Topic};
use crate::{AppId, Error, Json, Result};

pub(super) fn cases() -> Vec<Case> {
    case_list!["pubsub":
        an_ephemeral_message_is_heard_here_at_once,
        an_ephemeral_message_is_heard_by_every_listener_on_every_node,
        an_ephemeral_message_is_heard_as_it_was_published,
        an_ephemeral_message_is_heard_once,
        ephemeral_messages_are_heard_in_the_order_of_their_publisher,
        a_listener_that_was_not_wanted_hears_what_comes_when_it_is,
        a_listener_that_its_owner_drops_is_forgotten,
        an_ephemeral_message_enqueues_nothing,
    ]
}

/// How long a message may be on its way to another node.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps what it hears.
#[derive(Debug)]
struct Ear {
    heard: Mutex<Vec<Arc<Ephemeral>>>,
    more: Notify,
    wanted: AtomicBool,
}

impl Listener for Ear {
    fn hear(&self, message: &Arc<Ephemeral>) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
        self.more.notify_one();
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }
}

impl Ear {
    async fn on(broadcast: &dyn Broadcast) -> Result<Arc<Self>> {
        let wanted = AtomicBool::new(true);
        let ear = Arc::new(Ear { heard: Mutex::default(), more: Notify::new(), wanted });
        broadcast.listen(&(ear.clone() as Arc<dyn Listener>)).await?;
        Ok(ear)
    }

    fn heard(&self) -> Vec<Arc<Ephemeral>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was heard, as soon as something of this text was.
    async fn until(&self, text: &str) -> Result<Vec<Arc<Ephemeral>>> {
        let wait = async {
            loop {
                let heard = self.heard();
                if heard.iter().any(|message| message.message.as_str() == text) {
                    return heard;
                }
                self.more.notified().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.map_err(|_| Error::internal(format!("{text:.100} was not heard")))
    }

    async fn texts_until(&self, text: &str) -> Result<Vec<String>> {
        Ok(self.until(text).await?.iter().map(|message| message.message.to_string()).collect())
    }
}

/// A node that publishes, and another one.
struct Nodes {
    world: World,
    here: Arc<dyn Broadcast>,
    there: Arc<dyn Broadcast>,
    /// Holds what the other node is made of.
    _other: Arc<dyn crate::Backend>,
    app: AppId,
}

impl Nodes {
    async fn new(world: World) -> Result<Self> {
        let (app, other) = (world.app().await?, world.other_node().await);
        let (here, there) = (world.backend().broadcast(), other.broadcast());
        Ok(Nodes { world, here, there, _other: other, app })
    }

    fn publish(&self, text: &str) -> Result<()> {
        let (cx, topic) = (self.world.cx(self.app), Topic::new("chat.room")?);
        self.here.publish_ephemeral(&cx, &topic, &Json::parse(text)?)
    }
}

async fn an_ephemeral_message_is_heard_here_at_once(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ear = Ear::on(&*nodes.here).await?;
    nodes.publish("1")?;
    assert_eq!(ear.heard().len(), 1);
    Ok(())
}

async fn an_ephemeral_message_is_heard_by_every_listener_on_every_node(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ears = [
        Ear::on(&*nodes.here).await?,
        Ear::on(&*nodes.here).await?,
        Ear::on(&*nodes.there).await?,
        Ear::on(&*nodes.there).await?,
    ];
    nodes.publish("1")?;
    let mut ids = std::collections::BTreeSet::new();
    for ear in &ears {
        ids.extend(ear.until("1").await?.iter().map(|message| message.id));
    }
    assert_eq!(ids.len(), 1, "all heard the same");
    Ok(())
}

async fn an_ephemeral_message_is_heard_as_it_was_published(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ears = [Ear::on(&*nodes.here).await?, Ear::on(&*nodes.there).await?];
    let other = nodes.world.app().await?;
    let deep = format!("{}{}", "[".repeat(Json::MAX_DEPTH), "]".repeat(Json::MAX_DEPTH));
    // As large as it may be.
    let long = format!("\"{}\"", "ü".repeat(MAX_EPHEMERAL_BYTES / 2 - 1));
    for (number, text) in [
        "null",
        "{\"a\":-0.0,\"b\":1e16,\"c\":9223372036854775807,\"d\":1.0}",
        "\"\\\"\\u0001ü\\n'\"",
        &deep,
        &long,
    ]
    .into_iter()
    .enumerate()
    {
        let (app, message) = (if number % 2 == 0 { nodes.app } else { other }, Json::parse(text)?);
        let topic = Topic::new(format!("chat.room-{number}:A_"))?;
        nodes.here.publish_ephemeral(&nodes.world.cx(app), &topic, &message)?;
        for ear in &ears {
            let heard = ear.until(message.as_str()).await?;
            let last = heard.last().ok_or_else(|| Error::internal("nothing was heard"))?;
            assert_eq!((last.app, &last.topic, &last.message), (app, &topic, &message));
        }
    }
    Ok(())
}

async fn an_ephemeral_message_is_heard_once(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ears = [Ear::on(&*nodes.here).await?, Ear::on(&*nodes.there).await?];
    // The same text each time: what is alike is not one.
    for _ in 0..100 {
        nodes.publish("1")?;
    }
    nodes.publish("2")?;
    for ear in &ears {
        let mut heard = ear.until("2").await?;
        assert_eq!(heard.len(), 101);
        heard.sort_by_key(|message| message.id);
        heard.dedup_by_key(|message| message.id);
        assert_eq!(heard.len(), 101, "each has an id of its own");
    }
    // Nothing comes late: what is heard next is what was published next.
    nodes.publish("3")?;
    for ear in &ears {
        assert_eq!(ear.until("3").await?.len(), 102);
    }
    Ok(())
}

async fn ephemeral_messages_are_heard_in_the_order_of_their_publisher(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ears = [Ear::on(&*nodes.here).await?, Ear::on(&*nodes.there).await?];
    // Small ones and large ones, that may take different ways.
    let texts: Vec<_> = (0..200_usize)
        .map(|n| if n % 23 == 0 { format!("\"{n}{}\"", "x".repeat(20_000)) } else { n.to_string() })
        .collect();
    for text in &texts {
        nodes.publish(text)?;
        // Others publish in between.
        nodes.here.publish_ephemeral(&nodes.world.cx(AppId::new()), &Topic::new("a")?, &Json::null())?;
    }
    for ear in &ears {
        let mut heard = ear.texts_until("199").await?;
        heard.retain(|text| text != "null");
        assert_eq!(heard, texts);
    }
    Ok(())
}

async fn a_listener_that_was_not_wanted_hears_what_comes_when_it_is(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let ear = Ear::on(&*nodes.there).await?;
    let other = Ear::on(&*nodes.here).await?;
    for round in 0..5 {
        ear.wanted.store(false, Ordering::Release);
        nodes.publish("\"before\"")?;
        tokio::task::yield_now().await;
        ear.wanted.store(true, Ordering::Release);
        nodes.publish(&round.to_string())?;
        ear.until(&round.to_string()).await?;
    }
    assert_eq!(other.heard().len(), 10);
    Ok(())
}

async fn a_listener_that_its_owner_drops_is_forgotten(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    for broadcast in [&nodes.here, &nodes.there] {
        let ear = Ear::on(&**broadcast).await?;
        let gone = Arc::downgrade(&ear);
        drop(ear);
        nodes.publish("1")?;
        // Somebody may be telling it just now.
        let freed = async {
            while gone.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let freed = tokio::time::timeout(Duration::from_secs(5), freed).await;
        assert!(freed.is_ok(), "a listener is held by nobody but its owner");
    }
    Ok(())
}

async fn an_ephemeral_message_enqueues_nothing(world: World) -> Result<()> {
    let nodes = Nodes::new(world).await?;
    let fanout = Fanout { revision: Some(Revision(0)), rows: vec![row(PUBLISH)] };
    let cx = nodes.world.cx(nodes.app).with_fanout(Arc::new(fanout));
    let ears = [Ear::on(&*nodes.here).await?, Ear::on(&*nodes.there).await?];
    nodes.here.publish_ephemeral(&cx, &Topic::new("a")?, &Json::parse("1")?)?;
    for ear in &ears {
        ear.until("1").await?;
    }
    assert_eq!(nodes.world.backend().outbox().waiting(nodes.app, 10).await?, []);
    Ok(())
}
