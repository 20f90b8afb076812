//! What a route is.

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::script::Owner;
use crate::{Error, Result, RouteId, ScriptId, Timestamp};

/// Paths that belong to the host by default: no route may claim them.
pub const DEFAULT_RESERVED_PREFIXES: &[&str] = &["/api/", "/admin/", "/healthz", "/readyz", "/version"];

/// The method that a route answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteMethod {
    /// Every method.
    Any,
    /// This one. `GET` answers `HEAD` too, unless another route of the path names `HEAD`.
    Only(Method),
}

impl FromStr for RouteMethod {
    type Err = Error;

    /// Reads a method name in upper case, or `ANY`.
    fn from_str(text: &str) -> Result<Self> {
        if text == "ANY" {
            return Ok(RouteMethod::Any);
        }
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        match Method::from_str(text) {
            Ok(method) if known.contains(&text) => Ok(RouteMethod::Only(method)),
            _ => Err(Error::invalid(
                "route.invalid_method",
                format!("{text:?} is not a method; expected one of {} or ANY", known.join(", ")),
            )),
        }
    }
}

impl fmt::Display for RouteMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteMethod::Any => "ANY",
            RouteMethod::Only(method) => method.as_str(),
        })
    }
}

impl Serialize for RouteMethod {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RouteMethod {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether the caller waits for the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DispatchMode {
    /// The script runs and its answer is the response.
    #[default]
    Sync,
    /// An outbox row is written and the response is 202.
    Async,
}

/// A route as it is stored: patterns as they were typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Identifies the route.
    pub id: RouteId,
    /// The script that answers.
    pub script: ScriptId,
    /// The method.
    pub method: RouteMethod,
    /// The host pattern as typed; `None` for any host.
    pub host: Option<String>,
    /// The path pattern as typed.
    pub path: String,
    /// Whether the caller waits.
    pub dispatch_mode: DispatchMode,
    /// Who made it.
    pub owner: Owner,
    /// When it was created.
    pub created_at: Timestamp,
}
