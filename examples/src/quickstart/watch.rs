//! Deploying on save.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use picloud_core::App;
use picloud_core::script::DeployError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{deploy, page};

/// Editors save in several steps; they are one save when they follow each other this closely.
const SETTLE: Duration = Duration::from_millis(8);

/// A running watch.
pub(crate) struct Watch {
    task: JoinHandle<()>,
    // Dropping it ends the notifications.
    watcher: notify::RecommendedWatcher,
}

impl Watch {
    pub(crate) async fn stop(self) {
        drop(self.watcher);
        // It ends when the notifications do; a deployment under way is finished.
        let _ = self.task.await;
    }
}

/// Watches a folder and deploys it to `app` after every save.
pub(crate) fn start(app: App, folder: &Path) -> notify::Result<Watch> {
    let (saved, notices) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().is_ok_and(is_no_save) {
            return;
        }
        // A full channel means that a deployment is due already.
        let _ = saved.try_send(());
    })?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    let task = tokio::spawn(follow(app, folder.to_owned(), notices));
    Ok(Watch { task, watcher })
}

/// Whether there is nothing to deploy for this event.
fn is_no_save(event: &notify::Event) -> bool {
    let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    // Reading the folder is an event, too.
    if event.kind.is_access() && !closed {
        return true;
    }
    // Many editors empty the file first and then write it: in between its routes would be gone. Only Linux says when
    // a file is closed, and so when an empty one is meant.
    let empty = |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.len() == 0);
    cfg!(target_os = "linux") && !closed && !event.paths.is_empty() && event.paths.iter().all(empty)
}

async fn follow(app: App, folder: PathBuf, mut notices: mpsc::Receiver<()>) {
    while notices.recv().await.is_some() {
        let saved = Instant::now();
        tokio::time::sleep(SETTLE).await;
        // What came meanwhile is part of this save.
        while notices.try_recv().is_ok() {}
        match deploy(&app, &folder).await {
            Ok(report) if report.changed() => {
                eprint!("{report}");
                eprintln!("live {:.1} ms after the save", saved.elapsed().as_secs_f64() * 1e3);
            }
            Ok(_) => {}
            Err(DeployError::Invalid(problems)) => {
                eprint!("{}", page::mistakes(&problems));
                eprintln!("the scripts as they were before go on");
            }
            Err(error) => eprintln!("error: {error}; the scripts as they were before go on"),
        }
    }
}
