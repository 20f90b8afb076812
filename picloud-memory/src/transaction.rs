//! Transactions: a copy of the services that takes their place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use picloud_core::outbox::OutboxRow;
use picloud_core::{MAX_TRANSACTION, Result, Services, Transaction, async_trait, tx_closed};

use crate::docs::MemoryDocs;
use crate::files::MemoryFiles;
use crate::kv::MemoryKv;
use crate::outbox::Message;
use crate::place::{Data, Place};
use crate::pubsub::MemoryPubsub;
use crate::queue::MemoryQueue;
use crate::tables::Shared;

/// While it is open nobody else writes to the services: the shortest way to be right, and dear only to those who keep
/// transactions open in tests of long ones.
#[derive(Debug)]
pub(crate) struct MemoryTransaction {
    inside: Arc<Inside>,
}

/// What the services of a transaction share.
#[derive(Debug)]
pub(crate) struct Inside {
    shared: Arc<Shared>,
    number: u64,
    until: Instant,
    work: Mutex<Option<Work>>,
}

/// What would be stored.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) data: Data,
    pub(crate) rows: Vec<OutboxRow>,
    pub(crate) messages: Vec<Message>,
}

impl Inside {
    /// Works on the copy.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Work) -> Result<R>) -> Result<R> {
        let mut own = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match own.as_mut() {
            Some(own) if Instant::now() < self.until => work(own),
            _ => Err(tx_closed()),
        }
    }

    fn take(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl MemoryTransaction {
    pub(crate) async fn begin(shared: &Arc<Shared>) -> Self {
        let until = Instant::now() + MAX_TRANSACTION;
        let (number, data) = shared.begin(until).await;
        let work = Mutex::new(Some(Work { data, rows: Vec::new(), messages: Vec::new() }));
        MemoryTransaction { inside: Arc::new(Inside { shared: shared.clone(), number, until, work }) }
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    fn services(&self) -> Services {
        let place = Place::inside(self.inside.shared.clone(), self.inside.clone());
        Services::new(
            Arc::new(MemoryKv::new(place.clone())),
            Arc::new(MemoryDocs::new(place.clone())),
            Arc::new(MemoryFiles::new(place.clone())),
            Arc::new(MemoryPubsub::new(place.clone())),
            Arc::new(MemoryQueue::new(place)),
        )
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let Inside { shared, number, .. } = &*self.inside;
        let Work { data, rows, messages } = self.inside.take().ok_or_else(tx_closed)?;
        let is_silent = rows.is_empty() && messages.is_empty();
        let now = shared.clock.now();
        shared
            .end(*number, |tables| {
                tables.data = data;
                rows.into_iter().for_each(|row| tables.outbox.push(row, now));
                messages.into_iter().for_each(|message| tables.outbox.send(message, now));
            })
            .ok_or_else(tx_closed)?;
        if !is_silent {
            shared.notice();
        }
        Ok(())
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        // After a commit there is nothing left to take.
        if self.inside.take().is_some() {
            self.inside.shared.end(self.inside.number, |_| ());
        }
    }
}
