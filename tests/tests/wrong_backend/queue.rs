//! Wrong queues: the memory backend's, except in one way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use picloud_core::outbox::{EventKind, Fanout, OutboxRow};
use picloud_core::queue::{QueueEvent, QueueName, QueueService, SEND, SendOptions};
use picloud_core::{Backend, CallCx, EventId, Json, Result, async_trait};
use picloud_memory::MemoryBackend;

crate::wrongs! {
    NothingIsStored: a_message_is_stored_for_the_consumer a_message_is_noticed
        a_message_is_not_claimed_before_it_is_promoted a_message_that_is_given_up_makes_room_for_another;
    /// Stored as a row that is due at once.
    MessagesDoNotWaitApart: a_message_is_not_claimed_before_it_is_promoted
        as_many_messages_are_due_as_there_is_room_for a_handled_message_makes_room_for_another
        room_is_shared_by_workers a_message_that_waits_for_room_is_not_due
        a_message_that_waits_to_be_retried_makes_room_for_another messages_of_a_key_go_one_at_a_time;
    StrangersAreConsumers: a_message_without_a_consumer_is_not_stored;
    TheLastRowGetsIt: a_message_is_for_the_first_row_of_a_send;
    AnyRowGetsIt: a_message_is_for_the_first_row_of_a_send;
    MessagesLoseTheirPoint: a_message_reads_back_as_it_was_sent;
    WhereFromIsForgotten: a_message_tells_where_it_came_from;
    AllAppsGetIt: a_message_belongs_to_the_app_of_the_call;
    RevisionsAreIgnored: a_stale_revision_is_refused_and_stores_nothing a_stale_revision_counts_without_rows_too;
    RevisionsCountWithRowsOnly: a_stale_revision_counts_without_rows_too;
    RowsWithoutARevisionAreStored: a_fanout_without_a_revision_stores_nothing;
    TransactionsAreIgnored: a_message_in_a_transaction_is_stored_by_the_commit;
    DedupeKeysAreForgotten: a_duplicate_is_not_stored a_duplicate_in_a_transaction_is_not_stored
        one_of_many_duplicates_at_one_time_is_stored a_message_with_a_worker_has_duplicates;
    DuplicatesAreNew: a_duplicate_is_not_stored a_message_with_a_worker_has_duplicates;
    /// Whatever became of it, and whoever consumes it.
    DedupeKeysAreForEver: a_dedupe_key_is_free_when_its_message_is_handled
        a_dedupe_key_is_free_when_its_message_is_given_up dedupe_keys_of_other_consumers_do_not_matter;
    DedupeKeysOrder: a_dedupe_key_does_not_order;
    DelaysAreForgotten: a_message_is_not_due_before_its_delay a_delay_tells_when_it_is_over
        the_first_of_a_key_holds_back_others_for_its_delay;
    PrioritiesAreForgotten: messages_with_a_higher_priority_go_first;
    PrioritiesAreTurned: messages_with_a_higher_priority_go_first;
    /// The later the more urgent.
    TheLastGoesFirst: messages_of_one_priority_go_in_the_order_in_which_they_were_sent;
    KeysAreForgotten: messages_of_a_key_go_one_at_a_time the_first_of_a_key_goes_first_whatever_its_priority
        a_message_that_is_retried_holds_back_others_of_its_key many_messages_of_a_key_do_not_hide_others
        the_first_of_a_key_holds_back_others_for_its_delay a_message_that_is_given_up_lets_others_of_its_key_go;
    EverythingHasOneKey: messages_of_other_keys_do_not_wait many_messages_of_a_key_do_not_hide_others
        as_many_messages_are_due_as_there_is_room_for;
}

#[derive(Debug)]
pub(crate) struct WrongQueue {
    wrong: Option<Wrong>,
    memory: MemoryBackend,
    right: Arc<dyn QueueService>,
    sent: Mutex<BTreeMap<String, EventId>>,
}

impl WrongQueue {
    pub(crate) fn new(memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        WrongQueue::of(memory.queue(), memory, wrong)
    }

    fn of(right: Arc<dyn QueueService>, memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        WrongQueue { wrong, memory, right, sent: Mutex::default() }
    }

    /// The one inside a transaction, whose right one is this.
    pub(crate) fn inside(&self, right: Arc<dyn QueueService>) -> Arc<dyn QueueService> {
        if self.wrong == Some(Wrong::TransactionsAreIgnored) {
            return self.memory.queue();
        }
        Arc::new(WrongQueue::of(right, self.memory.clone(), self.wrong))
    }

    /// Stores the message as any other row, changed first, whatever the revision says.
    async fn changed(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        change: impl Fn(&mut OutboxRow),
    ) -> Result<Option<EventId>> {
        let payload = QueueEvent { message, name: queue }.to_json();
        let rows = cx.fanout().map_or(&[][..], |fanout| &fanout.rows);
        let Some(row) = rows.iter().find(|row| row.op == SEND) else { return Ok(None) };
        let mut row = OutboxRow::of(cx, EventKind::Queue, row, payload, cx.clock().now());
        change(&mut row);
        self.memory.outbox().enqueue(&row).await?;
        Ok(Some(row.id))
    }
}

#[async_trait]
impl QueueService for WrongQueue {
    async fn send(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        let fanout = cx.fanout().map(|fanout| Fanout::clone(fanout)).unwrap_or_default();
        let with = |change: &dyn Fn(&mut Fanout)| {
            let mut changed = fanout.clone();
            change(&mut changed);
            cx.with_fanout(Arc::new(changed))
        };
        let priority = |number: i16| picloud_core::queue::Priority::new(i64::from(number));
        let key = |text: &str| picloud_core::queue::QueueKey::new(text);
        let (mut cx, mut options, mut message) = (cx.clone(), options.clone(), message.clone());
        match self.wrong {
            Some(Wrong::NothingIsStored) => return Ok(fanout.rows.first().map(|_| EventId::new())),
            Some(Wrong::MessagesDoNotWaitApart | Wrong::RevisionsAreIgnored) => {
                return self.changed(&cx, queue, &message, |_| ()).await;
            }
            Some(Wrong::StrangersAreConsumers) if fanout.rows.is_empty() => {
                let row = picloud_core::outbox::FanoutRow {
                    op: SEND,
                    trigger: picloud_core::TriggerId::new(),
                    script: picloud_core::ScriptId::new(),
                };
                cx = with(&|fanout| fanout.rows.push(row.clone()));
            }
            Some(Wrong::TheLastRowGetsIt) => cx = with(&|fanout| fanout.rows.reverse()),
            Some(Wrong::AnyRowGetsIt) => {
                cx = with(&|fanout| fanout.rows.iter_mut().for_each(|row| row.op = SEND));
            }
            Some(Wrong::MessagesLoseTheirPoint) => {
                message = Json::parse(&message.as_str().replace(".0", ""))?
            }
            Some(Wrong::WhereFromIsForgotten) => {
                return self.changed(&cx, queue, &message, |row| row.parent = None).await;
            }
            Some(Wrong::AllAppsGetIt) => {
                let apps = self.memory.catalog().apps().await?;
                for app in apps.iter().map(|(app, _)| app.id).filter(|app| *app != cx.app()) {
                    self.changed(&cx, queue, &message, |row| row.app = app).await?;
                }
            }
            Some(Wrong::RevisionsCountWithRowsOnly) if fanout.rows.is_empty() => return Ok(None),
            Some(Wrong::RowsWithoutARevisionAreStored) if fanout.revision.is_none() => {
                return self.changed(&cx, queue, &message, |_| ()).await;
            }
            Some(Wrong::DedupeKeysAreForgotten) => options.dedupe_key = None,
            Some(Wrong::DuplicatesAreNew) => {
                let sent = self.right.send(&cx, queue, &message, &options).await?;
                return Ok(sent.map(|_| EventId::new()));
            }
            Some(Wrong::DedupeKeysAreForEver) => {
                let Some(key) = &options.dedupe_key else {
                    return self.right.send(&cx, queue, &message, &options).await;
                };
                let known = self.sent.lock().unwrap().get(key.as_str()).copied();
                if known.is_some() {
                    return Ok(known);
                }
                let sent = self.right.send(&cx, queue, &message, &options).await?;
                self.sent.lock().unwrap().extend(sent.map(|id| (key.as_str().to_owned(), id)));
                return Ok(sent);
            }
            Some(Wrong::DedupeKeysOrder) if options.dedupe_key.is_some() => {
                options.key = options.dedupe_key.clone();
            }
            Some(Wrong::DelaysAreForgotten) => options.delay_seconds = 0.0,
            Some(Wrong::PrioritiesAreForgotten) => options.priority = priority(0)?,
            Some(Wrong::PrioritiesAreTurned) => options.priority = priority(-options.priority.get())?,
            Some(Wrong::TheLastGoesFirst) => {
                let mut sent = self.sent.lock().unwrap();
                let id = EventId::new();
                sent.insert(id.to_string(), id);
                options.priority = priority(i16::try_from(sent.len()).unwrap_or(100).min(100))?;
            }
            Some(Wrong::KeysAreForgotten) => options.key = None,
            Some(Wrong::EverythingHasOneKey) => options.key = Some(key("all")?),
            _ => (),
        }
        self.right.send(&cx, queue, &message, &options).await
    }
}
