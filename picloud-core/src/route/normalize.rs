//! Request paths in the one form that patterns are compared with.

use std::borrow::Cow;
use std::fmt;

use crate::Error;

/// Longest request path, in bytes as sent. Servers that sit in front of a host allow no more either.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// Most segments of a request path and of a pattern: bounds the work of one match and the depth of the table.
pub const MAX_SEGMENTS: usize = 64;

/// A request path in normal form; made by [`normalize_path`] only.
///
/// It begins with `/`, has no empty segment, no dot segment, no control character and no trailing slash (but
/// `/` itself), and is decoded except for `%2F`, `%25`, `%3F` and `%23`, so that splitting it at `/` gives the
/// segments that were sent and normalising it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath<'a>(Cow<'a, str>);

impl NormalPath<'_> {
    /// The text, as scripts see it in `ctx.request.path`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments in order; none for `/`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The text as an own string.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }
}

impl fmt::Display for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a request path has no normal form. Every one is answered with 400 `route.invalid_path`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("a path has at most {MAX_PATH_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More segments than [`MAX_SEGMENTS`].
    #[error("a path has at most {MAX_SEGMENTS} segments, this one has more")]
    TooManySegments,
    /// No slash at the beginning.
    #[error("a path begins with '/'")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error(
        "the '%' at byte {offset} is not followed by two hexadecimal digits; a percent sign itself is %25"
    )]
    Percent {
        /// Where it is.
        offset: usize,
    },
    /// Bytes that are not UTF-8 once decoded.
    #[error("the segment at byte {offset} is not UTF-8 once its percent-encoding is decoded")]
    NotUtf8 {
        /// Where the segment begins.
        offset: usize,
    },
    /// NUL, line feed and their kind, encoded or not.
    #[error("the segment at byte {offset} contains a control character")]
    Control {
        /// Where the segment begins.
        offset: usize,
    },
    /// `.` or `..`, encoded or not.
    #[error("the segment at byte {offset} is '.' or '..'; send the path that is meant")]
    DotSegment {
        /// Where the segment begins.
        offset: usize,
    },
    /// A query or fragment where only a path belongs.
    #[error("the '?' or '#' at byte {offset} ends a path; as part of a segment it is %3F or %23")]
    NotPath {
        /// Where it is.
        offset: usize,
    },
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Error::invalid("route.invalid_path", error.to_string())
    }
}

/// Brings a request path (without query) into normal form.
///
/// - Segments are split at `/` before anything is decoded: `%2F` never separates, and stays `%2F`.
/// - Percent-encoding is decoded, except for `/`, `%`, `?` and `#`, which stay encoded in upper case; captured
///   parameters have these decoded too.
/// - Repeated slashes count as one and a trailing slash is ignored: `//a//b/` is `/a/b`.
/// - `.` and `..`, in whatever encoding, are refused and never resolved: what a proxy resolved differently
///   could otherwise reach what the proxy guards.
/// - An empty path is `/`: that is what is left of a request for the mount point itself.
///
/// A path that is normal already, but for a trailing slash, is borrowed; nothing is allocated.
///
/// # Errors
/// [`PathError`], saying what and where.
///
/// ```
/// use picloud_core::route::normalize_path;
///
/// assert_eq!(normalize_path("//caf%C3%A9/a%2fb/").unwrap().as_str(), "/café/a%2Fb");
/// assert!(normalize_path("/a/%2e%2E/b").is_err());
/// ```
pub fn normalize_path(raw: &str) -> Result<NormalPath<'_>, PathError> {
    if raw.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong { bytes: raw.len() });
    }
    if !raw.is_empty() && !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(raw) { Ok(NormalPath(Cow::Borrowed(raw))) } else { by_segment(raw) }
}

fn by_segment(raw: &str) -> Result<NormalPath<'_>, PathError> {
    let head = |end: usize| raw.get(..end).unwrap_or_default();
    // Until something has to change, `raw[..clean]` is the result.
    let (mut clean, mut changed) = (0, None::<String>);
    let (mut offset, mut count) = (1, 0);
    for segment in raw.split('/').skip(1) {
        let start = offset;
        offset += segment.len() + 1;
        if segment.is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_SEGMENTS {
            return Err(PathError::TooManySegments);
        }
        let text = normalize_segment(segment, start)?;
        if changed.is_none() && (matches!(text, Cow::Owned(_)) || start - 1 != clean) {
            changed = Some(head(clean).to_owned());
        }
        match &mut changed {
            Some(path) => {
                path.push('/');
                path.push_str(&text);
            }
            None => clean = offset - 1,
        }
    }
    Ok(NormalPath(match changed {
        Some(path) => Cow::Owned(path),
        None if clean == 0 => Cow::Borrowed("/"),
        None => Cow::Borrowed(head(clean)),
    }))
}

/// Whether a path is what most are: short, in normal form, and of letters and digits that nobody would encode.
fn is_plain(raw: &str) -> bool {
    let mut last = b'x';
    for byte in raw.bytes() {
        // No segment is empty, and none begins with a dot.
        let fits = match byte {
            b'/' => last != b'/',
            b'.' => last != b'/',
            b'-' | b'_' | b'~' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
        last = byte;
    }
    // As many segments as bytes may be, and no slash at the end.
    raw.len() <= MAX_SEGMENTS && raw.starts_with('/') && last != b'/'
}

/// One segment, not empty and without `/`, in normal form. `start` is its place in the whole, for errors.
pub(super) fn normalize_segment(segment: &str, start: usize) -> Result<Cow<'_, str>, PathError> {
    if let Some(at) = segment.find(['?', '#']) {
        return Err(PathError::NotPath { offset: start + at });
    }
    let text = if segment.contains('%') { decode(segment, start)? } else { Cow::Borrowed(segment) };
    if matches!(text.as_ref(), "." | "..") {
        return Err(PathError::DotSegment { offset: start });
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::Control { offset: start });
    }
    Ok(text)
}

fn decode(segment: &str, start: usize) -> Result<Cow<'_, str>, PathError> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.as_bytes();
    while let Some((&first, after)) = bytes.split_first() {
        bytes = after;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let offset = start + segment.len() - after.len() - 1;
        let (byte, after) = hex_pair(after).ok_or(PathError::Percent { offset })?;
        bytes = after;
        match byte {
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' => out.extend_from_slice(b"%25"),
            b'?' => out.extend_from_slice(b"%3F"),
            b'#' => out.extend_from_slice(b"%23"),
            _ => out.push(byte),
        }
    }
    let text = String::from_utf8(out).map_err(|_| PathError::NotUtf8 { offset: start })?;
    Ok(if text == segment { Cow::Borrowed(segment) } else { Cow::Owned(text) })
}

/// The byte that two hexadecimal digits at the front stand for, and what follows them.
pub(crate) fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let ([high, low], after) = bytes.split_first_chunk::<2>()?;
    Some((digit(*high)? << 4 | digit(*low)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> String {
        normalize_path(raw).unwrap().into_string()
    }

    #[test]
    fn a_clean_path_is_borrowed() {
        for raw in ["/", "/a", "/users/42/orders", "/a%2Fb", "/trailing/", "/trailing///"] {
            assert!(matches!(normalize_path(raw).unwrap().0, Cow::Borrowed(_)), "{raw}");
        }
    }

    #[test]
    fn slashes_are_collapsed_and_a_trailing_one_is_ignored() {
        for raw in ["/a/b", "/a/b/", "//a/b", "/a//b", "///a///b///"] {
            assert_eq!(normal(raw), "/a/b", "{raw}");
        }
        for raw in ["", "/", "//"] {
            assert_eq!(normal(raw), "/", "{raw}");
        }
    }

    #[test]
    fn an_encoded_slash_never_separates() {
        let path = normalize_path("/a%2fb/c").unwrap();
        assert_eq!(path.segments().collect::<Vec<_>>(), ["a%2Fb", "c"]);
    }

    #[test]
    fn an_encoded_percent_sign_is_not_decoded_twice() {
        assert_eq!(normal("/%252e%252E/%2541"), "/%252e%252E/%2541");
    }

    #[test]
    fn encoded_letters_and_unicode_are_decoded() {
        assert_eq!(normal("/%61%20b/%e2%82%AC"), "/a b/€");
    }

    #[test]
    fn dot_segments_are_refused_in_every_encoding() {
        for raw in ["/.", "/a/../b", "/a/%2e", "/%2E%2e/x", "/.%2e"] {
            assert!(matches!(normalize_path(raw), Err(PathError::DotSegment { .. })), "{raw}");
        }
        assert_eq!(normal("/.../.a/a."), "/.../.a/a.");
    }

    #[test]
    fn malformed_encoding_names_its_place() {
        assert_eq!(normalize_path("/a/b%2"), Err(PathError::Percent { offset: 4 }));
        assert_eq!(normalize_path("/%zz"), Err(PathError::Percent { offset: 1 }));
        assert_eq!(normalize_path("/%+1"), Err(PathError::Percent { offset: 1 }));
        assert_eq!(normalize_path("/ok/%ff"), Err(PathError::NotUtf8 { offset: 4 }));
    }

    #[test]
    fn control_characters_are_refused_encoded_or_not() {
        for raw in ["/a%00", "/a\0", "/%0a", "/\u{7f}", "/%C2%85"] {
            assert_eq!(normalize_path(raw), Err(PathError::Control { offset: 1 }), "{raw:?}");
        }
    }

    #[test]
    fn a_query_is_not_part_of_a_path() {
        assert_eq!(normalize_path("/a?b"), Err(PathError::NotPath { offset: 2 }));
        assert_eq!(normal("/a%3fb%23"), "/a%3Fb%23");
    }

    #[test]
    fn limits_hold_to_the_last_byte_and_segment() {
        assert!(normalize_path(&format!("/{}", "a".repeat(MAX_PATH_BYTES - 1))).is_ok());
        assert!(normalize_path(&format!("/{}", "a".repeat(MAX_PATH_BYTES))).is_err());
        assert!(normalize_path(&"/a".repeat(MAX_SEGMENTS)).is_ok());
        assert_eq!(normalize_path(&"/a".repeat(MAX_SEGMENTS + 1)), Err(PathError::TooManySegments));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(normalize_path("*"), Err(PathError::NotAbsolute));
        let error = Error::from(PathError::NotAbsolute);
        assert_eq!((error.kind(), error.code()), (crate::ErrorKind::InvalidInput, "route.invalid_path"));
    }

    proptest! {
        #[test]
        fn a_plain_path_is_what_its_segments_say(raw in "/[a-c9./_~-]{0,70}(%[0-9a-f]{2}|[?#é])?[a/]{0,2}") {
            prop_assert_eq!(normalize_path(&raw), by_segment(&raw));
        }

        #[test]
        fn a_normal_path_is_its_own_normal_form(raw in "/([a./%?#]|%2[ef5F]|%[0-9a-f]{2}|é){0,12}") {
            if let Ok(path) = normalize_path(&raw) {
                let again = normalize_path(path.as_str()).unwrap();
                prop_assert_eq!(&again, &path);
                prop_assert!(matches!(again.0, Cow::Borrowed(_)));
            }
        }
    }
}
