use proptest::prelude::*;

use super::*;
use crate::files::{Checksum, ContentType, FileId, FileName, Metadata};

fn file(size: u64) -> FileInfo {
    let at = "2024-03-01T12:00:00.5Z".parse().unwrap();
    FileInfo {
        id: FileId::new(),
        name: FileName::new("a.txt").unwrap(),
        content_type: ContentType::new("text/plain").unwrap(),
        size,
        sha256: Checksum([7; 32]),
        metadata: Metadata::default(),
        created_at: at,
        updated_at: at,
    }
}

/// The status, and the part of ten bytes.
fn asked(method: Method, headers: &[(&str, &str)]) -> (u16, Option<Range<u64>>) {
    let map = headers
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap()));
    let plan = plan(&method, &map.collect(), &file(10));
    (plan.status.as_u16(), plan.part)
}

fn get(headers: &[(&str, &str)]) -> (u16, Option<Range<u64>>) {
    asked(Method::GET, headers)
}

const BEFORE: &str = "Fri, 01 Mar 2024 11:59:59 GMT";
const THEN: &str = "Fri, 01 Mar 2024 12:00:00 GMT";

#[test]
fn one_range_is_answered() {
    assert_eq!(get(&[]), (200, Some(0..10)));
    assert_eq!(get(&[("range", "bytes=0-")]), (206, Some(0..10)));
    assert_eq!(get(&[("range", "bytes=2-3")]), (206, Some(2..4)));
    assert_eq!(get(&[("range", "Bytes= 9-99")]), (206, Some(9..10)));
    assert_eq!(get(&[("range", "bytes=-3")]), (206, Some(7..10)));
    assert_eq!(get(&[("range", "bytes=-30")]), (206, Some(0..10)));
    assert_eq!(get(&[("range", "bytes=5-99999999999999999999999")]), (206, Some(5..10)));
    assert_eq!(get(&[("range", "bytes=10-")]), (416, None));
    assert_eq!(get(&[("range", "bytes=-0")]), (416, None));
    for ignored in ["bytes=3-2", "bytes=0-1,3-4", "lines=0-1", "bytes=", "bytes=-", "bytes=+1-2", "bytes 0-1"]
    {
        assert_eq!(get(&[("range", ignored)]), (200, Some(0..10)), "{ignored}");
    }
    assert_eq!(asked(Method::HEAD, &[("range", "bytes=2-3")]), (200, Some(0..10)));
    assert_eq!(asked(Method::POST, &[("range", "bytes=2-3")]), (200, Some(0..10)));
}

#[test]
fn conditions_are_followed() {
    let own = &etag(&file(10));
    let weak = &format!("W/{own}");
    let among = &format!("\"x\" , {own}");
    assert_eq!(get(&[("if-none-match", own)]).0, 304);
    assert_eq!(get(&[("if-none-match", weak)]).0, 304);
    assert_eq!(get(&[("if-none-match", among)]).0, 304);
    assert_eq!(get(&[("if-none-match", "*")]).0, 304);
    assert_eq!(get(&[("if-none-match", "\"x\"")]).0, 200);
    assert_eq!(asked(Method::POST, &[("if-none-match", own)]).0, 412);
    assert_eq!(get(&[("if-modified-since", THEN)]).0, 304);
    assert_eq!(get(&[("if-modified-since", BEFORE)]).0, 200);
    assert_eq!(get(&[("if-modified-since", "yesterday")]).0, 200);
    // The tag counts more than the date.
    assert_eq!(get(&[("if-modified-since", THEN), ("if-none-match", "\"x\"")]).0, 200);
    assert_eq!(get(&[("if-match", own)]).0, 200);
    assert_eq!(get(&[("if-match", "*")]).0, 200);
    assert_eq!(get(&[("if-match", weak)]).0, 412);
    assert_eq!(get(&[("if-match", "\"x\"")]).0, 412);
    assert_eq!(get(&[("if-unmodified-since", THEN)]).0, 200);
    assert_eq!(get(&[("if-unmodified-since", BEFORE)]).0, 412);
    assert_eq!(get(&[("if-unmodified-since", BEFORE), ("if-match", own)]).0, 200);
    // Before any range.
    assert_eq!(get(&[("if-none-match", own), ("range", "bytes=10-")]).0, 304);
}

#[test]
fn a_range_counts_if_the_file_is_still_the_same() {
    let own = &etag(&file(10));
    assert_eq!(get(&[("range", "bytes=2-3"), ("if-range", own)]), (206, Some(2..4)));
    for other in ["\"x\"", THEN, &format!("W/{own}")] {
        assert_eq!(get(&[("range", "bytes=2-3"), ("if-range", other)]), (200, Some(0..10)), "{other}");
    }
}

#[test]
fn headers_tell_about_the_file() {
    let told = |part, status| {
        let plan = Plan { status, is_range: status != StatusCode::OK, part };
        let response = plan.response(&file(10), false, HeaderMap::new());
        let mut told: Vec<_> = response
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        told.sort();
        told
    };
    let tag = format!("etag: \"{}\"", "07".repeat(32));
    let always = [
        "accept-ranges: bytes",
        &tag,
        "last-modified: Fri, 01 Mar 2024 12:00:00 GMT",
        "x-content-type-options: nosniff",
    ];
    let with = |more: &[&str]| {
        let mut all: Vec<_> = always.iter().chain(more).map(|text| (*text).to_owned()).collect();
        all.sort();
        all
    };
    let described = ["content-disposition: attachment; filename=\"a.txt\"", "content-type: text/plain"];
    let whole = [described[0], described[1], "content-length: 10"];
    assert_eq!(told(Some(0..10), StatusCode::OK), with(&whole));
    let part = [described[0], described[1], "content-length: 2", "content-range: bytes 2-3/10"];
    assert_eq!(told(Some(2..4), StatusCode::PARTIAL_CONTENT), with(&part));
    assert_eq!(
        told(None, StatusCode::RANGE_NOT_SATISFIABLE),
        with(&["content-length: 0", "content-range: bytes */10"])
    );
}

#[test]
fn a_name_cannot_leave_its_header() {
    let of = |name| disposition(name, false).to_str().unwrap().to_owned();
    assert_eq!(of("a b.txt"), "attachment; filename=\"a b.txt\"");
    assert_eq!(of("../a\\b"), "attachment; filename=\".._a_b\"");
    assert_eq!(of("a\"; x=y"), "attachment; filename=\"a_; x=y\"; filename*=UTF-8''a%22%3B%20x%3Dy");
    assert_eq!(of("ä%.txt"), "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%A4%25.txt");
    assert_eq!(disposition("x", true).to_str().unwrap(), "inline; filename=\"x\"");
}

proptest! {
    #[test]
    fn every_name_has_a_header(name in ".{1,60}") {
        if FileName::new(&*name).is_ok() {
            prop_assert!(disposition(&name, false).to_str().unwrap().starts_with("attachment; filename=\""));
        }
    }

    #[test]
    fn what_is_sent_is_part_of_the_file(size in 0_u64..20, range in "(bytes=)?[0-9]{0,2}-?[0-9]{0,3}(,1-2)?|.{0,9}") {
        let Ok(value) = HeaderValue::from_str(&range) else { return Ok(()) };
        let plan = plan(&Method::GET, &HeaderMap::from_iter([(header::RANGE, value)]), &file(size));
        match (plan.status.as_u16(), plan.part) {
            (200, Some(part)) => prop_assert_eq!(part, 0..size),
            (206, Some(part)) => prop_assert!(part.start < part.end && part.end <= size),
            (status, part) => prop_assert_eq!((status, part), (416, None)),
        }
    }
}
