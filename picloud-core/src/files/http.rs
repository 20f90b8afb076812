//! Files as answers to requests: what of a file a request asks for, by its conditions and its range.
//!
//! A file answers with a strong `ETag` (its checksum), `Last-Modified`, and `Accept-Ranges`. `If-Match`,
//! `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since` are followed in the order of RFC 9110, and one range of
//! bytes, `If-Range` included. Several ranges are answered with the whole file, as are an `If-Range` with a date (dates here
//! are no strong validators: a file may change twice in one second) and what is not understood.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::fmt::rfc2822;

use super::store::Tried;
use super::{ByteSource, FileAnswer, FileInfo, Files, FilesError};
use crate::{CallCx, Result, Timestamp};

/// A response whose body is a file, a part of one, or nothing.
pub struct FileResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, `content-length` included where there is a body or could be one.
    pub headers: HeaderMap,
    /// The body, piece by piece. An error of the source must break the response off: what was sent is not to be trusted.
    pub body: Option<Box<dyn ByteSource>>,
    /// How many bytes the body has.
    pub length: u64,
}

impl std::fmt::Debug for FileResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// Answers a request with a file. `headers` go along; those that tell about the file are ours, but that a
    /// `content-type` or `content-disposition` among them counts more. With a `status` other than 200 the request's
    /// conditions and range do not matter.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] when the file was removed meanwhile, [`FilesError::Corrupted`], `files.store_failed`; those
    /// of the backend.
    pub async fn respond(
        &self,
        answer: &FileAnswer,
        status: StatusCode,
        headers: HeaderMap,
    ) -> Result<FileResponse> {
        let FileAnswer { file: served, method, asked } = answer;
        // Whether the file may be read was asked when it was looked up.
        let cx = CallCx::new(served.app);
        let (id, mut tried) = (served.record.info.id, Tried::default());
        // What the script saw, if it is still there: the headers that it set may go with that.
        let mut record = Some(served.record.clone());
        while let Some(now) = record {
            let plan = if status == StatusCode::OK {
                plan(method, asked, &now.info)
            } else {
                Plan { status, part: Some(0..now.info.size), is_range: false }
            };
            let mut response = plan.response(&now.info, served.inline, headers.clone());
            let Some(part) = plan.part.filter(|_| method != Method::HEAD) else { return Ok(response) };
            if let Some(source) = self.open_record(&now, part).await? {
                response.body = Some(source);
                return Ok(response);
            }
            record = self.current(&cx, &served.collection, id, &mut tried).await?;
        }
        Err(FilesError::NotFound { id }.into())
    }
}

/// What a request gets.
#[derive(Debug, PartialEq)]
struct Plan {
    status: StatusCode,
    /// The bytes to send.
    part: Option<Range<u64>>,
    is_range: bool,
}

fn plan(method: &Method, asked: &HeaderMap, file: &FileInfo) -> Plan {
    let nothing = |status| Plan { status, part: None, is_range: false };
    let is_read = method == Method::GET || method == Method::HEAD;
    let since = |name: HeaderName| date(asked.get(name)?);
    // Each condition by date counts only without its counterpart by tag.
    let is_expected = match tags(asked, &header::IF_MATCH) {
        Some(tags) => tags.contain(file, true),
        None => since(header::IF_UNMODIFIED_SINCE).is_none_or(|since| seconds(file) <= since),
    };
    if !is_expected {
        return nothing(StatusCode::PRECONDITION_FAILED);
    }
    let is_known = match tags(asked, &header::IF_NONE_MATCH) {
        Some(tags) => tags.contain(file, false),
        None => is_read && since(header::IF_MODIFIED_SINCE).is_some_and(|since| seconds(file) <= since),
    };
    match is_known {
        true if is_read => return nothing(StatusCode::NOT_MODIFIED),
        true => return nothing(StatusCode::PRECONDITION_FAILED),
        false => {}
    }
    let whole = Plan { status: StatusCode::OK, part: Some(0..file.size), is_range: false };
    let is_current = asked.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag(file).as_bytes());
    if method != Method::GET || !is_current {
        return whole;
    }
    match asked.get(header::RANGE).and_then(|range| asked_range(range.to_str().ok()?, file.size)) {
        None => whole,
        Some(Some(part)) => Plan { status: StatusCode::PARTIAL_CONTENT, part: Some(part), is_range: true },
        Some(None) => Plan { status: StatusCode::RANGE_NOT_SATISFIABLE, part: None, is_range: true },
    }
}

/// The one range that is asked for: `None` to be ignored, `Some(None)` if no byte is in it.
fn asked_range(text: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // What overflows is past the end of any file.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let part = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some((part.start < part.end).then_some(part))
}

/// The tags of a condition.
enum Tags<'a> {
    Any,
    These(Vec<&'a [u8]>),
}

impl Tags<'_> {
    /// Whether the file's tag is among them. Weakly, a tag counts whether it is said to be weak or not.
    fn contain(&self, file: &FileInfo, strongly: bool) -> bool {
        let Tags::These(tags) = self else { return true };
        let own = etag(file);
        tags.iter().any(|tag| {
            let tag = if strongly { tag } else { tag.strip_prefix(b"W/").unwrap_or(tag) };
            tag == own.as_bytes()
        })
    }
}

/// Our own tags hold no commas, so others may be cut to pieces.
fn tags<'a>(asked: &'a HeaderMap, name: &HeaderName) -> Option<Tags<'a>> {
    asked.contains_key(name).then(|| {
        let tags = asked.get_all(name).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let tags: Vec<_> = tags.map(<[u8]>::trim_ascii).collect();
        if tags == [b"*"] { Tags::Any } else { Tags::These(tags) }
    })
}

fn etag(file: &FileInfo) -> String {
    format!("\"{}\"", file.sha256)
}

/// The time of the last write, as precisely as headers tell it.
fn seconds(file: &FileInfo) -> i64 {
    file.updated_at.as_microsecond().div_euclid(1_000_000)
}

/// What is no date is no condition.
fn date(value: &HeaderValue) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(value.as_bytes()).ok().map(Timestamp::as_second)
}

fn http_date(seconds: i64) -> Option<HeaderValue> {
    let at = Timestamp::from_second(seconds).ok()?;
    HeaderValue::from_str(&rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()?).ok()
}

impl Plan {
    fn response(&self, file: &FileInfo, inline: bool, mut headers: HeaderMap) -> FileResponse {
        let value = |text: String| HeaderValue::from_str(&text).ok();
        let length = self.part.as_ref().map_or(0, |part| part.end - part.start);
        let has_body = self.part.is_some();
        let mut set = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, value(etag(file)));
        set(header::LAST_MODIFIED, http_date(seconds(file)));
        set(header::ACCEPT_RANGES, Some(HeaderValue::from_static("bytes")));
        // A browser that guesses might run what was uploaded as a picture.
        set(header::X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff")));
        if self.status != StatusCode::NOT_MODIFIED {
            set(header::CONTENT_LENGTH, Some(HeaderValue::from(length)));
        }
        match &self.part {
            Some(part) if self.is_range => {
                set(
                    header::CONTENT_RANGE,
                    value(format!("bytes {}-{}/{}", part.start, part.end - 1, file.size)),
                );
            }
            None if self.is_range => set(header::CONTENT_RANGE, value(format!("bytes */{}", file.size))),
            _ => {}
        }
        if has_body {
            let content_type = HeaderValue::from_str(file.content_type.as_str());
            let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            headers.entry(header::CONTENT_TYPE).or_insert(content_type);
            headers.entry(header::CONTENT_DISPOSITION).or_insert(disposition(file.name.as_str(), inline));
        } else {
            headers.remove(header::CONTENT_TYPE);
        }
        FileResponse { status: self.status, headers, body: None, length }
    }
}

/// What to do with the file, and its name: for old clients in the letters that all of them understand, for others as it is
/// (RFC 6266). A name that looks like a path loses that.
fn disposition(name: &str, inline: bool) -> HeaderValue {
    use std::fmt::Write;
    let kind = if inline { "inline" } else { "attachment" };
    let name: String = name.chars().map(|c| if matches!(c, '/' | '\\') { '_' } else { c }).collect();
    let plain: String = name
        .chars()
        .map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '%') { c } else { '_' })
        .collect();
    let mut text = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests;
