//! The contract of [`BlobStore`](super::BlobStore), on both stores.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::files::Checksum;

/// A folder that goes with it.
pub(in crate::files) struct Folder(pub(in crate::files) PathBuf);

impl Folder {
    pub(in crate::files) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("picloud-files-{}", BlobId::new()));
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Pieces, and perhaps an error after them.
struct Pieces(std::vec::IntoIter<Bytes>, Option<Error>);

impl Pieces {
    fn of(bytes: &[u8], size: usize) -> Self {
        let pieces: Vec<_> = bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect();
        Pieces(pieces.into_iter(), None)
    }
}

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match (self.0.next(), self.1.take()) {
            (None, Some(error)) => Err(error),
            (piece, error) => {
                self.1 = error;
                Ok(piece)
            }
        }
    }
}

fn on_both<F: Future<Output = ()>>(test: impl Fn(Arc<dyn BlobStore>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = Folder::new();
    runtime.block_on(test(Arc::new(FilesystemBlobs::open(folder.0.join("a/b")).unwrap())));
    runtime.block_on(test(Arc::new(MemoryBlobs::default())));
}

async fn all(mut source: Box<dyn ByteSource>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = source.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(source.next().await.unwrap(), None);
    bytes
}

async fn listed(blobs: &dyn BlobStore, limit: usize) -> Vec<BlobId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let batch = blobs.list(after, limit).await.unwrap();
        assert!(batch.len() <= limit);
        let Some(last) = batch.last() else { return ids };
        after = Some(last.id);
        ids.extend(batch.iter().map(|blob| blob.id));
    }
}

const MAX: u64 = 10 << 20;

#[test]
fn bytes_read_back_with_their_checksum() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        for size in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 5 * PIECE_BYTES + 3] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            for pieces in [size, 1_000_000, 70_000, 997] {
                let content = blobs.put(&mut Pieces::of(&bytes, pieces), MAX).await.unwrap();
                assert_eq!(content.size, size as u64);
                assert_eq!(content.sha256, Checksum(<sha2::Sha256 as sha2::Digest>::digest(&bytes).into()));
                assert_eq!(blobs.get(content.blob).await.unwrap().unwrap(), bytes);
                assert_eq!(all(blobs.open(content.blob, 0..MAX).await.unwrap().unwrap()).await, bytes);
            }
        }
    });
}

#[test]
fn each_put_gives_another_name() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let one = blobs.put(&mut Bytes::from_static(b"x"), MAX).await.unwrap();
        let two = blobs.put(&mut Bytes::from_static(b"x"), MAX).await.unwrap();
        assert_ne!(one.blob, two.blob);
        assert_eq!(one.sha256, two.sha256);
    });
}

#[test]
fn too_many_bytes_leave_nothing() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let bytes = vec![7; 300_000];
        for pieces in [300_000, 1_000] {
            let refused = blobs.put(&mut Pieces::of(&bytes, pieces), 299_999).await.unwrap_err();
            assert_eq!(refused.code(), "files.too_large");
        }
        assert!(blobs.put(&mut Pieces::of(&bytes, 1_000), 300_000).await.is_ok());
        assert_eq!(listed(&*blobs, 10).await.len(), 1);
    });
}

#[test]
fn a_source_that_fails_leaves_nothing() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let mut source = Pieces::of(&vec![7; 600_000], 1_000);
        source.1 = Some(Error::invalid("gone", "the client has gone"));
        assert_eq!(blobs.put(&mut source, MAX).await.unwrap_err().code(), "gone");
        assert_eq!(listed(&*blobs, 10).await, []);
    });
}

#[test]
fn missing_bytes_are_none() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let id = BlobId::new();
        assert!(blobs.get(id).await.unwrap().is_none());
        assert!(blobs.open(id, 0..1).await.unwrap().is_none());
        assert!(!blobs.delete(id).await.unwrap());
    });
}

#[test]
fn a_source_outlives_the_bytes() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let bytes = vec![7; 3 * PIECE_BYTES];
        let id = blobs.put(&mut Pieces::of(&bytes, 1_000), MAX).await.unwrap().blob;
        let source = blobs.open(id, 0..MAX).await.unwrap().unwrap();
        assert!(blobs.delete(id).await.unwrap());
        assert!(blobs.get(id).await.unwrap().is_none());
        assert_eq!(all(source).await, bytes);
    });
}

#[test]
fn everything_is_listed_once() {
    on_both(async |blobs: Arc<dyn BlobStore>| {
        let mut stored = BTreeSet::new();
        for _ in 0..40 {
            stored.insert(blobs.put(&mut Bytes::from_static(b"x"), MAX).await.unwrap().blob);
        }
        for limit in [1, 3, 100] {
            let ids = listed(&*blobs, limit).await;
            assert_eq!(ids.len(), 40);
            assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), stored);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_range_is_that_part(size in 0_usize..200_000, start in 0_u64..220_000, length in 0_u64..220_000) {
        on_both(async |blobs: Arc<dyn BlobStore>| {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let id = blobs.put(&mut Pieces::of(&bytes, 50_000), MAX).await.unwrap().blob;
            let part = all(blobs.open(id, start..start + length).await.unwrap().unwrap()).await;
            let wanted = bytes.get(start as usize..).unwrap_or_default();
            assert_eq!(part, wanted[..wanted.len().min(length as usize)]);
        });
    }
}

#[tokio::test]
async fn a_full_memory_store_refuses_more() {
    let blobs = MemoryBlobs::new(10);
    let id = blobs.put(&mut Bytes::from_static(b"1234567"), MAX).await.unwrap().blob;
    assert_eq!(
        blobs.put(&mut Bytes::from_static(b"1234"), MAX).await.unwrap_err().code(),
        "files.store_full"
    );
    blobs.delete(id).await.unwrap();
    assert!(blobs.put(&mut Bytes::from_static(b"1234"), MAX).await.is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_gets_at_the_bytes() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let root = folder.0.join("files");
    let blobs = FilesystemBlobs::open(&root).unwrap();
    blobs.put(&mut Bytes::from_static(b"x"), MAX).await.unwrap();
    let mut files = 0;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for shard in std::fs::read_dir(&root).unwrap() {
        let shard = shard.unwrap().path();
        assert_eq!(mode(&shard), 0o700);
        for file in std::fs::read_dir(shard).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
            files += 1;
        }
    }
    assert_eq!(files, 1);
}

#[tokio::test]
async fn what_is_being_written_stays() {
    let folder = Folder::new();
    let blobs = Arc::new(FilesystemBlobs::open(&folder.0).unwrap());
    let (go_on, waits) = tokio::sync::oneshot::channel::<()>();
    struct Slow(u64, Option<tokio::sync::oneshot::Receiver<()>>);
    #[async_trait]
    impl ByteSource for Slow {
        async fn next(&mut self) -> Result<Option<Bytes>> {
            self.0 += 1;
            if self.0 > 6
                && let Some(waits) = self.1.take()
            {
                waits.await.unwrap();
            }
            Ok((self.0 < 9).then(|| Bytes::from(vec![7; 100_000])))
        }
    }
    let writing = tokio::spawn({
        let blobs = blobs.clone();
        async move { blobs.put(&mut Slow(0, Some(waits)), MAX).await }
    });
    let unfinished = || std::fs::read_dir(folder.0.join("unfinished")).unwrap().count();
    while unfinished() == 0 {
        tokio::task::yield_now().await;
    }
    // Left by a process that died.
    let left = folder.0.join("unfinished").join(BlobId::new().to_string());
    std::fs::write(left, "half").unwrap();
    std::fs::write(folder.0.join("unfinished/not-ours"), "x").unwrap();
    assert_eq!(blobs.remove_unfinished(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(blobs.remove_unfinished(Duration::ZERO).await.unwrap(), 1);
    go_on.send(()).unwrap();
    let content = writing.await.unwrap().unwrap();
    assert_eq!(blobs.get(content.blob).await.unwrap().unwrap().len(), 800_000);
    assert_eq!(unfinished(), 1);
}

#[tokio::test]
async fn a_write_that_is_given_up_is_removed_at_once() {
    let folder = Folder::new();
    let blobs = FilesystemBlobs::open(&folder.0).unwrap();
    struct Never(u64);
    #[async_trait]
    impl ByteSource for Never {
        async fn next(&mut self) -> Result<Option<Bytes>> {
            self.0 += 1;
            if self.0 > 6 {
                std::future::pending::<()>().await;
            }
            Ok(Some(Bytes::from(vec![7; 100_000])))
        }
    }
    let unfinished = || std::fs::read_dir(folder.0.join("unfinished")).unwrap().count();
    let mut source = Never(0);
    let mut writing = Box::pin(blobs.put(&mut source, MAX));
    while unfinished() == 0 {
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(writing.as_mut().poll(cx).is_ready()));
        assert!(!polled.await);
        tokio::task::yield_now().await;
    }
    // What was handed to the pool comes back first.
    for _ in 0..1_000 {
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(writing.as_mut().poll(cx).is_ready()));
        assert!(!polled.await);
        tokio::task::yield_now().await;
    }
    drop(writing);
    while unfinished() > 0 {
        tokio::task::yield_now().await;
    }
}
