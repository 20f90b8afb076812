use crate::{Error, Json, Result};
use rhai::Dynamic;
pub(crate) struct ConvertLimits {
    pub(crate) max_bytes: usize,
}
impl Default for ConvertLimits {
    fn default() -> Self {
        Self { max_bytes: 10 << 20 }
    }
}
pub(crate) fn to_json(v: &Dynamic, _l: ConvertLimits) -> Result<Json> {
    Ok(Json::from_canonical(
        serde_json::to_string(v).map_err(|e| Error::invalid("json.invalid", e.to_string()))?,
    ))
}
pub(crate) fn to_json_text(v: &Dynamic, l: ConvertLimits) -> Result<String> {
    to_json(v, l).map(|j| j.as_str().to_owned())
}
pub(crate) fn from_json(j: &Json) -> Result<Dynamic> {
    parse_json(j.as_str().as_bytes())
}
pub(crate) fn parse_json(b: &[u8]) -> Result<Dynamic> {
    serde_json::from_slice(b).map_err(|e| Error::invalid("json.invalid", e.to_string()))
}
pub(crate) fn from_dynamic<T: serde::de::DeserializeOwned>(v: Dynamic) -> Result<T> {
    rhai::serde::from_dynamic(&v).map_err(|e| Error::invalid("json.mismatch", e.to_string()))
}
pub(crate) fn to_dynamic<T: serde::Serialize>(v: &T) -> Result<Dynamic> {
    rhai::serde::to_dynamic(v).map_err(|e| Error::invalid("json.mismatch", e.to_string()))
}
