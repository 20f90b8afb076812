//! The limits of one execution.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, ceiling $ceiling:expr, env $env:literal;)*) => {
        /// What one execution may use, the same for all scripts of an instance but for their overrides.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub struct Limits {
            $($(#[$doc])* #[doc = concat!("\n\nDefault: ", stringify!($default), ".")] pub $name: $type,)*
            /// Most bytes that live at once. Needs the [counting allocator](crate::alloc::CountingAllocator).
            ///
            /// Default: 64 MiB.
            pub max_memory: u64,
            /// Longest blob, in bytes; also the ceiling of what a request, a file or a stored value brings in.
            ///
            /// Default: 10 MiB.
            pub max_blob_size: u64,
            /// Wall-clock limit of a script that sets none, in seconds. Default: 30.
            pub timeout_seconds: u32,
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($name: $default,)* max_memory: 64 << 20, max_blob_size: 10 << 20, timeout_seconds: 30 }
            }
        }

        /// The limits of one script that differ from the engine's defaults; an absent field does not differ.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct ScriptSandbox {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }

        /// How far a script's overrides may go. Checked when a script is saved; the engine trusts what is stored.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub struct SandboxCeiling {
            $($(#[$doc])* #[doc = concat!("\n\nDefault: ", stringify!($ceiling), "; variable `", $env, "`.")] pub $name: $type,)*
        }

        impl Default for SandboxCeiling {
            fn default() -> Self {
                SandboxCeiling { $($name: $ceiling,)* }
            }
        }

        impl SandboxCeiling {
            /// The defaults, changed by the environment. An invalid value is warned about and skipped.
            pub fn from_env() -> Self {
                let mut ceiling = Self::default();
                $(if let Some(value) = crate::env::positive($env) { ceiling.$name = value; })*
                ceiling
            }

            /// Checks a script's overrides.
            ///
            /// # Errors
            /// `sandbox.above_ceiling` or `sandbox.zero`, naming the field, the requested value and the ceiling.
            pub fn check(&self, sandbox: &ScriptSandbox) -> Result<()> {
                $(if let Some(requested) = sandbox.$name {
                    if requested == 0 {
                        return Err(Error::invalid("sandbox.zero", "a limit must be at least 1")
                            .with("field", stringify!($name)));
                    }
                    if requested > self.$name {
                        return Err(Error::invalid("sandbox.above_ceiling", "a limit is above the ceiling of this instance")
                            .with("field", stringify!($name))
                            .with("requested", requested)
                            .with("ceiling", self.$name));
                    }
                })*
                Ok(())
            }
        }

        impl Limits {
            /// These limits with a script's overrides on top.
            #[must_use]
            pub fn merged(&self, sandbox: &ScriptSandbox) -> Self {
                Limits { $($name: sandbox.$name.unwrap_or(self.$name),)* ..self.clone() }
            }
        }
    };
}

limits! {
    /// Most operations, callbacks of native functions included.
    max_operations: u64 = 1_000_000, ceiling 10_000_000, env "PICLOUD_SANDBOX_MAX_OPERATIONS";
    /// Longest string that a script builds, in bytes.
    max_string_size: u64 = 65_536, ceiling 1_048_576, env "PICLOUD_SANDBOX_MAX_STRING_SIZE";
    /// Most elements of an array that a script builds, nested ones included.
    max_array_size: u64 = 10_000, ceiling 100_000, env "PICLOUD_SANDBOX_MAX_ARRAY_SIZE";
    /// Most entries of a map that a script builds, nested ones included.
    max_map_size: u64 = 10_000, ceiling 100_000, env "PICLOUD_SANDBOX_MAX_MAP_SIZE";
    /// How deep script functions may call each other.
    max_call_levels: u64 = 64, ceiling 128, env "PICLOUD_SANDBOX_MAX_CALL_LEVELS";
    /// How deep expressions may nest; half of it inside functions.
    max_expr_depth: u64 = 64, ceiling 128, env "PICLOUD_SANDBOX_MAX_EXPR_DEPTH";
}

impl Limits {
    /// Tightens what bounds memory where memory itself is not counted.
    pub(crate) fn halve_sizes(&mut self) {
        for size in [&mut self.max_string_size, &mut self.max_array_size, &mut self.max_map_size] {
            *size = (*size / 2).max(1);
        }
    }
}

/// The hard ceiling of a script's timeout, in seconds.
pub const MAX_TIMEOUT_SECONDS: u32 = 300;
