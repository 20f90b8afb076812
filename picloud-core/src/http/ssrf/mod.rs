//! The guard that keeps requests of scripts out of the networks that their host can reach.
//!
//! It stands by itself: nothing here sends anything. [`check_address`] decides on an address, [`Guard::check_url`] on the
//! text of a URL, [`Guard::resolve`] on what a name stands for, with whatever [`Resolver`] it is given. The client asks at
//! each of these moments, for each redirect anew, and once more for the peer of each connection.
//!
//! What it goes by is a list of what is public, not of what is dangerous: an address of no known use is refused.

mod address;
#[cfg(feature = "http")]
mod target;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

pub use address::{Category, Embedding, Refused, check_address};
#[cfg(feature = "http")]
pub use target::{MAX_URL_BYTES, Target};

use super::HttpError;

/// Most addresses of one name that are looked at; the first that answers is enough.
const MAX_ADDRESSES: usize = 32;

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `host`, in the order in which they are to be tried. Whoever asks gives up after the connect
    /// timeout and drops the future.
    ///
    /// # Errors
    /// When the name has no address, or nobody is there to ask.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// What requests may reach. The default is the public internet on ports 80, 443 and from 1024 on.
///
/// ```
/// use picloud_core::http::ssrf::{Category, Guard};
///
/// let guard = Guard::new();
/// let refused = guard.check_address("10.0.0.7".parse().unwrap()).unwrap_err();
/// assert_eq!(refused.category, Category::Private);
///
/// // For development. What clouds tell their machines stays closed.
/// let guard = guard.allow_private(true);
/// assert!(guard.check_address("10.0.0.7".parse().unwrap()).is_ok());
/// assert!(guard.check_address("169.254.169.254".parse().unwrap()).is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow_private: bool,
    exceptions: Vec<SocketAddr>,
}

impl Guard {
    /// Lets through what is public.
    pub fn new() -> Self {
        Guard::default()
    }

    /// Opens loopback, private, link-local, unique-local and carrier-grade NAT ranges, and every port. Never cloud
    /// metadata.
    #[must_use]
    pub fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Opens one address at one port, for URLs that spell the address out: a name that resolves to it stays refused.
    #[must_use]
    pub fn allow_address(mut self, address: SocketAddr) -> Self {
        self.exceptions.push(address);
        self
    }

    /// Whether requests may go to an address, at whichever port.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        check_address(address).or_else(|refused| {
            let opened = self.allow_private && refused.category.is_private();
            if opened { Ok(()) } else { Err(refused) }
        })
    }

    /// Whether a connection to this peer may be used.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_peer(&self, peer: SocketAddr) -> Result<(), Refused> {
        if self.is_exception(peer) { Ok(()) } else { self.check_address(peer.ip()) }
    }

    /// The addresses of `host` that requests may go to; `host` may be an address itself.
    ///
    /// # Errors
    /// [`HttpError::AddressRefused`] when there are addresses and none is allowed, [`HttpError::NameNotFound`] when
    /// there are none.
    pub async fn resolve(&self, host: &str, resolver: &dyn Resolver) -> Result<Vec<IpAddr>, HttpError> {
        if let Some(refused) = self.of_name(host) {
            return Err(HttpError::AddressRefused(refused));
        }
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => resolver.lookup(host).await.map_err(|_| HttpError::NameNotFound)?,
        };
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            match self.check_address(address) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(HttpError::AddressRefused(refused)),
            None if allowed.is_empty() => Err(HttpError::NameNotFound),
            _ => Ok(allowed),
        }
    }

    fn is_exception(&self, address: SocketAddr) -> bool {
        self.exceptions.contains(&address)
    }

    /// Names that are refused whatever anybody says they resolve to.
    fn of_name(&self, host: &str) -> Option<Refused> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if METADATA_NAMES.contains(&host.as_str()) {
            return Some(Category::CloudMetadata.into());
        }
        let is_loopback = host == "localhost" || host.ends_with(".localhost");
        (is_loopback && !self.allow_private).then(|| Category::Loopback.into())
    }
}

/// Names under which machines of clouds reach what is at the metadata addresses.
const METADATA_NAMES: [&str; 4] =
    ["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"];
