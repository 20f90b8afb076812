//! Settings.

use std::time::Duration;

/// How requests are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// Tells every caller what a script failed with, and where. For development. Default: false.
    pub expose_errors: bool,
    /// Lets anonymous callers run scripts by id. Default: false.
    pub open_execute: bool,
    /// Largest request body; a larger one is answered with 413. Default: 10 MiB.
    pub max_body_bytes: usize,
    /// How long a client may take to send its body; longer is answered with 408. Default: 30 s.
    pub body_timeout: Duration,
    /// After how long without a message a stream sends a comment. Default: 15 s.
    pub heartbeat: Duration,
    /// How long a stream stays open: a client that connects again is let in by the script anew. Default: 1 h.
    pub stream_lifetime: Duration,
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig {
            expose_errors: false,
            open_execute: false,
            max_body_bytes: 10 << 20,
            body_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
            stream_lifetime: Duration::from_secs(3_600),
        }
    }
}

impl RouterConfig {
    /// Sets [`expose_errors`](Self::expose_errors).
    #[must_use]
    pub fn expose_errors(mut self, expose: bool) -> Self {
        self.expose_errors = expose;
        self
    }

    /// Sets [`open_execute`](Self::open_execute).
    #[must_use]
    pub fn open_execute(mut self, open: bool) -> Self {
        self.open_execute = open;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat).
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets [`stream_lifetime`](Self::stream_lifetime).
    #[must_use]
    pub fn stream_lifetime(mut self, lifetime: Duration) -> Self {
        self.stream_lifetime = lifetime;
        self
    }

    /// Sets [`max_body_bytes`](Self::max_body_bytes).
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }
}

/// How connections are treated by [`serve`](crate::serve).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeConfig {
    /// How long a client may take to send the head of a request. Also ends idle connections. Default: 30 s.
    pub header_timeout: Duration,
    /// How long requests under way may take when the server stops; then their connections are cut. Default: 10 s.
    pub drain: Duration,
    /// Connections open at once, in all; further ones wait in the system's queue. Default: 20 000.
    pub max_connections: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        ServeConfig {
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            max_connections: 20_000,
        }
    }
}

impl ServeConfig {
    /// Sets [`drain`](Self::drain).
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets [`header_timeout`](Self::header_timeout).
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }
}
