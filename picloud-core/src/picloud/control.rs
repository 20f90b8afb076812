//! The control thread: everything that is not the execution of a script.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::execution::{ExecutionLog, ExecutionLogSink};
use crate::{Error, Result};

/// Longest wait for the last records to reach the sink.
const DRAIN: Duration = Duration::from_secs(5);

/// The parser recurses; its stack is address space, not memory, until it is used.
const COMPILER_STACK: usize = 64 << 20;

/// Threads for compiling and other blocking work.
const BLOCKING_THREADS: usize = 4;

/// One thread with a runtime, built, driven and dropped there, and a bounded pool for blocking work.
pub(super) struct Control {
    handle: Handle,
    ending: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    writer: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Control {
    pub(super) fn start() -> Result<Self> {
        let (ending, mut ended) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::channel::<io::Result<Handle>>();
        let main = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_stack_size(COMPILER_STACK)
                .thread_name("picloud-blocking")
                .build();
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(runtime.handle().clone()));
                    // An error means that the sender is gone: the end as well.
                    runtime.block_on(async { drop(ended.wait_for(|ended| *ended).await) });
                    runtime.shutdown_timeout(Duration::from_secs(1));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let failed = |error: io::Error| Error::internal("no control thread").caused_by(error);
        let thread =
            std::thread::Builder::new().name("picloud-control".into()).spawn(main).map_err(failed)?;
        let handle = is_ready
            .recv()
            .map_err(|_| Error::internal("the control thread did not start"))?
            .map_err(failed)?;
        Ok(Control { handle, ending, thread: Mutex::new(Some(thread)), writer: Mutex::new(None) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Becomes `true` when the thread is about to end.
    /// Tells when this thread is to end.
    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    pub(super) fn spawn_writer(&self, log: ExecutionLog, sink: Arc<dyn ExecutionLogSink>) {
        let writer = self.handle.spawn(log.run(sink));
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }

    /// Lets the writer hand over what is left.
    pub(super) async fn drain(&self, log: &ExecutionLog) {
        log.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && tokio::time::timeout(DRAIN, writer).await.is_err()
        {
            tracing::warn!("the last execution records did not reach their sink in time");
        }
    }

    /// Tells the thread to end, without waiting.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Waits for the thread to end. Blocks.
    pub(super) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control thread panicked");
        }
    }
}

/// What `work` answers, or `None` if the end comes first.
pub(super) async fn unless_ended<T>(
    ending: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Option<T> {
    // An error means that the other side is gone: the end as well.
    let mut ended = pin!(async { drop(ending.wait_for(|ended| *ended).await) });
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match ended.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}
