//! The rules of precedence once more, as plainly as they can be said: every route is looked at, the matching
//! ones are sorted. What the table is compared with.

use std::cmp::Reverse;
use std::sync::Arc;

use http::Method;

use super::host::{Hosts, MAX_HOST_BYTES};
use super::pattern::Segment;
use super::table::{Allow, RouteMatch};
use super::{NormalPath, RouteMethod, RoutePatterns, RouteRecord};

/// What [`RouteTable::find`](super::RouteTable::find) must answer; `host` is in normal form.
pub(super) fn find<'a>(
    routes: &'a [Arc<RouteRecord>],
    host: &str,
    path: &NormalPath<'_>,
    method: &Method,
) -> RouteMatch<'a> {
    let segments: Vec<&str> = path.as_str().split('/').filter(|segment| !segment.is_empty()).collect();
    // No pattern is longer, and a wildcard matches no host that cannot be one.
    let host = if host.len() <= MAX_HOST_BYTES { host } else { "" };
    let mut matching: Vec<_> = routes.iter().filter_map(|route| candidate(route, host, &segments)).collect();
    matching
        .sort_by_key(|candidate| (candidate.rank, method_rank(candidate.route, method), candidate.route.id));
    let mut allow = Vec::new();
    for Candidate { route, params, rest, .. } in matching {
        match (&route.method, method_rank(route, method)) {
            (_, Some(_)) => return RouteMatch::Found { route, params, rest },
            (RouteMethod::Only(other), None) => allow.push(other.clone()),
            (RouteMethod::Any, None) => {}
        }
    }
    match (allow.is_empty(), method == Method::OPTIONS) {
        (true, _) => RouteMatch::NotFound,
        (false, true) => RouteMatch::Options { allow: Allow::new(allow) },
        (false, false) => RouteMatch::MethodNotAllowed { allow: Allow::new(allow) },
    }
}

/// Kind of host, length of its suffix, not exact, leading literals, prefix, length.
pub(super) type Rank = (u8, Reverse<usize>, bool, Reverse<usize>, bool, Reverse<usize>);

pub(super) struct Candidate<'a> {
    route: &'a Arc<RouteRecord>,
    pub(super) rank: Rank,
    params: Vec<(Arc<str>, String)>,
    rest: String,
}

/// The route, if it matches host and path, whatever the method.
pub(super) fn candidate<'a>(route: &'a Arc<RouteRecord>, host: &str, path: &[&str]) -> Option<Candidate<'a>> {
    let patterns = RoutePatterns::of(route).ok()?;
    let mut params = Vec::new();
    let (host_kind, suffix_labels) = match patterns.host.hosts() {
        Hosts::Strict(name) if host == &**name => (0, 0),
        Hosts::Strict(_) => return None,
        Hosts::Wildcard { suffix, name } => {
            let labels = host.strip_suffix(&format!(".{suffix}")).filter(|labels| !labels.is_empty())?;
            params.extend(name.iter().map(|name| (name.clone(), labels.to_owned())));
            (1, suffix.split('.').count())
        }
        Hosts::Any => (2, 0),
    };
    let pattern = patterns.path.segments();
    let prefix = patterns.path.as_str().ends_with("/*");
    if prefix && path.len() <= pattern.len() || !prefix && path.len() != pattern.len() {
        return None;
    }
    let mut leading = 0;
    for (at, (segment, sent)) in pattern.iter().zip(path).enumerate() {
        match segment {
            Segment::Literal(text) if **text != **sent => return None,
            Segment::Literal(_) if leading == at => leading += 1,
            Segment::Literal(_) => {}
            Segment::Param(name) => params.push((name.clone(), decoded(sent))),
        }
    }
    let exact = !prefix && leading == pattern.len();
    let rest = if prefix { path.get(pattern.len()..)?.join("/") } else { String::new() };
    let rank = (host_kind, Reverse(suffix_labels), !exact, Reverse(leading), prefix, Reverse(pattern.len()));
    Some(Candidate { route, rank, params, rest })
}

/// In a normal path only these four are left encoded; the percent sign last, or it would be decoded twice.
fn decoded(segment: &str) -> String {
    segment.replace("%2F", "/").replace("%3F", "?").replace("%23", "#").replace("%25", "%")
}

fn method_rank(route: &RouteRecord, method: &Method) -> Option<u8> {
    match &route.method {
        RouteMethod::Only(own) if own == method => Some(0),
        RouteMethod::Any => Some(1),
        RouteMethod::Only(own) if own == Method::GET && method == Method::HEAD => Some(2),
        RouteMethod::Only(_) => None,
    }
}
