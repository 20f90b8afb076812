//! Why a value is not JSON, and where in it.

use std::fmt::{self, Write as _};

use crate::{Error, ErrorKind};

/// Longest path in an error, in bytes: enough to find the place, short enough for a log line.
const MAX_PATH: usize = 200;
/// Longest message taken from elsewhere: those of serde quote the offending string whole.
const MAX_MESSAGE: usize = 300;

/// The start of `text`, at the most `max` bytes, cut between characters.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// One step from a value into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    pub(crate) fn key(key: &str) -> Self {
        Step::Key(clip(key, MAX_PATH).to_owned())
    }
}

/// A refusal on its way out of nested containers. Each of them adds its step while it is left, so that the way
/// to a value is spelt only when something is wrong with it.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: &'static str,
    message: String,
    /// Innermost first.
    path: Vec<Step>,
}

impl Failure {
    fn new(code: &'static str, message: &str) -> Self {
        let message = match clip(message, MAX_MESSAGE) {
            whole if whole.len() == message.len() => whole.to_owned(),
            start => format!("{start}…"),
        };
        Failure(Box::new(Inner { code, message, path: Vec::new() }))
    }

    #[cold]
    pub(crate) fn invalid(message: impl AsRef<str>) -> Self {
        Failure::new("json.invalid", message.as_ref())
    }

    #[cold]
    pub(crate) fn too_deep() -> Self {
        let message =
            format!("arrays and objects may nest {} levels deep, not deeper", crate::Json::MAX_DEPTH);
        Failure::new("json.too_deep", &message)
    }

    #[cold]
    pub(crate) fn too_large(max: usize) -> Self {
        Failure::new("json.too_large", &format!("the JSON text may be {max} bytes long, not longer"))
    }

    #[cold]
    pub(crate) fn mismatch(message: impl AsRef<str>) -> Self {
        Failure::new("json.mismatch", message.as_ref())
    }

    #[cold]
    pub(crate) fn nul() -> Self {
        Failure::invalid("a string holds the character U+0000, which is not allowed")
    }

    #[cold]
    pub(crate) fn duplicate() -> Self {
        Failure::invalid("an object has this key twice")
    }

    #[cold]
    pub(crate) fn integer(literal: impl fmt::Display) -> Self {
        let literal = literal.to_string();
        let (start, cut) = (clip(&literal, 40), if literal.len() > 40 { "…" } else { "" });
        Failure::invalid(format!(
            "integers go from {} to {}; {start}{cut} is outside (as a float it needs a fraction or an exponent)",
            i64::MIN,
            i64::MAX
        ))
    }

    #[cold]
    pub(crate) fn not_finite(value: f64) -> Self {
        Failure::invalid(format!("{value} is not a number that JSON can hold"))
    }

    /// Adds the step that led from an enclosing container to the failure.
    #[cold]
    pub(crate) fn inside(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    /// Adds steps, innermost first.
    pub(crate) fn inside_all(mut self, steps: Vec<Step>) -> Self {
        self.0.path.extend(steps);
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let path = render(&failure.0.path);
        let kind = match failure.0.code {
            "json.too_large" => ErrorKind::TooLarge,
            _ => ErrorKind::InvalidInput,
        };
        Error::new(kind, failure.0.code, failure.0.message).with("path", path)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (path: {})", self.0.message, render(&self.0.path))
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Failure::invalid(message.to_string())
    }
}

/// `$.a.b[3]`; keys that are not plain words are quoted. Steps come innermost first.
fn render(steps: &[Step]) -> String {
    let mut path = String::from("$");
    for step in steps.iter().rev() {
        // Writing into a string does not fail.
        let _ = match step {
            Step::Index(index) => write!(path, "[{index}]"),
            Step::Key(key) if is_word(key) => write!(path, ".{key}"),
            Step::Key(key) => write!(path, "[{key:?}]"),
        };
        if path.len() > MAX_PATH {
            path.truncate(clip(&path, MAX_PATH - '…'.len_utf8()).len());
            path.push('…');
            break;
        }
    }
    path
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
