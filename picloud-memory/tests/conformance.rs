//! The memory backend keeps every contract.

use std::sync::Arc;

use picloud_core::async_trait;
use picloud_core::conformance::{self, Harness, World};
use picloud_memory::MemoryBackend;

struct Memory;

#[async_trait]
impl Harness for Memory {
    async fn world(&self) -> World {
        let (backend, clock) = MemoryBackend::with_test_clock();
        World::new(Arc::new(backend)).on_pass_time(move |duration| {
            clock.advance(duration);
            async {}
        })
    }
}

fn main() {
    conformance::main(Memory);
}
