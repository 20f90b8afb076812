//! What this process and others tell each other: that rows are due, that an app has changed.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use crate::schema::SchemaName;

/// Numbers that change, and the names under which other processes are told.
#[derive(Debug)]
pub(crate) struct Notices {
    /// Rows may be due, stored here or elsewhere.
    pub(crate) outbox: watch::Sender<u64>,
    /// Rows were stored here.
    pub(crate) stored: watch::Sender<u64>,
    pub(crate) catalog: watch::Sender<u64>,
    /// Others are to be told of rows.
    pub(crate) announced: Notify,
    pub(crate) outbox_channel: String,
    pub(crate) catalog_channel: String,
    pub(crate) ephemeral_channel: String,
    settled: AtomicU64,
    pub(crate) vacuum: Notify,
}

/// After how many removed rows the outbox is vacuumed: the database's own vacuum comes too late, and claims slow down.
const VACUUM_EVERY: u64 = 100_000;

impl Notices {
    pub(crate) fn new(schema: &SchemaName) -> Self {
        Notices {
            outbox: watch::Sender::new(0),
            stored: watch::Sender::new(0),
            catalog: watch::Sender::new(0),
            announced: Notify::new(),
            outbox_channel: channel(schema, "outbox"),
            catalog_channel: channel(schema, "catalog"),
            ephemeral_channel: channel(schema, "live"),
            settled: AtomicU64::new(0),
            vacuum: Notify::new(),
        }
    }

    /// This node stored rows.
    pub(crate) fn bump_stored(&self) {
        bump(&self.stored);
        self.bump_outbox();
    }

    pub(crate) fn bump_outbox(&self) {
        bump(&self.outbox);
    }

    pub(crate) fn bump_catalog(&self) {
        bump(&self.catalog);
    }

    pub(crate) fn bump_all(&self) {
        self.bump_outbox();
        self.bump_catalog();
    }

    /// Counts removed rows.
    pub(crate) fn removed(&self, rows: u64) {
        let before = self.settled.fetch_add(rows, Ordering::Relaxed);
        if before / VACUUM_EVERY != (before + rows) / VACUUM_EVERY {
            self.vacuum.notify_one();
        }
    }
}

fn bump(number: &watch::Sender<u64>) {
    number.send_modify(|number| *number = number.wrapping_add(1));
}

/// The database knows channels by 63 characters at most, as many as a schema may have. A long name is cut: at worst
/// another schema's processes look up for nothing.
fn channel(schema: &SchemaName, what: &str) -> String {
    format!("{:.54}_{what}", schema.as_str())
}
