//! Serverless scripting for any Rust application: traits, sandboxed engine, routes and the handle of picloud.
//!
//! A host picks a backend, starts a [`Picloud`], and creates an [`App`] for each tenant. An app is a set of scripts
//! with routes; a script answers requests and reaches services, within limits that it cannot get past.
//!
//! ```
//! use picloud_core::execution::HttpRequest;
//! use picloud_core::script::Bundle;
//! use picloud_core::{Backend, Picloud, Result};
//!
//! async fn greet(backend: impl Backend) -> Result<()> {
//!     let cloud = Picloud::builder(backend).start().await?;
//!     let app = cloud.create_app("shop").await?;
//!     let source = "//! route GET /greet/:name\n`hello ${ctx.request.params.name}`";
//!     app.deploy(&Bundle::new().file("greet", source)?).await?;
//!
//!     let answer = app.request(HttpRequest::new(http::Method::GET, "/greet/ada")).await?;
//!     assert_eq!(answer.body, "\"hello ada\"");
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | starting, settings, shutdown | [`Picloud`], [`PicloudBuilder`], [`PicloudConfig`] |
//! | deploying, calling a script, host access to services | [`App`], [`script::Bundle`] |
//! | functions of your own for scripts | [`ScriptModule`] |
//! | limits | [`engine::Limits`], [`executor::GateConfig`], [`alloc`] |
//! | logins, several apps | [`authz::PrincipalResolver`], [`app::AppResolver`] |
//! | what a script came to, and where records go | [`execution::Outcome`], [`execution::ExecutionLogSink`] |
//! | the KV service | [`kv::KvService`] |
//! | documents, and queries over them | [`docs::DocsService`], [`docs::filter`] |
//! | files: records, bytes, answers to requests | [`files::FilesService`], `files::BlobStore`, [`App::files`] |
//! | requests of scripts to other servers, and the guard on them | [`mod@http`], [`http::ssrf`] |
//! | secrets that scripts use and cannot read | [`App::secrets`], [`secrets`] |
//! | messages to whoever listens just now | [`App::subscribe`], [`pubsub::EventStream`] |
//! | messages for one consumer | [`App::send`], [`queue::QueueService`] |
//! | handling events, retries, dead letters | [`trigger`], [`outbox`], [`App::create_trigger`], [`App::dead_letters`] |
//! | writes that commit together | [`App::transaction`] |
//! | writing a backend | [`Backend`], [`catalog::Catalog`], and `conformance` behind the feature of that name |
//!
//! # What it does not do
//!
//! It has no storage (a backend brings it), no web server (`picloud-axum` does), and never reads the environment
//! but in functions named `from_env`, which a host calls or not.
//!
//! # Features
//!
//! - `metrics` (default): counters and histograms through the `metrics` facade; without it they compile to nothing.
//! - `utilities` (default): the script modules `json`, `time`, `crypto`, `base64`, `hex`, `url` and `regex`.
//! - `files` (default): bytes of files, the script module `files`, and what hosts need to store and serve them.
//! - `http`: the client behind the script module `http`. Brings TLS and C code, hence off by default.
//! - `secrets`: encryption of secrets at rest.
//! - `conformance`: the contract of a backend as runnable tests.
//! - `fuzzing`: what fuzz targets and benches call from inside. Not part of the interface.

pub mod alloc;
pub mod app;
pub mod authz;
pub mod backend;
pub mod catalog;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
pub mod dead_letters;
pub mod docs;
pub mod engine;
mod env;
mod error;
pub mod execution;
pub mod executor;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod held;
mod hex;
pub mod http;
mod ids;
mod json;
mod json_canonical;
pub mod kv;
pub mod log;
mod metric;
mod names;
pub mod outbox;
pub mod page;
mod per_runtime;
mod picloud;
pub mod pubsub;
pub mod queue;
pub mod route;
pub mod script;
pub mod secrets;
mod services;
pub mod trigger;
#[cfg(feature = "utilities")]
mod utilities;
mod values;

pub use async_trait::async_trait;
pub use backend::{Backend, MAX_TRANSACTION, Transaction, tx_closed};
pub use clock::{Clock, SystemClock, Timestamp, jittered};
pub use context::{CallCx, CxInner};
pub use engine::ScriptModule;
pub use error::{Error, ErrorKind, Result};
pub use ids::{AppId, EventId, ExecutionId, IdHasher, RequestId, RouteId, ScriptId, TraceId, TriggerId};
pub use json::Json;
pub use names::{CollectionName, MAX_NAME_BYTES};
pub use per_runtime::PerRuntime;
#[cfg(feature = "files")]
pub use picloud::FilesCollection;
pub use picloud::{
    Accepted, App, AppSecrets, AppTransaction, DocsCollection, KvCollection, Picloud, PicloudBuilder,
    PicloudConfig, RetentionConfig, Script, Version,
};
pub use services::Services;
