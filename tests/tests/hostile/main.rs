//! Hostile scripts against a whole picloud: whatever a script does, it ends in time, with an outcome that is its
//! own, while the scripts of other apps go on answering and the process keeps no more memory than before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod cycles;
mod http;
mod identity;
mod kv;
mod memory;
mod modules;
mod natives;
mod output;
mod parser;
mod stack;
mod time;
mod utilities;
mod world;

use picloud_core::alloc::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();
