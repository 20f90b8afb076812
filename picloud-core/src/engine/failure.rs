//! The interpreter's errors as outcomes.

use rhai::{AST, Dynamic, EvalAltResult, Map, ParseError, ParseErrorType};

use super::limits::Limits;
use crate::execution::{Failure, FailureClass, LimitExceeded, Position};

pub(super) fn position(position: rhai::Position) -> Option<Position> {
    let count = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok());
    Some(Position { line: count(position.line())?, column: count(position.position()).unwrap_or(1).max(1) })
}

/// What a script threw that is a response: a map with `statusCode`.
pub(crate) fn thrown_response(error: &EvalAltResult) -> Option<Dynamic> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => {
            value.read_lock::<Map>().is_some_and(|map| map.contains_key("statusCode")).then(|| value.clone())
        }
        _ => None,
    }
}

/// A source that does not compile.
pub(crate) fn of_parser(source: &str, error: &ParseError) -> Failure {
    let position = position(error.position());
    let mut message = error.err_type().to_string();
    if matches!(error.err_type(), ParseErrorType::MissingToken(token, _) if token == ";")
        && position.is_some_and(|at| is_function(source, at))
    {
        message.push_str(": functions stand before the last expression, or after a ';'");
    }
    Failure { position, ..Failure::new(FailureClass::Compile, message) }
}

/// Whether a function is declared at this place of a source.
fn is_function(source: &str, at: Position) -> bool {
    let line = at.line.checked_sub(1).and_then(|line| source.lines().nth(usize::try_from(line).ok()?));
    let rest = line.map(|line| line.trim_start().trim_start_matches("private "));
    rest.is_some_and(|rest| rest.starts_with("fn "))
}

/// A script that failed by itself. Stops (budget, deadline, cancellation) are told apart before. What failed in a module
/// is told with the place where the script called it; the place in the module is part of the message. `script` knows its own closures, which a module may call back.
pub(crate) fn of_script(error: &EvalAltResult, limits: &Limits, script: Option<&AST>) -> Failure {
    let inner = error.unwrap_inner();
    let Some((module, called)) = module_of(error, script) else {
        let at = [inner.position(), error.position()].into_iter().find_map(position);
        return of_inner(inner, at, limits);
    };
    let failure = of_inner(inner, called.or_else(|| position(error.position())), limits);
    let place = match position(inner.position()) {
        Some(Position { line, column }) => format!(", line {line}, column {column}"),
        None => String::new(),
    };
    Failure { message: format!("in module {module:?}{place}: {}", failure.message), ..failure }
}

/// The module in which it failed, if it was one, and where the script called into modules.
fn module_of<'e>(mut error: &'e EvalAltResult, script: Option<&AST>) -> Option<(&'e str, Option<Position>)> {
    // The interpreter says of a closure where it was called, not where it is from; but no two have one name.
    let is_own = |name: &str| {
        name.starts_with("anon$")
            && script.is_some_and(|script| script.iter_functions().any(|own| own.name == name))
    };
    let (mut module, mut called) = (None, None);
    loop {
        let (source, inner, at, is_own) = match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, at) => (source, inner, at, is_own(name)),
            EvalAltResult::ErrorInModule(source, inner, at) => (source, inner, at, false),
            _ => return module.map(|module| (module, called)),
        };
        if source.is_empty() || is_own {
            (module, called) = (None, None);
        } else {
            called = called.or_else(|| position(*at));
            module = Some(source.as_str());
        }
        error = inner;
    }
}

fn of_inner(inner: &EvalAltResult, at: Option<Position>, limits: &Limits) -> Failure {
    use EvalAltResult as E;
    let budget = |limit: &str, max: u64, text: String| Failure {
        position: at,
        limit: Some(LimitExceeded { limit: limit.to_owned(), max }),
        ..Failure::new(FailureClass::Budget, text)
    };
    match inner {
        E::ErrorParsing(kind, _) => {
            Failure { position: at, ..Failure::new(FailureClass::Compile, kind.to_string()) }
        }
        E::ErrorStackOverflow(_) => budget(
            "max_call_levels",
            limits.max_call_levels,
            format!("functions call each other deeper than max_call_levels: {}", limits.max_call_levels),
        ),
        E::ErrorDataTooLarge(what, _) => {
            let (limit, max, size) = match what.split_once(": ") {
                // Our natives: `<limit>: <size> over <max>`.
                Some((limit, numbers)) => {
                    let (size, max) = numbers.split_once(" over ").unwrap_or((numbers, ""));
                    (limit, max.parse().unwrap_or(0), format!("{size} is more than "))
                }
                None if what.contains("string") => ("max_string_size", limits.max_string_size, String::new()),
                None if what.contains("map") => ("max_map_size", limits.max_map_size, String::new()),
                None => ("max_array_size", limits.max_array_size, String::new()),
            };
            budget(limit, max, format!("a value is too large: {size}{limit}: {max}"))
        }
        E::ErrorTooManyOperations(_) => {
            budget("max_operations", limits.max_operations, "too many operations".into())
        }
        E::ErrorRuntime(value, _) => {
            Failure { position: at, ..Failure::new(FailureClass::Runtime, thrown_text(value)) }
        }
        // The commonest mistake: something that is not there, such as a misspelt name one step before.
        E::ErrorDotExpr(text, _) if text.contains("is not registered for type '()'") => {
            let property = text.split('\'').nth(1).unwrap_or_default();
            let message = format!("there is no `{property}` in (): what stands before it has no value");
            Failure { position: at, ..Failure::new(FailureClass::Runtime, message) }
        }
        other => {
            let mut bare = other.to_string();
            // The position is told separately.
            if let Some(end) = bare.rfind(" (line ") {
                bare.truncate(end);
            }
            Failure { position: at, ..Failure::new(FailureClass::Runtime, bare) }
        }
    }
}

/// One line for what was thrown: code and message of a service error, else the value.
fn thrown_text(value: &Dynamic) -> String {
    let text = |map: &Map, key: &str| map.get(key).filter(|value| value.is_string()).map(ToString::to_string);
    let line = match value.read_lock::<Map>() {
        Some(map) => match (text(&map, "code"), text(&map, "message")) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (None, Some(message)) => Some(message),
            _ => None,
        },
        None if value.is_unit() => Some("Runtime error".to_owned()),
        None if value.is_string() => Some(value.to_string()),
        None => None,
    };
    let line = line.unwrap_or_else(|| {
        match super::convert::to_json(value, super::convert::ConvertLimits { max_bytes: 4096 }) {
            Ok(json) => format!("thrown: {json}"),
            Err(_) => format!("thrown: a value of type {}", value.type_name()),
        }
    });
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(2_000).collect()
}
