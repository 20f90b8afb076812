//! Path patterns: which paths a route answers.

use std::fmt;
use std::sync::Arc;

use super::PatternError;
use super::normalize::{MAX_SEGMENTS, PathError, normalize_segment};

/// Longest pattern of a path, in bytes as typed.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// What a path pattern matches, coarsely. Only patterns of the same kind conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// One path: `/greet`.
    Exact,
    /// Paths of one length with captures: `/users/:id`.
    Param,
    /// Everything below: `/greet/*`, `/users/:id/*`.
    Prefix,
}

/// A path pattern, checked.
///
/// - `/greet` matches that path and, since a trailing slash of a request is ignored, `/greet/`.
/// - `/users/:id` captures one whole segment; it is never empty.
/// - `/greet/*` matches what lies below `/greet`, not `/greet` itself; so `/*` matches everything but `/`. What
///   the star stands for is the route's `rest`. Captures may come before it.
///
/// Literals are compared by letter case, after decoding: `/caf%C3%A9` and `/café` are the same pattern. What
/// has a meaning in patterns is written encoded to be literal: `%3A` for a colon, `%2A` for a star.
///
/// ```
/// use picloud_core::route::{PathKind, PathPattern};
///
/// let pattern = PathPattern::parse("/users/:id/files/*").unwrap();
/// assert_eq!(pattern.kind(), PathKind::Prefix);
/// assert_eq!(pattern.params().collect::<Vec<_>>(), ["id"]);
///
/// let error = PathPattern::parse("/users/{id}").unwrap_err();
/// assert_eq!(error.to_string(), "the brace at byte 7 is reserved; write :name for a capture, %7B or %7D for a brace");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    raw: Box<str>,
    segments: Vec<Segment>,
    prefix: bool,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// In normal form, as request paths are.
    Literal(Box<str>),
    /// The name of a capture.
    Param(Arc<str>),
}

impl PathPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`PatternError`], saying where it goes wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        let body = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let (mut segments, mut prefix) = (Vec::new(), false);
        let mut pieces =
            if body.is_empty() { None } else { Some(body.split('/')) }.into_iter().flatten().peekable();
        let mut offset = 1;
        while let Some(piece) = pieces.next() {
            if segments.len() == MAX_SEGMENTS {
                return Err(PatternError::TooManySegments);
            }
            let last = pieces.peek().is_none();
            if last && piece == "*" {
                prefix = true;
            } else if last && piece.is_empty() {
                return Err(PatternError::TrailingSlash { offset: offset - 1 });
            } else {
                let segment = parse_segment(piece, offset)?;
                if let Segment::Param(name) = &segment
                    && segments.contains(&segment)
                {
                    return Err(PatternError::DuplicateParam {
                        offset: Some(offset),
                        name: name.to_string(),
                    });
                }
                segments.push(segment);
            }
            offset += piece.len() + 1;
        }
        Ok(PathPattern { raw: text.into(), segments, prefix })
    }

    /// The pattern as typed.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// What it matches, coarsely.
    pub fn kind(&self) -> PathKind {
        if self.prefix {
            PathKind::Prefix
        } else if self.params().next().is_some() {
            PathKind::Param
        } else {
            PathKind::Exact
        }
    }

    /// The names of the captures, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_ref()),
            Segment::Literal(_) => None,
        })
    }

    /// The segments before the star.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The literals before the first capture or the star.
    pub(super) fn leading_literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map_while(|segment| match segment {
            Segment::Literal(text) => Some(text.as_ref()),
            Segment::Param(_) => None,
        })
    }

    /// Whether both are of one kind and some path is matched by both at the same length: what two routes must
    /// not do.
    pub fn overlaps(&self, other: &PathPattern) -> bool {
        self.kind() == other.kind()
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(two)) => one == two,
                _ => true,
            })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// Whether `name` can name a capture.
pub(super) fn is_param_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn parse_segment(piece: &str, offset: usize) -> Result<Segment, PatternError> {
    if piece.is_empty() {
        return Err(PatternError::EmptySegment { offset });
    }
    if let Some(name) = piece.strip_prefix(':') {
        if is_param_name(name) {
            return Ok(Segment::Param(name.into()));
        }
        return Err(PatternError::ParamName { offset: offset + 1, name: name.to_owned() });
    }
    for (at, character) in piece.char_indices() {
        let offset = offset + at;
        match character {
            ':' => return Err(PatternError::Colon { offset }),
            '*' => return Err(PatternError::Star { offset }),
            '{' | '}' => return Err(PatternError::Brace { offset }),
            '?' | '#' => {
                let want = "a route does not match on query or fragment, a literal one is %3F or %23";
                return Err(PatternError::Character { offset, found: "a '?' or '#'", want });
            }
            _ if character.is_whitespace() => {
                let want = "a literal space is %20";
                return Err(PatternError::Character { offset, found: "white space", want });
            }
            _ => {}
        }
    }
    match normalize_segment(piece, offset) {
        Ok(text) => Ok(Segment::Literal(text.into())),
        Err(PathError::DotSegment { offset }) => Err(PatternError::DotSegment { offset }),
        Err(PathError::Control { offset }) => {
            let want = "no request that contains one is answered";
            Err(PatternError::Character { offset, found: "a control character", want })
        }
        Err(PathError::Percent { offset }) => Err(PatternError::Encoding { offset }),
        Err(_) => Err(PatternError::Encoding { offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};
    use proptest::prelude::*;

    fn kind(text: &str) -> PathKind {
        PathPattern::parse(text).unwrap().kind()
    }

    fn error(text: &str) -> PatternError {
        PathPattern::parse(text).unwrap_err()
    }

    #[test]
    fn the_kind_follows_from_star_and_captures() {
        assert_eq!(kind("/"), PathKind::Exact);
        assert_eq!(kind("/greet"), PathKind::Exact);
        assert_eq!(kind("/users/:id"), PathKind::Param);
        assert_eq!(kind("/greet/*"), PathKind::Prefix);
        assert_eq!(kind("/users/:id/*"), PathKind::Prefix);
        assert_eq!(kind("/*"), PathKind::Prefix);
    }

    #[test]
    fn the_text_is_kept_as_typed() {
        let pattern = PathPattern::parse("/caf%c3%a9").unwrap();
        assert_eq!((pattern.as_str(), pattern.to_string().as_str()), ("/caf%c3%a9", "/caf%c3%a9"));
    }

    #[test]
    fn literals_are_decoded() {
        let pattern = PathPattern::parse("/caf%c3%a9/%3Aid/%2a/a%2fb").unwrap();
        assert_eq!(pattern.leading_literals().collect::<Vec<_>>(), ["café", ":id", "*", "a%2Fb"]);
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let star = |offset| PatternError::Star { offset };
        assert_eq!(error(""), PatternError::NotAbsolute);
        assert_eq!(error("greet"), PatternError::NotAbsolute);
        assert_eq!(error("//a"), PatternError::EmptySegment { offset: 1 });
        assert_eq!(error("/a//b"), PatternError::EmptySegment { offset: 3 });
        assert_eq!(error("/a/"), PatternError::TrailingSlash { offset: 2 });
        assert_eq!(error("/a/*/"), star(3));
        assert_eq!(error("/a/*/b"), star(3));
        assert_eq!(error("/a*"), star(2));
        assert_eq!(error("/**"), star(1));
        assert_eq!(error("/a/.."), PatternError::DotSegment { offset: 3 });
        assert_eq!(error("/a/%2e"), PatternError::DotSegment { offset: 3 });
        assert_eq!(error("/a/b:c"), PatternError::Colon { offset: 4 });
        assert_eq!(error("/{id}"), PatternError::Brace { offset: 1 });
        assert_eq!(error("/a}"), PatternError::Brace { offset: 2 });
        assert_eq!(error("/a%g"), PatternError::Encoding { offset: 2 });
        assert_eq!(error("/%ff"), PatternError::Encoding { offset: 1 });
        for text in ["/a?b", "/a#b", "/a b", "/a\tb", "/a\u{a0}b"] {
            assert!(matches!(error(text), PatternError::Character { offset: 2, .. }), "{text:?}");
        }
        assert!(matches!(error("/a%00"), PatternError::Character { offset: 1, .. }));
    }

    #[test]
    fn a_capture_has_the_name_of_a_variable() {
        for text in ["/:", "/:1a", "/:a-b", "/:id.json", "/:a:b", "/:{a}", "/:é", "/:*"] {
            assert!(matches!(error(text), PatternError::ParamName { offset: 2, .. }), "{text}");
        }
        assert_eq!(PathPattern::parse("/:_/:aB_9").unwrap().params().collect::<Vec<_>>(), ["_", "aB_9"]);
    }

    #[test]
    fn a_name_captures_once() {
        assert_eq!(error("/:a/b/:a"), PatternError::DuplicateParam { offset: Some(6), name: "a".into() });
        assert!(PathPattern::parse("/:a/a/:b").is_ok());
    }

    #[test]
    fn limits_hold_to_the_last_byte_and_segment() {
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(MAX_PATTERN_BYTES - 1))).is_ok());
        assert_eq!(
            error(&format!("/{}", "a".repeat(MAX_PATTERN_BYTES))),
            PatternError::TooLong { bytes: MAX_PATTERN_BYTES + 1 }
        );
        assert!(PathPattern::parse(&"/a".repeat(MAX_SEGMENTS)).is_ok());
        assert_eq!(error(&"/a".repeat(MAX_SEGMENTS + 1)), PatternError::TooManySegments);
    }

    #[test]
    fn a_star_counts_as_a_segment_since_it_stands_for_at_least_one() {
        assert_eq!(error(&format!("{}/*", "/a".repeat(MAX_SEGMENTS))), PatternError::TooManySegments);
    }

    #[test]
    fn the_error_of_the_api_carries_the_place() {
        let converted = Error::from(error("/a/b:c"));
        assert_eq!((converted.kind(), converted.code()), (ErrorKind::InvalidInput, "route.invalid_pattern"));
        assert_eq!(converted.context().next(), Some(("offset", "4")));
    }

    #[test]
    fn patterns_overlap_by_kind_length_and_literals() {
        let overlap = |one, two| PathPattern::parse(one).unwrap().overlaps(&PathPattern::parse(two).unwrap());
        assert!(overlap("/a/b", "/a/%62"));
        assert!(!overlap("/a/b", "/a/c"));
        assert!(overlap("/a/:x", "/:y/b"));
        assert!(!overlap("/a/:x", "/b/:x"));
        assert!(!overlap("/a/:x", "/a/:x/c"));
        assert!(!overlap("/a/b", "/a/:x"));
        assert!(overlap("/a/:x/*", "/a/b/*"));
        assert!(!overlap("/a/*", "/a/b/*"));
        assert!(!overlap("/a/:x", "/a/*"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(/|[a:*{}.%?2fF é]){0,12}|.{0,30}") {
            if let Err(error) = PathPattern::parse(&text) {
                prop_assert!(error.offset().is_none_or(|offset| offset <= text.len()));
            }
        }
    }
}
