//! What can be wrong with a pattern.

use super::normalize::MAX_SEGMENTS;
use super::pattern::MAX_PATTERN_BYTES;
use crate::Error;

/// Why a pattern of a path or host is none. Offsets are bytes in the pattern as typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("a path pattern has at most {MAX_PATTERN_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More segments than [`MAX_SEGMENTS`].
    #[error("a path pattern has at most {MAX_SEGMENTS} segments, this one has more")]
    TooManySegments,
    /// No slash at the beginning.
    #[error("a path pattern begins with '/'")]
    NotAbsolute,
    /// Two slashes in a row.
    #[error("the segment at byte {offset} is empty; write one slash between segments")]
    EmptySegment {
        /// Where it would begin.
        offset: usize,
    },
    /// A slash at the end.
    #[error(
        "the slash at the end (byte {offset}) has no meaning: without it the pattern matches requests with and \
         without; '/*' matches what lies below"
    )]
    TrailingSlash {
        /// Where the slash is.
        offset: usize,
    },
    /// `.` or `..`.
    #[error("the segment at byte {offset} is '.' or '..', which no request has")]
    DotSegment {
        /// Where it begins.
        offset: usize,
    },
    /// A colon that does not begin a segment.
    #[error(
        "the colon at byte {offset} is inside a segment; a capture is one whole segment, a literal colon is %3A"
    )]
    Colon {
        /// Where it is.
        offset: usize,
    },
    /// A capture without a proper name.
    #[error(
        "the capture at byte {offset} is named {name:?}; a name is a letter or '_' and then letters, digits and '_', \
         and fills its whole segment"
    )]
    ParamName {
        /// Where the name begins.
        offset: usize,
        /// The name.
        name: String,
    },
    /// A name that captures twice, in the path or in host and path together.
    #[error("the name {name:?} captures more than once in this route; every name is used once")]
    DuplicateParam {
        /// Where it appears again; `None` where host and path share it.
        offset: Option<usize>,
        /// The name.
        name: String,
    },
    /// A star that is not the whole last segment.
    #[error("the star at byte {offset} is not the whole last segment; a literal star is %2A")]
    Star {
        /// Where it is.
        offset: usize,
    },
    /// `{` or `}`.
    #[error("the brace at byte {offset} is reserved; write :name for a capture, %7B or %7D for a brace")]
    Brace {
        /// Where it is.
        offset: usize,
    },
    /// A space, control character, `?` or `#`.
    #[error("the segment at byte {offset} contains {found}, which a path pattern cannot; {want}")]
    Character {
        /// Where the segment begins, or the character is.
        offset: usize,
        /// What it contains.
        found: &'static str,
        /// What would be right.
        want: &'static str,
    },
    /// Percent-encoding that cannot be decoded.
    #[error(
        "the percent-encoding at byte {offset} is malformed; two hexadecimal digits follow a '%', of UTF-8 text"
    )]
    Encoding {
        /// Where it is.
        offset: usize,
    },
    /// A host pattern that is none.
    #[error("{found:?} at byte {offset} of the host pattern: {want}")]
    Host {
        /// Where it is.
        offset: usize,
        /// The part that is wrong.
        found: String,
        /// What would be right.
        want: &'static str,
    },
}

impl PatternError {
    /// The byte of the pattern at which it goes wrong, where there is one.
    pub fn offset(&self) -> Option<usize> {
        match self {
            PatternError::TooLong { .. } | PatternError::TooManySegments => None,
            PatternError::NotAbsolute => Some(0),
            PatternError::DuplicateParam { offset, .. } => *offset,
            PatternError::EmptySegment { offset }
            | PatternError::TrailingSlash { offset }
            | PatternError::DotSegment { offset }
            | PatternError::Colon { offset }
            | PatternError::ParamName { offset, .. }
            | PatternError::Star { offset }
            | PatternError::Brace { offset }
            | PatternError::Character { offset, .. }
            | PatternError::Encoding { offset }
            | PatternError::Host { offset, .. } => Some(*offset),
        }
    }
}

impl From<PatternError> for Error {
    fn from(error: PatternError) -> Self {
        let converted = Error::invalid("route.invalid_pattern", error.to_string());
        match error.offset() {
            Some(offset) => converted.with("offset", offset),
            None => converted,
        }
    }
}
