//! The text of a URL: what may be asked for at all.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::Guard;
use crate::http::HttpError;

/// Longest URL, query included.
pub const MAX_URL_BYTES: usize = 8 << 10;

/// A URL that passed the guard: what the client connects by. It is parsed once; nobody reads the text again in another
/// way.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    port: u16,
}

impl Target {
    /// The host as the client takes it: a name in ASCII and lower case, or an address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or("")
    }

    /// The port, that of the scheme where the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL in normal form.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether requests to both go to the same scheme, host and port.
    pub fn same_origin(&self, other: &Target) -> bool {
        self.url.scheme() == other.url.scheme() && self.host() == other.host() && self.port == other.port
    }

    pub(in crate::http) fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

fn invalid(why: &'static str) -> HttpError {
    HttpError::InvalidUrl(why)
}

/// What parsers read in different ways is refused, not repaired: white space and control characters (they are left out),
/// backslashes (they become slashes), missing and surplus slashes after the scheme, anything before an `@`.
fn check_text(text: &str) -> Result<(), HttpError> {
    if text.len() > MAX_URL_BYTES {
        return Err(invalid("it is longer than 8 KiB"));
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(invalid("white space, control characters and backslashes are written in percents"));
    }
    Ok(())
}

fn check_authority(text: &str) -> Result<(), HttpError> {
    let (scheme, rest) = text.split_once(':').ok_or_else(|| invalid("it begins with http:// or https://"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HttpError::SchemeNotAllowed);
    }
    let rest = rest.strip_prefix("//").ok_or_else(|| invalid("two slashes follow the scheme"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.is_empty() {
        return Err(invalid("a host follows the two slashes"));
    }
    if authority.contains('@') {
        return Err(HttpError::CredentialsInUrl);
    }
    if authority.contains('%') {
        return Err(invalid("a host has no percents, nor an address a zone"));
    }
    Ok(())
}

impl Guard {
    /// Reads a URL and decides on all that can be told from its text: scheme, credentials, port, and the address if it
    /// has one in place of a name, however it is spelled.
    ///
    /// ```
    /// # use picloud_core::http::ssrf::Guard;
    /// let guard = Guard::new();
    /// assert_eq!(guard.check_url("https://Example.com/a?b").unwrap().host(), "example.com");
    ///
    /// let error = guard.check_url("http://0x7f.1/").unwrap_err();
    /// assert_eq!(error.code(), "http.address_refused");
    /// ```
    ///
    /// # Errors
    /// [`HttpError::InvalidUrl`], [`HttpError::SchemeNotAllowed`], [`HttpError::CredentialsInUrl`],
    /// [`HttpError::PortNotAllowed`], [`HttpError::AddressRefused`].
    pub fn check_url(&self, text: &str) -> Result<Target, HttpError> {
        check_text(text)?;
        check_authority(text)?;
        let url = Url::parse(text).map_err(|_| invalid("it has no valid host, or no valid port"))?;
        self.check_parsed(url)
    }

    /// Whether the host has opened the way to this target itself: all that is private, or this one address.
    pub(in crate::http) fn is_opened(&self, target: &Target) -> bool {
        let address = match target.url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        let excepted =
            address.is_some_and(|address| self.is_exception(SocketAddr::new(address, target.port)));
        self.allow_private || excepted
    }

    /// As [`check_url`](Guard::check_url), for where a redirect points to: a URL, or a part of one to be read in place
    /// of `base`.
    pub(in crate::http) fn check_location(&self, base: &Target, text: &str) -> Result<Target, HttpError> {
        check_text(text)?;
        // Relative ones have no scheme, or no colon before the first slash; those that begin with two have a host.
        if let Some(authority) = text.strip_prefix("//") {
            check_authority(&format!("http://{authority}"))?;
        } else if text.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            check_authority(text)?;
        }
        let url = base.url.join(text).map_err(|_| invalid("it has no valid host, or no valid port"))?;
        self.check_parsed(url)
    }

    /// The same URL with more in its query.
    pub(in crate::http) fn with_query<'q>(
        target: Target,
        pairs: impl Iterator<Item = (&'q str, String)>,
    ) -> Result<Target, HttpError> {
        let Target { mut url, port } = target;
        {
            let mut query = url.query_pairs_mut();
            for (name, value) in pairs {
                query.append_pair(name, &value);
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        check_text(url.as_str())?;
        Ok(Target { url, port })
    }

    fn check_parsed(&self, mut url: Url) -> Result<Target, HttpError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpError::SchemeNotAllowed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::CredentialsInUrl);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) => {
                check_name(name)?;
                if let Some(refused) = self.of_name(name) {
                    return Err(HttpError::AddressRefused(refused));
                }
                None
            }
            None => return Err(invalid("it has no host")),
        };
        let excepted = address.is_some_and(|address| self.is_exception(SocketAddr::new(address, port)));
        if !excepted {
            if let Some(address) = address {
                self.check_address(address).map_err(HttpError::AddressRefused)?;
            }
            if port == 0 || !self.allow_private && !matches!(port, 80 | 443 | 1024..) {
                return Err(HttpError::PortNotAllowed(port));
            }
        }
        // It is never sent.
        url.set_fragment(None);
        Ok(Target { url, port })
    }
}

/// A name as it can be in the domain name system. The parser has left only characters of hosts, in ASCII.
fn check_name(name: &str) -> Result<(), HttpError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |label: &str| !label.is_empty() && label.len() <= 63;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() > 253 || !name.bytes().all(plain) || !name.split('.').all(fits) {
        return Err(invalid("its host is not a name: labels of 1 to 63 letters, digits, '-' and '_'"));
    }
    Ok(())
}
