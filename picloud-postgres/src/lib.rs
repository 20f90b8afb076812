//! The production backend of picloud, on Postgres 14 or newer.
//!
//! It lives in a schema of its own in any database, beside whatever else is there. A host hands it a URL, connect options
//! or the options of its pool, brings the schema up to date, and starts:
//!
//! ```no_run
//! use picloud_core::{Picloud, Result};
//! use picloud_postgres::PostgresBackend;
//!
//! # async fn main_() -> Result<()> {
//! let backend = PostgresBackend::connect("postgres://localhost/shop").await?;
//! backend.migrate().await?;
//! let cloud = Picloud::builder(backend).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - A write and the events it causes are one statement, so one commit: there is never one without the other.
//! - Any number of processes share one database. What a process had that died is run again by another.
//! - It works through a pooler in transaction mode ([`PostgresConfig::pooler`]), with polling instead of notifications.
//!
//! # What it does not do
//!
//! It never migrates by itself, never touches another schema, and needs no extension. It does not use the host's
//! connections: a process takes `executor threads × connections_per_runtime`, as many for the host's own runtime, and four;
//! and one for each transaction that the host has open, at most `connections_per_runtime` on a runtime.
//! An event may be handled twice, when a process is taken for dead that is not, or dies between a handler's end and the
//! note of it: handlers deduplicate by `ctx.event.id`.
//!
//! # Features
//!
//! - `tls`: encrypted connections.
//! - `fault-points`: lets a test end the process around each commit. Not part of the interface.

mod backend;
mod broadcast;
mod catalog;
mod control;
mod docs;
mod error;
mod event_rows;
mod executions;
#[cfg(feature = "fault-points")]
#[doc(hidden)]
pub mod fault;
#[cfg(not(feature = "fault-points"))]
mod fault;
mod files;
mod kv;
mod lane_connection;
mod lanes;
mod notices;
mod outbox;
#[cfg(test)]
mod plans;
mod pubsub;
mod queue;
mod schema;
mod secrets;
mod source;
mod sql;
mod time;
mod transaction;

pub use backend::{PostgresBackend, PostgresConfig};
pub use schema::SchemaName;
pub use sqlx;
