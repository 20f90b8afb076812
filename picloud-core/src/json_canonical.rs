//! Any JSON text to canonical text.

use crate::{Error, Result};

pub(crate) fn canonicalize(text: &str) -> Result<String> {
    // Replaced by a direct transcoder.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Error::invalid("json.invalid", error.to_string()))?;
    Ok(value.to_string())
}
