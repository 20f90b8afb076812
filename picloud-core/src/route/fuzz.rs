//! Entry points for fuzzers; with feature `fuzzing` only.

use std::sync::Arc;

use http::Method;

use super::{
    DispatchMode, RouteMatch, RouteMethod, RoutePatterns, RouteRecord, RouteTable, naive, normalize_host,
    normalize_path, parse_query,
};
use crate::script::Owner;
use crate::{RouteId, ScriptId, Timestamp};

/// Makes routes and a request of `bytes` and compares the table with a linear search.
///
/// The bytes are text, lossily, in lines: the first is a request as `METHOD host/path?query`, each further one a
/// route as `METHOD host/path`. Lines that are no valid route, and requests without a normal path, are passed
/// over; nothing may panic.
///
/// # Panics
/// If table and linear search disagree.
pub fn route(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let (method, host, target) = parts(lines.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let _ = parse_query(query).count();
    let routes: Vec<Arc<RouteRecord>> = lines.take(64).filter_map(record).map(Arc::new).collect();
    let valid: Vec<_> = routes.iter().filter(|route| RoutePatterns::of(route).is_ok()).cloned().collect();
    assert_eq!(RouteTable::build(routes.clone()).is_ok(), valid.len() == routes.len());
    let (Ok(path), Ok(method)) = (normalize_path(path), method.parse::<Method>()) else { return };
    let table = RouteTable::build(valid.clone());
    let found = table.as_ref().map(|table| table.find(host, &path, &method));
    let expected = naive::find(&valid, &normalize_host(host), &path, &method);
    assert!(found.as_ref().is_ok_and(|found| *found == expected), "{found:?} is not {expected:?}");
    if let RouteMatch::Found { rest, .. } = &expected {
        assert!(path.as_str().ends_with(rest));
    }
}

fn parts(line: &str) -> (&str, &str, &str) {
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
    (method, host, path)
}

/// A route written as `METHOD host/path`, with a new id.
pub(super) fn record(line: &str) -> Option<RouteRecord> {
    let (method, host, path) = parts(line);
    let method: RouteMethod = method.parse().ok()?;
    Some(RouteRecord {
        id: RouteId::new(),
        script: ScriptId::new(),
        method,
        host: (!host.is_empty()).then(|| host.to_owned()),
        path: path.to_owned(),
        dispatch_mode: DispatchMode::Sync,
        owner: Owner::Api,
        created_at: Timestamp::UNIX_EPOCH,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn a_request_and_its_route_are_understood() {
        super::route(
            b"GET a.example.com:80/users/4%32?q=1\nGET :t.example.com/users/:id\nANY /*\nGET /{bad}\nx",
        );
    }

    #[test]
    fn a_host_longer_than_hosts_are_is_no_wildcards() {
        let host = format!("{}.example.com", "a".repeat(super::super::MAX_HOST_BYTES));
        super::route(format!("GET {host}/x\nGET *.example.com/x\nGET /x").as_bytes());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_find_no_disagreement(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::route(&bytes);
        }
    }
}
