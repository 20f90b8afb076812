//! picloud in an axum application: the routes that scripts answer, the HTTP API, health and version.
//!
//! [`router`] is an ordinary [`axum::Router`] for a host's own server, under any prefix. A script that ends
//! within microseconds and calls no function of the host's runs where the request is; all others are handed over to the
//! executor threads of [`Picloud`]. [`serve`] runs a whole server on those threads, so that
//! a request is answered where it was accepted: the faster way when picloud is most of what the process does.
//!
//! | path, below the mount point | answers |
//! |---|---|
//! | `/healthz` | `ok` while the process answers at all |
//! | `/readyz` | `ok`, or 503 when the backend cannot serve or shutdown has begun |
//! | `/version` | the versions of the five surfaces |
//! | `POST /api/v1/execute/{script_id}` | runs a script by id; 401 for anonymous callers unless opened |
//! | everything else | the routes of the app's scripts |
//!
//! # Requests
//!
//! The body is read whole, at most [`RouterConfig::max_body_bytes`], before the script starts. When the client goes
//! away, a script that answers `GET` or `HEAD` ends at its next operation or host call; for other methods it runs on
//! to its own deadline. `HEAD` is answered by the `GET` route without the body, `OPTIONS` by 204 with `Allow` unless
//! a route names it.
//!
//! A file that a script answers with (`files::collection("x").serve(id)`) streams; [`files_router`] lets those who log in
//! reach files without a script.
//!
//! # Streams
//!
//! A script that answers `pubsub::stream("chat.*")`, as its value or as the body of a response, lets its caller hear what
//! `publish_ephemeral` publishes from then on, as server-sent events (`text/event-stream`): `id`, `event` with the topic,
//! `data` with the message as JSON. Nothing of the script is left meanwhile. A client that is too slow loses messages and
//! gets an event `$lagged` with `{"lost":n}`. The stream ends when the client goes, the app is deleted, the server stops,
//! or after [`RouterConfig::stream_lifetime`], so that the script is asked anew now and then; browsers connect again by
//! themselves. [`serve`] ends open streams when it stops. A server of the host's that waits for open responses must be
//! told: call [`Picloud::end_streams`] when it begins to stop.
//!
//! # Errors
//!
//! Every error is JSON: `{ "error": { "code", "message" } }`. A script's failure carries `class` and `execution_id`
//! too; its message and position only for callers that may read logs, or with [`RouterConfig::expose_errors`].

mod api;
mod bind;
mod body;
mod config;
mod error;
mod events;
mod files;
mod routes;
mod scripts;
mod serve;

use axum::Router;
use picloud_core::Picloud;

pub use bind::bind;
pub use config::{RouterConfig, ServeConfig};
pub use error::ApiError;
pub use files::files_router;
pub use serve::{Routes, serve};

/// Everything: the routes of scripts, the HTTP API, health and version.
///
/// Nested under `/scripts`, the script route `/` answers `/scripts`; axum does not nest `/scripts/`. Scripts see the
/// path without the prefix.
///
/// ```
/// use picloud_axum::{RouterConfig, router};
/// # async fn host(cloud: picloud_core::Picloud) {
/// let app: axum::Router = axum::Router::new()
///     .route("/", axum::routing::get(|| async { "the host's own page" }))
///     .nest("/scripts", router(&cloud, RouterConfig::default()));
/// # }
/// ```
pub fn router<S: Clone + Send + Sync + 'static>(cloud: &Picloud, config: RouterConfig) -> Router<S> {
    api::router(cloud, &config).merge(scripts::router(cloud, &config))
}

/// Only the routes of scripts, as a fallback: for hosts with an API of their own.
///
/// With this router alone nothing answers under [reserved prefixes](picloud_core::route::DEFAULT_RESERVED_PREFIXES)
/// but 404; free them for scripts with
/// [`PicloudConfig::reserved_prefixes`](picloud_core::PicloudConfig::reserved_prefixes).
pub fn script_router<S: Clone + Send + Sync + 'static>(cloud: &Picloud, config: RouterConfig) -> Router<S> {
    scripts::router(cloud, &config)
}
