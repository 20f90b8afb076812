//! Outbound HTTP asked for what it must refuse, over and over, and with the largest of everything. Nothing here is ever
//! connected to.

use crate::world::{Attack, HARMLESS, STOPPED, one_by_one};

const ATTACKS: &[Attack<'_>] = &[
    ("refused for ever", "loop { try { http::get(\"http://127.0.0.1/\"); } catch { } }", STOPPED),
    (
        "no URL for ever",
        "let s = \"\"; s.pad(@STRING, \"a\"); loop { try { http::get(s); } catch { } }",
        STOPPED,
    ),
    (
        "no host for ever",
        "let s = \"http://\"; s.pad(8000, \"\\uff41\"); loop { try { http::get(s); } catch { } }",
        STOPPED,
    ),
    (
        "names in disguise for ever",
        "let s = \"http://xn--\"; s.pad(8000, \"a9\"); let t = \"http://\"; t.pad(8000, \"xn--ls8h.\"); \
         let u = \"http://\"; u.pad(4000, \"\\u05d0a\"); \
         loop { for url in [s, t, u] { try { http::get(url); } catch { } } }",
        STOPPED,
    ),
    (
        "queries for ever",
        "let a = []; a.pad(1000, \"ä\"); loop { try { http::get(\"http://10.0.0.1/\", #{ query: #{ a: a } }); } catch { } }",
        STOPPED,
    ),
    (
        "headers for ever",
        "let a = []; a.pad(@ARRAY, \"x\"); loop { try { http::get(\"http://10.0.0.1/\", #{ headers: #{ a: a } }); } catch { } }",
        STOPPED,
    ),
    (
        "bodies for ever",
        "let b = blob(10485760); loop { try { http::post(\"http://10.0.0.1/\", b); } catch { } }",
        STOPPED,
    ),
    (
        "JSON bodies for ever",
        "let a = []; a.pad(@ARRAY, \"äöü\"); loop { try { http::post(\"http://10.0.0.1/\", a); } catch { } }",
        STOPPED,
    ),
    ("a body of itself", "let a = []; a.push(|| a); http::post(\"http://10.0.0.1/\", a)", HARMLESS),
    (
        "a name that nobody knows, for ever",
        "loop { try { http::get(\"http://a.invalid/\"); } catch { } }",
        STOPPED,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbound_requests() {
    one_by_one(ATTACKS).await;
}
