//! What holds for any input, and what others have published as right.

use proptest::prelude::*;

use super::*;
use crate::utilities::{base64, crypto, time, url};

fn bytes(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn sha256_is_that_of_the_standard() {
    // Examples of FIPS 180-4.
    let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (message, hash) in [
        (&b"abc"[..], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (long, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        (&[b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ] {
        assert_eq!(hex(&crypto::sha256(message).unwrap()), hash);
    }
}

#[test]
fn hmac_sha256_is_that_of_rfc_4231() {
    let (aa_20, aa_131) = ("aa".repeat(20), "aa".repeat(131));
    for (key, data, mac) in [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            hex(b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "4a656665",
            hex(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (&aa_20, "dd".repeat(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cd".repeat(50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &aa_131,
            hex(b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &aa_131,
            hex(b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ] {
        assert_eq!(hex(&crypto::hmac_sha256(&bytes(key), &bytes(&data)).unwrap()), mac);
    }
}

#[test]
fn base64_refuses_what_has_another_spelling_and_says_where() {
    let position = |text: &str| {
        let error = base64::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "base64.invalid", "{text}");
        error.context().find(|(name, _)| *name == "position").unwrap().1.to_owned()
    };
    assert_eq!(position("aGk\n"), "3");
    assert_eq!(position("aG=k"), "2");
    assert_eq!(position("ab+_"), "2");
    assert_eq!(position("aGk==="), "3");
    // The last bits of `l` belong to nothing.
    assert_eq!(position("aGl="), "2");
    assert_eq!(position("aGkaGkaGk"), "8");
    let far = "A".repeat(20_001) + "*";
    assert_eq!(position(&far), "20001");
}

#[test]
fn text_without_padding_and_of_the_url_alphabet_is_read_too() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        assert_eq!(base64::decode(text.as_bytes()).unwrap().as_slice(), [0xfb, 0xff], "{text}");
    }
}

#[test]
fn a_url_is_taken_apart() {
    let text = "HTTPS://ada:p%40ss@Shop.Example:8443/a%20b/c?q=caf%C3%A9+noir&q=2&flag#top";
    let parts = serde_json::to_value(url::parse(text).unwrap()).unwrap();
    assert_eq!(
        parts,
        serde_json::json!({
            "scheme": "https", "username": "ada", "password": "p@ss", "host": "shop.example", "port": 8443,
            "path": "/a%20b/c", "query": { "q": "café noir", "flag": "" }, "query_all": { "q": ["café noir", "2"], "flag": [""] },
            "query_text": "q=caf%C3%A9+noir&q=2&flag", "fragment": "top",
        })
    );
    let parts = url::parse("mailto:ada@example.com").unwrap();
    assert_eq!((parts.host.as_str(), parts.port, parts.path.as_str()), ("", None, "ada@example.com"));
    assert_eq!(url::parse("http://[::1]:80/").unwrap().host, "[::1]");
}

#[test]
fn what_is_no_url_is_refused_with_its_place() {
    for (text, position) in [
        ("/only/a/path", 0),
        ("example.com", 11),
        ("http://a b/", 8),
        ("http://a/%zz", 9),
        ("http://a\\@b/", 8),
        ("http://bücher.example/", 8),
        ("http://[::g]/", 10),
        ("", 0),
    ] {
        let error = url::parse(text).unwrap_err();
        let told = error.context().find(|(name, _)| *name == "position").map(|(_, at)| at.to_owned());
        assert_eq!((error.code(), told), ("url.invalid", Some(position.to_string())), "{text}: {error}");
    }
    assert_eq!(url::parse("http://a:65536/").unwrap_err().code(), "url.invalid");
}

#[test]
fn percents_that_stand_for_nothing_are_refused_with_their_place() {
    for (text, position) in [("a%", 1), ("%4", 0), ("ok%zz", 2), ("%ff", 0), ("a%C3", 1)] {
        let error = url::decode(text).unwrap_err();
        assert_eq!(
            error.context().next(),
            Some(("position", position.to_string().as_str())),
            "{text}: {error}"
        );
    }
    assert_eq!(url::decode("a+b%20c").unwrap(), "a+b c");
}

/// Bytes of many lengths, up to several pieces.
fn long() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(any::<u8>(), 0..100), 0..300_usize)
        .prop_map(|(bytes, times)| bytes.repeat(times))
}

/// Any instant that text can hold.
fn instants() -> impl Strategy<Value = crate::Timestamp> {
    let seconds = crate::Timestamp::MIN.as_second() / 2..=crate::Timestamp::MAX.as_second() / 2;
    (seconds, 0..1_000_000_000).prop_map(|(second, nano)| crate::Timestamp::new(second, nano).unwrap())
}

/// A year that is written with four digits.
fn everyday() -> impl Strategy<Value = crate::Timestamp> {
    (-62_000_000_000_i64..253_000_000_000, 0..1_000_000_000)
        .prop_map(|(second, nano)| crate::Timestamp::new(second, nano).unwrap())
}

fn zone() -> impl Strategy<Value = String> {
    let names: Vec<String> = time::zones().available().map(|name| name.to_string()).collect();
    assert!(names.len() > 400, "the zones are built in");
    proptest::sample::select(names)
}

proptest! {
    #[test]
    fn base64_comes_back_in_either_alphabet(data in long()) {
        for encoding in [&data_encoding::BASE64, &data_encoding::BASE64URL_NOPAD] {
            let text = encoded("base64.too_large", encoding, &data).unwrap();
            prop_assert_eq!(text.as_text().unwrap(), encoding.encode(&data));
            let decoded = base64::decode(text.as_slice()).unwrap();
            prop_assert_eq!(decoded.as_slice(), &data);
        }
    }

    #[test]
    fn no_text_but_that_of_the_bytes_decodes_to_them(text in "[A-D+/=_-]{0,9}") {
        if let Ok(decoded) = base64::decode(text.as_bytes()) {
            let body = text.trim_end_matches('=');
            let spelt = [&data_encoding::BASE64_NOPAD, &data_encoding::BASE64URL_NOPAD].map(|e| e.encode(decoded.as_slice()));
            prop_assert!(spelt.iter().any(|spelt| spelt == body), "{text} and {spelt:?}");
        }
    }

    #[test]
    fn hexadecimal_comes_back_from_either_case(data in long()) {
        let text = encoded("hex.too_large", &data_encoding::HEXLOWER, &data).unwrap();
        let upper = text.as_text().unwrap().to_uppercase();
        for text in [text.as_text().unwrap(), &upper] {
            let codes = ["hex.invalid", "hex.too_large"];
            let decoded = decoded(codes, "hexadecimal", &data_encoding::HEXLOWER_PERMISSIVE, text.as_bytes()).unwrap();
            prop_assert_eq!(decoded.as_slice(), &data);
        }
    }

    #[test]
    fn what_is_encoded_for_a_url_comes_back(text in "\\PC{0,60}|.{0,20}|[%+ &=]{0,10}") {
        let encoded = url::encode(&text).unwrap();
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{encoded}");
        prop_assert_eq!(url::decode(&encoded).unwrap(), text);
    }

    #[test]
    fn a_query_that_was_built_is_read_back(pairs in proptest::collection::btree_map(".{1,8}", proptest::collection::vec(".{0,8}", 1..4), 0..5)) {
        let json = crate::Json::from_value(&pairs);
        prop_assume!(json.is_ok());
        let query = url::build_query(&json.unwrap().to_value().unwrap()).unwrap();
        prop_assert_eq!(url::all_values(&query), pairs);
    }

    #[test]
    fn any_instant_comes_back_from_its_text_in_any_zone(at in instants(), zone in zone()) {
        let instant = time::Instant::Text(at.to_string());
        prop_assert_eq!(time::parse(&instant, None, None).unwrap(), at);
        let text = time::format(&instant, None, Some(&zone)).unwrap();
        // Offsets of long ago have seconds, which RFC 3339 has no room for.
        if at.as_second() > 0 {
            prop_assert_eq!(time::parse(&time::Instant::Text(text), None, None).unwrap(), at);
        }
    }

    #[test]
    fn any_instant_comes_back_from_a_format_with_its_zone(at in everyday(), zone in zone()) {
        let format = "%Y-%m-%d %H:%M:%S.%N %::z";
        let text = time::format(&time::Instant::Text(at.to_string()), Some(format), Some(&zone)).unwrap();
        prop_assert_eq!(time::parse(&time::Instant::Text(text), Some(format), None).unwrap(), at);
    }

    #[test]
    fn a_time_of_a_zone_comes_back_but_where_clocks_were_changed(at in everyday(), zone in zone()) {
        let format = "%Y-%m-%d %H:%M:%S.%N";
        let text = time::format(&time::Instant::Text(at.to_string()), Some(format), Some(&zone)).unwrap();
        let back = time::parse(&time::Instant::Text(text.clone()), Some(format), Some(&zone)).unwrap();
        // What comes twice is taken as the first: earlier, and the same on the wall.
        prop_assert!(back <= at);
        prop_assert_eq!(time::format(&time::Instant::Text(back.to_string()), Some(format), Some(&zone)).unwrap(), text);
    }

    #[test]
    fn no_text_and_no_format_does_harm(text in ".{0,40}", format in "(%[-_0^#]?[0-9]{0,3}:{0,3}[a-zA-Z%.]){0,20}|.{0,30}", zone in ".{0,20}|[A-Z][a-z]+/[A-Z][a-z]+") {
        let instant = time::Instant::Text(text);
        let _ = time::parse(&instant, Some(&format), Some(&zone));
        let _ = time::parse(&instant, None, Some("Europe/Paris"));
        if let Ok(text) = time::format(&time::Instant::Millis(0), Some(&format), None) {
            prop_assert!(text.len() < 64 << 10);
        }
    }

    #[test]
    fn comparison_is_equality(a in long(), at in any::<proptest::sample::Index>(), other in any::<u8>()) {
        let mut b = a.clone();
        prop_assert!(crypto::equals(&a, &b).unwrap());
        if !b.is_empty() {
            let at = at.index(b.len());
            b[at] = other;
            prop_assert_eq!(crypto::equals(&a, &b).unwrap(), a == b);
        }
        b.push(0);
        prop_assert!(!crypto::equals(&a, &b).unwrap());
    }
}
