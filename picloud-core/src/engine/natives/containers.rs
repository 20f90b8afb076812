//! Arrays: what can make them longer.

use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, FuncRegistration, Module};

use super::sizes::Weight;
use super::{Fallible, Sizes, too_large};

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
    }
    add!("pad", pad);
    add!("append", |array: &mut Array, other: Array| extend(array, other));
    add!("+", |mut array: Array, other: Array| extend(&mut array, other).map(|()| array));
    add!("splice", |array: &mut Array, range: Range<i64>, with: Array| {
        let (start, len) = exclusive(&range);
        splice(array, start, len, with)
    });
    add!("splice", |array: &mut Array, range: RangeInclusive<i64>, with: Array| {
        let (start, len) = inclusive(&range);
        splice(array, start, len, with)
    });
    add!("splice", splice);
}

/// Each new element is a copy of `item` with all that is in it.
fn pad(array: &mut Array, len: i64, item: Dynamic) -> Fallible<()> {
    let len = usize::try_from(len).unwrap_or(if len < 0 { 0 } else { usize::MAX });
    let copies = len.saturating_sub(array.len());
    if copies == 0 {
        return Ok(());
    }
    let sizes = Sizes::current();
    sizes.array(array.len(), len)?;
    let weight = Weight::of(&item)?;
    for (limit, max, each) in [
        ("max_array_size", sizes.array, weight.elements),
        ("max_map_size", sizes.map, weight.entries),
        ("max_blob_size", sizes.blob, weight.bytes),
    ] {
        let all = u128::from(each) * copies as u128;
        if all > u128::from(max) {
            return Err(too_large(limit, all, max));
        }
    }
    sizes.room(weight.memory(copies))?;
    array.resize(len, item);
    Ok(())
}

fn extend(array: &mut Array, other: Array) -> Fallible<()> {
    Sizes::current().array(array.len().max(other.len()), array.len() + other.len())?;
    if array.is_empty() {
        *array = other;
    } else {
        array.extend(other);
    }
    Ok(())
}

fn splice(array: &mut Array, start: i64, len: i64, with: Array) -> Fallible<()> {
    let (start, len) = span(array.len(), start, len);
    Sizes::current().array(array.len().max(with.len()), array.len() - len + with.len())?;
    array.splice(start..start + len, with);
    Ok(())
}

/// The part of something of length `length` that starts at `start`, from the end if negative, and has `len`
/// elements. Always inside.
pub(super) fn span(length: usize, start: i64, len: i64) -> (usize, usize) {
    let magnitude = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let start = if start < 0 { length.saturating_sub(magnitude) } else { magnitude.min(length) };
    let len = usize::try_from(len).unwrap_or(if len < 0 { 0 } else { usize::MAX });
    (start, len.min(length - start))
}

/// Start and length of a range; what lies before zero is cut off.
pub(super) fn exclusive(range: &Range<i64>) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

/// As [`exclusive`], with the end: never empty, as everywhere in the language.
pub(super) fn inclusive(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    (start, ((*range.end()).max(start) - start).saturating_add(1))
}
