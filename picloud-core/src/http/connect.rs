//! How the client comes to a connection: names by the guard, peers by the guard.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};
use tower_layer::Layer;
use tower_service::Service;

use super::HttpError;
use super::ssrf::{Category, Guard, Resolver};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Look-ups at once. More than one app may have requests under way, so that none can take all of them.
const LOOKUPS: usize = 128;

/// Asks the system, as every other program on it does.
///
/// Each look-up has a short-lived thread, since the system's function blocks for as long as it likes; 128 at once at most.
/// A look-up cannot be interrupted: its thread outlives whoever gave up on it, and nobody waits for it at shutdown.
#[derive(Debug)]
pub struct SystemResolver {
    room: Arc<Semaphore>,
}

impl SystemResolver {
    /// A resolver.
    pub fn new() -> Self {
        SystemResolver { room: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver::new()
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let place = self.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (tell, told) = oneshot::channel();
        let host = host.to_owned();
        std::thread::Builder::new().name("picloud-resolve".into()).spawn(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            // Nobody may be waiting any more.
            let _ = tell.send(found.map(|found| found.map(|address| address.ip()).collect()));
            drop(place);
        })?;
        told.await.map_err(io::Error::other)?
    }
}

/// The client's hook for names: what the guard lets through of what the resolver says. The connector tries these
/// addresses and no others, so there is no second look-up that could say something else.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) resolver: Arc<dyn Resolver>,
    #[cfg(test)]
    pub(super) released: Arc<std::sync::Mutex<Vec<IpAddr>>>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.guard.resolve(name.as_str(), &*this.resolver).await?;
            #[cfg(test)]
            this.released.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(&addresses);
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Looks at the peer of each connection before anything is sent on it: the last word, whatever came before was told.
#[derive(Debug, Clone)]
pub(super) struct PeerLayer {
    pub(super) guard: Arc<Guard>,
    /// How often a connection was asked for.
    pub(super) attempts: Arc<AtomicUsize>,
}

impl<S> Layer<S> for PeerLayer {
    type Service = PeerCheck<S>;

    fn layer(&self, inner: S) -> PeerCheck<S> {
        PeerCheck { inner, layer: self.clone() }
    }
}

/// A connector behind a [`PeerLayer`].
#[derive(Debug, Clone)]
pub(super) struct PeerCheck<S> {
    inner: S,
    layer: PeerLayer,
}

impl<S, R> Service<R> for PeerCheck<S>
where
    S: Service<R>,
    S::Response: Connection,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.layer.attempts.fetch_add(1, Ordering::Relaxed);
        let (connecting, guard) = (self.inner.call(request), self.layer.guard.clone());
        Box::pin(async move {
            let connection = connecting.await.map_err(Into::into)?;
            let mut about = http::Extensions::new();
            connection.connected().get_extras(&mut about);
            // A connection of which nobody knows where it leads is none of ours.
            let checked = match about.get::<HttpInfo>() {
                Some(info) => guard.check_peer(info.remote_addr()),
                None => Err(Category::Reserved.into()),
            };
            match checked {
                Ok(()) => Ok(connection),
                Err(refused) => {
                    tracing::warn!(
                        category = refused.category.name(),
                        "a connection was made that the guard refuses; nothing was sent"
                    );
                    Err(HttpError::AddressRefused(refused).into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::connect::HttpConnector;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_refused_is_hung_up_on() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: http::Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let attempts = Arc::new(AtomicUsize::new(0));
        for (guard, passes) in [(Guard::new(), false), (Guard::new().allow_private(true), true)] {
            let layer = PeerLayer { guard: Arc::new(guard), attempts: attempts.clone() };
            let answer = layer.layer(HttpConnector::new()).call(url.clone()).await;
            assert_eq!(answer.is_ok(), passes);
            if let Err(error) = answer {
                let error = error.downcast_ref::<HttpError>().unwrap();
                assert_eq!(error.code(), "http.address_refused");
            }
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_system_knows_its_own_name() {
        let found = SystemResolver::new().lookup("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        assert!(SystemResolver::new().lookup("no-such-name.invalid").await.is_err());
    }
}
