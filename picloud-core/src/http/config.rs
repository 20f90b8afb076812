//! Settings of the client.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::ssrf::{Guard, Resolver};
use super::{AllowedHosts, HostPolicy, MAX_BODY_BYTES, SystemResolver};
use crate::env;

/// How outbound HTTP is set up. The default reaches the public internet and nothing else, for every app.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Opens private ranges and every port, for development; `start` warns. Cloud metadata stays closed. Default: false.
    pub allow_private: bool,
    /// Single addresses that are opened at one port, for URLs that spell them out. Default: none.
    pub allowed_addresses: Vec<SocketAddr>,
    /// Which hosts an app may call. Default: any that the guard lets through.
    pub hosts: Arc<dyn HostPolicy>,
    /// Who finds the addresses of names. Default: the system.
    pub resolver: Arc<dyn Resolver>,
    /// Certificates, as DER, of authorities that are trusted beside those of the system. Default: none.
    pub root_certificates: Vec<Vec<u8>>,
    /// For name, connection and TLS together. Default: 5 s.
    pub connect_timeout: Duration,
    /// For a whole request, redirects and bodies included, and so the longest that a script can ask for. Default: 30 s.
    pub timeout: Duration,
    /// Largest body of a request. Default: 10 MiB, which is also the most.
    pub max_request_bytes: usize,
    /// Largest body of a response. Default: 10 MiB, which is also the most.
    pub max_response_bytes: usize,
    /// Requests of one app under way at once; further ones are refused. Default: 64.
    pub max_requests_per_app: usize,
    /// Bytes of all responses that are being read. One that finds no room is given up. Default: 256 MiB.
    pub max_buffered_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            allow_private: false,
            allowed_addresses: Vec::new(),
            hosts: Arc::new(AllowedHosts::default()),
            resolver: Arc::new(SystemResolver::new()),
            root_certificates: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            max_request_bytes: MAX_BODY_BYTES,
            max_response_bytes: MAX_BODY_BYTES,
            max_requests_per_app: 64,
            max_buffered_bytes: 256 << 20,
        }
    }
}

impl HttpConfig {
    /// The defaults, changed by `PICLOUD_HTTP_ALLOW_PRIVATE` (`true` or `1`, `false` or `0`). An invalid value is warned
    /// about by name and skipped.
    pub fn from_env() -> Self {
        let mut config = HttpConfig::default();
        if let Some(Switch(on)) = env::parsed("PICLOUD_HTTP_ALLOW_PRIVATE", "true or false") {
            config.allow_private = on;
        }
        config
    }

    pub(super) fn guard(&self) -> Guard {
        let guard = Guard::new().allow_private(self.allow_private);
        self.allowed_addresses.iter().fold(guard, |guard, address| guard.allow_address(*address))
    }
}

struct Switch(bool);

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Switch(true)),
            "false" | "0" => Ok(Switch(false)),
            _ => Err("neither true nor false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_on_off_or_wrong() {
        let read = |text: &str| text.parse::<Switch>().map(|switch| switch.0).ok();
        assert_eq!(
            ["true", "1", "TRUE", "false", "0", "", "yes"].map(read),
            [Some(true), Some(true), Some(true), Some(false), Some(false), None, None]
        );
    }
}
