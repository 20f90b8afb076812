//! The reference backend of picloud: everything in memory, with a clock that a test can move.
//!
//! It is the shortest correct reading of every contract in `picloud-core`, so it serves as the backend of
//! tests and of programs that need nothing kept, and as the model for backends that do keep things. What it
//! does not do: survive the process, or share anything with another one.
//!
//! ```
//! use std::time::Duration;
//!
//! use picloud_core::kv::{Key, SetOptions};
//! use picloud_core::{AppId, Backend, CallCx, CollectionName, CxInner, Json};
//! use picloud_memory::MemoryBackend;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> picloud_core::Result<()> {
//! let (backend, clock) = MemoryBackend::with_test_clock();
//! let mut call = CxInner::new(AppId::new());
//! call.clock = backend.clock();
//! let cx = CallCx::from(call);
//!
//! let (carts, key) = (CollectionName::new("carts")?, Key::new("alice")?);
//! let kv = backend.kv();
//! kv.set(&cx, &carts, &key, &Json::parse(r#"{"apples": 3}"#)?, &SetOptions::ttl(60)).await?;
//! assert_eq!(kv.get(&cx, &carts, &key).await?, Some(Json::parse(r#"{"apples": 3}"#)?));
//!
//! // Nobody waits a minute: the test moves the clock.
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(kv.get(&cx, &carts, &key).await?, None);
//! # Ok(())
//! # }
//! ```

mod backend;
mod catalog;
mod clock;
mod docs;
mod execution_log;
mod files;
mod kv;
mod outbox;
mod place;
mod pubsub;
mod queue;
mod secrets;
mod tables;
mod transaction;

pub use backend::MemoryBackend;
pub use clock::TestClock;
pub use execution_log::{MAX_EXECUTION_BYTES, MAX_EXECUTIONS};
