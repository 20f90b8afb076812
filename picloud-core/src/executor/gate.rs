//! The execution gate: how many executions may run or wait at once, in all and per app.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::ids::IdMap;
use crate::{AppId, metric};

/// How many executions may be under way at once, running and waiting ones alike.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateConfig {
    /// In the whole process. Default: 10 000; lowered at start to what the system's address space and mappings
    /// allow.
    pub max_executions: usize,
    /// In one app, so that one app cannot keep out the others. Default: 5 000.
    pub max_executions_per_app: usize,
    /// Bytes that the scripts of one app may leak before the app is stopped. A closure that captures what holds it
    /// is a cycle, and the interpreter never frees it; only a restart does. Counted with the
    /// [counting allocator](crate::alloc::CountingAllocator). Default: 64 MiB.
    pub max_leaked_memory: u64,
}

impl Default for GateConfig {
    fn default() -> Self {
        GateConfig { max_executions: 10_000, max_executions_per_app: 5_000, max_leaked_memory: 64 << 20 }
    }
}

/// Counts executions. Entering and leaving take no lock.
#[derive(Debug)]
pub(crate) struct Gate {
    config: GateConfig,
    total: Arc<Total>,
    apps: ArcSwap<IdMap<AppId, Arc<AppCount>>>,
    growing: Mutex<()>,
}

/// What is counted of all apps together.
#[derive(Debug, Default)]
struct Total {
    inside: AtomicUsize,
    idle: Notify,
}

/// What is counted of one app.
#[derive(Debug, Default)]
struct AppCount {
    /// So that a permit needs to hold on to one thing only.
    total: Arc<Total>,
    inside: AtomicUsize,
    leaked: AtomicU64,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Process,
    App,
    Leaked,
}

/// A place inside. Dropping it leaves.
#[derive(Debug)]
pub(crate) struct Permit {
    app: Arc<AppCount>,
}

impl Permit {
    /// Charges the app with memory that will never be freed.
    pub(crate) fn charge_leak(&self, bytes: u64) {
        self.app.leaked.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new(config: GateConfig) -> Self {
        Gate { config, total: Arc::default(), apps: ArcSwap::default(), growing: Mutex::new(()) }
    }

    pub(crate) fn config(&self) -> &GateConfig {
        &self.config
    }

    /// A place for an execution of `app`, if there is one.
    pub(crate) fn enter(&self, app: AppId) -> Result<Permit, Full> {
        let counter = self.counter(app);
        if counter.leaked.load(Ordering::Relaxed) > self.config.max_leaked_memory {
            metric::count!("picloud_gate_refusals_total", "limit" => "leaked");
            return Err(Full::Leaked);
        }
        if counter.inside.fetch_add(1, Ordering::Relaxed) >= self.config.max_executions_per_app {
            counter.inside.fetch_sub(1, Ordering::Relaxed);
            metric::count!("picloud_gate_refusals_total", "limit" => "app");
            return Err(Full::App);
        }
        if self.total.inside.fetch_add(1, Ordering::AcqRel) >= self.config.max_executions {
            counter.leave();
            metric::count!("picloud_gate_refusals_total", "limit" => "process");
            return Err(Full::Process);
        }
        Ok(Permit { app: counter })
    }

    /// Executions under way.
    pub(crate) fn inside(&self) -> usize {
        self.total.inside.load(Ordering::Acquire)
    }

    /// Completes when nothing is under way.
    pub(crate) async fn wait_idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.total.idle.notified());
            // Registered before the look, so that a leave in between is not missed.
            notified.as_mut().enable();
            if self.inside() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn counter(&self, app: AppId) -> Arc<AppCount> {
        if let Some(counter) = self.apps.load().get(&app) {
            return counter.clone();
        }
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut apps = IdMap::clone(&self.apps.load());
        let new = || Arc::new(AppCount { total: self.total.clone(), ..AppCount::default() });
        let counter = apps.entry(app).or_insert_with(new).clone();
        self.apps.store(Arc::new(apps));
        counter
    }
}

impl AppCount {
    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
        if self.total.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.total.idle.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.app.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_app_cannot_take_the_places_of_another() {
        let gate = Arc::new(Gate::new(GateConfig {
            max_executions: 3,
            max_executions_per_app: 2,
            ..GateConfig::default()
        }));
        let (flood, other) = (AppId::new(), AppId::new());
        let _first = gate.enter(flood).unwrap();
        let _second = gate.enter(flood).unwrap();
        assert_eq!(gate.enter(flood).unwrap_err(), Full::App);
        assert!(gate.enter(other).is_ok());
    }

    #[test]
    fn a_refused_execution_leaves_no_trace_and_a_dropped_permit_makes_room() {
        let gate = Arc::new(Gate::new(GateConfig { max_executions: 1, ..GateConfig::default() }));
        let app = AppId::new();
        let permit = gate.enter(app).unwrap();
        assert_eq!(gate.enter(AppId::new()).unwrap_err(), Full::Process);
        assert_eq!(gate.inside(), 1);
        drop(permit);
        assert_eq!(gate.inside(), 0);
        assert!(gate.enter(app).is_ok());
    }
}
