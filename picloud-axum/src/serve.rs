//! A server on the executor threads: every request runs where its connection was accepted.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use picloud_core::Picloud;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::events::UnderWay;
use crate::routes::{Answers, PicloudRoutes};
use crate::{RouterConfig, ServeConfig};

/// How long to wait after the system refused a connection for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(50);

/// Most bytes of a connection that are buffered each way; also bounds the head of a request.
const MAX_BUFFERED: usize = 64 * 1024;

/// How long an answer may lie unread.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(30);

/// One acceptor per executor thread.
#[derive(Debug, Clone)]
struct Acceptor {
    connections: Arc<AtomicUsize>,
    inbox: mpsc::UnboundedSender<Handed>,
}

/// A connection on its way to another thread.
#[derive(Debug)]
struct Handed {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    counted: Counted,
}

/// What a server answers with.
///
/// [`serve`] takes either form as it is: a [`Router`], or the [`RouterConfig`] of picloud alone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Routes {
    /// These routes, whosever they are.
    Router(Router),
    /// Picloud's routes and no others: as [`router`](crate::router), but what is for scripts goes to them without the
    /// way through an axum router.
    Picloud(RouterConfig),
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Routes::Router(router)
    }
}

impl From<RouterConfig> for Routes {
    fn from(config: RouterConfig) -> Self {
        Routes::Picloud(config)
    }
}

/// Serves `routes` on the executor threads of `cloud` until `shutdown` completes, then lets requests under way
/// finish within [`ServeConfig::drain`].
///
/// HTTP/1.1. The listener, from [`bind`](crate::bind), is shared by all threads; a connection stays on the thread
/// that has the fewest. Requests to a router carry
/// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo). Call
/// [`Picloud::shutdown`] afterwards. Dropping the future stops the server like `shutdown` does, without the wait.
///
/// # Errors
/// When the listener cannot be used on one of the threads.
pub async fn serve(
    cloud: &Picloud,
    listener: TcpListener,
    routes: impl Into<Routes>,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    match routes.into() {
        // Makes every handler ready once, not for each request.
        Routes::Router(router) => run(cloud, listener, router.with_state(()), config, shutdown).await,
        Routes::Picloud(routes) => {
            run(cloud, listener, PicloudRoutes::new(cloud, routes), config, shutdown).await
        }
    }
}

async fn run(
    cloud: &Picloud,
    listener: TcpListener,
    routes: impl Answers,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let (stop, stopped) = watch::channel(());
    let mut loops = JoinSet::new();
    let (mut acceptors, mut inboxes) = (Vec::new(), Vec::new());
    for _ in cloud.executor().runtimes() {
        let (inbox, received) = mpsc::unbounded_channel();
        acceptors.push(Acceptor { connections: Arc::default(), inbox });
        inboxes.push(received);
    }
    let acceptors: Arc<[Acceptor]> = acceptors.into();
    for (index, (handle, inbox)) in cloud.executor().runtimes().zip(inboxes).enumerate() {
        let listener = listener.try_clone()?;
        let server = Server {
            index,
            acceptors: acceptors.clone(),
            routes: routes.clone(),
            config: config.clone(),
            stopped: stopped.clone(),
        };
        loops.spawn_on(server.run(listener, inbox), handle);
    }
    drop((listener, acceptors, stopped));
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        // A loop that ends by itself could not begin.
        ended = loops.join_next() => {
            drop(stop);
            return match ended {
                Some(Ok(result)) => result,
                _ => Err(io::Error::other("an accept loop panicked")),
            };
        }
    }
    drop(stop);
    while loops.join_next().await.is_some() {}
    Ok(())
}

struct Server<R> {
    index: usize,
    acceptors: Arc<[Acceptor]>,
    routes: R,
    config: ServeConfig,
    stopped: watch::Receiver<()>,
}

impl<R: Answers> Server<R> {
    async fn run(
        mut self,
        listener: TcpListener,
        mut inbox: mpsc::UnboundedReceiver<Handed>,
    ) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let full = self.total() >= self.config.max_connections;
            tokio::select! {
                // The sender is dropped to stop us.
                _ = self.stopped.changed() => break,
                Some(Handed { stream, peer, counted }) = inbox.recv() => match TcpStream::from_std(stream) {
                    Ok(stream) => drop(connections.spawn(self.connection(stream, peer, counted))),
                    Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
                },
                // At the limit, look again when a connection has ended.
                Some(_) = connections.join_next(), if full => {}
                () = tokio::time::sleep(BREATH), if full => {}
                accepted = listener.accept(), if !full => match accepted {
                    Ok((stream, peer)) => self.place(stream, peer, &mut connections),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "connections cannot be accepted; trying again");
                        tokio::time::sleep(BREATH).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(self.config.drain, async {
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "cutting connections that did not finish in time"
            );
        }
        connections.shutdown().await;
        Ok(())
    }

    fn total(&self) -> usize {
        self.acceptors.iter().map(|acceptor| acceptor.connections.load(Ordering::Relaxed)).sum()
    }

    /// Keeps the connection, or gives it to the thread that has the fewest: whoever wakes first would otherwise end
    /// up with most of them, for as long as they live.
    fn place(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let Some(me) = self.acceptors.get(self.index) else { return };
        let count = |acceptor: &Acceptor| acceptor.connections.load(Ordering::Relaxed);
        let mine = count(me);
        let fewest = self.acceptors.iter().min_by_key(|acceptor| count(acceptor));
        if let Some(other) = fewest.filter(|other| count(other) < mine) {
            match stream.into_std() {
                // An error means that the server is stopping: the connection is closed.
                Ok(stream) => {
                    drop(other.inbox.send(Handed { stream, peer, counted: Counted::new(&other.connections) }))
                }
                Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
            }
            return;
        }
        let counted = Counted::new(&me.connections);
        connections.spawn(self.connection(stream, peer, counted));
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        counted: Counted,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let routes = self.routes.of_connection();
        let header_timeout = self.config.header_timeout;
        let mut stopped = self.stopped.clone();
        async move {
            let _counted = counted;
            // Answers are written whole: waiting for more to send only adds latency.
            let _ = stream.set_nodelay(true);
            // A client that asks and does not read must not hold its answer, and its place, for ever.
            #[cfg(target_os = "linux")]
            let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
            // A stream has no end of its own.
            let under_way = Arc::new(UnderWay::default());
            let streams = under_way.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let under_way = under_way.clone();
                routes.answer(request, peer).map(move |mut response| {
                    under_way.note(&mut response);
                    Ok::<_, Infallible>(response)
                })
            });
            let connection = http1::Builder::new()
                // A client that reads slowly holds that much, besides what waits for it.
                .max_buf_size(MAX_BUFFERED)
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    streams.stop();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended with an error");
            }
        }
    }
}

/// Errors that concern the one connection that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection that counts while it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
