//! Native functions that could build something huge, or run for ever, within one operation.

use crate::world::{Attack, HARMLESS, REFUSED, STOPPED, one_by_one};

const HUGE: &[Attack<'_>] = &[
    (
        "replace each character by all",
        "let s = \"\"; s.pad(@STRING, \"a\"); s.replace(\"a\", s); s.len()",
        STOPPED,
    ),
    ("replace nothing by all", "let s = \"\"; s.pad(@STRING, \"a\"); s.replace(\"\", s); s.len()", STOPPED),
    (
        "replace a character by a text",
        "let s = \"\"; s.pad(@STRING, 'a'); let n = s; s.replace('a', n); s.len()",
        STOPPED,
    ),
    (
        "replace by a function pointer",
        "let s = \"\"; s.pad(@STRING, \"a\"); let f = Fn(\"replace\"); call(f, s, \"a\", s); s.len()",
        HARMLESS,
    ),
    ("replace until it is huge", "let s = \"aa\"; loop { s.replace(\"a\", s); }", STOPPED),
    ("pad to the end of the numbers", "let s = \"\"; s.pad(9223372036854775807, 'x'); s.len()", STOPPED),
    (
        "pad with a long text to the end",
        "let s = \"\"; s.pad(@STRING, 'x'); let t = \"\"; t.pad(9223372036854775807, s)",
        STOPPED,
    ),
    ("pad with wide characters", "let s = \"\"; s.pad(@STRING, '𝄞'); s.len()", STOPPED),
    ("pad an array to the end of the numbers", "let a = []; a.pad(9223372036854775807, 0); a.len()", STOPPED),
    ("pad an array with itself", "let a = [1]; loop { let b = a; a.pad(@ARRAY, b); }", STOPPED),
    (
        "pad an array with a full array",
        "let a = []; a.pad(@ARRAY, 1); let b = []; b.pad(@ARRAY, a); b.len()",
        STOPPED,
    ),
    (
        "pad an array with a full map",
        "let m = #{}; for i in 0..1000 { m[`k${i}`] = i; } let b = []; b.pad(@ARRAY, m); b.len()",
        STOPPED,
    ),
    ("a blob as large as numbers go", "blob(9223372036854775807)", STOPPED),
    ("a blob of a gigabyte", "blob(1073741824, 7).len()", STOPPED),
    ("pad a blob to the end", "let b = blob(); b.pad(9223372036854775807, 1); b.len()", STOPPED),
    ("many blobs", "let a = []; loop { a.push(blob(1048576)); }", STOPPED),
    ("double a string", "let s = \"x\"; loop { s += s; }", STOPPED),
    ("double by interpolation", "let s = \"x\"; loop { s = `${s}${s}`; }", STOPPED),
    ("double an array", "let a = [1]; loop { a += a; }", STOPPED),
    ("double an array by plus", "let a = [1]; loop { a = a + a; }", STOPPED),
    ("double an array by append", "let a = [1]; loop { let b = a; a.append(b); }", STOPPED),
    ("double an array by splice", "let a = [1]; loop { let b = a; a.splice(0..0, b); }", STOPPED),
    ("double a blob", "let b = blob(1, 1); loop { b += b; }", STOPPED),
    ("double a blob by append", "let b = blob(1, 1); loop { let c = b; b.append(c); }", STOPPED),
    ("insert at the end of the numbers", "let a = []; a.insert(9223372036854775807, 1); a.len()", HARMLESS),
    ("a repeated string", "\"x\" * 1000000000", HARMLESS),
    ("a repeated string by method", "\"x\".repeat(1000000000)", REFUSED),
    (
        "split over and over",
        "let s = \"\"; s.pad(@STRING, \"a,\"); let r = []; loop { r.push(s.split(\",\")); }",
        STOPPED,
    ),
    (
        "split by nothing",
        "let s = \"\"; s.pad(@STRING, \"a\"); let r = []; loop { r.push(s.split(\"\")); }",
        STOPPED,
    ),
    (
        "split at blanks",
        "let s = \"\"; s.pad(@STRING, \"a \"); let r = []; loop { r.push(s.split()); }",
        STOPPED,
    ),
    (
        "characters of a long text",
        "let s = \"\"; s.pad(@STRING, \"a\"); let r = []; loop { r.push(s.to_chars()); }",
        STOPPED,
    ),
    (
        "bytes of a long text",
        "let s = \"\"; s.pad(@STRING, \"a\"); let r = []; loop { r.push(s.to_blob()); }",
        STOPPED,
    ),
    ("letters that grow in upper case", "let s = \"\"; s.pad(@STRING / 2, 'ŉ'); s.to_upper().len()", STOPPED),
    (
        "letters that grow in place",
        "let s = \"\"; s.pad(@STRING / 2, 'ŉ'); loop { s.make_upper(); s.make_lower(); s += s; }",
        STOPPED,
    ),
    (
        "an array as text",
        "let s = \"\"; s.pad(1000, 'x'); let a = []; a.pad(2000, s); a.to_string().len()",
        STOPPED,
    ),
    (
        "an array in a text",
        "let s = \"\"; s.pad(1000, 'x'); let a = []; a.pad(2000, s); `${a}`.len()",
        STOPPED,
    ),
    (
        "an array behind a text",
        "let s = \"\"; s.pad(1000, 'x'); let a = []; a.pad(2000, s); (\"\" + a).len()",
        STOPPED,
    ),
    (
        "an array as JSON",
        "let s = \"\"; s.pad(1000, 'x'); let a = []; a.pad(2000, s); #{ a: a }.to_json().len()",
        STOPPED,
    ),
    ("deep JSON", "let s = \"\"; s.pad(@STRING, \"[\"); parse_json(s)", REFUSED),
    (
        "wide JSON",
        "let s = \"[\"; s.pad(@STRING - 10, \"[],\"); s += \"0]\"; let r = []; loop { r.push(parse_json(s)); }",
        HARMLESS,
    ),
    ("a range without end", "let n = 0; for i in 0..9223372036854775807 { n += i % 2; } n", STOPPED),
    ("a range of tiny steps", "for x in range(0.0, 1e300, 1e-300) { }", HARMLESS),
    ("a range of no steps", "for x in range(0, 10, 0) { }", HARMLESS),
    (
        "bits of everything",
        "let n = 0; n.set_bits(0..9223372036854775807, -1); for b in bits(n, 0, 9223372036854775807) { } n",
        HARMLESS,
    ),
    ("a large power", "let x = 2 ** 9223372036854775807; x", REFUSED),
    (
        "the number that cannot be negated",
        "let x = -9223372036854775807 - 1; [try_it(x)]; fn try_it(x) { x / -1 }",
        REFUSED,
    ),
    ("the remainder of it", "let x = -9223372036854775807 - 1; x % -1", HARMLESS),
    ("shifts past the width", "(1 << 64) + (1 >> -64) + (1 << 9223372036854775807)", HARMLESS),
    (
        "slices at the edges",
        "let s = \"äöü\"; s.sub_string(-9223372036854775807, 9223372036854775807) + s[-3..9223372036854775807]",
        HARMLESS,
    ),
    ("numbers past what fits", "parse_int(\"99999999999999999999999\") + parse_float(\"1e999\")", HARMLESS),
    ("a radix that is none", "parse_int(\"10\", 1000000)", HARMLESS),
    (
        "take blobs apart at the edges",
        "let b = blob(8, 1); b.parse_le_int(-9223372036854775807, 9223372036854775807) + b.parse_be_float(7, 8)",
        HARMLESS,
    ),
    (
        "write past the end of a blob",
        "let b = blob(8, 1); b.write_utf8(9223372036854775807, 9223372036854775807, \"äöü\"); b.write_le(0..99, 1); b",
        HARMLESS,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_cannot_build_something_huge_before_its_size_is_checked() {
    one_by_one(HUGE).await;
}

const ENDLESS_PAD: &[Attack<'_>] = &[
    ("an empty text", "let s = \"x\"; s.pad(10, \"\"); s", REFUSED),
    (
        "an empty text, to the end of the numbers",
        "let s = \"x\"; s.pad(9223372036854775807, \"\"); s",
        REFUSED,
    ),
    ("an empty text, as a function", "let s = \"x\"; pad(s, 10, \"\"); s", REFUSED),
    (
        "an empty text, through a pointer",
        "let s = \"x\"; let f = Fn(\"pad\"); f.call(s, 10, \"\"); s",
        HARMLESS,
    ),
    ("an empty text, curried", "let f = Fn(\"pad\").curry(\"x\", 100000); f.call(\"\")", HARMLESS),
    ("an empty text, in a callback", "[1, 2].map(|x| { let s = \"x\"; s.pad(10, \"\"); s })", REFUSED),
    (
        "an empty text, caught over and over",
        "loop { try { let s = \"x\"; s.pad(10, \"\"); } catch { } }",
        STOPPED,
    ),
    (
        "to fewer than there are",
        "let s = \"x\"; s.pad(-9223372036854775807, \"\"); s.pad(0, \"\"); s",
        HARMLESS,
    ),
    ("an array to fewer than there are", "let a = [1]; a.pad(-9223372036854775807, 1); a", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn padding_with_nothing_is_refused() {
    one_by_one(ENDLESS_PAD).await;
}
