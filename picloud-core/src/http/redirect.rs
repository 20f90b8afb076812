//! What a redirect makes of a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::secrets::Secret;

/// What of a request may go on to the next server.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) secrets: Vec<(HeaderName, Secret)>,
    pub(super) body: Bytes,
}

/// What another origin may see: what a request is about, not who sends it. A list of what is harmless, since credentials
/// go under any name (`x-api-key`, `x-shop-token`).
const HARMLESS: [HeaderName; 7] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
];

/// What is about a body that is no longer sent.
const OF_BODY: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// Whether a status asks to go on elsewhere, if there is a `location`.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Message {
    /// Changes what a redirect with this status changes, as browsers do: 303 asks for another resource, 301 and 302 turn
    /// a POST into a GET, 307 and 308 change nothing.
    pub(super) fn redirected(&mut self, status: StatusCode, same_origin: bool) {
        let becomes_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            OF_BODY.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        if !same_origin {
            self.secrets.clear();
            let kept = std::mem::take(&mut self.headers);
            for name in HARMLESS {
                for value in kept.get_all(&name) {
                    self.headers.append(name.clone(), value.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(method: Method) -> Message {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-api-key", "content-type", "accept", "if-none-match"] {
            headers.insert(HeaderName::from_static(name), http::HeaderValue::from_static("x"));
        }
        let secret = Secret::new(crate::secrets::SecretName::new("a").unwrap(), b"x".to_vec(), vec![]);
        let secrets = vec![(header::AUTHORIZATION, secret)];
        Message { method, headers, secrets, body: Bytes::from_static(b"body") }
    }

    fn names(message: &Message) -> Vec<&str> {
        let mut names: Vec<_> = message.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn methods_and_bodies_change_as_in_browsers() {
        let cases = [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::PATCH, Method::PATCH),
        ];
        for (status, before, after) in cases {
            let mut sent = message(before.clone());
            sent.redirected(StatusCode::from_u16(status).unwrap(), true);
            assert_eq!(sent.method, after, "{status} {before}");
            let keeps_body = before == after;
            assert_eq!(sent.body.is_empty(), !keeps_body, "{status} {before}");
            assert_eq!(sent.headers.contains_key("content-type"), keeps_body, "{status} {before}");
            assert!(sent.headers.contains_key("authorization"), "{status} {before}");
            assert_eq!(sent.secrets.len(), 1, "{status} {before}");
        }
    }

    #[test]
    fn another_origin_sees_only_what_is_harmless() {
        let mut sent = message(Method::POST);
        sent.redirected(StatusCode::TEMPORARY_REDIRECT, false);
        assert_eq!(names(&sent), ["accept", "content-type"]);
        assert_eq!(sent.secrets, []);
        sent.redirected(StatusCode::TEMPORARY_REDIRECT, true);
        assert_eq!(names(&sent), ["accept", "content-type"], "what was left out does not come back");
    }
}
