//! Both patterns of a route together, and the paths that no route may claim.

use super::normalize::NormalPath;
use super::{HostPattern, PathPattern, PatternError, RouteRecord};
use crate::{Error, Result};

/// Host and path pattern of one route: the door through which every route comes in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutePatterns {
    /// On which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
}

impl RoutePatterns {
    /// Checks both; no host means any.
    ///
    /// # Errors
    /// [`PatternError`] of either, or that both capture under one name.
    pub fn parse(host: Option<&str>, path: &str) -> Result<Self, PatternError> {
        let host = HostPattern::parse(host.unwrap_or_default())?;
        let path = PathPattern::parse(path)?;
        if let Some(name) = host.param().filter(|name| path.params().any(|param| param == *name)) {
            return Err(PatternError::DuplicateParam { offset: None, name: name.to_owned() });
        }
        Ok(RoutePatterns { host, path })
    }

    /// Checks the patterns of a stored route.
    ///
    /// # Errors
    /// As [`RoutePatterns::parse`].
    pub fn of(route: &RouteRecord) -> Result<Self, PatternError> {
        RoutePatterns::parse(route.host.as_deref(), &route.path)
    }
}

/// Refuses a pattern that claims a path of the host.
///
/// A prefix covers its own path and everything below, with or without a slash at its end: `/api/` covers `/api`
/// and `/api/v1` but not `/apis`. What counts is what the pattern says before its first capture or star: `/:page`
/// and `/*` are allowed, although they match reserved paths, because [reserved](is_reserved) requests are never
/// looked up in the table.
///
/// # Errors
/// `route.reserved_prefix`, naming the prefix.
///
/// ```
/// use picloud_core::route::{DEFAULT_RESERVED_PREFIXES, PathPattern, check_reserved};
///
/// let pattern = PathPattern::parse("/api/:version").unwrap();
/// let error = check_reserved(&pattern, DEFAULT_RESERVED_PREFIXES).unwrap_err();
/// assert_eq!(error.code(), "route.reserved_prefix");
/// ```
pub fn check_reserved<P: AsRef<str>>(pattern: &PathPattern, prefixes: &[P]) -> Result<()> {
    match covering(|| pattern.leading_literals(), prefixes) {
        None => Ok(()),
        Some(prefix) => Err(Error::invalid(
            "route.reserved_prefix",
            format!("{pattern} is below {prefix}, which is reserved for the host; choose another path"),
        )
        .with("path", pattern)
        .with("prefix", prefix)),
    }
}

/// Whether the host answers this path itself, so that it must not be looked up in a [`RouteTable`](super::RouteTable).
pub fn is_reserved<P: AsRef<str>>(path: &NormalPath<'_>, prefixes: &[P]) -> bool {
    let first = path.as_str().as_bytes().get(1);
    prefixes.iter().map(AsRef::as_ref).any(|prefix| {
        // The usual case is settled without taking anything apart: a prefix that begins with one slash and another byte.
        match prefix.as_bytes() {
            [b'/', begin, ..] if *begin != b'/' && Some(begin) != first => false,
            _ => covering(|| path.segments(), &[prefix]).is_some(),
        }
    })
}

/// The first prefix whose segments are the first of `segments`. An empty text is no prefix, `/` covers all.
fn covering<'a, 'p, P, I>(segments: impl Fn() -> I, prefixes: &'p [P]) -> Option<&'p str>
where
    P: AsRef<str>,
    I: Iterator<Item = &'a str>,
{
    prefixes.iter().map(AsRef::as_ref).filter(|prefix| !prefix.is_empty()).find(|prefix| {
        let mut segments = segments();
        prefix.split('/').filter(|part| !part.is_empty()).all(|part| segments.next() == Some(part))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::{DEFAULT_RESERVED_PREFIXES, normalize_path};

    fn refused(path: &str) -> bool {
        check_reserved(&PathPattern::parse(path).unwrap(), DEFAULT_RESERVED_PREFIXES).is_err()
    }

    #[test]
    fn reserved_paths_and_what_lies_below_cannot_be_claimed() {
        for path in [
            "/api",
            "/api/*",
            "/api/:x",
            "/%61pi/v1",
            "/admin",
            "/healthz",
            "/healthz/x",
            "/version",
            "/readyz",
        ] {
            assert!(refused(path), "{path}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        for path in ["/apis", "/healthzz", "/versions/1", "/x/api", "/a%2Fpi", "/API"] {
            assert!(!refused(path), "{path}");
        }
    }

    #[test]
    fn open_patterns_may_contain_reserved_paths() {
        for path in ["/", "/*", "/:page", "/:page/v1"] {
            assert!(!refused(path), "{path}");
        }
    }

    #[test]
    fn the_error_names_the_prefix() {
        let error =
            check_reserved(&PathPattern::parse("/admin/x").unwrap(), DEFAULT_RESERVED_PREFIXES).unwrap_err();
        assert_eq!(error.context().last(), Some(("prefix", "/admin/")));
    }

    #[test]
    fn a_request_is_reserved_by_the_same_rule() {
        let reserved = |raw| is_reserved(&normalize_path(raw).unwrap(), DEFAULT_RESERVED_PREFIXES);
        assert!(reserved("//api/") && reserved("/%61pi/v9"));
        assert!(!reserved("/") && !reserved("/apis"));
    }

    #[test]
    fn a_lone_slash_reserves_everything_and_an_empty_prefix_nothing() {
        let path = normalize_path("/x").unwrap();
        assert!(is_reserved(&path, &["/"]));
        assert!(!is_reserved(&path, &[""]));
    }

    proptest! {
        #[test]
        fn a_first_look_at_a_prefix_decides_nothing_else(raw in "/[a-c/]{0,6}", prefix in "[a-c/]{0,6}") {
            let path = normalize_path(&raw).unwrap();
            let covers = covering(|| path.segments(), &[&prefix]).is_some();
            prop_assert_eq!(is_reserved(&path, &[&prefix]), covers);
        }
    }

    #[test]
    fn host_and_path_do_not_capture_under_one_name() {
        let error = RoutePatterns::parse(Some(":id.example.com"), "/users/:id").unwrap_err();
        assert_eq!(error, PatternError::DuplicateParam { offset: None, name: "id".into() });
        assert!(RoutePatterns::parse(Some(":tenant.example.com"), "/users/:id").is_ok());
    }
}
