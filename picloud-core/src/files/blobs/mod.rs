//! The bytes of files, each under a name that the store gives.

mod filesystem;
mod memory;
mod pool;
#[cfg(test)]
pub(super) mod tests;

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use filesystem::FilesystemBlobs;
#[cfg(test)]
pub(super) use filesystem::{Disk, SystemDisk};
pub use memory::MemoryBlobs;
pub(super) use pool::Pool;

use super::{BlobId, Content};
use crate::Result;

/// Bytes that come piece by piece.
///
/// ```
/// use picloud_core::files::ByteSource;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> picloud_core::Result<()> {
/// let mut source = bytes::Bytes::from_static(b"all at once");
/// assert_eq!(source.next().await?.as_deref(), Some(&b"all at once"[..]));
/// assert_eq!(source.next().await?, None);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait ByteSource: Send {
    /// The next piece; `None` at the end, and from then on.
    ///
    /// # Errors
    /// Why no more can be had. Whoever was reading gives up.
    async fn next(&mut self) -> Result<Option<Bytes>>;
}

#[async_trait]
impl ByteSource for Bytes {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(std::mem::take(self)).filter(|bytes| !bytes.is_empty()))
    }
}

/// Keeps bytes. Whose they are and what they are called is not its concern: records say that.
///
/// # Contract
///
/// - Bytes are there, whole and for good, when [`put`](BlobStore::put) has answered, whatever happens to the process then.
/// - Each `put` gives another name, which was never given before.
/// - Of a `put` that failed, or whose future was dropped, nobody sees anything; what is left of it goes with
///   [`remove_unfinished`](BlobStore::remove_unfinished) at the latest.
/// - Bytes never change. A source that was opened goes on to its end when they are deleted meanwhile, or fails.
/// - No thread of the runtime is blocked.
#[async_trait]
pub trait BlobStore: Debug + Send + Sync + 'static {
    /// Stores all bytes of a source, and computes their checksum on the way. Holds a bounded part of them in memory.
    ///
    /// # Errors
    /// [`FilesError::TooLarge`](super::FilesError::TooLarge) when there are more than `max_bytes`, those of the source;
    /// `files.store_failed`, `files.store_full`.
    async fn put(&self, source: &mut dyn ByteSource, max_bytes: u64) -> Result<Content>;

    /// All bytes, or `None` when there are none under this name.
    ///
    /// # Errors
    /// `files.store_failed`.
    async fn get(&self, id: BlobId) -> Result<Option<Bytes>>;

    /// A part of the bytes, piece by piece, or `None` when there are none under this name. Ends early where the bytes do.
    ///
    /// # Errors
    /// `files.store_failed`.
    async fn open(&self, id: BlobId, range: Range<u64>) -> Result<Option<Box<dyn ByteSource>>>;

    /// Removes bytes; answers whether they were there.
    ///
    /// # Errors
    /// `files.store_failed`.
    async fn delete(&self, id: BlobId) -> Result<bool>;

    /// Up to `limit` of what is stored, in an order of the store's own, after this one, which need not be there any more.
    /// None at the end. What is there during the whole walk is listed once.
    ///
    /// # Errors
    /// `files.store_failed`.
    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<StoredBlob>>;

    /// Removes what is left of writes that did not come to their end and were last written to so long ago; answers how many
    /// these were. What is being written stays.
    ///
    /// # Errors
    /// `files.store_failed`.
    async fn remove_unfinished(&self, older_than: Duration) -> Result<u64>;
}

/// Bytes that a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Their name.
    pub id: BlobId,
    /// How long ago they were stored, by the clock of the store.
    pub age: Duration,
}

/// How much is read, written and hashed at once.
const PIECE_BYTES: usize = 64 << 10;
