//! The one error type of every picloud trait.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Shorthand for results of picloud calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarsely: enough to choose a status code or to decide on a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named by the caller does not exist, or belongs to another app.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The state changed under the caller, or does not allow the operation.
    Conflict,
    /// An argument is malformed; the same call can never succeed.
    InvalidInput,
    /// An argument is past a limit.
    TooLarge,
    /// The call needs a principal and has none.
    Unauthenticated,
    /// The principal lacks the capability.
    Forbidden,
    /// This backend or configuration does not offer the operation.
    Unsupported,
    /// A dependency is down or saturated; the same call may succeed later.
    Unavailable,
    /// The deadline of the call passed.
    Timeout,
    /// The call was given up by its caller or by shutdown.
    Cancelled,
    /// The handle was used after its end.
    Closed,
    /// A defect or an unexpected answer of a dependency.
    Internal,
}

/// An error of a service, a store or the control plane.
///
/// It has a [kind](Error::kind) for code to branch on, a stable [code](Error::code) that scripts and HTTP
/// clients see, a sentence for people, context pairs that name the offending values, and the cause.
/// `Display` is one line without the cause; the cause is reached through [`std::error::Error::source`] and
/// is never shown to scripts.
///
/// ```
/// use picloud_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Conflict, "kv.conflict", "expected version 7, found 9")
///     .with("collection", "carts")
///     .with("key", 42);
/// assert_eq!(error.code(), "kv.conflict");
/// assert_eq!(error.to_string(), "kv.conflict: expected version 7, found 9 (collection: carts, key: 42)");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with a stable `code` such as `"kv.key_too_long"` and a sentence for people.
    pub fn new(kind: ErrorKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            code: code.into(),
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::InvalidInput`].
    pub fn invalid(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidInput, code, message)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, code, message)
    }

    /// Shorthand for [`ErrorKind::Internal`], code `"internal"`.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, "internal", message)
    }

    /// Adds a context pair: a value that was part of the failing call.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code, such as `"kv.key_too_long"`. Part of the contract with scripts and HTTP clients.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence, without code and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context pairs, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The error and what caused it, in one line, for an operator's log: causes may tell of statements and places that
    /// scripts and clients are not to know.
    ///
    /// ```
    /// let refused = std::io::Error::other("connection refused");
    /// let error = picloud_core::Error::internal("no answer").caused_by(refused);
    /// assert_eq!(error.with_causes().to_string(), "internal: no answer: connection refused");
    /// ```
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        WithCauses(self)
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

struct WithCauses<'a>(&'a Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many an error repeats what it comes from.
            if !told.contains(&text) {
                told.push_str(": ");
                told.push_str(&text);
            }
            cause = error.source();
        }
        told.chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}
