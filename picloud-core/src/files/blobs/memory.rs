//! Bytes in memory: for tests, and for what need not outlive the process.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{BlobStore, ByteSource, PIECE_BYTES, Pool, StoredBlob};
use crate::files::{BlobId, Content, FilesError};
use crate::{Error, ErrorKind, Result};

/// Keeps bytes in memory, up to a number of them in all.
#[derive(Debug)]
pub struct MemoryBlobs {
    capacity: u64,
    stored: Mutex<Stored>,
    pool: Pool,
}

#[derive(Debug, Default)]
struct Stored {
    blobs: BTreeMap<BlobId, (Bytes, Instant)>,
    bytes: u64,
}

impl MemoryBlobs {
    /// What the default store holds: 256 MiB.
    pub const DEFAULT_CAPACITY: u64 = 256 << 20;

    /// An empty store for so many bytes.
    pub fn new(capacity: u64) -> Self {
        MemoryBlobs { capacity, stored: Mutex::default(), pool: Pool::default() }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryBlobs {
    fn default() -> Self {
        MemoryBlobs::new(MemoryBlobs::DEFAULT_CAPACITY)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, source: &mut dyn ByteSource, max_bytes: u64) -> Result<Content> {
        let mut bytes = source.next().await?.unwrap_or_default();
        if let Some(second) = source.next().await? {
            let mut all = BytesMut::from(&*bytes);
            all.extend_from_slice(&second);
            while let Some(piece) = source.next().await?.filter(|_| all.len() as u64 <= max_bytes) {
                all.extend_from_slice(&piece);
            }
            bytes = all.freeze();
        }
        let size = bytes.len() as u64;
        if size > max_bytes {
            return Err(FilesError::TooLarge { max: max_bytes }.into());
        }
        let sha256 = self.pool.checksum(&bytes).await?;
        let blob = BlobId::new();
        let mut stored = self.stored();
        if stored.bytes.saturating_add(size) > self.capacity {
            let text = format!(
                "the bytes of all files together have at most {}; set PICLOUD_FILES_ROOT to keep them in a folder",
                self.capacity
            );
            return Err(Error::new(ErrorKind::Unavailable, "files.store_full", text));
        }
        stored.bytes += size;
        stored.blobs.insert(blob, (bytes, Instant::now()));
        Ok(Content { blob, size, sha256 })
    }

    async fn get(&self, id: BlobId) -> Result<Option<Bytes>> {
        Ok(self.stored().blobs.get(&id).map(|(bytes, _)| bytes.clone()))
    }

    async fn open(&self, id: BlobId, range: Range<u64>) -> Result<Option<Box<dyn ByteSource>>> {
        let Some(bytes) = self.get(id).await? else { return Ok(None) };
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.slice(at(range.start).min(at(range.end))..at(range.end));
        Ok(Some(Box::new(Pieces(part))))
    }

    async fn delete(&self, id: BlobId) -> Result<bool> {
        let mut stored = self.stored();
        let Some((bytes, _)) = stored.blobs.remove(&id) else { return Ok(false) };
        stored.bytes -= bytes.len() as u64;
        Ok(true)
    }

    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<StoredBlob>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.stored();
        let blobs = stored.blobs.range((from, Bound::Unbounded)).take(limit);
        Ok(blobs.map(|(id, (_, since))| StoredBlob { id: *id, age: since.elapsed() }).collect())
    }

    async fn remove_unfinished(&self, _older_than: Duration) -> Result<u64> {
        Ok(0)
    }
}

/// Bytes, in pieces of the usual size.
struct Pieces(Bytes);

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.0.split_to(self.0.len().min(PIECE_BYTES));
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}
