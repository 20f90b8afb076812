//! Calls any function of the language with any arguments, and holds it to what every native promises: no panic,
//! no endless work, nothing much larger than its inputs or the limits.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rhai::{Array, Blob, Dynamic, Engine, Map, OptimizationLevel, Scope};

use crate::engine::Limits;

/// Far above what any call takes on a busy machine, far below what anybody would wait for.
const LONGEST_CALL: Duration = Duration::from_secs(2);

/// One function, as it is written in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The type of each parameter, where it is known.
    pub(crate) params: Vec<String>,
}

/// Every function of the modules that scripts get, each signature once.
pub(crate) fn functions() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        let modules = super::packages().into_iter().chain([super::module()]);
        let mut functions: Vec<Function> = modules
            .flat_map(|module| {
                module
                    .gen_fn_signatures_with_mapper(Into::into)
                    .filter_map(|text| Function::parse(&text))
                    .collect::<Vec<_>>()
            })
            .collect();
        functions.sort_by(|a, b| (&a.name, &a.params).cmp(&(&b.name, &b.params)));
        functions.dedup();
        functions
    })
}

impl Function {
    fn parse(signature: &str) -> Option<Self> {
        let (name, rest) = signature.split_once('(')?;
        let params = rest.rsplit_once(") ->").map_or(rest, |(params, _)| params);
        let params = params.trim_end_matches(')');
        let mut depth = 0;
        let mut list = vec![String::new()];
        for c in params.chars() {
            match c {
                '<' | '(' => depth += 1,
                '>' | ')' => depth -= 1,
                ',' if depth == 0 => {
                    list.push(String::new());
                    continue;
                }
                _ => {}
            }
            list.last_mut()?.push(c);
        }
        let params = list
            .iter()
            .map(|param| param.split_once(':').map_or("", |(_, kind)| kind.trim()).to_owned())
            .collect();
        let params = if list.len() == 1 && list[0].trim().is_empty() { Vec::new() } else { params };
        Some(Function { name: name.trim().to_owned(), params })
    }

    /// A call with arguments that are written already.
    fn call(&self, args: &[&str]) -> String {
        let property = self.name.split_once(' ').filter(|(kind, _)| matches!(*kind, "get" | "set"));
        match (self.name.as_str(), property, args) {
            (_, Some(("get", name)), [this]) => format!("{this}.{name}"),
            (_, Some((_, name)), [this, value]) => format!("{this}.{name} = {value}"),
            (name, _, args) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                format!("{name}({})", args.join(", "))
            }
            (operator, _, [a, b]) => format!("{a} {operator} {b}"),
            (operator, _, args) => format!("{operator}{}", args.concat()),
        }
    }
}

/// Calls one function, chosen by `bytes` as are its arguments. Panics if it does not keep its promises.
#[allow(dead_code, reason = "called by fuzz targets")]
pub fn call_random(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut next = move || usize::from(bytes.next().unwrap_or(0));
    let functions = functions();
    let function = &functions[(next() << 8 | next()) % functions.len()];
    let picks: Vec<(bool, usize)> =
        function.params.iter().map(|_| (next() % 4 != 0, next() << 8 | next())).collect();
    call(function, &picks);
}

/// Calls a function; a pick says whether the argument's type is the parameter's, and which value it is. Answers
/// whether the call succeeded.
pub(crate) fn call(function: &Function, picks: &[(bool, usize)]) -> bool {
    let mut scope = Scope::new();
    let mut texts: Vec<String> = Vec::new();
    let mut before = 0;
    for (i, (kind, (fits, pick))) in function.params.iter().zip(picks).enumerate() {
        if kind.contains("FnPtr") && *fits {
            texts.push(CLOSURES[pick % CLOSURES.len()].to_owned());
            continue;
        }
        let values = values();
        let fitting: Vec<&Dynamic> = values.iter().filter(|value| !*fits || is(value, kind)).collect();
        let value = match fitting.get(pick % fitting.len().max(1)) {
            Some(value) => (*value).clone(),
            None => values[pick % values.len()].clone(),
        };
        before += bytes_of(&value, &mut Seen::new());
        scope.push_dynamic(format!("x{i}"), value);
        texts.push(format!("x{i}"));
    }
    let args: Vec<&str> = texts.iter().map(String::as_str).collect();
    let source = function.call(&args);
    let started = Instant::now();
    let result = engine().eval_with_scope::<Dynamic>(&mut scope, &source);
    let took = started.elapsed();
    assert!(took < LONGEST_CALL, "{function:?} with {picks:?} took {took:?}");
    let mut seen = Seen::new();
    let left: usize = scope.iter_raw().map(|(_, _, value)| bytes_of(value, &mut seen)).sum();
    let after = left + result.as_ref().map_or(0, |value| bytes_of(value, &mut seen));
    let limits = Limits::default();
    let most = 4 * before
        + limits.max_string_size as usize
        + size_of::<Dynamic>() * limits.max_array_size as usize
        // Only what names its size may be that large.
        + if source.contains("blob") || function.name == "pad" { limits.max_blob_size as usize } else { 1_024 };
    assert!(after <= most, "{function:?} with {picks:?} made {after} bytes of {before}");
    result.is_ok()
}

/// An engine as scripts get it, but for what needs an execution.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut engine = Engine::new_raw();
        engine.set_optimization_level(OptimizationLevel::None);
        engine.set_max_strings_interned(0);
        for module in super::packages() {
            engine.register_global_module(module);
        }
        engine.register_global_module(super::module());
        // As for scripts that handle blobs: the interpreter's own checks are no help then.
        engine.set_max_string_size(10 << 20).set_max_array_size(10 << 20).set_max_map_size(10 << 16);
        engine.set_max_call_levels(64).set_max_operations(1_000_000);
        engine
    })
}

const CLOSURES: &[&str] = &[
    "|| 1",
    "|x| x",
    "|x, y| x",
    "|x, y| true",
    "|x, y| throw 1",
    "|x, y| 0.5",
    "|x, y| -1",
    "|x, y| [y]",
    "Fn(\"nowhere\")",
    "Fn(\"==\")",
];

/// The values that break things, of every type.
fn values() -> &'static [Dynamic] {
    static VALUES: OnceLock<Vec<Dynamic>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let mut values: Vec<Dynamic> = vec![Dynamic::UNIT, true.into(), false.into()];
        let ints: &[i64] = &[
            0,
            1,
            -1,
            2,
            3,
            7,
            8,
            16,
            36,
            63,
            64,
            65,
            -64,
            255,
            256,
            9_999,
            10_000,
            10_001,
            65_536,
            65_537,
            1 << 32,
            -(1 << 32),
            1 << 52,
            1 << 60,
            i64::MAX,
            i64::MAX - 1,
            i64::MIN,
            i64::MIN + 1,
        ];
        values.extend(ints.iter().copied().map(Dynamic::from));
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            1e-300,
            1e300,
            f64::MAX,
            f64::EPSILON,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY,
        ];
        values.extend(floats.map(Dynamic::from));
        values.extend(['a', '\0', 'ß', '€', '😀', '\u{301}', 'ΐ'].map(Dynamic::from));
        let long = [
            "x".repeat(65_536),
            "\u{1}".repeat(65_536),
            "€".repeat(20_000),
            "a b ".repeat(16_000),
            "ΐ".repeat(30_000),
            "x".repeat(1 << 20),
        ];
        let short =
            ["", "a", "ß", "a,b,,c", " \t\n ", "0x1f", "-9223372036854775808", "1e309", "==", "\0", "[1,{}]"];
        values.extend(short.map(|text| Dynamic::from(text.to_owned())));
        values.extend(long.iter().cloned().map(Dynamic::from));
        let numbers: Array = (0..5_000_i64).map(|i| Dynamic::from((i * 7_919) % 5_003)).collect();
        let mixed: Array =
            vec![1_i64.into(), 1.5.into(), 'a'.into(), Dynamic::UNIT, Array::new().into(), Map::new().into()];
        let nans: Array =
            (0..100).map(|i| Dynamic::from(if i % 3 == 0 { f64::NAN } else { f64::from(i) })).collect();
        let texts: Array = vec![long[0].clone().into(); 500];
        let wide: Array = vec![Dynamic::from(numbers.clone()); 2];
        let deep = (0..200).fold(Dynamic::UNIT, |inner, _| Dynamic::from(vec![inner]));
        values.extend(
            [Array::new(), vec![Dynamic::UNIT], numbers.clone(), mixed, nans, texts, wide].map(Dynamic::from),
        );
        values.push(deep);
        let map = |pairs: Vec<(&str, Dynamic)>| -> Dynamic {
            Dynamic::from(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect::<Map>())
        };
        values.push(map(vec![]));
        values.push(map(vec![
            ("", 1_i64.into()),
            ("a", f64::NAN.into()),
            ("\"", map(vec![("x", numbers.into())])),
        ]));
        let blobs: [Blob; 5] = [vec![], vec![0], vec![0xff; 9], vec![0x80; 30_000], vec![b'x'; 1 << 20]];
        values.extend(blobs.map(Dynamic::from_blob));
        for (start, end) in
            [(0, 0), (0, 3), (-1, 1), (5, 2), (1, i64::MAX), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)]
        {
            values.push(Dynamic::from(start..end));
            values.push(Dynamic::from(start..=end));
        }
        values.push(Dynamic::from(Instant::now()));
        values
    })
}

/// Whether a value is of the type that a signature names.
fn is(value: &Dynamic, kind: &str) -> bool {
    let kind = kind.trim_start_matches('&').trim_start_matches("mut ").trim();
    match kind {
        "INT" | "i64" => value.is_int(),
        "FLOAT" | "f64" => value.is_float(),
        "bool" => value.is_bool(),
        "char" => value.is_char(),
        "()" => value.is_unit(),
        "Array" | "Vec<Dynamic>" => value.is_array(),
        "Map" => value.is_map(),
        "Blob" | "Vec<u8>" => value.is_blob(),
        "Instant" => value.is_timestamp(),
        kind if kind.ends_with("str") || kind.ends_with("String") => value.is_string(),
        kind if kind.contains("RangeInclusive") || kind.contains("InclusiveRange") => {
            value.type_name().contains("RangeInclusive")
        }
        kind if kind.contains("Range") => value.type_name().contains("Range<"),
        _ => true,
    }
}

/// The texts that were counted: copies of a string share one.
type Seen = HashSet<*const u8>;

fn bytes_of(value: &Dynamic, seen: &mut Seen) -> usize {
    let inside = if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        if seen.insert(text.as_ptr()) { text.len() } else { 0 }
    } else if let Some(array) = value.read_lock::<Array>() {
        array.iter().map(|item| bytes_of(item, seen)).sum()
    } else if let Some(map) = value.read_lock::<Map>() {
        map.iter().map(|(key, value)| key.len() + bytes_of(value, seen)).sum()
    } else if let Some(blob) = value.read_lock::<Blob>() {
        blob.len()
    } else {
        0
    };
    size_of::<Dynamic>() + inside
}
