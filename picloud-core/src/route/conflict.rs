//! Routes that could both claim one request.

use super::{RouteMethod, RoutePatterns, RouteRecord};
use crate::{Error, ErrorKind};

/// The first of an app's `existing` routes that conflicts with `new`.
///
/// Two routes conflict if their hosts are the same pattern, their methods overlap, and their paths are of the
/// same kind and could match one request at the same length: exact paths by equality; patterns with captures by
/// as many segments and equal literals wherever both have one; prefixes likewise, so that a longer prefix
/// coexists with a shorter one. Everything else is settled by precedence when a request comes. What a capture
/// is named makes no difference; `GET` and `HEAD` do not overlap, `ANY` overlaps all.
///
/// A route does not conflict with itself: one of the same id is passed over. So is a route whose pattern is not
/// valid; check `new` with [`RoutePatterns::of`] first.
pub fn find_conflict<'a>(
    new: &RouteRecord,
    existing: impl IntoIterator<Item = &'a RouteRecord>,
) -> Option<&'a RouteRecord> {
    let patterns = RoutePatterns::of(new).ok()?;
    existing.into_iter().find(|other| {
        other.id != new.id
            && methods_overlap(&new.method, &other.method)
            && RoutePatterns::of(other).is_ok_and(|other| {
                patterns.host.same_hosts(&other.host) && patterns.path.overlaps(&other.path)
            })
    })
}

/// The error for a conflict: 409 `route.conflict`, naming the route that is there already.
pub fn conflict_error(new: &RouteRecord, existing: &RouteRecord) -> Error {
    let host = |route: &RouteRecord| route.host.clone().unwrap_or_else(|| "*".to_owned());
    let message = format!(
        "{} {} would answer requests of the route {} {}; change path, method or host, or delete that route",
        new.method, new.path, existing.method, existing.path
    );
    Error::new(ErrorKind::Conflict, "route.conflict", message)
        .with("route", existing.id)
        .with("script", existing.script)
        .with("method", &existing.method)
        .with("host", host(existing))
        .with("path", &existing.path)
}

fn methods_overlap(one: &RouteMethod, two: &RouteMethod) -> bool {
    one == two || *one == RouteMethod::Any || *two == RouteMethod::Any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::route;

    /// Whether two routes, as `METHOD [host]/path`, conflict; asked both ways.
    fn conflict(one: &str, two: &str) -> bool {
        let (one, two) = (route(one), route(two));
        let found = find_conflict(&one, [&two]).is_some();
        assert_eq!(found, find_conflict(&two, [&one]).is_some(), "a conflict is mutual");
        found
    }

    #[test]
    fn exact_paths_conflict_when_equal() {
        assert!(conflict("GET /a/b", "GET /a/%62"));
        assert!(!conflict("GET /a/b", "GET /a/c"));
    }

    #[test]
    fn captures_conflict_where_no_literal_tells_them_apart() {
        assert!(conflict("GET /a/:x", "GET /a/:y"));
        assert!(conflict("GET /a/:x", "GET /:y/b"));
        assert!(!conflict("GET /a/:x", "GET /b/:x"));
        assert!(!conflict("GET /a/:x", "GET /a/:x/c"));
    }

    #[test]
    fn prefixes_conflict_at_the_same_length_only() {
        assert!(conflict("GET /a/*", "GET /a/*"));
        assert!(conflict("GET /a/:x/*", "GET /:y/b/*"));
        assert!(!conflict("GET /a/*", "GET /a/b/*"));
    }

    #[test]
    fn kinds_coexist() {
        for (one, two) in [("GET /a/b", "GET /a/:x"), ("GET /a/b", "GET /a/*"), ("GET /a/:x", "GET /a/*")] {
            assert!(!conflict(one, two), "{one} {two}");
        }
    }

    #[test]
    fn methods_must_overlap() {
        assert!(conflict("ANY /a", "POST /a"));
        assert!(!conflict("GET /a", "POST /a"));
        assert!(!conflict("GET /a", "HEAD /a"));
    }

    #[test]
    fn hosts_must_be_the_same_pattern() {
        assert!(conflict("GET Example.com:80/a", "GET example.com./a"));
        assert!(conflict("GET *.example.com/a", "GET :t.example.com/a"));
        assert!(conflict("GET */a", "GET /a"));
        assert!(!conflict("GET example.com/a", "GET /a"));
        assert!(!conflict("GET *.example.com/a", "GET *.a.example.com/a"));
    }

    #[test]
    fn a_route_does_not_conflict_with_itself() {
        let one = route("GET /a");
        assert!(find_conflict(&one, [&one]).is_none());
    }

    #[test]
    fn the_first_conflicting_route_is_named() {
        let (new, apart, first, second) =
            (route("GET /a"), route("GET /b"), route("ANY /a"), route("GET /a"));
        let found = find_conflict(&new, [&apart, &first, &second]).unwrap();
        assert_eq!(found.id, first.id);
        let error = conflict_error(&new, found);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "route.conflict"));
        assert_eq!(error.context().next(), Some(("route", first.id.to_string().as_str())));
    }
}
