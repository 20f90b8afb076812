//! Files: what storing one costs beside the same bytes written, synced and renamed by hand.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use picloud_core::files::{FilesystemBlobs, Upload};
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use tokio::runtime::Runtime;

use crate::hello::runtime;
use crate::measure::{Goal, Table, in_turns, nanos, show};

/// Files in one measurement.
const FILES: u32 = 16;

/// What nobody can do without: the bytes, their sync, the name, its sync.
fn by_hand(folder: &Path, bytes: &[u8]) -> f64 {
    let mut spent = 0.0;
    for n in 0..FILES {
        let (unfinished, target) = (folder.join("unfinished"), folder.join(format!("by-hand-{n}")));
        let begin = Instant::now();
        let mut file = File::create_new(&unfinished).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
        fs::rename(&unfinished, &target).unwrap();
        File::open(folder).unwrap().sync_all().unwrap();
        spent += nanos(begin.elapsed());
        fs::remove_file(target).unwrap();
    }
    spent / f64::from(FILES)
}

fn create(runtime: &Runtime, app: &App, bytes: &Bytes) -> f64 {
    let (files, upload) = (app.files("bench").unwrap(), Upload::new("bench", "a/b").unwrap());
    let mut spent = 0.0;
    for _ in 0..FILES {
        let begin = Instant::now();
        let file = runtime.block_on(files.create(&upload, bytes.clone())).unwrap();
        spent += nanos(begin.elapsed());
        runtime.block_on(files.delete(file.id)).unwrap();
    }
    spent / f64::from(FILES)
}

fn get(runtime: &Runtime, app: &App, bytes: &Bytes) -> impl FnMut() -> f64 {
    let files = app.files("bench").unwrap();
    let upload = Upload::new("bench", "a/b").unwrap();
    let id = runtime.block_on(files.create(&upload, bytes.clone())).unwrap().id;
    move || {
        let begin = Instant::now();
        for _ in 0..FILES {
            std::hint::black_box(runtime.block_on(files.get(id)).unwrap());
        }
        nanos(begin.elapsed()) / f64::from(FILES)
    }
}

pub(crate) fn run(table: &mut Table) {
    let runtime = runtime();
    // Not in memory: beside what is built.
    let program = std::env::current_exe().unwrap();
    let folder = program.with_file_name(format!("bench-files-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let cloud = runtime.block_on(async {
        let blobs = std::sync::Arc::new(FilesystemBlobs::open(folder.join("files")).unwrap());
        let cloud = Picloud::builder(MemoryBackend::new()).config(PicloudConfig::default()).blobs(blobs);
        cloud.start().await.unwrap()
    });
    let app = runtime.block_on(cloud.create_app("bench")).unwrap();
    let bytes = Bytes::from((0..1_u32 << 20).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    fs::write(folder.join("read-by-hand"), &bytes).unwrap();
    let [ours, limit] =
        in_turns(7, [&mut || create(&runtime, &app, &bytes), &mut || by_hand(&folder, &bytes)]);
    let mut ours_read = get(&runtime, &app, &bytes);
    let [read, read_limit] = in_turns(
        7,
        [&mut ours_read, &mut || {
            let begin = Instant::now();
            for _ in 0..FILES {
                std::hint::black_box(fs::read(folder.join("read-by-hand")).unwrap());
            }
            nanos(begin.elapsed()) / f64::from(FILES)
        }],
    );
    table.row(
        "a file of 1 MiB stored, beside write, fsync, rename, fsync",
        show(ours),
        show(limit),
        ours / limit,
        "",
        Goal::AtMost(1.3),
    );
    table.row(
        "a file of 1 MiB read and its checksum compared, beside reading it",
        show(read),
        show(read_limit),
        read / read_limit,
        "",
        Goal::None,
    );
    drop(ours_read);
    runtime.block_on(cloud.shutdown(std::time::Duration::from_secs(5)));
    fs::remove_dir_all(&folder).unwrap();
}
