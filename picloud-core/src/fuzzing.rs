//! What must hold for any bytes from outside, as functions that fuzz targets and property tests call.

use crate::Json;
use crate::engine::convert::{self, ConvertLimits};

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
