//! Wrong pub/sub: the memory backend's, except in one way.

use std::sync::Arc;

use picloud_core::outbox::{EventKind, Fanout, OutboxRow};
use picloud_core::pubsub::{PUBLISH, PubsubEvent, PubsubService, Topic};
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
