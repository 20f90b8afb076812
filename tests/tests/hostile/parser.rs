//! Sources that are hard to read.

use crate::world::{Attack, End, HARMLESS, Limits, NOT_COMPILED, World};

/// As many repetitions as a source of 64 KiB has room for.
fn fill(before: &str, part: &str, after: &str) -> String {
    let room = 65_536 - before.len() - after.len();
    format!("{before}{}{after}", part.repeat(room / part.len()))
}

fn bombs() -> Vec<(&'static str, String, &'static [End])> {
    let half = |open: &str, close: &str| {
        let n = 65_000 / (open.len() + close.len());
        format!("{}1{}", open.repeat(n), close.repeat(n))
    };
    vec![
        ("parentheses", half("(", ")"), NOT_COMPILED),
        ("open parentheses", fill("", "(", ""), NOT_COMPILED),
        ("arrays", half("[", "]"), NOT_COMPILED),
        ("maps", half("#{a:", "}"), NOT_COMPILED),
        ("blocks", half("{", "}"), HARMLESS),
        ("conditions", half("if true {", "}"), HARMLESS),
        ("functions in functions", half("|x| ", ""), HARMLESS),
        ("interpolations", half("`${", "}`"), HARMLESS),
        ("signs", fill("", "-", "1"), HARMLESS),
        ("negations", fill("", "!", "true"), HARMLESS),
        ("a chain of sums", fill("1", "+1", ""), HARMLESS),
        ("a chain of powers", fill("1", "**1", ""), HARMLESS),
        ("a chain of conditions", fill("true", "&&true", ""), HARMLESS),
        ("a chain of properties", fill("let a = #{}; a", ".a", ""), HARMLESS),
        ("a chain of indices", fill("let a = []; a", "[0]", ""), HARMLESS),
        ("a chain of calls", fill("fn f() { 1 } f()", ".f()", ""), HARMLESS),
        ("a chain of else", fill("if true { 1 }", " else if true { 1 }", ""), HARMLESS),
        ("a chain of defaults", fill("()", "??()", ""), HARMLESS),
        ("a chain of assignments", fill("let a=1; a", "=a", ""), HARMLESS),
        ("a long array", fill("[", "1,", "1]"), HARMLESS),
        ("a long array of arrays", fill("[", "[],", "1]"), HARMLESS),
        // More of them may take long: see `known_to_stall`.
        ("many arguments", format!("f({}1)", "1,".repeat(100)), HARMLESS),
        ("many statements", fill("", "1;", ""), HARMLESS),
        ("many variables", fill("", "let a=1;", ""), HARMLESS),
        ("many blocks", fill("", "{}", ""), HARMLESS),
        ("many comments", fill("", "/**/", ""), HARMLESS),
        ("nested comments", half("/*", "*/"), HARMLESS),
        ("a text without end", fill("\"", "a", ""), NOT_COMPILED),
        ("a long text", fill("\"", "a", "\""), HARMLESS),
        ("a long name", fill("let ", "a", " = 1;"), HARMLESS),
        ("a long number", fill("", "9", ""), HARMLESS),
        ("many semicolons", fill("", ";", ""), HARMLESS),
        ("many lines", fill("", "\n", "("), NOT_COMPILED),
        ("labels and breaks", fill("loop { break; ", "break;", "}"), HARMLESS),
        ("too long by a byte", "1".repeat(65_537), NOT_COMPILED),
        ("much too long", "1;".repeat(1 << 20), NOT_COMPILED),
        ("bytes that are no script", "\u{0}\u{1}\u{feff}𝄞".repeat(1000), NOT_COMPILED),
        ("nothing", String::new(), HARMLESS),
        ("a shebang", "#!/bin/sh\n1".to_owned(), HARMLESS),
        ("many functions", (0..3500).map(|n| format!("fn f{n}() {{ 1 }}")).collect::<String>(), HARMLESS),
        ("many functions of one name", fill("", "fn f(){}", ""), NOT_COMPILED),
        ("many names", (0..5000).map(|n| format!("let v{n}=1;")).collect::<String>(), HARMLESS),
        // More of them take long: see `slow`.
        ("closures", format!("let a=1;{}", "||a;".repeat(2_000)), HARMLESS),
        (
            "a huge switch",
            format!("switch 1 {{ {} _ => 0 }}", (0..6000).map(|n| format!("{n}=>1,")).collect::<String>()),
            HARMLESS,
        ),
        (
            "a huge switch of ranges",
            format!(
                "switch 1 {{ {} _ => 0 }}",
                (0..4000).map(|n| format!("{n}..{n}9=>1,")).collect::<String>()
            ),
            HARMLESS,
        ),
        (
            "a huge map",
            format!("#{{ {} z: 0 }}", (0..7000).map(|n| format!("a{n}:1,")).collect::<String>()),
            HARMLESS,
        ),
        ("a map of one key", fill("#{", "a:1,", "a:1}"), HARMLESS),
        (
            "a function of many parameters",
            format!("fn f({} z) {{ 1 }}", (0..7000).map(|n| format!("a{n},")).collect::<String>()),
            HARMLESS,
        ),
        (
            "a closure of many captures",
            format!(
                "{} let f = || {} 1;",
                (0..2500).map(|n| format!("let v{n}=1;")).collect::<String>(),
                (0..2500).map(|n| format!("v{n}+")).collect::<String>()
            ),
            HARMLESS,
        ),
        ("names that hold ctx", fill("", "ctx;", ""), HARMLESS),
    ]
}

/// What the parser takes seconds for: quadratic in the number of closures, some twenty seconds for a source of
/// 64 KiB in an unoptimised build. Each holds one of the two threads that compile for so long: nobody else's scripts
/// wait, but what is new or was changed is compiled later. Here at less than a fifth of that length.
fn slow() -> String {
    format!("let a=1;{}", "||a;".repeat(3_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_hard_to_read_is_refused_or_read_where_nobody_waits() {
    let (bombs, slow) = (bombs(), slow());
    let mut attacks: Vec<Attack<'_>> =
        bombs.iter().map(|(name, source, ends)| (*name, source.as_str(), *ends)).collect();
    attacks.push(("many closures", &slow, HARMLESS));
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        world.compiles_long = true;
        world.one_by_one(&attacks).await;
        world.finish().await;
    }
}

/// What still breaks the promise, now and then: the interpreter looks for a function of unknown name under every
/// combination of types of its first sixteen arguments, and hashes all arguments each time. It does so when a Bloom
/// filter says that there might be one, which for a given name and number of arguments is a matter of the process's
/// hash seed. Then one call with 1 000 arguments takes a third of a second, with the 32 000 that a source has room for ten,
/// during which its executor thread does nothing else: no deadline, no turn for others. Curried arguments count alike,
/// so that no check of sources alone would do.
fn known_to_stall() -> Vec<(&'static str, String)> {
    vec![
        ("many arguments", format!("f({}1)", "1,".repeat(1_000))),
        ("many arguments of a method", format!("5.f({}1)", "1,".repeat(1_000))),
        (
            "many curried arguments",
            "let f = Fn(\"f\"); for i in 0..2000 { f = f.curry(i); } f.call()".to_owned(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_thousands_of_arguments_ends() {
    let attacks = known_to_stall();
    let attacks: Vec<Attack<'_>> =
        attacks.iter().map(|(name, source)| (*name, source.as_str(), HARMLESS)).collect();
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        world.stalls = true;
        world.one_by_one(&attacks).await;
        world.finish().await;
    }
}
