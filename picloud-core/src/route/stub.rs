#![allow(missing_docs, dead_code)]
use super::RouteRecord;
use crate::Result;
#[derive(Debug, Clone)]
pub struct PathPattern(String);
#[derive(Debug, thiserror::Error)]
#[error("bad")]
pub struct PatternError;
impl From<PatternError> for crate::Error {
    fn from(e: PatternError) -> Self {
        crate::Error::invalid("route.invalid_pattern", e.to_string())
    }
}
impl PathPattern {
    pub fn parse(t: &str) -> Result<Self, PatternError> {
        if t.contains('{') { Err(PatternError) } else { Ok(Self(t.into())) }
    }
}
#[derive(Debug, Clone)]
pub struct HostPattern;
impl HostPattern {
    pub fn parse(_t: &str) -> Result<Self, PatternError> {
        Ok(Self)
    }
}
#[derive(Debug, Default)]
pub struct RouteTable;
impl RouteTable {
    pub fn build(_r: &[RouteRecord]) -> Result<Self> {
        Ok(Self)
    }
}
pub fn find_conflict<'a>(
    _n: &RouteRecord,
    _e: impl Iterator<Item = &'a RouteRecord>,
) -> Option<&'a RouteRecord> {
    None
}
pub fn check_reserved(_p: &PathPattern, _r: &[String]) -> Result<()> {
    Ok(())
}
use std::sync::Arc;
pub struct NormalPath<'a>(std::borrow::Cow<'a, str>);
impl NormalPath<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
pub fn normalize_path(p: &str) -> Result<NormalPath<'_>, PatternError> {
    Ok(NormalPath(p.into()))
}
pub enum RouteMatch {
    Found { route: Arc<RouteRecord>, params: Vec<(Arc<str>, String)>, rest: String },
    MethodNotAllowed { allow: String },
    Options { allow: String },
    NotFound,
}
impl RouteTable {
    pub fn find(&self, _h: &str, _p: &NormalPath<'_>, _m: &http::Method) -> RouteMatch {
        RouteMatch::NotFound
    }
}
