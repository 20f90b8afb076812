//! What must hold for any bytes from outside, as functions that fuzz targets and property tests call, and what benches
//! measure from inside.

#![allow(clippy::panic, reason = "called by programs that may fail loudly")]

use std::sync::Arc;

use crate::engine::Limits;
use crate::engine::compile::Toolbox;
use crate::engine::convert::{self, ConvertLimits};
use crate::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
use crate::{Json, ScriptId, Timestamp, alloc};

pub use crate::engine::natives::probe::call_random as natives;
pub use crate::route::fuzz::route;

const UNLIMITED: ConvertLimits = ConvertLimits { max_bytes: usize::MAX };

/// Reads `bytes` as JSON on every way there is.
///
/// # Panics
/// When two of them disagree on whether it is JSON, or on the value.
pub fn json(bytes: &[u8]) {
    let value = convert::parse_json(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(value.is_err(), "bytes that are not UTF-8 were read as JSON");
        return;
    };
    let json = Json::parse(text);
    assert_eq!(value.is_ok(), json.is_ok(), "one reader accepts what the other refuses: {text:?}");
    let (Ok(value), Ok(json)) = (value, json) else { return };

    let written = convert::to_json(&value, UNLIMITED).map_err(|error| error.to_string());
    assert_eq!(written.as_ref(), Ok(&json), "the script value of {text:?}");
    let again = convert::from_json(&json).and_then(|value| convert::to_json(&value, UNLIMITED));
    assert_eq!(again.ok().as_ref(), Some(&json), "the script value of canonical {json}");
    assert_eq!(Json::parse(json.as_str()).ok().as_ref(), Some(&json), "canonical text changed");
    assert_eq!(Json::from_value(&json).ok().as_ref(), Some(&json), "embedded");
    assert_eq!(json.to_value::<Json>().ok().as_ref(), Some(&json), "taken out again");

    let foreign = serde_json::from_str::<serde_json::Value>(text).ok();
    let foreign = foreign.and_then(|value| Json::from_value(&value).ok());
    assert_eq!(foreign.as_ref(), Some(&json), "another parser reads {text:?} otherwise");
}

/// A script value, for benches.
#[derive(Debug)]
pub struct Value(rhai::Dynamic);

/// Reads a body as a script gets it.
///
/// # Panics
/// When it is not JSON.
pub fn json_in(bytes: &[u8]) -> Value {
    match convert::parse_json(bytes) {
        Ok(value) => Value(value),
        Err(error) => panic!("{error}"),
    }
}

/// Writes an answer as a client gets it.
///
/// # Panics
/// When it cannot be written.
pub fn json_out(value: &Value) -> String {
    match convert::to_json_text(&value.0, ConvertLimits::default()) {
        Ok(text) => text,
        Err(error) => panic!("{error}"),
    }
}

/// How many bytes a cached script takes. Needs the counting allocator.
///
/// # Panics
/// When it does not compile.
pub fn compiled_bytes(source: &str, limits: &Limits) -> i64 {
    let modules = vec![crate::log::script_module()];
    let compiled = Toolbox::new(limits.clone(), modules).and_then(|toolbox| {
        let toolbox = Arc::new(toolbox);
        let script = ScriptRecord {
            id: ScriptId::new(),
            name: ScriptName::new("bench")?,
            kind: ScriptKind::Endpoint,
            source: source.into(),
            version: 1,
            sandbox: crate::engine::ScriptSandbox::default(),
            timeout_seconds: None,
            owner: Owner::Api,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let before = alloc::live();
        let compiled = toolbox.compile(&script);
        Ok((alloc::live() - before, compiled, toolbox))
    });
    match compiled {
        Ok((bytes, Ok(_), _)) => bytes,
        other => panic!("{other:?}"),
    }
}
