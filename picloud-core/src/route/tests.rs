//! The table by example and against the linear search, and what a conflict means for it.

use std::sync::Arc;

use http::Method;
use proptest::prelude::*;

use super::host::Hosts;
use super::pattern::Segment;
use super::*;

/// A route written as `METHOD host/path`, with a new id.
pub(super) fn route(text: &str) -> RouteRecord {
    let route = fuzz::record(text).unwrap();
    RoutePatterns::of(&route).unwrap();
    route
}

fn table(routes: &[&str]) -> RouteTable {
    RouteTable::build(routes.iter().map(|text| route(text))).unwrap()
}

/// The answer to a request `METHOD host/path`, as text.
fn ask(table: &RouteTable, request: &str) -> String {
    let (method, target) = request.split_once(' ').unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    match table.find(host, &normalize_path(path).unwrap(), &method.parse().unwrap()) {
        RouteMatch::Found { route, params, rest } => {
            let host = route.host.as_deref().unwrap_or_default();
            let params: String = params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let rest = if rest.is_empty() { rest } else { format!(" rest={rest}") };
            format!("{} {host}{}{params}{rest}", route.method, route.path)
        }
        RouteMatch::MethodNotAllowed { allow } => format!("405 {allow}"),
        RouteMatch::Options { allow } => format!("204 {allow}"),
        RouteMatch::NotFound => "404".to_owned(),
    }
}

fn answer(routes: &[&str], request: &str) -> String {
    ask(&table(routes), request)
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = RouteTable::default();
    assert!(table.is_empty());
    assert_eq!(ask(&table, "GET example.com/"), "404");
    assert_eq!(ask(&table, "OPTIONS example.com/"), "404");
}

#[test]
fn a_trailing_slash_of_the_request_is_ignored() {
    assert_eq!(answer(&["GET /greet"], "GET h/greet/"), "GET /greet");
}

#[test]
fn letter_case_of_a_path_matters() {
    assert_eq!(answer(&["GET /greet"], "GET h/Greet"), "404");
}

#[test]
fn a_capture_is_one_decoded_segment() {
    let routes = ["GET /users/:id/files/:file"];
    assert_eq!(
        answer(&routes, "GET h/users/4%32/files/a%2Fb%20%2541"),
        format!("{} id=42 file=a/b %41", routes[0])
    );
    assert_eq!(answer(&routes, "GET h/users/42/files"), "404");
    assert_eq!(answer(&routes, "GET h/users/42/files/a/b"), "404");
}

#[test]
fn a_prefix_matches_what_lies_below_it() {
    let table = table(&["GET /greet/*"]);
    assert_eq!(ask(&table, "GET h/greet/a/b"), "GET /greet/* rest=a/b");
    assert_eq!(ask(&table, "GET h/greet"), "404");
    assert_eq!(ask(&table, "GET h/greet/"), "404");
    assert_eq!(ask(&table, "GET h/greetings"), "404");
}

#[test]
fn the_rest_keeps_an_encoded_slash_apart() {
    assert_eq!(answer(&["GET /f/*"], "GET h/f/..%2fx//%41/"), "GET /f/* rest=..%2Fx/A");
}

#[test]
fn the_prefix_of_everything_leaves_the_root_out() {
    let table = table(&["GET /*"]);
    assert_eq!(ask(&table, "GET h/a"), "GET /* rest=a");
    assert_eq!(ask(&table, "GET h/"), "404");
}

#[test]
fn a_prefix_may_follow_a_capture() {
    assert_eq!(answer(&["GET /users/:id/*"], "GET h/users/7/a/b"), "GET /users/:id/* id=7 rest=a/b");
}

#[test]
fn paths_rank_by_exactness_then_leading_literals_then_kind_then_length() {
    let ranked = [
        "GET /a/b/c",
        "GET /a/b/:x",
        "GET /a/b/*",
        "GET /a/:x/c",
        "GET /a/:x/*",
        "GET /a/*",
        "GET /:x/b/c",
        "GET /:x/*",
        "GET /*",
    ];
    for first in 0..ranked.len() {
        // The best comes last, so that the order of registration cannot help.
        let routes: Vec<&str> = ranked[first..].iter().rev().copied().collect();
        let found = answer(&routes, "GET h/a/b/c");
        assert!(found == ranked[first] || found.starts_with(&format!("{} ", ranked[first])), "{found}");
    }
}

#[test]
fn hosts_rank_by_literal_then_longer_wildcard_then_any() {
    let ranked = ["GET x.a.example.com/*", "GET *.a.example.com/:p", "GET *.example.com/p", "GET /p"];
    for first in 0..ranked.len() {
        let routes: Vec<&str> = ranked[first..].iter().rev().copied().collect();
        assert!(answer(&routes, "GET X.a.example.com.:80/p").starts_with(ranked[first]));
    }
}

#[test]
fn a_host_without_the_path_falls_through_to_the_next() {
    let table = table(&["GET shop.example.com/a", "GET *.example.com/b", "GET /c"]);
    assert_eq!(ask(&table, "GET shop.example.com/b"), "GET *.example.com/b");
    assert_eq!(ask(&table, "GET shop.example.com/c"), "GET /c");
    assert_eq!(ask(&table, "GET shop.example.com/d"), "404");
}

#[test]
fn a_wildcard_matches_at_any_depth_but_not_the_domain_itself() {
    let table = table(&["GET *.example.com/"]);
    assert_eq!(ask(&table, "GET a.example.com/"), "GET *.example.com/");
    assert_eq!(ask(&table, "GET a.b.example.com/"), "GET *.example.com/");
    for host in ["example.com", ".example.com", "badexample.com", "", "com"] {
        assert_eq!(ask(&table, &format!("GET {host}/")), "404", "{host}");
    }
}

#[test]
fn a_named_wildcard_captures_its_labels_before_the_path_captures() {
    assert_eq!(
        answer(&["GET :tenant.example.com/:id"], "GET A.b.Example.com:8080/7"),
        "GET :tenant.example.com/:id tenant=a.b id=7"
    );
}

#[test]
fn a_host_longer_than_any_pattern_matches_only_any() {
    let long = format!("{}com", "a.".repeat(4_000));
    assert_eq!(answer(&["GET *.com/", "GET /"], &format!("GET {long}/")), "GET /");
}

#[test]
fn a_route_of_another_method_is_passed_over() {
    let routes = ["POST h.com/a/b", "POST /a/b", "GET /a/:x", "GET /*"];
    assert_eq!(answer(&routes, "GET h.com/a/b"), "GET /a/:x x=b");
    assert_eq!(answer(&routes[..2], "GET h.com/a/b"), "405 OPTIONS, POST");
}

#[test]
fn allow_names_the_methods_of_every_route_of_the_path() {
    let routes = ["POST h.com/a", "GET /a", "PUT /:x", "DELETE /*", "PATCH /b"];
    assert_eq!(answer(&routes, "PROPFIND h.com/a"), "405 DELETE, GET, HEAD, OPTIONS, POST, PUT");
}

#[test]
fn any_answers_every_method() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
        assert_eq!(answer(&["ANY /a"], &format!("{method} h/a")), "ANY /a");
    }
}

#[test]
fn head_goes_where_get_goes_unless_a_route_names_it() {
    assert_eq!(answer(&["GET /a"], "HEAD h/a"), "GET /a");
    assert_eq!(answer(&["GET /a", "HEAD /a"], "HEAD h/a"), "HEAD /a");
    assert_eq!(answer(&["GET /a", "HEAD /:x", "ANY /*"], "HEAD h/a"), "GET /a");
    assert_eq!(answer(&["GET /:x/a", "HEAD /:x/:y"], "HEAD h/a/a"), "HEAD /:x/:y x=a y=a");
    assert_eq!(answer(&["POST /a"], "HEAD h/a"), "405 OPTIONS, POST");
}

#[test]
fn options_is_answered_with_allow_where_no_route_answers_it() {
    assert_eq!(answer(&["GET /a", "POST /*"], "OPTIONS h/a"), "204 GET, HEAD, OPTIONS, POST");
    assert_eq!(answer(&["GET /a", "OPTIONS /*"], "OPTIONS h/a"), "OPTIONS /* rest=a");
    assert_eq!(answer(&["GET /a"], "OPTIONS h/b"), "404");
}

#[test]
fn routes_of_one_shape_keep_their_own_names() {
    let table = table(&["GET /users/:id", "POST /users/:name"]);
    assert_eq!(ask(&table, "POST h/users/1"), "POST /users/:name name=1");
    assert_eq!(ask(&table, "GET h/users/1"), "GET /users/:id id=1");
}

#[test]
fn of_conflicting_routes_the_older_answers() {
    let (older, newer) = (route("GET /:a"), route("GET /:b"));
    assert!(older.id < newer.id);
    for routes in [[&older, &newer], [&newer, &older]] {
        let table = RouteTable::build(routes.map(Clone::clone)).unwrap();
        assert_eq!(ask(&table, "GET h/x"), "GET /:a a=x");
    }
}

#[test]
fn a_route_that_is_not_valid_is_named() {
    let bad = fuzz::record("GET /{id}").unwrap();
    let error = RouteTable::build([bad.clone()]).unwrap_err();
    assert_eq!(error.code(), "route.invalid_pattern");
    assert_eq!(error.context().last(), Some(("route", bad.id.to_string().as_str())));
}

/// A route on one of these hosts; the alphabet is small, so that routes often meet.
fn a_route(hosts: &[&'static str]) -> impl Strategy<Value = Arc<RouteRecord>> + use<> {
    let method = prop::sample::select(vec!["GET", "GET", "HEAD", "POST", "OPTIONS", "ANY"]);
    let host = prop::sample::select(hosts.to_vec());
    let segment = prop::sample::select(vec!["a", "b", "%61", ":", ":"]);
    let path = (prop::collection::vec(segment, 0..4), any::<bool>(), "[pq]");
    (method, host, path).prop_map(|(method, host, (segments, star, name))| {
        let mut path: String = segments
            .iter()
            .enumerate()
            .map(
                |(at, segment)| if *segment == ":" { format!("/:{name}{at}") } else { format!("/{segment}") },
            )
            .collect();
        if star || path.is_empty() {
            path.push_str(if star { "/*" } else { "/" });
        }
        Arc::new(route(&format!("{method} {host}{path}")))
    })
}

const HOSTS: &[&str] = &["", "", "a.b", "*.b", ":h.b", "*.a.b", ":h.a.b", "b"];

fn a_request() -> impl Strategy<Value = (Method, &'static str, String)> {
    let method =
        prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::PUT]);
    let host = prop::sample::select(vec!["", "a.b", "A.B.:80", "b", "x.a.b", "y.x.a.b", "x.b", "c", ".b"]);
    let segment = prop::sample::select(vec!["a", "b", "a", "b", "c", "a%2Fb", "%25"]);
    let path = prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")));
    (method, host, path)
}

/// A request that both of two conflicting routes match.
fn witness(one: &RoutePatterns, two: &RoutePatterns) -> (String, String) {
    let host = match one.host.hosts() {
        Hosts::Any => "anything".to_owned(),
        Hosts::Strict(name) => name.to_string(),
        Hosts::Wildcard { suffix, .. } => format!("x.{suffix}"),
    };
    let segments = one.path.segments().iter().zip(two.path.segments()).map(|pair| match pair {
        (Segment::Literal(text), _) | (_, Segment::Literal(text)) => format!("/{text}"),
        _ => "/x".to_owned(),
    });
    let below = if one.path.kind() == PathKind::Prefix { "/below" } else { "" };
    (host, segments.collect::<String>() + below)
}

/// Every two of them, in the order in which they were made.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter().enumerate().flat_map(|(at, one)| all.iter().skip(at + 1).map(move |two| (one, two)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_table_answers_as_a_linear_search_does(
        routes in prop::collection::vec(a_route(HOSTS), 0..16),
        requests in prop::collection::vec(a_request(), 1..8),
    ) {
        let table = RouteTable::build(routes.iter().cloned()).unwrap();
        prop_assert_eq!(table.len(), routes.len());
        for (method, host, path) in requests {
            let path = normalize_path(&path).unwrap();
            let expected = naive::find(&routes, &normalize_host(host), &path, &method);
            prop_assert_eq!(table.find(host, &path, &method), expected, "{} {}{}", method, host, path);
        }
    }

    #[test]
    fn routes_that_rank_equally_for_a_request_conflict_or_differ_in_method(
        routes in prop::collection::vec(a_route(&["", "*.b", ":h.b"]), 2..12),
        requests in prop::collection::vec(a_request(), 1..6),
    ) {
        let apart = |a: &RouteMethod, b: &RouteMethod| a != b && *a != RouteMethod::Any && *b != RouteMethod::Any;
        for (.., path) in requests {
            let path = normalize_path(&path).unwrap();
            let segments: Vec<&str> = path.segments().collect();
            let rank = |route| naive::candidate(route, "x.b", &segments).map(|candidate| candidate.rank);
            for (one, two) in pairs(&routes) {
                if rank(one).is_some() && rank(one) == rank(two) && !apart(&one.method, &two.method) {
                    prop_assert!(find_conflict(one, [&**two]).is_some(), "{} {}", one.path, two.path);
                }
            }
        }
    }

    #[test]
    fn routes_that_conflict_share_a_request(
        routes in prop::collection::vec(a_route(HOSTS), 2..12),
    ) {
        for (one, two) in pairs(&routes).filter(|(one, two)| find_conflict(one, [&***two]).is_some()) {
            let patterns = |route: &RouteRecord| RoutePatterns::of(route).unwrap();
            let (host, path) = witness(&patterns(one), &patterns(two));
            let path = normalize_path(&path).unwrap();
            let segments: Vec<&str> = path.segments().collect();
            for route in [one, two] {
                prop_assert!(naive::candidate(route, &host, &segments).is_some(), "{} {host}{path}", route.path);
            }
        }
    }
}
