//! Comparing values: `==`, `!=`, and what searches by it.
//!
//! A comparison is linear in what it compares, and many references to one long string make it linear in more
//! than was ever built. So every element counts, and so does every stretch of bytes.

use std::any::TypeId;

use rhai::plugin::RhaiFunc;
use rhai::{
    Array, Blob, Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, NativeCallContext,
};

use super::containers::span;
use super::{Fallible, charge, tick};

pub(super) fn register(module: &mut Module) {
    for of in [TypeId::of::<Array>(), TypeId::of::<Map>()] {
        for (name, wanted) in [("==", true), ("!=", false)] {
            let function = move |context: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| match (
                context, args,
            ) {
                (Some(context), [a, b]) => Ok(Dynamic::from(equal(&context, a, b)? == wanted)),
                _ => Ok(Dynamic::from(!wanted)),
            };
            let function = RhaiFunc::Method {
                func: rhai::Shared::new(function),
                has_context: true,
                is_pure: true,
                is_volatile: false,
            };
            FuncRegistration::new(name).in_global_namespace().set_into_module_raw(module, [of, of], function);
        }
    }
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name)
                .in_global_namespace()
                .with_purity(true)
                .set_into_module(module, $function)
        };
    }
    add!("contains", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        position(&context, array, &value, 0).map(|found| found >= 0)
    });
    add!("index_of", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        position(&context, array, &value, 0)
    });
    add!("index_of", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic, start: i64| {
        position(&context, array, &value, start)
    });
    FuncRegistration::new("dedup")
        .in_global_namespace()
        .set_into_module(module, |context: NativeCallContext<'_>, array: &mut Array| {
            dedup(array, |a, b| equal(&context, a, b))
        });
}

fn position(context: &NativeCallContext<'_>, array: &Array, value: &Dynamic, start: i64) -> Fallible<i64> {
    let (start, _) = span(array.len(), start, 0);
    for (i, item) in array.iter().enumerate().skip(start) {
        if equal(context, item, value)? {
            return Ok(i64::try_from(i).unwrap_or(i64::MAX));
        }
    }
    Ok(-1)
}

/// Drops each element that is the same as the one kept before it. Whatever `same` fails with ends it there.
pub(super) fn dedup(
    array: &mut Array,
    mut same: impl FnMut(&Dynamic, &Dynamic) -> Fallible<bool>,
) -> Fallible<()> {
    let mut kept = Array::with_capacity(array.len());
    let mut result = Ok(());
    for item in std::mem::take(array) {
        let dropped = match (kept.last(), &result) {
            (Some(last), Ok(())) => same(last, &item).unwrap_or_else(|error| {
                result = Err(error);
                false
            }),
            _ => false,
        };
        if !dropped {
            kept.push(item);
        }
    }
    *array = kept;
    result
}

/// Whether two values are the same, as `==` has it. Values of types that do not compare are not.
fn equal(context: &NativeCallContext<'_>, a: &Dynamic, b: &Dynamic) -> Fallible<bool> {
    tick()?;
    if let (Some(a), Some(b)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) {
        if a.len() != b.len() {
            return Ok(false);
        }
        charge(a.len())?;
        return Ok(a.as_str() == b.as_str());
    }
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Ok(a == b);
    }
    if a.is_array() || b.is_array() {
        return match (a.read_lock::<Array>(), b.read_lock::<Array>()) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                all(a.iter().zip(b.iter()).map(|(a, b)| equal(context, a, b)))
            }
            _ => Ok(false),
        };
    }
    if a.is_map() || b.is_map() {
        return match (a.read_lock::<Map>(), b.read_lock::<Map>()) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                all(a.iter().zip(b.iter()).map(|((k, a), (l, b))| Ok(k == l && equal(context, a, b)?)))
            }
            _ => Ok(false),
        };
    }
    if a.is_blob() || b.is_blob() {
        return match (a.read_lock::<Blob>(), b.read_lock::<Blob>()) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                charge(a.len())?;
                Ok(*a == *b)
            }
            _ => Ok(false),
        };
    }
    let same_type = a.type_id() == b.type_id();
    match context.call_native_fn_raw("==", true, &mut [&mut a.clone(), &mut b.clone()]) {
        Ok(answer) => Ok(answer.as_bool().unwrap_or(false)),
        Err(error) => match *error {
            EvalAltResult::ErrorFunctionNotFound(ref name, _) if !same_type && name.starts_with("==") => {
                Ok(false)
            }
            _ => Err(error),
        },
    }
}

fn all(mut answers: impl Iterator<Item = Fallible<bool>>) -> Fallible<bool> {
    answers.try_fold(true, |so_far, answer| Ok(so_far && answer?))
}
