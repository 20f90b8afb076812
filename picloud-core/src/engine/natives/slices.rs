//! Parts of strings, by character. The standard library takes a string apart into characters and pushes them
//! together again one by one: seconds, for what a request can bring in.

use std::ops::{Range, RangeInclusive};

use rhai::{FuncRegistration, ImmutableString, Module};

use super::containers::{exclusive, inclusive};
use super::{Fallible, Sizes, answer, charge};

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
    }
    add!("sub_string", |s: &str, start: i64, len: i64| part(s, start, len));
    add!("sub_string", |s: &str, start: i64| part(s, start, i64::MAX));
    add!("sub_string", |s: &str, range: Range<i64>| {
        let (start, len) = exclusive(&range);
        part(s, start, len)
    });
    add!("sub_string", |s: &str, range: RangeInclusive<i64>| {
        let (start, len) = inclusive(&range);
        part(s, start, len)
    });
    add!("crop", |s: &mut ImmutableString, start: i64, len: i64| part(s, start, len).map(|part| *s = part));
    add!("crop", |s: &mut ImmutableString, start: i64| part(s, start, i64::MAX).map(|part| *s = part));
    add!("crop", |s: &mut ImmutableString, range: Range<i64>| {
        let (start, len) = exclusive(&range);
        part(s, start, len).map(|part| *s = part)
    });
    add!("crop", |s: &mut ImmutableString, range: RangeInclusive<i64>| {
        let (start, len) = inclusive(&range);
        part(s, start, len).map(|part| *s = part)
    });
    add!("pop", |s: &mut ImmutableString, len: i64| {
        charge(s.len())?;
        let Some(before_last) = usize::try_from(len).ok().and_then(|len| len.checked_sub(1)) else {
            return answer(ImmutableString::new());
        };
        let start = s.char_indices().nth_back(before_last).map_or(0, |(at, _)| at);
        let (rest, popped) = s.split_at(start);
        let (rest, popped) = (ImmutableString::from(rest), ImmutableString::from(popped));
        *s = rest;
        answer(popped)
    });
    add!("set", |s: &mut ImmutableString, index: i64, with: char| {
        charge(s.len())?;
        if let Some((at, c)) = character(s, index) {
            let after = s.len() - c.len_utf8() + with.len_utf8();
            Sizes::current().string(s.len(), after)?;
            let mut changed = String::with_capacity(after);
            changed.push_str(&s[..at]);
            changed.push(with);
            changed.push_str(&s[at + c.len_utf8()..]);
            *s = changed.into();
        }
        answer(())
    });
    add!("index_of", |s: &str, find: &str, start: i64| index_of(s, find, start));
    add!("index_of", |s: &str, find: char, start: i64| index_of(s, find.encode_utf8(&mut [0; 4]), start));
}

/// The character at an index, from the end if negative, and where it begins.
fn character(s: &str, index: i64) -> Option<(usize, char)> {
    let magnitude = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { s.char_indices().nth_back(magnitude - 1) } else { s.char_indices().nth(magnitude) }
}

/// Where the character at an index begins: the string's ends for what lies outside.
fn offset(s: &str, index: i64) -> usize {
    character(s, index).map_or(if index < 0 { 0 } else { s.len() }, |(at, _)| at)
}

fn part(s: &str, start: i64, len: i64) -> Fallible<ImmutableString> {
    charge(s.len())?;
    let tail = &s[offset(s, start)..];
    Ok(tail[..offset(tail, len.max(0))].into())
}

fn index_of(s: &str, find: &str, start: i64) -> Fallible<i64> {
    charge(s.len())?;
    let start = offset(s, start);
    // At the end there is nothing to be found, not even nothing.
    if start >= s.len() {
        return Ok(-1);
    }
    let found = s[start..].find(find).map(|at| s[..start + at].chars().count());
    Ok(found.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1))
}
