//! The KV room: values under keys, in collections.
//!
//! All five files: this one (the trait and its contract), `types`, `event`, `script`, `suite`.

mod event;
mod script;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;

pub use event::{KvEvent, KvOp};
pub(crate) use script::module as script_module;
pub use types::{
    CollectionName, Entry, Key, ListOptions, MAX_KEY_BYTES, MAX_TTL_SECONDS, MAX_VALUE_BYTES, SetOptions,
};

use crate::page::Page;
use crate::{CallCx, Json, Result};

/// Values under keys.
///
/// An entry is identified by app, collection and key. The app is [`CallCx::app`], always: entries of another
/// app cannot be read, written, listed or noticed.
///
/// # Contract
///
/// - A value reads back exactly as it was written.
/// - An entry is as if it were deleted, for every method, from the moment when the time on [`CallCx::clock`] is that
///   of its writing and its time to live, or later. Expiry fires no event.
/// - Each method is atomic: concurrent calls for one key take effect one after the other.
/// - A write, a delete and the outbox rows in [`CallCx::fanout`] of what it turned out to be are one commit.
/// - Every successful write, a delete included, has a version greater than any that the key had before, also across
///   delete and re-insert. One counter for the whole backend will do.
/// - Writing an equal value and adding 0 are updates like any other.
/// - Writing over an expired entry is an insert: its event has no `prev_value`.
/// - Names, keys and value sizes were checked before a backend sees them.
///
/// Dropping the future of a write leaves it open whether the write took place; it is never half done.
#[async_trait]
pub trait KvService: Debug + Send + Sync + 'static {
    /// The value, or `None` when the key is missing.
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>>;

    /// The values of several keys, in the order of `keys`, read at one moment; duplicates are answered each.
    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>>;

    /// Writes a value. Without a TTL in `options` one that was set earlier is cleared.
    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()>;

    /// Removes an entry; answers whether it was present. Deleting a missing key succeeds.
    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool>;

    /// Adds `by` to an integer and answers the sum. A missing key counts as 0; a TTL is kept. An integer is canonical
    /// text without `.` and exponent, which `str::parse::<i64>` reads.
    ///
    /// # Errors
    /// [`KvError::NotAnInteger`], [`KvError::Overflow`]; nothing is written.
    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64>;

    /// Writes `value` if the entry equals `expected` (`None`: if it is missing); answers whether it did.
    /// Equality is that of canonical JSON. A TTL is kept.
    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool>;

    /// A page of entries in byte order of the UTF-8 key. Its size is up to the backend to clamp, with
    /// [`clamp_page_size`](crate::page::clamp_page_size); its cursor is `None` when nothing follows.
    ///
    /// Entries that are present during the whole walk are listed exactly once, whatever else changes.
    ///
    /// # Errors
    /// [`KvError::InvalidCursor`] for a cursor that was made for another app, collection or prefix, and for one whose
    /// text was altered: put a checksum over all of these and the last key into it. The limit may differ from page
    /// to page.
    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>>;
}

/// What is written as calls of [`KvService`]; the same for every backend.
#[async_trait]
pub trait KvServiceExt: KvService {
    /// Whether the key is present.
    async fn has(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        Ok(self.get(cx, collection, key).await?.is_some())
    }
}

impl<T: KvService + ?Sized> KvServiceExt for T {}

/// The errors that backends of the KV service raise, with their stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// `kv.not_an_integer`: [`KvService::increment`] of something else.
    #[error("increment needs an integer, the stored value is something else")]
    NotAnInteger,
    /// `kv.overflow`: the sum does not fit into 64 bits.
    #[error("the sum does not fit into a 64-bit integer")]
    Overflow,
    /// `kv.invalid_cursor`: the cursor was not handed out by this list.
    #[error("the cursor was not handed out by this list")]
    InvalidCursor,
}

impl From<KvError> for crate::Error {
    fn from(error: KvError) -> Self {
        use crate::ErrorKind::{Conflict, InvalidInput};
        let (kind, code) = match error {
            KvError::NotAnInteger => (Conflict, "kv.not_an_integer"),
            KvError::Overflow => (Conflict, "kv.overflow"),
            KvError::InvalidCursor => (InvalidInput, "kv.invalid_cursor"),
        };
        crate::Error::new(kind, code, error.to_string())
    }
}
