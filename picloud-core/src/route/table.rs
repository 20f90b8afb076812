//! All routes of an app, compiled for look-up.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::Method;

use super::host::{Hosts, MAX_HOST_BYTES, normalize_host};
use super::normalize::NormalPath;
use super::pattern::Segment;
use super::query::percent_decode;
use super::{PathKind, PathPattern, RouteMethod, RoutePatterns, RouteRecord};
use crate::{Error, Result};

/// All routes of an app: immutable, so share it in an `Arc` and replace it as a whole.
///
/// Which route answers, when several match:
/// 1. a literal host before a wildcard, a wildcard with the longer suffix before a shorter, any host last;
/// 2. an exact path before the rest; then more literal segments at the beginning (`/a/b/*` before `/a/:x/c`);
///    then captures before a prefix; then the longer prefix;
/// 3. among equals, which only differ in method: the method itself, then `ANY`, then `GET` for `HEAD`.
///
/// A route that matches all but the method is passed over, and the next in this order may answer. `HEAD` goes
/// where `GET` would go, unless a route for `HEAD` (or `ANY`) ranks at least as high. Routes that conflict are
/// not refused here: the one with the lower id, the older, answers.
///
/// ```
/// use picloud_core::route::{RouteMatch, RouteTable, normalize_path};
///
/// let table = RouteTable::default();
/// let path = normalize_path("/greet").unwrap();
/// assert_eq!(table.find("example.com", &path, &http::Method::GET), RouteMatch::NotFound);
/// ```
#[derive(Debug, Default)]
pub struct RouteTable {
    strict: HashMap<Box<str>, Paths>,
    wildcard: HashMap<Box<str>, Paths>,
    any: Paths,
    len: usize,
}

/// What a [`RouteTable`] says about a request.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteMatch<'t> {
    /// This route answers.
    Found {
        /// The route.
        route: &'t Arc<RouteRecord>,
        /// What was captured, decoded: by the host pattern first, then by the path in order.
        params: Vec<(Arc<str>, String)>,
        /// What the star of a prefix stands for, without leading slash and as in a [`NormalPath`]: an encoded
        /// slash is still `%2F`. Empty for other routes.
        rest: String,
    },
    /// The path exists, but not for this method: 405 with `Allow`.
    MethodNotAllowed {
        /// What it exists for.
        allow: Allow,
    },
    /// `OPTIONS` for a path none of whose routes answers it: 204 with `Allow`.
    Options {
        /// What the path exists for.
        allow: Allow,
    },
    /// No route for the path: 404.
    NotFound,
}

/// The methods of a path, as an `Allow` header wants them: displayed as `GET, HEAD, OPTIONS`.
///
/// `HEAD` is among them wherever `GET` is, and `OPTIONS` always: the table answers it where no route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow(Vec<Method>);

impl Allow {
    pub(super) fn new(methods: impl IntoIterator<Item = Method>) -> Self {
        let mut methods: Vec<Method> = methods.into_iter().chain([Method::OPTIONS]).collect();
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|one, two| one.as_str().cmp(two.as_str()));
        methods.dedup();
        Allow(methods)
    }

    /// The methods, in alphabetical order.
    pub fn methods(&self) -> &[Method] {
        &self.0
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, method) in self.0.iter().enumerate() {
            write!(f, "{}{method}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl RouteTable {
    /// Compiles the routes of one app.
    ///
    /// # Errors
    /// `route.invalid_pattern` of the first route whose patterns are not valid, naming it.
    pub fn build<R: Into<Arc<RouteRecord>>>(routes: impl IntoIterator<Item = R>) -> Result<Self> {
        let mut table = RouteTable::default();
        for route in routes {
            let route = route.into();
            let RoutePatterns { host, path } =
                RoutePatterns::of(&route).map_err(|error| Error::from(error).with("route", route.id))?;
            let paths = match host.hosts() {
                Hosts::Any => &mut table.any,
                Hosts::Strict(name) => table.strict.entry(name.clone()).or_default(),
                Hosts::Wildcard { suffix, .. } => table.wildcard.entry(suffix.clone()).or_default(),
            };
            paths.insert(&path, Entry::new(route, host.param(), &path));
            table.len += 1;
        }
        Ok(table)
    }

    /// How many routes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which route answers. `host` is as sent, possibly empty or with a port.
    ///
    /// Takes no lock and waits for nothing. Allocates only for what was captured, and for open patterns to
    /// choose from.
    pub fn find(&self, host: &str, path: &NormalPath<'_>, method: &Method) -> RouteMatch<'_> {
        let mut search = Search { method, allow: Vec::new() };
        if !self.strict.is_empty() || !self.wildcard.is_empty() {
            for (paths, labels) in self.named(&normalize_host(host)) {
                if let Some(entry) = paths.find(path, &mut search) {
                    return entry.found(labels, path);
                }
            }
        }
        if let Some(entry) = self.any.find(path, &mut search) {
            return entry.found("", path);
        }
        match search.allow {
            allow if allow.is_empty() => RouteMatch::NotFound,
            allow if *method == Method::OPTIONS => RouteMatch::Options { allow: Allow::new(allow) },
            allow => RouteMatch::MethodNotAllowed { allow: Allow::new(allow) },
        }
    }

    /// The paths of patterns that name this host in order of precedence, each with the labels that a wildcard matched.
    fn named<'t, 'h>(&'t self, host: &'h str) -> impl Iterator<Item = (&'t Paths, &'h str)> {
        // No pattern matches a longer host; without the bound, a header full of dots would cost its square.
        let known = if host.len() <= MAX_HOST_BYTES { host } else { "" };
        let strict = self.strict.get(known).map(|paths| (paths, ""));
        let dots = if self.wildcard.is_empty() { "" } else { known };
        let wildcard = dots.match_indices('.').filter_map(|(dot, _)| {
            let (labels, suffix) = host.split_at_checked(dot)?;
            // `.example.com` has no label that a star could stand for.
            let paths = self.wildcard.get(suffix.strip_prefix('.')?).filter(|_| !labels.is_empty())?;
            Some((paths, labels))
        });
        strict.into_iter().chain(wildcard)
    }
}

/// The routes of one host pattern. Most apps have few: looking through those is quicker than hashing what is looked for, and
/// nothing that a tenant names makes it slow.
#[derive(Debug, Default)]
struct Paths {
    exact: BTreeMap<Box<str>, Leaf>,
    open: Node,
}

/// Patterns with captures or star, by segment. Reached through literals only, a node has all patterns that
/// begin with exactly these literals: its captures, and its own prefix.
#[derive(Debug, Default)]
struct Node {
    literal: BTreeMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    end: Leaf,
    prefix: Leaf,
}

/// Routes of one pattern, but for the names of its captures.
type Leaf = Vec<Entry>;

#[derive(Debug)]
struct Entry {
    route: Arc<RouteRecord>,
    host_param: Option<Arc<str>>,
    /// Where the captures are.
    params: Vec<(usize, Arc<str>)>,
    /// How many segments come before the star.
    prefix: Option<usize>,
}

struct Search<'m> {
    method: &'m Method,
    /// Methods of routes that were passed over.
    allow: Vec<Method>,
}

impl Paths {
    fn insert(&mut self, pattern: &PathPattern, entry: Entry) {
        if pattern.kind() == PathKind::Exact {
            let path: String = pattern.leading_literals().flat_map(|literal| ["/", literal]).collect();
            let path = if path.is_empty() { "/".to_owned() } else { path };
            return self.exact.entry(path.into()).or_default().push(entry);
        }
        let node = pattern.segments().iter().fold(&mut self.open, |node, segment| match segment {
            Segment::Literal(text) => node.literal.entry(text.clone()).or_default(),
            Segment::Param(_) => node.param.get_or_insert_default(),
        });
        if entry.prefix.is_some() { &mut node.prefix } else { &mut node.end }.push(entry);
    }

    fn find(&self, path: &NormalPath<'_>, search: &mut Search<'_>) -> Option<&Entry> {
        let exact = self.exact.get(path.as_str()).and_then(|leaf| search.choose([leaf]));
        exact.or_else(|| self.open.find(Rest::of(path), search))
    }
}

/// The segments of a path that are left to match.
#[derive(Clone, Copy)]
struct Rest<'p>(&'p str);

impl<'p> Rest<'p> {
    fn of(path: &'p NormalPath<'_>) -> Self {
        Rest(path.as_str().strip_prefix('/').unwrap_or_default())
    }

    fn split_first(self) -> Option<(&'p str, Self)> {
        // A path in normal form has no empty segments.
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.split_once('/').map_or((self.0, Rest("")), |(first, after)| (first, Rest(after))))
    }
}

impl Node {
    /// Finds the best pattern below this node, which was reached through literals only. Each level of the
    /// recursion is a segment of a pattern, so [`MAX_SEGMENTS`](super::MAX_SEGMENTS) bounds it.
    fn find(&self, rest: Rest<'_>, search: &mut Search<'_>) -> Option<&Entry> {
        let (first, after) = rest.split_first()?;
        if let Some(entry) = self.literal.get(first).and_then(|node| node.find(after, search)) {
            return Some(entry);
        }
        if let Some(param) = &self.param {
            let (mut end, mut prefixes) = (None, Vec::new());
            param.collect(after, 1, search, &mut end, &mut prefixes);
            if let Some((_, entry)) = end {
                return Some(entry);
            }
            // The longer prefix first.
            prefixes.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
            for equals in prefixes.chunk_by(|(one, _), (two, _)| one == two) {
                if let Some(entry) = search.choose(equals.iter().map(|(_, leaf)| *leaf)) {
                    return Some(entry);
                }
            }
        }
        search.choose([&self.prefix])
    }

    /// Everything below a capture that matches: the best of full matches, and prefixes with the number of segments
    /// before their star.
    fn collect<'t>(
        &'t self,
        rest: Rest<'_>,
        depth: usize,
        search: &mut Search<'_>,
        end: &mut Option<(u8, &'t Entry)>,
        prefixes: &mut Vec<(usize, &'t Leaf)>,
    ) {
        let Some((first, after)) = rest.split_first() else {
            return search.improve(end, &self.end);
        };
        if !self.prefix.is_empty() {
            prefixes.push((depth, &self.prefix));
        }
        for node in self.literal.get(first).into_iter().chain(self.param.as_deref()) {
            node.collect(after, depth + 1, search, end, prefixes);
        }
    }
}

impl Search<'_> {
    /// The best for the method among routes of equal rank; if none answers it, their methods are noted.
    fn choose<'t>(&mut self, leaves: impl IntoIterator<Item = &'t Leaf>) -> Option<&'t Entry> {
        let mut best = None;
        leaves.into_iter().for_each(|leaf| self.improve(&mut best, leaf));
        best.map(|(_, entry)| entry)
    }

    /// Puts a better route of the leaf, if it has one, in the place of the best so far.
    fn improve<'t>(&mut self, best: &mut Option<(u8, &'t Entry)>, leaf: &'t Leaf) {
        for entry in leaf {
            let Some(fit) = fit(&entry.route.method, self.method) else {
                if let RouteMethod::Only(method) = &entry.route.method {
                    self.allow.push(method.clone());
                }
                continue;
            };
            if best.is_none_or(|(least, chosen)| (fit, entry.route.id) < (least, chosen.route.id)) {
                *best = Some((fit, entry));
            }
        }
    }
}

/// How well a route's method fits a request's; less is better.
fn fit(route: &RouteMethod, method: &Method) -> Option<u8> {
    match route {
        RouteMethod::Only(only) if only == method => Some(0),
        RouteMethod::Any => Some(1),
        RouteMethod::Only(only) if *only == Method::GET && *method == Method::HEAD => Some(2),
        RouteMethod::Only(_) => None,
    }
}

impl Entry {
    fn new(route: Arc<RouteRecord>, host_param: Option<&str>, path: &PathPattern) -> Self {
        let params = path.segments().iter().enumerate().filter_map(|(at, segment)| match segment {
            Segment::Param(name) => Some((at, name.clone())),
            Segment::Literal(_) => None,
        });
        Entry {
            route,
            host_param: host_param.map(Arc::from),
            params: params.collect(),
            prefix: (path.kind() == PathKind::Prefix).then_some(path.segments().len()),
        }
    }

    fn found(&self, labels: &str, path: &NormalPath<'_>) -> RouteMatch<'_> {
        let mut params = Vec::with_capacity(self.params.len() + usize::from(self.host_param.is_some()));
        params.extend(self.host_param.iter().map(|name| (name.clone(), labels.to_owned())));
        params.extend(self.params.iter().filter_map(|(at, name)| {
            let segment = path.segments().nth(*at)?;
            Some((name.clone(), percent_decode(segment, false).into_owned()))
        }));
        // The slash after as many segments as come before the star.
        let star = self.prefix.and_then(|segments| path.as_str().match_indices('/').nth(segments));
        let rest = star.and_then(|(slash, _)| path.as_str().get(slash + 1..)).unwrap_or_default();
        RouteMatch::Found { route: &self.route, params, rest: rest.to_owned() }
    }
}
