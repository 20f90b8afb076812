//! The query of a request as pairs.

use std::borrow::Cow;

use super::normalize::hex_pair;

/// Most pairs that are read from one query; what follows is ignored. Scripts see them as maps, whose size is
/// limited too.
pub const MAX_QUERY_PAIRS: usize = 1_000;

/// The pairs of a query (without the `?`), decoded as HTML forms encode them.
///
/// Never fails: a `%` without two hexadecimal digits stays as it is, and bytes that are not UTF-8 become
/// U+FFFD. A name without `=` has an empty value; nothing between two `&` is no pair. Names may repeat. At most
/// [`MAX_QUERY_PAIRS`] are given.
///
/// ```
/// use picloud_core::route::parse_query;
///
/// let pairs: Vec<_> = parse_query("q=caf%C3%A9+noir&flag&&rate=100%").collect();
/// assert_eq!(pairs[0], ("q".into(), "café noir".into()));
/// assert_eq!(pairs[1], ("flag".into(), "".into()));
/// assert_eq!(pairs[2], ("rate".into(), "100%".into()));
/// ```
pub fn parse_query(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).take(MAX_QUERY_PAIRS).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name, true), percent_decode(value, true))
    })
}

/// Decodes what is well formed and keeps the rest; with `form`, a `+` is a space.
pub(super) fn percent_decode(text: &str, form: bool) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || (form && byte == b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, after)) = bytes.split_first() {
        bytes = after;
        match (first, hex_pair(after)) {
            (b'%', Some((byte, after))) => {
                out.push(byte);
                bytes = after;
            }
            (b'+', _) if form => out.push(b' '),
            _ => out.push(first),
        }
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        parse_query(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(pairs("a%20b=c%26d+e"), [pair("a b", "c&d e")]);
    }

    #[test]
    fn only_the_first_equals_sign_separates() {
        assert_eq!(pairs("a=b=c&=d&e="), [pair("a", "b=c"), pair("", "d"), pair("e", "")]);
    }

    #[test]
    fn repeated_names_stay_in_order() {
        assert_eq!(pairs("a=1&b=2&a=3"), [pair("a", "1"), pair("b", "2"), pair("a", "3")]);
    }

    #[test]
    fn an_empty_query_has_no_pairs() {
        assert_eq!(pairs("&&"), []);
    }

    #[test]
    fn a_malformed_percent_sign_is_kept() {
        assert_eq!(pairs("a=%&b=%4&c=%zz%41"), [pair("a", "%"), pair("b", "%4"), pair("c", "%zzA")]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(pairs("a=x%ffy"), [pair("a", "x\u{fffd}y")]);
    }

    #[test]
    fn pairs_past_the_limit_are_ignored() {
        assert_eq!(pairs(&"a&".repeat(MAX_QUERY_PAIRS + 5)).len(), MAX_QUERY_PAIRS);
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(value in ".{0,20}") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(percent_decode(&encoded, true), value.as_str());
        }
    }
}
