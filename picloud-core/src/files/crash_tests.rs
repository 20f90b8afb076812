//! What is left when the machine stops at any moment.
//!
//! Every step that changes the disk or the records is written down while files are created, updated and deleted. Then the
//! world is made anew as it would be after each number of steps, with and without what was not synced, and looked at: what
//! was answered must be there and right, everything else whole or not there, and the sweep removes the rest and no more.

#![cfg(feature = "files")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::blobs::tests::Folder;
use super::blobs::{Disk, SystemDisk};
use super::*;
use crate::AppId;

/// A step, with paths below the root.
#[derive(Debug, Clone)]
enum Step {
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    MakeFolder(PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
    /// The record of a file, as it is from now on.
    Record(FileId, Option<FileRecord>),
    /// The caller was told that a file has these bytes now.
    Told(FileId, Option<Vec<u8>>),
}

#[derive(Debug, Default)]
struct Steps(Mutex<Vec<Step>>);

impl Steps {
    fn note(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}

/// The disk of the system, watched, and broken at one step if asked for.
#[derive(Debug)]
struct Watched {
    root: PathBuf,
    steps: Arc<Steps>,
    /// Steps until one fails.
    fails_in: Mutex<Option<usize>>,
}

impl Watched {
    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn step<T>(&self, step: impl FnOnce() -> io::Result<T>, what: Step) -> io::Result<T> {
        if let Some(left) = self.fails_in.lock().unwrap().as_mut() {
            if *left == 0 {
                *left = usize::MAX;
                return Err(io::Error::other("the disk is broken"));
            }
            *left -= 1;
        }
        let done = step()?;
        self.steps.note(what);
        Ok(done)
    }
}

impl Disk for Watched {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(|| SystemDisk.create(path), Step::Create(self.below(path)))
    }

    fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.step(|| SystemDisk.write(path, file, bytes), Step::Write(self.below(path), bytes.to_vec()))
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        self.step(|| SystemDisk.sync(path, file), Step::Sync(self.below(path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.rename(from, to), Step::Rename(self.below(from), self.below(to)))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.make_folder(path), Step::MakeFolder(self.below(path)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.sync_folder(path), Step::SyncFolder(self.below(path)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.remove(path), Step::Remove(self.below(path)))
    }
}

/// Records of one collection, each write of which lasts at once.
#[derive(Debug, Default)]
struct Rows {
    rows: Mutex<BTreeMap<FileId, FileRecord>>,
    steps: Arc<Steps>,
}

impl Rows {
    fn put(&self, id: FileId, record: Option<FileRecord>) -> Option<FileRecord> {
        self.steps.note(Step::Record(id, record.clone()));
        let mut rows = self.rows.lock().unwrap();
        match record {
            Some(record) => rows.insert(id, record),
            None => rows.remove(&id),
        }
    }
}

#[async_trait]
impl FilesService for Rows {
    async fn create(&self, cx: &CallCx, _: &CollectionName, file: &NewFile) -> Result<FileRecord> {
        let record = FileRecord::created(FileId::new(), file, cx.clock().now());
        self.put(record.info.id, Some(record.clone()));
        Ok(record)
    }

    async fn get(&self, _: &CallCx, _: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        Ok(self.rows.lock().unwrap().get(&id).cloned())
    }

    async fn update(
        &self,
        cx: &CallCx,
        _: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated> {
        let before = self.rows.lock().unwrap().get(&id).cloned().ok_or(FilesError::NotFound { id })?;
        let record = before.changed(change, cx.clock().now());
        self.put(id, Some(record.clone()));
        Ok(Updated { record, before: before.blob })
    }

    async fn delete(&self, _: &CallCx, _: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        let is_there = self.rows.lock().unwrap().contains_key(&id);
        Ok(if is_there { self.put(id, None) } else { None })
    }

    async fn list(&self, _: &CallCx, _: &CollectionName, _: &ListOptions) -> Result<Page<FileRecord>> {
        Ok(Page { items: self.rows.lock().unwrap().values().cloned().collect(), cursor: None })
    }

    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().map(|record| record.blob).filter(|blob| blobs.contains(blob)).collect())
    }
}

fn files(rows: Arc<Rows>, blobs: Arc<dyn BlobStore>) -> Files {
    Files::new(rows, blobs, 10 << 20)
}

fn upload() -> Upload {
    Upload::new("a", "a/b").unwrap()
}

struct InPieces(Bytes);

#[async_trait]
impl ByteSource for InPieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.0.split_to(self.0.len().min(200_000));
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

/// As few folders as show that there are several: each end of the world makes and reads all of them.
const LAST_SHARD: u8 = 3;

/// Writes of all kinds. What was told is among the steps; a write that fails ends its own story only.
async fn work(files: &Files, steps: &Steps) -> usize {
    let (cx, name) = (CallCx::new(AppId::new()), CollectionName::new("things").unwrap());
    let contents: [Vec<u8>; 5] =
        [b"one".to_vec(), vec![2; 500_000], b"three".to_vec(), vec![4; 100_000], Vec::new()];
    let told = |id, bytes: Option<&[u8]>| steps.note(Step::Told(id, bytes.map(<[u8]>::to_vec)));
    let mut failures = 0;
    let mut ids = Vec::new();
    for content in &contents[..2] {
        match files.create(&cx, &name, &upload(), &mut InPieces(content.clone().into())).await {
            Ok(file) => {
                told(file.id, Some(content));
                ids.push((file.id, content.clone()));
            }
            Err(_) => failures += 1,
        }
    }
    for ((id, current), content) in ids.iter_mut().zip(&contents[2..]) {
        let mut source = InPieces(content.clone().into());
        match files.update(&cx, &name, *id, FileChange::default(), Some(&mut source)).await {
            Ok(_) => {
                told(*id, Some(content));
                current.clone_from(content);
            }
            Err(_) => failures += 1,
        }
    }
    if let Some((id, current)) = ids.first() {
        let change = FileChange { name: Some(FileName::new("b").unwrap()), ..FileChange::default() };
        files.update(&cx, &name, *id, change, None).await.unwrap();
        told(*id, Some(current));
        files.delete(&cx, &name, *id).await.unwrap();
        told(*id, None);
    }
    match files.create(&cx, &name, &upload(), &mut Bytes::new()).await {
        Ok(file) => told(file.id, Some(&contents[4])),
        Err(_) => failures += 1,
    }
    failures
}

/// What of the steps before the end of the world is still there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Keeps {
    /// Everything.
    All,
    /// What was synced: bytes by their file, names by their folder.
    Synced,
    /// All names, but of bytes only what was synced: as file systems do that write names first.
    NamesAndSyncedBytes,
    /// What was synced, and of other bytes half.
    SyncedAndHalf,
}

type Names = BTreeMap<PathBuf, Node>;

/// A disk on paper: files by number, and for each folder its names, as they are and as they were when it was synced.
#[derive(Default)]
struct Paper {
    bytes: Vec<(Vec<u8>, Vec<u8>)>,
    names: HashMap<PathBuf, (Names, Names)>,
}

#[derive(Clone, Copy)]
enum Node {
    File(usize),
    Folder,
}

impl Paper {
    fn folder(&mut self, of: &Path) -> &mut (Names, Names) {
        self.names.entry(of.parent().unwrap().to_owned()).or_default()
    }

    fn number(&mut self, path: &Path) -> usize {
        match self.folder(path).0.get(path) {
            Some(Node::File(number)) => *number,
            _ => panic!("{path:?} is no file"),
        }
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Create(path) => {
                self.bytes.push(Default::default());
                let node = Node::File(self.bytes.len() - 1);
                self.folder(path).0.insert(path.clone(), node);
            }
            Step::Write(path, bytes) => {
                let number = self.number(path);
                self.bytes[number].0.extend_from_slice(bytes);
            }
            Step::Sync(path) => {
                let number = self.number(path);
                self.bytes[number].1 = self.bytes[number].0.clone();
            }
            Step::Rename(from, to) => {
                let node = self.folder(from).0.remove(from).unwrap();
                self.folder(to).0.insert(to.clone(), node);
            }
            Step::MakeFolder(path) => drop(self.folder(path).0.insert(path.clone(), Node::Folder)),
            Step::SyncFolder(path) => {
                let folder = self.names.entry(path.clone()).or_default();
                folder.1 = folder.0.clone();
            }
            Step::Remove(path) => drop(self.folder(path).0.remove(path)),
            Step::Record(..) | Step::Told(..) => {}
        }
    }

    /// Puts what is left into a folder.
    fn put(&self, root: &Path, folder: &Path, keeps: Keeps) {
        let Some((now, synced)) = self.names.get(folder) else { return };
        let all_names = matches!(keeps, Keeps::All | Keeps::NamesAndSyncedBytes);
        for (path, node) in if all_names { now } else { synced } {
            match node {
                Node::Folder => {
                    std::fs::create_dir(root.join(path)).unwrap();
                    self.put(root, path, keeps);
                }
                Node::File(number) => {
                    let (now, synced) = &self.bytes[*number];
                    let bytes = match keeps {
                        Keeps::All => now,
                        Keeps::SyncedAndHalf => &now[..synced.len().max(now.len() / 2)],
                        _ => &synced[..],
                    };
                    std::fs::write(root.join(path), bytes).unwrap();
                }
            }
        }
    }
}

/// Files of a world, their ids with all their bytes.
async fn read(files: &Files, ids: impl IntoIterator<Item = FileId>) -> BTreeMap<FileId, Option<Vec<u8>>> {
    let (cx, name) = (CallCx::new(AppId::new()), CollectionName::new("things").unwrap());
    let mut read = BTreeMap::new();
    for id in ids {
        let found = files.get(&cx, &name, id).await.unwrap();
        read.insert(id, found.map(|(_, bytes)| bytes.to_vec()));
    }
    read
}

/// Looks at the world after these steps.
async fn look(steps: &[Step], keeps: Keeps) {
    let mut paper = Paper::default();
    let rows = Arc::new(Rows::default());
    let (mut told, mut known, mut under_way) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for step in steps {
        paper.play(step);
        match step {
            Step::Record(id, record) => {
                rows.put(*id, record.clone());
                known.insert(*id);
                under_way.insert(*id);
            }
            Step::Told(id, bytes) => {
                told.insert(*id, bytes.clone());
                under_way.remove(id);
            }
            _ => {}
        }
    }
    let folder = Folder::new();
    paper.put(&folder.0, Path::new(""), keeps);
    // A folder that was not there for good is made again.
    let blobs =
        Arc::new(FilesystemBlobs::on_disk(folder.0.clone(), Arc::new(SystemDisk), LAST_SHARD).unwrap());
    let files = files(rows.clone(), blobs.clone());
    // Every record that there is can be read, and is right: else this would be an error.
    let found = read(&files, known).await;
    // The write that is under way may have taken place.
    for (id, bytes) in told.iter().filter(|(id, _)| !under_way.contains(id)) {
        assert_eq!(&found[id], bytes, "after {} steps, keeping {keeps:?}", steps.len());
    }
    // The sweep leaves what is named, and nothing else.
    sweep(&*rows, &*blobs, Duration::ZERO).await.unwrap();
    assert_eq!(read(&files, found.keys().copied()).await, found);
    let mut left = Vec::new();
    for shard in std::fs::read_dir(&folder.0).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            left.push(file.unwrap().file_name().into_string().unwrap());
        }
    }
    left.sort();
    let named = rows.rows.lock().unwrap();
    let mut named: Vec<_> = named.values().map(|record| record.blob.to_string()).collect();
    named.sort();
    assert_eq!(left, named, "after {} steps, keeping {keeps:?}", steps.len());
}

/// Writes, watched; answers the steps and how many writes failed.
async fn recorded(fails_in: Option<usize>) -> (Vec<Step>, usize) {
    let folder = Folder::new();
    let steps = Arc::new(Steps::default());
    let disk = Arc::new(Watched { root: folder.0.clone(), steps: steps.clone(), fails_in: Mutex::new(None) });
    let blobs = Arc::new(FilesystemBlobs::on_disk(folder.0.clone(), disk.clone(), LAST_SHARD).unwrap());
    *disk.fails_in.lock().unwrap() = fails_in;
    let rows = Arc::new(Rows { steps: steps.clone(), rows: Mutex::default() });
    let failures = work(&files(rows, blobs), &steps).await;
    let steps = steps.0.lock().unwrap().clone();
    (steps, failures)
}

const ALL: [Keeps; 4] = [Keeps::All, Keeps::Synced, Keeps::NamesAndSyncedBytes, Keeps::SyncedAndHalf];

/// The steps by which the folder is made.
fn preparations(steps: &[Step]) -> usize {
    steps.iter().position(|step| matches!(step, Step::Create(_))).unwrap()
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing_that_was_told() {
    let (steps, failures) = recorded(None).await;
    assert_eq!(failures, 0);
    assert!(steps.len() - preparations(&steps) > 30);
    for count in preparations(&steps)..=steps.len() {
        for keeps in ALL {
            look(&steps[..count], keeps).await;
        }
    }
}

#[tokio::test]
async fn a_crash_while_the_folder_is_made_is_made_up_for() {
    let (steps, _) = recorded(None).await;
    for count in 0..preparations(&steps) {
        look(&steps[..count], Keeps::All).await;
    }
}

#[tokio::test]
async fn a_step_that_fails_is_a_write_that_fails() {
    let (whole, _) = recorded(None).await;
    let mut failed = 0;
    for at in 0..whole.len() - preparations(&whole) {
        let (steps, failures) = recorded(Some(at)).await;
        failed += failures;
        look(&steps, Keeps::Synced).await;
        // A sync that failed is not tried again on the same file.
        let mut synced = HashSet::new();
        for step in &steps {
            if let Step::Sync(path) = step {
                assert!(synced.insert(path.clone()), "{path:?} was synced twice");
            }
        }
    }
    assert!(failed > 20, "{failed}");
}
