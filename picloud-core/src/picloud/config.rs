//! Settings.

use std::num::NonZeroUsize;

use super::sweep::RetentionConfig;
use crate::engine::{Limits, SandboxCeiling};
use crate::env;
use crate::execution::ExecutionLogConfig;
use crate::executor::ExecutorConfig;
#[cfg(feature = "files")]
use crate::files::FilesConfig;
use crate::outbox::DispatcherConfig;
use crate::pubsub::SubscriptionConfig;
use crate::route::DEFAULT_RESERVED_PREFIXES;
use crate::trigger::TriggerConfig;

/// How a [`Picloud`](crate::Picloud) is set up. Every field has a default that is good for a small server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PicloudConfig {
    /// What one execution may use.
    pub limits: Limits,
    /// How far a script's own limits may go.
    pub ceiling: SandboxCeiling,
    /// Threads, and how many executions at once.
    pub executor: ExecutorConfig,
    /// Compiled scripts kept. Default: 256, and at most 64 MiB.
    pub script_cache_size: NonZeroUsize,
    /// Compiled modules kept. Default: 512, and at most 64 MiB.
    pub module_cache_size: NonZeroUsize,
    /// Retries and depth of events.
    pub triggers: TriggerConfig,
    /// How events are dispatched.
    pub dispatcher: DispatcherConfig,
    /// Where the bytes of files are kept, and how many a file may have.
    #[cfg(feature = "files")]
    pub files: FilesConfig,
    /// How execution records are batched.
    pub execution_log: ExecutionLogConfig,
    /// How many may listen to messages at once, and what is held for them.
    pub subscriptions: SubscriptionConfig,
    /// For how long dead letters and execution records are kept.
    pub retention: RetentionConfig,
    /// Paths that belong to the host: no route may claim them. Default:
    /// [`DEFAULT_RESERVED_PREFIXES`](crate::route::DEFAULT_RESERVED_PREFIXES).
    pub reserved_prefixes: Vec<String>,
    /// The address under which the world reaches this server, for links. Default: none.
    pub public_base_url: Option<String>,
}

impl Default for PicloudConfig {
    fn default() -> Self {
        PicloudConfig {
            limits: Limits::default(),
            ceiling: SandboxCeiling::default(),
            executor: ExecutorConfig::default(),
            script_cache_size: NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN),
            module_cache_size: NonZeroUsize::new(512).unwrap_or(NonZeroUsize::MIN),
            triggers: TriggerConfig::default(),
            dispatcher: DispatcherConfig::default(),
            #[cfg(feature = "files")]
            files: FilesConfig::default(),
            execution_log: ExecutionLogConfig::default(),
            subscriptions: SubscriptionConfig::default(),
            retention: RetentionConfig::default(),
            reserved_prefixes: DEFAULT_RESERVED_PREFIXES.iter().map(|prefix| (*prefix).to_owned()).collect(),
            public_base_url: None,
        }
    }
}

impl PicloudConfig {
    /// The defaults, changed by `PICLOUD_SANDBOX_MAX_…` (the ceiling), `PICLOUD_MAX_TRIGGER_DEPTH`,
    /// `PICLOUD_TRIGGER_RETRY_…`, `PICLOUD_{DEAD_LETTER,EXECUTION}_RETENTION_DAYS`, `PICLOUD_FILES_ROOT`,
    /// `PICLOUD_SCRIPT_CACHE_SIZE`, `PICLOUD_MODULE_CACHE_SIZE` and `PICLOUD_PUBLIC_BASE_URL`. An invalid value is warned about by name and skipped.
    pub fn from_env() -> Self {
        let mut config = PicloudConfig {
            ceiling: SandboxCeiling::from_env(),
            triggers: TriggerConfig::from_env(),
            retention: RetentionConfig::from_env(),
            #[cfg(feature = "files")]
            files: FilesConfig::from_env(),
            ..PicloudConfig::default()
        };
        if let Some(size) = env::parsed("PICLOUD_SCRIPT_CACHE_SIZE", "a whole number of at least 1") {
            config.script_cache_size = size;
        }
        if let Some(size) = env::parsed("PICLOUD_MODULE_CACHE_SIZE", "a whole number of at least 1") {
            config.module_cache_size = size;
        }
        config.public_base_url =
            env::parsed::<String>("PICLOUD_PUBLIC_BASE_URL", "a URL").filter(|url| !url.is_empty());
        config
    }
}
