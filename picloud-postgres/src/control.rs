//! The backend's own thread: listening, telling, and cleaning up.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use picloud_core::{Error, Result, jittered};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;

use crate::backend::Inner;
use crate::broadcast;
use crate::docs::indexes;
use crate::error::of_database;
use crate::lane_connection::in_time;

/// Shortest time between two notifications to other processes: those in between become one.
pub(crate) const BETWEEN_NOTICES: Duration = Duration::from_millis(3);

/// How long to wait before reconnecting, growing.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long to wait for the end of a vacuum.
const LONGEST_VACUUM: Duration = Duration::from_secs(600);

/// How long to wait for the thread to end.
const JOIN: Duration = Duration::from_secs(5);

/// The thread. Told to end when it is dropped, and waited for by [`end`](Control::end).
#[derive(Debug)]
pub(crate) struct Control {
    ending: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Control {
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<Self> {
        let (ending, ended) = watch::channel(false);
        let (inner, failed) =
            (inner.clone(), |error| Error::internal("no thread for the backend").caused_by(error));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let main = move || {
            // Built here, driven and dropped there.
            runtime.block_on(work(inner, ended));
            runtime.shutdown_timeout(Duration::from_secs(1));
        };
        let thread =
            std::thread::Builder::new().name("picloud-postgres".into()).spawn(main).map_err(failed)?;
        Ok(Control { ending, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and waits for it.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
            if !matches!(tokio::time::timeout(JOIN, joined).await, Ok(Ok(true))) {
                tracing::error!("the thread of the database backend did not end well");
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.ending.send_replace(true);
    }
}

/// Everything that goes on, until the end.
async fn work(inner: Arc<Inner>, mut ended: watch::Receiver<bool>) {
    let everything = async {
        tokio::join!(
            listen(&inner),
            announce(&inner),
            follow(&inner),
            sweep(&inner),
            vacuum(&inner),
            broadcast::send(&inner),
            broadcast::hear(&inner),
            indexes::fill(&inner),
        )
    };
    tokio::select! {
        _ = everything => {}
        // An error means that the backend is gone: the end as well.
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

/// Hears what other processes tell.
async fn listen(inner: &Inner) {
    if inner.config.pooler {
        return;
    }
    let (mut wait, mut is_away) = (FIRST_WAIT, false);
    loop {
        if let Err(error) = listen_until_broken(inner, &mut wait, &mut is_away).await {
            // Said once: the calls that fail meanwhile have errors of their own.
            if !is_away {
                tracing::warn!(%error, "not listening to other processes; polling until the database is back");
            }
            is_away = true;
        }
        // Whatever was told meanwhile was missed.
        inner.notices.bump_all();
        inner.live.told.notify_one();
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn listen_until_broken(inner: &Inner, wait: &mut Duration, is_away: &mut bool) -> sqlx::Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(inner.lanes.options().clone().options([("statement_timeout", "0")]));
    let mut listener = PgListener::connect_with(&pool).await?;
    let notices = &inner.notices;
    let channels = [&notices.outbox_channel, &notices.catalog_channel, &notices.ephemeral_channel];
    listener.listen_all(channels.map(String::as_str)).await?;
    *wait = FIRST_WAIT;
    if std::mem::take(is_away) {
        tracing::info!("the database is back: listening to other processes again");
    }
    notices.bump_all();
    inner.live.told.notify_one();
    while let Some(notice) = listener.try_recv().await? {
        if notice.channel() == notices.outbox_channel {
            notices.bump_outbox();
        } else if notice.channel() == notices.ephemeral_channel {
            inner.live.told.notify_one();
        } else {
            notices.bump_catalog();
        }
    }
    Ok(())
}

/// Tells other processes that rows are due, with one notification for all that came in a few milliseconds. Never as part
/// of a write: a notification takes a lock that the whole database shares.
async fn announce(inner: &Inner) {
    let mut connection = None;
    loop {
        inner.notices.announced.notified().await;
        if inner.config.pooler {
            // There they poll.
            continue;
        }
        match told(inner, &mut connection).await {
            Ok(()) => tokio::time::sleep(BETWEEN_NOTICES).await,
            Err(error) => {
                connection = None;
                tracing::debug!(%error, "other processes could not be told of events; they poll");
                tokio::time::sleep(FIRST_WAIT).await;
            }
        }
    }
}

async fn told(inner: &Inner, connection: &mut Option<PgConnection>) -> Result<()> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(inner.lanes.connect().await?),
    };
    let notify = inner.sql.notify.query().bind(inner.notices.outbox_channel.clone());
    in_time(LONGEST_WAIT, notify.execute(open)).await.map_err(of_database)?;
    Ok(())
}

/// Looks whether other processes changed an app, for the case that a notification got lost or none are to be had.
async fn follow(inner: &Inner) {
    let mut seen: Option<String> = None;
    loop {
        tokio::time::sleep(jittered(inner.config.poll)).await;
        let source = crate::source::Source::Lanes(inner.lanes.clone());
        let found = inner.read_all(&source, || inner.sql.apps_mark.query()).await;
        // What cannot be read now is read later; who needs to know is told by their own calls.
        let Ok(rows) = found else { continue };
        let mark = rows.first().and_then(|row| row.try_get::<String, _>(0).ok());
        if mark != seen {
            if seen.is_some() {
                inner.notices.bump_catalog();
            }
            seen = mark;
        }
    }
}

/// Removes what has been dead for long enough.
async fn sweep(inner: &Inner) {
    loop {
        tokio::time::sleep(jittered(inner.config.sweep)).await;
        // Nobody waits for any of it, and the next time does as well.
        while matches!(swept(inner).await, Ok(SWEPT_AT_ONCE..)) {}
        let _ = inner.write(|| inner.sql.workers_forget.query()).await;
        let _ = indexes::sweep(inner).await;
        let _ = inner.write(|| inner.sql.ephemeral_forget.query()).await;
    }
}

/// As many as one statement sweeps.
const SWEPT_AT_ONCE: u64 = 5_000;

async fn swept(inner: &Inner) -> Result<u64> {
    inner.lanes.acquire().await?.written(inner.sql.kv_sweep.query()).await
}

async fn vacuum(inner: &Inner) {
    loop {
        inner.notices.vacuum.notified().await;
        // It cannot run within a transaction, so not in a lane that wraps calls in one, and through a pooler only as one
        // message.
        let done = async {
            let mut connection = inner.lanes.connect().await?;
            let vacuum = sqlx::raw_sql(inner.sql.outbox_vacuum.simple()).execute(&mut connection);
            in_time(LONGEST_VACUUM, vacuum).await.map_err(of_database)?;
            connection.close().await.map_err(of_database)
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "the outbox was not vacuumed; claims may slow down until the database does it");
        }
    }
}
