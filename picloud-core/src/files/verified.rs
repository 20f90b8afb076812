//! Bytes on their way out, compared with their checksum.

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{ByteSource, Checksum, FileId, FilesError};
use crate::Result;

/// Passes bytes on, all but the last piece of them before it is known whether they are right. Of bytes that are wrong,
/// nobody gets the whole.
pub(super) struct Verified {
    source: Box<dyn ByteSource>,
    hash: Sha256,
    file: FileId,
    expected: Checksum,
    /// Bytes that are still to come.
    left: u64,
    held: Option<Bytes>,
    is_over: bool,
}

impl Verified {
    pub(super) fn new(source: Box<dyn ByteSource>, file: FileId, size: u64, expected: Checksum) -> Self {
        Verified { source, hash: Sha256::new(), file, expected, left: size, held: None, is_over: false }
    }

    fn corrupted(&mut self) -> crate::Error {
        (self.is_over, self.held) = (true, None);
        tracing::error!(file = %self.file, "the bytes of a file are not those that were stored");
        FilesError::Corrupted { id: self.file }.into()
    }
}

#[async_trait]
impl ByteSource for Verified {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.is_over {
            match self.source.next().await? {
                Some(piece) => {
                    let Some(left) = self.left.checked_sub(piece.len() as u64) else {
                        return Err(self.corrupted());
                    };
                    self.left = left;
                    self.hash.update(&piece);
                    if let Some(before) = self.held.replace(piece) {
                        return Ok(Some(before));
                    }
                }
                None => {
                    let found = Checksum(self.hash.finalize_reset().into());
                    if self.left > 0 || found != self.expected {
                        return Err(self.corrupted());
                    }
                    self.is_over = true;
                }
            }
        }
        Ok(self.held.take())
    }
}
