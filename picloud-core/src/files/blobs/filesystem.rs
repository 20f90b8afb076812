//! Bytes in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::{BlobStore, ByteSource, PIECE_BYTES, Pool, StoredBlob};
use crate::files::{BlobId, Checksum, Content, FilesError};
use crate::{Error, ErrorKind, Result};

/// Keeps bytes in a folder, one file for each, so that a crash at any moment leaves every file whole or not there.
///
/// Bytes are written to a temporary file, which is synced, renamed, and then the folder that it is in now is synced. Only
/// after that does anybody hear of them. When a sync fails, the file is thrown away: what the system still holds of it
/// afterwards is not known, and a second sync that succeeds would prove nothing.
///
/// The names on disk are ids made here, and nothing that a user says is part of them. They are spread over 256 folders that
/// only the owner may enter, made at the beginning: so no write has to make and sync one.
///
/// A folder belongs to one database: whoever sweeps removes what its own records do not name. All processes on one database
/// need the same folder.
#[derive(Debug, Clone)]
pub struct FilesystemBlobs {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// The number of the last folder that bytes are in: all ones, as it is a mask.
    last_shard: u8,
    pool: Pool,
}

/// The folder for what is being written.
const UNFINISHED: &str = "unfinished";

/// What changes the folder, as single steps: so that a test can look at what is there after each of them.
pub(in crate::files) trait Disk: std::fmt::Debug + Send + Sync {
    fn create(&self, path: &Path) -> io::Result<File>;
    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk of the system.
#[derive(Debug)]
pub(in crate::files) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        // Says to those who sweep that somebody is writing, for as long as it is open. Where there are no locks, its age
        // must do.
        let _ = file.try_lock();
        Ok(file)
    }

    fn write(&self, _path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened to be synced; the system sees to it by itself.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// What the operator reads in the log; callers see no paths.
fn failed(what: &'static str, path: &Path, error: io::Error) -> Error {
    tracing::error!(path = %path.display(), %error, what, "the store of files failed");
    Error::new(ErrorKind::Unavailable, "files.store_failed", format!("the store of files failed: {what}"))
        .caused_by(error)
}

/// `None` for what is missing.
fn found<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl FilesystemBlobs {
    /// Opens a folder; makes it, and what it must hold, where it is missing. Blocks, briefly.
    ///
    /// # Errors
    /// `files.store_failed` when it cannot be made or written to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        FilesystemBlobs::on_disk(root.into(), Arc::new(SystemDisk), u8::MAX)
    }

    /// On another disk, or with fewer folders. Which there are must not change.
    pub(in crate::files) fn on_disk(root: PathBuf, disk: Arc<dyn Disk>, last_shard: u8) -> Result<Self> {
        let blobs = FilesystemBlobs { root, disk, last_shard, pool: Pool::default() };
        blobs.prepare().map_err(|error| failed("its folder cannot be prepared", &blobs.root, error))?;
        Ok(blobs)
    }

    fn prepare(&self) -> io::Result<()> {
        // Whichever of its ancestors are missing as well.
        let missing: Vec<_> =
            self.root.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        for path in missing.into_iter().rev() {
            self.make_folder(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                self.disk.sync_folder(parent)?;
            }
        }
        let shards = (0..=self.last_shard).map(|shard| self.shard(shard));
        for folder in shards.chain([self.root.join(UNFINISHED)]) {
            if !folder.is_dir() {
                self.make_folder(&folder)?;
            }
        }
        // Also if all were there: whoever made them may have died, or be about to, before it did this.
        self.disk.sync_folder(&self.root)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match self.disk.make_folder(path) {
            // Another process that starts at the same time.
            Err(error) if error.kind() == Io::AlreadyExists => Ok(()),
            answer => answer,
        }
    }

    /// Which folder bytes are in: the last byte of an id is random.
    fn shard_of(&self, id: BlobId) -> u8 {
        id.as_uuid().as_bytes()[15] & self.last_shard
    }

    fn shard(&self, shard: u8) -> PathBuf {
        self.root.join(format!("{shard:02x}"))
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.shard(self.shard_of(id)).join(id.to_string())
    }

    /// What a shard has after that id, or all, in order.
    fn of_shard(&self, number: u8, after: Option<BlobId>, limit: usize) -> io::Result<Vec<StoredBlob>> {
        let mut names = ids_in(&self.shard(number))?;
        names.retain(|(id, _)| self.shard_of(*id) == number && after.is_none_or(|after| *id > after));
        names.sort_unstable_by_key(|(id, _)| *id);
        let mut blobs = Vec::new();
        for (id, path) in names.into_iter().take(limit) {
            if let Some(metadata) = found(fs::metadata(path))? {
                blobs.push(StoredBlob { id, age: age(&metadata) });
            }
        }
        Ok(blobs)
    }

    fn remove_unfinished_now(&self, older_than: Duration) -> io::Result<u64> {
        let mut removed = 0;
        for (_, path) in ids_in(&self.root.join(UNFINISHED))? {
            let Some(file) = found(File::open(&path))? else { continue };
            // Whoever writes to it holds a lock. Where there are none, nobody has been writing for long.
            let is_abandoned = age(&file.metadata()?) >= older_than
                && !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
            if is_abandoned && found(self.disk.remove(&path))?.is_some() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// The files of a folder that are named as ids are; others are none of ours.
fn ids_in(folder: &Path) -> io::Result<Vec<(BlobId, PathBuf)>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<BlobId>().ok().filter(|id| id.to_string() == name));
        ids.extend(id.map(|id| (id, entry.path())));
    }
    Ok(ids)
}

/// Zero for times in the future: clocks differ.
fn age(metadata: &fs::Metadata) -> Duration {
    let modified = metadata.modified().unwrap_or_else(|_| SystemTime::now());
    SystemTime::now().duration_since(modified).unwrap_or_default()
}

/// Bytes that are being written.
struct Writing {
    disk: Arc<dyn Disk>,
    id: BlobId,
    path: PathBuf,
    target: PathBuf,
    /// `None` once nothing is left to be thrown away.
    file: Option<File>,
    size: u64,
}

impl Writing {
    fn begin(blobs: &FilesystemBlobs) -> Result<Self> {
        let id = BlobId::new();
        let path = blobs.root.join(UNFINISHED).join(id.to_string());
        let file =
            blobs.disk.create(&path).map_err(|error| failed("a file cannot be created", &path, error))?;
        let (disk, target) = (blobs.disk.clone(), blobs.path(id));
        Ok(Writing { disk, id, path, target, file: Some(file), size: 0 })
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<()> {
        let Some(file) = &mut self.file else { return Err(Error::internal("written to after its end")) };
        for piece in pieces {
            self.disk
                .write(&self.path, file, piece)
                .map_err(|error| failed("a file cannot be written", &self.path, error))?;
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes them last, and visible.
    fn finish(mut self) -> Result<(BlobId, u64)> {
        let Some(file) = &self.file else { return Err(Error::internal("finished twice")) };
        self.disk
            .sync(&self.path, file)
            .map_err(|error| failed("a file cannot be synced", &self.path, error))?;
        self.disk
            .rename(&self.path, &self.target)
            .map_err(|error| failed("a file cannot be renamed", &self.path, error))?;
        self.file = None;
        let folder = self.target.parent().unwrap_or(&self.target);
        if let Err(error) = self.disk.sync_folder(folder) {
            // Nobody has heard of it yet.
            let _ = self.disk.remove(&self.target);
            return Err(failed("a folder cannot be synced", folder, error));
        }
        Ok((self.id, self.size))
    }
}

impl Drop for Writing {
    /// What was given up is removed at once: an app that gives up often would fill the disk before the sweep comes.
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let (disk, path) = (self.disk.clone(), std::mem::take(&mut self.path));
        let remove = move || {
            let _ = disk.remove(&path);
            drop(file);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Pieces are written together up to this size: handing each small one to another thread would cost more than writing it.
const GROUP_BYTES: usize = 4 * PIECE_BYTES;

#[async_trait]
impl BlobStore for FilesystemBlobs {
    async fn put(&self, source: &mut dyn ByteSource, max_bytes: u64) -> Result<Content> {
        let (mut writing, mut hash) = (None::<Writing>, Sha256::new());
        let (mut total, mut group, mut grouped) = (0_u64, Vec::new(), 0);
        let mut next = source.next().await?;
        loop {
            if let Some(piece) = next.take() {
                total = total.saturating_add(piece.len() as u64);
                if total > max_bytes {
                    return Err(FilesError::TooLarge { max: max_bytes }.into());
                }
                grouped += piece.len();
                group.push(piece);
                // Looking ahead: so that what comes as one piece is written, synced and renamed in one go.
                next = source.next().await?;
            }
            let is_last = next.is_none();
            if !is_last && grouped < GROUP_BYTES {
                continue;
            }
            let (pieces, before, blobs) = (std::mem::take(&mut group), writing.take(), self.clone());
            // Of many bytes the checksum takes as long as their way to the disk: both at once.
            let hashing = if std::mem::take(&mut grouped) <= PIECE_BYTES {
                pieces.iter().for_each(|piece| hash.update(piece));
                None
            } else {
                let (mut hash, pieces) = (std::mem::take(&mut hash), pieces.clone());
                let update = move || {
                    pieces.iter().for_each(|piece| hash.update(piece));
                    Ok(hash)
                };
                Some(self.pool.begin(update).await?)
            };
            let write = move || {
                let mut writing = before.map_or_else(|| Writing::begin(&blobs), Ok)?;
                writing.write(&pieces)?;
                if is_last { writing.finish().map(Ok) } else { Ok(Err(writing)) }
            };
            let written = self.pool.run(write).await?;
            if let Some(hashing) = hashing {
                hash = hashing.end().await?;
            }
            match written {
                Ok((blob, size)) => {
                    return Ok(Content { blob, size, sha256: Checksum(hash.finalize().into()) });
                }
                Err(goes_on) => writing = Some(goes_on),
            }
        }
    }

    async fn get(&self, id: BlobId) -> Result<Option<Bytes>> {
        let path = self.path(id);
        let read = move || {
            let bytes =
                found(fs::read(&path)).map_err(|error| failed("a file cannot be read", &path, error))?;
            Ok(bytes.map(Bytes::from))
        };
        self.pool.run(read).await
    }

    async fn open(&self, id: BlobId, range: Range<u64>) -> Result<Option<Box<dyn ByteSource>>> {
        let path = self.path(id);
        let begin = range.start;
        let open = move || {
            let open = || {
                let Some(mut file) = found(File::open(&path))? else { return Ok(None) };
                file.seek(SeekFrom::Start(begin))?;
                Ok(Some(file))
            };
            open().map_err(|error| failed("a file cannot be opened", &path, error))
        };
        let Some(file) = self.pool.run(open).await? else { return Ok(None) };
        let left = range.end.saturating_sub(range.start);
        Ok(Some(Box::new(Reading { id, file: Some(file), left, pool: self.pool.clone() })))
    }

    async fn delete(&self, id: BlobId) -> Result<bool> {
        let (path, disk) = (self.path(id), self.disk.clone());
        let remove = move || {
            let removed = found(disk.remove(&path));
            Ok(removed.map_err(|error| failed("a file cannot be removed", &path, error))?.is_some())
        };
        self.pool.run(remove).await
    }

    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<StoredBlob>> {
        let blobs = self.clone();
        let list = move || {
            let from = after.map_or(0, |after| blobs.shard_of(after));
            for number in from..=blobs.last_shard {
                let found = blobs.of_shard(number, after.filter(|_| number == from), limit);
                let found = found.map_err(|error| failed("a folder cannot be read", &blobs.root, error))?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            Ok(Vec::new())
        };
        self.pool.run(list).await
    }

    async fn remove_unfinished(&self, older_than: Duration) -> Result<u64> {
        let blobs = self.clone();
        let remove = move || {
            let removed = blobs.remove_unfinished_now(older_than);
            removed.map_err(|error| failed("what is unfinished cannot be removed", &blobs.root, error))
        };
        self.pool.run(remove).await
    }
}

/// A file that is being read.
struct Reading {
    id: BlobId,
    file: Option<File>,
    left: u64,
    pool: Pool,
}

#[async_trait]
impl ByteSource for Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut file) = self.file.take().filter(|_| self.left > 0) else { return Ok(None) };
        let (id, most) = (self.id, self.left.min(PIECE_BYTES as u64));
        let read = move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = Read::by_ref(&mut file).take(most).read_to_end(&mut piece);
            read.map_err(|error| failed("a file cannot be read", Path::new(&id.to_string()), error))?;
            Ok((file, piece))
        };
        let (file, piece) = self.pool.run(read).await?;
        if piece.is_empty() {
            return Ok(None);
        }
        self.left -= piece.len() as u64;
        self.file = Some(file);
        Ok(Some(Bytes::from(piece)))
    }
}
