//! The script module `url`.

use std::collections::BTreeMap;

use fluent_uri::ParseErrorKind;
use fluent_uri::pct_enc::EString;
use fluent_uri::pct_enc::encoder::Data;
use serde::Serialize;

use super::{may_build, text, within};
use crate::engine::natives;
use crate::engine::{Bytes, ScriptModule};
use crate::route::{hex_pair, parse_query};
use crate::values::Values;
use crate::{CallCx, Error, Result};

/// Longest URL that is parsed, as long as a path may be in a request.
const MAX_URL_BYTES: usize = 8 << 10;
/// Longest text that is encoded, decoded, or read as a form.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// The parts of a URL. The names are those of `ctx.request` where they mean the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Parts {
    scheme: String,
    username: String,
    password: String,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    query: Pairs,
    query_all: AllPairs,
    query_text: String,
    fragment: String,
}

pub(super) type Pairs = BTreeMap<String, String>;
pub(super) type AllPairs = BTreeMap<String, Vec<String>>;

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("url")
        .doc("URLs and queries: taken apart, put together, encoded, decoded.")
        .small_answers()
        .function("encode(text: string) -> string", |_cx: CallCx, bytes: Bytes| encode(bounded("text", &bytes)?).map(Bytes::from))
        .function("decode(text: string) -> string", |_cx: CallCx, bytes: Bytes| decode(bounded("text", &bytes)?).map(Bytes::from))
        .function(
            "parse(url: string) -> #{ scheme, username, password, host, port, path, query, query_all, query_text, fragment }",
            |_cx: CallCx, url: Bytes| {
                let url = text("url.invalid", "the URL", &url)?;
                within("url.too_large", "the URL", url.len(), MAX_URL_BYTES)?;
                parse(url)
            },
        )
        .function("parse_query(text: string) -> map", |_cx: CallCx, bytes: Bytes| {
            Ok::<_, Error>(first_values(bounded("query", &bytes)?))
        })
        .function("parse_query_all(text: string) -> map", |_cx: CallCx, bytes: Bytes| {
            Ok::<_, Error>(all_values(bounded("query", &bytes)?))
        })
        .function("build_query(values: map) -> string", |_cx: CallCx, values: BTreeMap<String, Values>| {
            build_query(&values).map(Bytes::from)
        })
        .about("encode", "Text for any part of a URL.")
        .about("decode", "Text from any part of a URL. Throws `url.invalid`.")
        .about("parse", "The parts of an absolute URL (RFC 3986); `port` is `()` where there is none; `path`, `query_text` and `fragment` are as written. Throws `url.invalid`.")
        .about("parse_query", "The fields of a form or a query, each with its first value.")
        .about("parse_query_all", "The fields of a form or a query, each with an array of its values.")
        .about("build_query", "`a=1&a=2&b=x+y` from `#{ a: [1, 2], b: \"x y\" }`.")
}

/// Text that is not too long, with the work on it counted.
fn bounded<'b>(what: &str, bytes: &'b Bytes) -> Result<&'b str> {
    within("url.too_large", what, bytes.as_slice().len(), MAX_TEXT_BYTES)?;
    // Four times the work of a copy.
    natives::spend(4 * bytes.as_slice().len())?;
    text("url.invalid", what, bytes)
}

/// Letters, digits, `-`, `.`, `_` and `~` stay, everything else is written in percents: fit for any part of a URL.
pub(super) fn encode(text: &str) -> Result<String> {
    let mut encoded = EString::<Data>::new();
    encoded.encode_str::<Data>(text);
    may_build("url.too_large", 0, encoded.len())?;
    Ok(encoded.into_string())
}

pub(super) fn decode(text: &str) -> Result<String> {
    let invalid = |why: &str, position: usize| Error::invalid("url.invalid", why).with("position", position);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'%' => hex_pair(after).ok_or_else(|| {
                invalid("a percent sign is followed by two hexadecimal digits", text.len() - rest.len())
            })?,
            byte => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|error| {
        invalid("what is decoded is not UTF-8, from this byte of it on", error.utf8_error().valid_up_to())
    })
}

pub(super) fn parse(text: &str) -> Result<Parts> {
    let url = fluent_uri::Uri::parse(text).map_err(|error| {
        let why = match error.kind() {
            ParseErrorKind::InvalidPctEncodedOctet => "a percent sign is followed by two hexadecimal digits",
            ParseErrorKind::InvalidIpv6Addr => "this is not an IPv6 address",
            ParseErrorKind::UnexpectedChar if error.index() >= text.len() => {
                "it ends early: a URL has a scheme, such as https:"
            }
            ParseErrorKind::UnexpectedChar => "this character cannot stand here",
        };
        Error::invalid("url.invalid", why).with("position", error.index()).with("url", text)
    })?;
    let authority = url.authority();
    let userinfo =
        authority.and_then(|authority| authority.userinfo()).map_or("", |userinfo| userinfo.as_str());
    let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let port = authority.map(|authority| authority.port_to_u16()).transpose().map_err(|error| {
        Error::invalid("url.invalid", "a port is a number up to 65535").with("url", text).caused_by(error)
    })?;
    let query = url.query().map_or("", |query| query.as_str());
    Ok(Parts {
        scheme: url.scheme().as_str().to_ascii_lowercase(),
        username: decode(username)?,
        password: decode(password)?,
        host: authority.map_or("", |authority| authority.host()).to_ascii_lowercase(),
        port: port.flatten(),
        path: url.path().as_str().to_owned(),
        query: first_values(query),
        query_all: all_values(query),
        query_text: query.to_owned(),
        fragment: url.fragment().map_or("", |fragment| fragment.as_str()).to_owned(),
    })
}

fn first_values(query: &str) -> Pairs {
    let mut values = Pairs::new();
    for (name, value) in parse_query(query) {
        values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    values
}

pub(super) fn all_values(query: &str) -> AllPairs {
    let mut values = AllPairs::new();
    for (name, value) in parse_query(query) {
        values.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    values
}

/// In the order of the names. What is `()` is left out.
pub(super) fn build_query(values: &BTreeMap<String, Values>) -> Result<String> {
    let mut query = String::new();
    for (name, values) in values {
        for value in values.as_slice() {
            if !query.is_empty() {
                query.push('&');
            }
            let (name, value) = (form_encoded(name)?, form_encoded(&value.to_string())?);
            may_build("url.too_large", 0, query.len() + name.len() + value.len() + 1)?;
            query.extend([&name, "=", &value]);
        }
    }
    Ok(query)
}

/// As browsers encode the fields of forms: a space is a plus.
fn form_encoded(text: &str) -> Result<String> {
    Ok(encode(text)?.replace("%20", "+"))
}
