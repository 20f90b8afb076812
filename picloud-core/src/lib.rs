//! Traits, sandboxed script engine, routes and control plane of picloud.

pub mod alloc;
pub mod app;
pub mod authz;
pub mod backend;
pub mod catalog;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
pub mod engine;
mod env;
mod error;
pub mod execution;
pub mod executor;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod ids;
mod json;
mod json_canonical;
pub mod kv;
pub mod log;
mod metric;
mod names;
pub mod outbox;
pub mod page;
mod picloud;
pub mod route;
pub mod script;
mod services;

pub use async_trait::async_trait;
pub use backend::Backend;
pub use clock::{Clock, SystemClock, Timestamp};
pub use context::{CallCx, CxInner};
pub use engine::ScriptModule;
pub use error::{Error, ErrorKind, Result};
pub use ids::{AppId, EventId, ExecutionId, RequestId, RouteId, ScriptId, TraceId, TriggerId};
pub use json::Json;
pub use names::{CollectionName, MAX_NAME_BYTES};
pub use picloud::{App, KvCollection, Picloud, PicloudBuilder, PicloudConfig, Script, Version};
pub use services::Services;
