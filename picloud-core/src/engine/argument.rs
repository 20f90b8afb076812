//! What functions of scripts take and answer: arguments on their way in, answers on their way out.

use std::any::{Any, TypeId};
use std::fmt;

use rhai::{Dynamic, ImmutableString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{convert, natives};
use crate::secrets::Secret;
use crate::{Error, Json, Result};

/// The arguments of one call, taken one after the other.
pub struct Args<'a, 'b> {
    pub(super) args: &'a mut [&'b mut Dynamic],
    pub(super) next: usize,
    pub(super) names: &'a [String],
    pub(super) label: &'a str,
    pub(super) has_this: bool,
}

impl fmt::Debug for Args<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("function", &self.label)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Args<'_, '_> {
    /// The next argument as it is; for parameters that read it themselves.
    pub(crate) fn take(&mut self) -> Option<&mut Dynamic> {
        let taken = self.args.get_mut(self.next);
        self.next += 1;
        taken.map(|value| &mut **value)
    }

    /// An error that names the argument taken last.
    pub(crate) fn mismatch(&self, error: Error) -> Error {
        let index = self.next.saturating_sub(1 + usize::from(self.has_this));
        let name = self.names.get(index).map_or("this", String::as_str);
        let code = if error.code() == "json.mismatch" {
            "invalid_argument".to_owned()
        } else {
            error.code().to_owned()
        };
        let mut told =
            Error::new(error.kind(), code, format!("{}, argument `{name}`: {}", self.label, error.message()));
        // Where in the argument.
        for (name, value) in error.context().filter(|(_, value)| *value != "$") {
            told = told.with(name, value);
        }
        told
    }
}

/// What a parameter of a script function can be: anything that serde reads, [`Raw`] for a value as it is,
/// [`Bytes`] for a string or a blob, [`This`] for the handle that a method is called on.
pub trait FromScript: Sized {
    #[doc(hidden)]
    fn take(args: &mut Args<'_, '_>) -> Result<Self>;

    #[doc(hidden)]
    fn this() -> Option<TypeId> {
        None
    }
}

impl<T: DeserializeOwned> FromScript for T {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        // The value stays the script's: it is read, not taken.
        let read = args
            .take()
            .map_or_else(|| convert::from_dynamic(&Dynamic::UNIT), |value| convert::from_dynamic(value));
        read.map_err(|error| args.mismatch(error))
    }
}

/// Any value as canonical JSON, as a parameter or an answer, without a detour through serde. As a parameter
/// `None` means that it was left out; as an answer `None` is `()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(pub Option<Json>);

impl Raw {
    /// The value; `null` where there is none.
    pub fn or_null(self) -> Json {
        self.0.unwrap_or_else(Json::null)
    }
}

impl FromScript for Raw {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        let Some(value) = args.take() else { return Ok(Raw(None)) };
        match convert::to_json(value, convert::ConvertLimits::default()) {
            Ok(json) => natives::spend(json.len()).map(|()| Raw(Some(json))),
            Err(error) => Err(args.mismatch(error)),
        }
    }
}

impl IntoScript for Raw {
    fn to_script(&self) -> Result<Dynamic> {
        self.0.as_ref().map_or(Ok(Dynamic::UNIT), convert::from_json)
    }
}

/// An answer that is canonical text of ours, with values in up to three containers. `None` is `()`.
#[derive(Debug)]
pub(crate) struct Around(pub(crate) Option<Json>);

impl IntoScript for Around {
    fn to_script(&self) -> Result<Dynamic> {
        self.0.as_ref().map_or(Ok(Dynamic::UNIT), convert::from_containers)
    }
}

/// A string or a blob: as a parameter whichever it was given, as an answer whichever it was made from. Long ones are
/// counted as operations by their length.
///
/// ```
/// use picloud_core::engine::Bytes;
/// use picloud_core::{CallCx, ScriptModule};
///
/// let sums = ScriptModule::new("sums")
///     .function("xor(data: string | blob) -> int", |_cx: CallCx, data: Bytes| {
///         data.as_slice().iter().fold(0, |sum, byte| sum ^ i64::from(*byte))
///     })
///     .function("reversed(data: string | blob) -> blob", |_cx: CallCx, data: Bytes| {
///         Bytes::from(data.as_slice().iter().rev().copied().collect::<Vec<u8>>())
///     });
/// assert_eq!(sums.functions().count(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(Held);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Text(ImmutableString),
    Blob(Vec<u8>),
    Shared(bytes::Bytes),
}

impl Bytes {
    /// The bytes; of a string its UTF-8.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Held::Text(text) => text.as_bytes(),
            Held::Blob(bytes) => bytes,
            Held::Shared(bytes) => bytes,
        }
    }

    /// The text: of a string itself, of a blob if it is UTF-8.
    ///
    /// # Errors
    /// Where the bytes are not UTF-8.
    pub fn as_text(&self) -> std::result::Result<&str, std::str::Utf8Error> {
        match &self.0 {
            Held::Text(text) => Ok(text),
            _ => std::str::from_utf8(self.as_slice()),
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(Held::Blob(bytes))
    }
}

impl From<bytes::Bytes> for Bytes {
    fn from(bytes: bytes::Bytes) -> Self {
        Bytes(Held::Shared(bytes))
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Bytes(Held::Text(text.into()))
    }
}

impl FromScript for Bytes {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        Bytes::take_or_say(args, "a string or a blob")
    }
}

impl Bytes {
    /// The bytes of the next argument; `expected` is what the script is told that it may be.
    fn take_or_say(args: &mut Args<'_, '_>, expected: &str) -> Result<Self> {
        let Some(value) = args.take() else { return Ok(Bytes(Held::Blob(Vec::new()))) };
        let held = match value.read_lock::<ImmutableString>() {
            Some(text) => Some(Ok(Held::Text(text.clone()))),
            None => value.read_lock::<rhai::Blob>().map(|blob| natives::copied(&blob).map(Held::Blob)),
        };
        match held {
            Some(held) => held.map(Bytes),
            None => {
                let given = value.type_name().to_owned();
                let error = format!("expected {expected}, not a value of type {given}");
                Err(args.mismatch(Error::invalid("invalid_argument", error)))
            }
        }
    }
}

impl IntoScript for Bytes {
    fn to_script(&self) -> Result<Dynamic> {
        Ok(match &self.0 {
            // A copy, so that it counts as the script's memory.
            Held::Text(text) => Dynamic::from(ImmutableString::from(text.as_str())),
            _ => Dynamic::from_blob(natives::copied(self.as_slice())?),
        })
    }
}

/// A string, a blob, or a [`Secret`] as a parameter: for functions that work on bytes and answer nothing from which a
/// secret could be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A string or a blob.
    Bytes(Bytes),
    /// A secret.
    Secret(Secret),
}

impl Operand {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Operand::Bytes(bytes) => bytes.as_slice(),
            Operand::Secret(secret) => secret.expose(),
        }
    }
}

impl FromScript for Operand {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        let secret = args.take().and_then(|value| value.read_lock::<Secret>().map(|secret| secret.clone()));
        if let Some(secret) = secret {
            return Ok(Operand::Secret(secret));
        }
        args.next -= 1;
        Bytes::take_or_say(args, "a string, a blob or a secret").map(Operand::Bytes)
    }
}

/// Any value as a parameter, by what it is: for functions that take text and bytes as they are, and everything else as
/// JSON.
///
/// ```
/// use picloud_core::engine::Content;
/// use picloud_core::{CallCx, ScriptModule};
///
/// let mail = ScriptModule::new("mail").function("size(body: any) -> int", |_cx: CallCx, body: Content| match body {
///     Content::None => 0,
///     Content::Text(text) => text.len(),
///     Content::Blob(bytes) => bytes.len(),
///     Content::Json(json) => json.len(),
/// });
/// assert_eq!(mail.functions().count(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// `()`, or left out.
    None,
    /// A string.
    Text(String),
    /// A blob.
    Blob(Vec<u8>),
    /// Anything else that JSON can hold.
    Json(Json),
}

impl FromScript for Content {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        let Some(value) = args.take() else { return Ok(Content::None) };
        if value.is_unit() {
            return Ok(Content::None);
        }
        if let Some(text) = value.read_lock::<ImmutableString>() {
            natives::spend(text.len())?;
            return Ok(Content::Text(text.to_string()));
        }
        if let Some(blob) = value.read_lock::<rhai::Blob>() {
            return natives::copied(&blob).map(Content::Blob);
        }
        args.next -= 1;
        Raw::take(args).map(|json| Content::Json(json.or_null()))
    }
}

/// An answer that is given as JSON text of any form, and reaches the script as the value that it spells. Long texts are
/// counted as operations, and let others run in between.
#[derive(Debug, Clone)]
pub struct JsonText<T>(pub T);

impl<T: AsRef<[u8]>> IntoScript for JsonText<T> {
    fn to_script(&self) -> Result<Dynamic> {
        convert::parse_json_in_turns(self.0.as_ref())
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// The handle that a method is called on: the first parameter after the context.
#[derive(Debug, Clone)]
pub struct This<T>(pub T);

impl<T: Any + Clone + Send + Sync> FromScript for This<T> {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        args.take()
            .and_then(|value| value.read_lock::<T>().map(|handle| handle.clone()))
            .map(This)
            .ok_or_else(|| Error::internal("a method was called on a value of another type"))
    }

    fn this() -> Option<TypeId> {
        Some(TypeId::of::<T>())
    }
}

/// What a script function can answer: anything that serde writes, [`Raw`], [`Bytes`], [`JsonText`], [`Handle`].
pub trait IntoScript {
    #[doc(hidden)]
    fn to_script(&self) -> Result<Dynamic>;
}

impl<T: Serialize> IntoScript for T {
    fn to_script(&self) -> Result<Dynamic> {
        convert::to_dynamic(self)
    }
}

/// An answer that is a handle: an opaque value with methods.
#[derive(Debug, Clone)]
pub struct Handle<T>(pub T);

impl<T: Any + Clone + Send + Sync> IntoScript for Handle<T> {
    fn to_script(&self) -> Result<Dynamic> {
        Ok(Dynamic::from(self.0.clone()))
    }
}
