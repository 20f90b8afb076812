//! Host patterns: which hosts a route answers on.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::PatternError;
use super::pattern::is_param_name;

/// Longest host name, as in the domain name system.
pub const MAX_HOST_BYTES: usize = 253;

/// A host pattern, checked.
///
/// - Nothing, or `*`: any host, also none at all.
/// - `example.com`, `[::1]`: that host.
/// - `*.example.com`: every host below, at any depth; not `example.com` itself.
/// - `:tenant.example.com`: the same, and what the star would stand for is captured under that name: `a.b` for
///   `a.b.example.com`.
///
/// Letter case, a port and a trailing dot are ignored, in the pattern and in the request.
///
/// ```
/// use picloud_core::route::HostPattern;
///
/// let pattern = HostPattern::parse(":tenant.example.com").unwrap();
/// assert_eq!(pattern.param(), Some("tenant"));
/// assert!(pattern.same_hosts(&HostPattern::parse("*.Example.com:8080").unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    raw: Box<str>,
    hosts: Hosts,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Hosts {
    Any,
    Strict(Box<str>),
    Wildcard { suffix: Box<str>, name: Option<Arc<str>> },
}

impl HostPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`PatternError::Host`], saying where it goes wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let hosts = if let Some(after) = text.strip_prefix(':') {
            let (name, suffix) = after.split_once('.').unwrap_or((after, ""));
            if !is_param_name(name) {
                let want = "the name of a wildcard is a letter or '_' and then letters, digits and '_'";
                return wrong(1, name, want);
            }
            let suffix = wildcard_suffix(suffix, name.len() + 2)?;
            Hosts::Wildcard { suffix, name: Some(name.into()) }
        } else if let Some(suffix) = text.strip_prefix("*.") {
            Hosts::Wildcard { suffix: wildcard_suffix(suffix, 2)?, name: None }
        } else if text.starts_with('[') {
            Hosts::Strict(address(text)?)
        } else {
            match domain(text, 0)? {
                host if host.is_empty() || &*host == "*" => Hosts::Any,
                host => Hosts::Strict(labels(host, 0)?),
            }
        };
        Ok(HostPattern { raw: text.into(), hosts })
    }

    /// The pattern as typed.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The name under which the matched labels are captured.
    pub fn param(&self) -> Option<&str> {
        match &self.hosts {
            Hosts::Wildcard { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    /// Whether both match exactly the same hosts, whatever they capture.
    pub fn same_hosts(&self, other: &HostPattern) -> bool {
        match (&self.hosts, &other.hosts) {
            (Hosts::Wildcard { suffix: one, .. }, Hosts::Wildcard { suffix: two, .. }) => one == two,
            (one, two) => one == two,
        }
    }

    /// Whether a host in [normal form](normalize_host) is one of those.
    ///
    /// ```
    /// use picloud_core::route::HostPattern;
    ///
    /// let pattern = HostPattern::parse("*.example.com").unwrap();
    /// assert!(pattern.matches("a.b.example.com"));
    /// assert!(!pattern.matches("example.com"));
    /// ```
    pub fn matches(&self, host: &str) -> bool {
        match &self.hosts {
            Hosts::Any => true,
            Hosts::Strict(name) => **name == *host,
            Hosts::Wildcard { suffix, .. } => host
                .strip_suffix(&**suffix)
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }

    /// Whether this is any host at all.
    pub fn is_any(&self) -> bool {
        self.hosts == Hosts::Any
    }

    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// The host of a request, as sent, in the form that patterns are compared with: without port and trailing dot,
/// in lower case, an IPv6 address in its shortest form. Anything else is left as it is and matches no pattern
/// but "any". Borrows where nothing changes.
///
/// ```
/// use picloud_core::route::normalize_host;
///
/// assert_eq!(normalize_host("Shop.Example.com.:8080"), "shop.example.com");
/// assert_eq!(normalize_host("[0:0::1]:80"), "[::1]");
/// ```
pub fn normalize_host(host: &str) -> Cow<'_, str> {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|after| after.split_once(']'))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        && let Ok(address) = address.parse::<Ipv6Addr>()
    {
        return Cow::Owned(format!("[{address}]"));
    }
    let host = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Digits of a port, or none: a colon with nothing behind it is valid in a `Host` header.
fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

fn wrong<T>(offset: usize, found: &str, want: &'static str) -> Result<T, PatternError> {
    Err(PatternError::Host { offset, found: found.chars().take(80).collect(), want })
}

fn address(text: &str) -> Result<Box<str>, PatternError> {
    match normalize_host(text) {
        Cow::Owned(host) if host.starts_with('[') && host.ends_with(']') => Ok(host.into()),
        _ => wrong(0, text, "an IPv6 address stands in brackets, [::1], and only a port may follow"),
    }
}

fn wildcard_suffix(text: &str, offset: usize) -> Result<Box<str>, PatternError> {
    let suffix = domain(text, offset)?;
    if suffix.is_empty() {
        return wrong(0, text, "a wildcard is followed by a domain: *.example.com; any host at all is *");
    }
    let suffix = labels(suffix, offset)?;
    if suffix.rsplit('.').next().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong(
            offset,
            &suffix,
            "a wildcard stands before a domain name, not before part of an address",
        );
    }
    Ok(suffix)
}

/// `text` without port and trailing dot, in lower case.
fn domain(text: &str, offset: usize) -> Result<Box<str>, PatternError> {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    if !is_port(port) {
        return wrong(offset + name.len() + 1, port, "only a port, 0 to 65535, may follow a colon here");
    }
    let name = name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name);
    if name.len() > MAX_HOST_BYTES {
        return wrong(offset, name, "a host name has at most 253 bytes");
    }
    Ok(name.to_ascii_lowercase().into())
}

/// Checks the labels of a domain.
fn labels(host: Box<str>, mut offset: usize) -> Result<Box<str>, PatternError> {
    for label in host.split('.') {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if label.is_empty() {
            return wrong(offset, label, "a label between dots is not empty");
        } else if label.contains('*') {
            return wrong(offset, label, "a star is the whole first label or nothing: *.example.com");
        } else if label.len() > 63 {
            return wrong(offset, label, "a label has at most 63 bytes");
        } else if !label.bytes().all(|byte| word(byte) || byte == b'-') {
            let want =
                "a label has letters, digits, '-' and '_', without scheme and path; other scripts as xn--";
            return wrong(offset, label, want);
        } else if label.starts_with('-') || label.ends_with('-') {
            return wrong(offset, label, "a label begins and ends with a letter or digit");
        }
        offset += label.len() + 1;
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(text: &str) -> Hosts {
        HostPattern::parse(text).unwrap().hosts
    }

    fn wildcard(suffix: &str, name: Option<&str>) -> Hosts {
        Hosts::Wildcard { suffix: suffix.into(), name: name.map(Into::into) }
    }

    #[test]
    fn nothing_and_a_lone_star_mean_any_host() {
        for text in ["", "*", "*:8080"] {
            assert_eq!(hosts(text), Hosts::Any, "{text}");
        }
    }

    #[test]
    fn case_port_and_trailing_dot_are_ignored() {
        for text in [
            "shop.example.com",
            "Shop.EXAMPLE.com",
            "shop.example.com:8080",
            "shop.example.com.",
            "shop.example.com.:1",
        ] {
            assert_eq!(hosts(text), Hosts::Strict("shop.example.com".into()), "{text}");
        }
    }

    #[test]
    fn addresses_are_literals() {
        assert_eq!(hosts("127.0.0.1:80"), Hosts::Strict("127.0.0.1".into()));
        assert_eq!(hosts("[0:0::1]:8080"), Hosts::Strict("[::1]".into()));
        assert_eq!(hosts("localhost"), Hosts::Strict("localhost".into()));
    }

    #[test]
    fn a_wildcard_may_have_a_name() {
        assert_eq!(hosts("*.Example.com"), wildcard("example.com", None));
        assert_eq!(hosts(":tenant.example.com:80"), wildcard("example.com", Some("tenant")));
        assert_eq!(hosts("*.localhost"), wildcard("localhost", None));
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        for (text, at) in [
            ("*.", 0),
            ("*..com", 2),
            ("a.*.com", 2),
            ("a*.com", 0),
            ("**", 0),
            ("*.*.com", 2),
            ("*.0.1", 2),
            (".", 0),
            ("a..b", 2),
            ("-a.com", 0),
            ("b.a-", 2),
            ("a b", 0),
            ("münchen.de", 0),
            ("http://a.com", 5),
            ("a.com/x", 2),
            ("a.com:x", 6),
            ("a.com:70000", 6),
            ("[::1", 0),
            ("[::g]", 0),
            ("[::1]x", 0),
            (":.a", 1),
            (":1.a", 1),
            (":a", 0),
            (":a.", 0),
        ] {
            let error = HostPattern::parse(text).unwrap_err();
            assert_eq!(error.offset(), Some(at), "{text}: {error}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_domain_name_system() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert!(HostPattern::parse(&longest).is_ok());
        assert!(HostPattern::parse(&format!("{longest}a")).is_err());
        assert!(HostPattern::parse(&format!("{label}a.com")).is_err());
    }

    #[test]
    fn a_named_wildcard_covers_the_same_hosts_as_one_without_name() {
        let same = |one, two| HostPattern::parse(one).unwrap().same_hosts(&HostPattern::parse(two).unwrap());
        assert!(same(":tenant.example.com", "*.EXAMPLE.com."));
        assert!(same("", "*"));
        assert!(!same("*.example.com", "example.com"));
        assert!(!same("*.example.com", "*.a.example.com"));
        assert!(!same("*", "*.com"));
    }

    #[test]
    fn a_clean_request_host_is_borrowed() {
        assert!(matches!(normalize_host("shop.example.com:8080"), Cow::Borrowed("shop.example.com")));
    }

    #[test]
    fn what_is_no_host_is_left_alone() {
        for text in ["::1", "a:b", "[::1", "a:70000"] {
            assert_eq!(normalize_host(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_literal_pattern_and_the_request_for_it_have_one_form(
            text in "[a-zA-Z0-9]{1,4}(\\.[a-zA-Z0-9_]{1,4}){0,3}\\.?(:[0-9]{0,4})?",
        ) {
            prop_assert_eq!(hosts(&text), Hosts::Strict(normalize_host(&text).into()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a.:*\\[\\]1é-]{0,10}|.{0,30}") {
            let _ = HostPattern::parse(&text);
            let _ = normalize_host(&text);
        }
    }
}
