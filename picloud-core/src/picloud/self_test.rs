//! The test at start: can this build of the interpreter be stopped?
//!
//! Cargo unifies features, and those of the interpreter are not additive: another crate of the host's could have
//! compiled its limits out. Better no service than one that a script can hang.

use std::sync::Arc;

use super::Picloud;
use crate::engine::ScriptSandbox;
use crate::execution::{FailureClass, Invocation};
use crate::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
use crate::{AppId, Error, Result, ScriptId, Timestamp};

// Scripts, services and the wire count on these widths; features of the interpreter can change them.
const _: rhai::INT = 0_i64;
const _: rhai::FLOAT = 0_f64;

/// Each must end with the budget.
const ENDLESS: [&str; 3] = ["loop {}", "[1].map(|x| { loop {} })", "fn f() { while true {} } f()"];

pub(super) async fn run(cloud: &Picloud) -> Result<()> {
    if cfg!(panic = "abort") {
        return Err(Error::internal(
            "picloud needs panic = \"unwind\": a panic in a host function must end one execution, not the process",
        ));
    }
    for source in ENDLESS {
        let sandbox = ScriptSandbox { max_operations: Some(1_000), ..ScriptSandbox::default() };
        let script = ScriptRecord {
            id: ScriptId::new(),
            name: ScriptName::new("self-test")?,
            kind: ScriptKind::Endpoint,
            source: source.into(),
            version: 1,
            sandbox,
            timeout_seconds: Some(5),
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let mut invocation = Invocation::new(AppId::new(), Arc::new(script));
        invocation.unrecorded = true;
        let outcome = cloud.executor().run(invocation).await;
        if !outcome.result.as_ref().is_err_and(|failure| failure.class == FailureClass::Budget) {
            return Err(Error::internal(
                "this build of the script interpreter cannot be stopped by its operation budget",
            )
            .with("script", source)
            .with("outcome", format!("{:?}", outcome.result)));
        }
    }
    Ok(())
}
