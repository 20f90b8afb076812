//! Wrong pub/sub: the memory backend's, except in one way.

use std::sync::{Arc, Mutex, Weak};

use picloud_core::outbox::{EventKind, Fanout, OutboxRow};
use picloud_core::pubsub::{Broadcast, Ephemeral, Listener, PUBLISH, PubsubEvent, PubsubService, Topic};
use picloud_core::{Backend, CallCx, Error, Json, Result, async_trait};
use picloud_memory::MemoryBackend;

crate::wrongs! {
    /// Only the first trigger gets it.
    OneRowIsEnough: a_message_is_stored_for_every_row;
    TheCountIsOfTheTopic: a_message_is_stored_for_every_row;
    NobodyThereIsAFailure: a_message_that_nobody_waits_for_is_a_success;
    MessagesLoseTheirPoint: a_message_reads_back_as_it_was_published;
    MessagesAreOfKv: a_message_reads_back_as_it_was_published;
    TheTimeIsMissing: a_message_reads_back_as_it_was_published;
    EveryRowIsStored: rows_of_something_else_are_not_stored;
    WhereFromIsForgotten: rows_tell_where_they_came_from;
    AllAppsHear: rows_belong_to_the_app_of_the_call;
    NothingIsStored: messages_are_due_at_once a_message_is_noticed;
    RevisionsAreIgnored: a_stale_revision_is_refused_and_stores_nothing a_stale_revision_counts_without_rows_too;
    RevisionsCountWithRowsOnly: a_stale_revision_counts_without_rows_too;
    RowsWithoutARevisionAreStored: a_fanout_without_a_revision_stores_no_rows;
    TransactionsAreIgnored: a_message_in_a_transaction_is_stored_by_the_commit;
    ListenersHearLater: an_ephemeral_message_is_heard_here_at_once;
    OneListenerIsEnough: an_ephemeral_message_is_heard_by_every_listener_on_every_node;
    EachHearsAnotherMessage: an_ephemeral_message_is_heard_by_every_listener_on_every_node;
    TopicsAreShortened: an_ephemeral_message_is_heard_as_it_was_published;
    AppsAreMixedUp: an_ephemeral_message_is_heard_as_it_was_published;
    TheLargestAreLost: an_ephemeral_message_is_heard_as_it_was_published;
    EphemeralIsHeardTwice: an_ephemeral_message_is_heard_once;
    WhatIsAlikeIsOne: an_ephemeral_message_is_heard_once;
    TheLargeComeLate: ephemeral_messages_are_heard_in_the_order_of_their_publisher;
    TheUnwantedAreForgotten: a_listener_that_was_not_wanted_hears_what_comes_when_it_is;
    ListenersAreHeld: a_listener_that_its_owner_drops_is_forgotten;
    EphemeralIsEnqueued: an_ephemeral_message_enqueues_nothing;
}

/// A broadcast that is wrong in one way.
#[derive(Debug)]
pub(crate) struct WrongBroadcast {
    wrong: Option<Wrong>,
    memory: MemoryBackend,
    right: Arc<dyn Broadcast>,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
    held: Mutex<Vec<Arc<dyn Listener>>>,
    late: Mutex<Vec<Arc<Ephemeral>>>,
}

impl WrongBroadcast {
    pub(crate) fn new(memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        let right = memory.broadcast();
        let (listeners, held, late) = (Mutex::default(), Mutex::default(), Mutex::default());
        WrongBroadcast { wrong, memory, right, listeners, held, late }
    }

    fn present(&self) -> Vec<Arc<dyn Listener>> {
        self.listeners.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }

    fn hear(&self, message: Ephemeral) {
        let message = Arc::new(message);
        self.present().iter().for_each(|listener| listener.hear(&message));
    }
}

#[async_trait]
impl Broadcast for WrongBroadcast {
    fn publish_ephemeral(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<()> {
        let mut told = Ephemeral::new(cx, topic, message);
        match self.wrong {
            None => return self.right.publish_ephemeral(cx, topic, message),
            Some(Wrong::ListenersHearLater) => {
                let (listeners, told) = (self.present(), Arc::new(told));
                tokio::spawn(async move { listeners.iter().for_each(|listener| listener.hear(&told)) });
            }
            Some(Wrong::OneListenerIsEnough) => {
                let told = Arc::new(told);
                self.present().iter().take(1).for_each(|listener| listener.hear(&told));
            }
            Some(Wrong::EachHearsAnotherMessage) => {
                for listener in self.present() {
                    listener.hear(&Arc::new(Ephemeral::new(cx, topic, message)));
                }
            }
            Some(Wrong::TopicsAreShortened) => {
                told.topic = Topic::new(topic.as_str().chars().take(4).collect::<String>())?;
                self.hear(told);
            }
            Some(Wrong::AppsAreMixedUp) => {
                told.app = picloud_core::AppId::new();
                self.hear(told);
            }
            Some(Wrong::TheLargestAreLost) if message.len() > 60_000 => {}
            Some(Wrong::EphemeralIsHeardTwice) => {
                self.hear(told.clone());
                self.hear(told);
            }
            Some(Wrong::WhatIsAlikeIsOne) => {
                let mut late = self.late.lock().unwrap();
                if late.iter().all(|known| known.message != *message) {
                    late.push(Arc::new(told.clone()));
                    self.hear(told);
                }
            }
            Some(Wrong::TheLargeComeLate) if message.len() > 10_000 => {
                self.late.lock().unwrap().push(Arc::new(told));
            }
            Some(Wrong::TheLargeComeLate) => {
                let app = told.app;
                self.hear(told);
                let mut late = self.late.lock().unwrap();
                for late in late.extract_if(.., |late| late.app == app) {
                    self.hear(Ephemeral::clone(&late));
                }
            }
            Some(Wrong::TheUnwantedAreForgotten) => {
                self.listeners
                    .lock()
                    .unwrap()
                    .retain(|listener| listener.upgrade().is_some_and(|listener| listener.is_wanted()));
                self.hear(told);
            }
            Some(Wrong::EphemeralIsEnqueued) => {
                let (memory, cx) = (self.memory.pubsub(), cx.clone());
                let (topic, message) = (topic.clone(), message.clone());
                // The memory backend is ready at once.
                let mut stored = Box::pin(async move { memory.publish_durable(&cx, &topic, &message).await });
                let mut waits = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(stored.as_mut().poll(&mut waits).is_ready());
                self.hear(told);
            }
            _ => self.hear(told),
        }
        Ok(())
    }

    async fn listen(&self, listener: &Arc<dyn Listener>) -> Result<()> {
        if self.wrong.is_none() {
            return self.right.listen(listener).await;
        }
        if self.wrong == Some(Wrong::ListenersAreHeld) {
            self.held.lock().unwrap().push(listener.clone());
        }
        self.listeners.lock().unwrap().push(Arc::downgrade(listener));
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct WrongPubsub {
    wrong: Option<Wrong>,
    memory: MemoryBackend,
    right: Arc<dyn PubsubService>,
}

impl WrongPubsub {
    pub(crate) fn new(memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        WrongPubsub { wrong, right: memory.pubsub(), memory }
    }

    /// The one inside a transaction, whose right one is this.
    pub(crate) fn inside(&self, right: Arc<dyn PubsubService>) -> Arc<dyn PubsubService> {
        if self.wrong == Some(Wrong::TransactionsAreIgnored) { self.memory.pubsub() } else { right }
    }

    /// Stores the rows one by one, each changed first, whatever the revision says.
    async fn changed(
        &self,
        cx: &CallCx,
        topic: &Topic,
        message: &Json,
        change: impl Fn(&mut OutboxRow),
    ) -> Result<u64> {
        let now = cx.clock().now();
        let payload = PubsubEvent { topic, message, published_at: now }.to_json();
        let rows = cx.fanout().map_or(&[][..], |fanout| &fanout.rows);
        for row in rows.iter().filter(|row| row.op == PUBLISH) {
            let mut row = OutboxRow::of(cx, EventKind::Pubsub, row, payload.clone(), now);
            change(&mut row);
            self.memory.outbox().enqueue(&row).await?;
        }
        Ok(rows.len() as u64)
    }
}

#[async_trait]
impl PubsubService for WrongPubsub {
    async fn publish_durable(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<u64> {
        let fanout = cx.fanout().map(|fanout| Fanout::clone(fanout)).unwrap_or_default();
        let with = |change: &dyn Fn(&mut Fanout)| {
            let mut changed = fanout.clone();
            change(&mut changed);
            cx.with_fanout(Arc::new(changed))
        };
        match self.wrong {
            Some(Wrong::OneRowIsEnough) => {
                let cx = with(&|fanout| fanout.rows.truncate(1));
                self.right.publish_durable(&cx, topic, message).await?;
                Ok(fanout.rows.len() as u64)
            }
            Some(Wrong::TheCountIsOfTheTopic) => {
                self.right.publish_durable(cx, topic, message).await.map(|_| 1)
            }
            Some(Wrong::NobodyThereIsAFailure) if fanout.rows.is_empty() => {
                Err(Error::not_found("pubsub.nobody", "nobody waits for this"))
            }
            Some(Wrong::MessagesLoseTheirPoint) => {
                let message = Json::parse(&message.as_str().replace(".0", ""))?;
                self.right.publish_durable(cx, topic, &message).await
            }
            Some(Wrong::MessagesAreOfKv) => {
                self.changed(cx, topic, message, |row| row.kind = EventKind::Kv).await
            }
            Some(Wrong::TheTimeIsMissing) => {
                let payload = Json::from_value(&serde_json::json!({ "topic": topic, "message": null }))?;
                self.changed(cx, topic, message, |row| row.payload = payload.clone()).await
            }
            Some(Wrong::EveryRowIsStored) => {
                let cx = with(&|fanout| fanout.rows.iter_mut().for_each(|row| row.op = PUBLISH));
                self.right.publish_durable(&cx, topic, message).await
            }
            Some(Wrong::WhereFromIsForgotten) => {
                self.changed(cx, topic, message, |row| row.parent = None).await
            }
            Some(Wrong::AllAppsHear) => {
                let apps = self.memory.catalog().apps().await?;
                for app in apps.iter().map(|(app, _)| app.id).filter(|app| *app != cx.app()) {
                    self.changed(cx, topic, message, |row| row.app = app).await?;
                }
                self.right.publish_durable(cx, topic, message).await
            }
            Some(Wrong::NothingIsStored) => Ok(fanout.rows.len() as u64),
            Some(Wrong::RevisionsAreIgnored) => self.changed(cx, topic, message, |_| ()).await,
            Some(Wrong::RevisionsCountWithRowsOnly) if fanout.rows.is_empty() => Ok(0),
            Some(Wrong::RowsWithoutARevisionAreStored) if fanout.revision.is_none() => {
                self.changed(cx, topic, message, |_| ()).await
            }
            _ => self.right.publish_durable(cx, topic, message).await,
        }
    }
}
