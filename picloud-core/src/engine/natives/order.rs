//! Sorting.
//!
//! The standard library's sort hides what its comparer fails with, goes on comparing after the script was
//! stopped, and panics over a comparer that contradicts itself (or over NaN, without any). Ours is a merge sort:
//! it ends with the first error and has no opinion on consistency.

use std::cmp::Ordering;

use rhai::{Array, Dynamic, FnPtr, FuncRegistration, ImmutableString, Module, NativeCallContext};

use super::compare::dedup;
use super::{Fallible, answer, charge, invalid, tick};

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:expr, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
        (pure $name:expr, $function:expr) => {
            FuncRegistration::new($name)
                .in_global_namespace()
                .with_purity(true)
                .set_into_module(module, $function)
        };
    }
    for name in ["sort", "sort_by"] {
        add!(name, |context: NativeCallContext<'_>, array: &mut Array, by: FnPtr| {
            let order = sorted(array, |a, b| called(&context, &by, a, b))?;
            apply(array, &order);
            answer(())
        });
    }
    add!("sort", |context: NativeCallContext<'_>, array: &mut Array, by: &str| {
        let by = FnPtr::new(by)?;
        let order = sorted(array, |a, b| called(&context, &by, a, b))?;
        apply(array, &order);
        answer(())
    });
    for name in ["order", "order_by"] {
        add!(pure name, |context: NativeCallContext<'_>, array: &mut Array, by: FnPtr| {
            let order = sorted(array, |a, b| called(&context, &by, a, b))?;
            answer(order.iter().map(|i| array[*i].clone()).collect::<Array>())
        });
    }
    for (descending, sort, order) in [(false, "sort", "order"), (true, "sort_desc", "order_desc")] {
        add!(sort, move |array: &mut Array| {
            let order = natural(array, descending)?;
            apply(array, &order);
            answer(())
        });
        add!(pure order, move |array: &mut Array| {
            let order = natural(array, descending)?;
            answer(order.iter().map(|i| array[*i].clone()).collect::<Array>())
        });
    }

    add!("dedup", |context: NativeCallContext<'_>, array: &mut Array, by: FnPtr| {
        dedup(array, |a, b| same(&context, &by, a, b))
    });
    add!("dedup", |context: NativeCallContext<'_>, array: &mut Array, by: &str| {
        let by = FnPtr::new(by)?;
        dedup(array, |a, b| same(&context, &by, a, b))
    });
}

fn same(context: &NativeCallContext<'_>, by: &FnPtr, a: &Dynamic, b: &Dynamic) -> Fallible<bool> {
    tick()?;
    Ok(by.call_raw(context, None, [a.clone(), b.clone()])?.as_bool().unwrap_or(false))
}

/// What a script's comparer says: an integer, or whether the first comes first.
fn called(context: &NativeCallContext<'_>, by: &FnPtr, a: &Dynamic, b: &Dynamic) -> Fallible<Ordering> {
    tick()?;
    let answer = by.call_raw(context, None, [a.clone(), b.clone()])?;
    match (answer.as_int(), answer.as_bool()) {
        (Ok(number), _) => Ok(number.cmp(&0)),
        (_, Ok(first)) => Ok(if first { Ordering::Less } else { Ordering::Greater }),
        _ => Err(invalid(
            "sort.comparer",
            format!("a comparer answers an integer or a bool, not a value of type {}", answer.type_name()),
        )),
    }
}

/// The order of numbers, strings, characters and booleans; all of one kind.
fn natural(array: &Array, descending: bool) -> Fallible<Vec<usize>> {
    let kind = array.first().map(Dynamic::type_id);
    if let Some(other) = array.iter().find(|item| Some(item.type_id()) != kind) {
        return Err(invalid(
            "sort.mixed",
            format!(
                "only values of one type can be sorted without a comparer, found {} too",
                other.type_name()
            ),
        ));
    }
    sorted(array, |a, b| {
        let order = natural_pair(a, b)?;
        Ok(if descending { order.reverse() } else { order })
    })
}

fn natural_pair(a: &Dynamic, b: &Dynamic) -> Fallible<Ordering> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Ok(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) {
        charge(a.len().min(b.len()))?;
        return Ok(a.as_str().cmp(b.as_str()));
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        return Ok(a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b)));
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return Ok(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a.cmp(&b));
    }
    if a.is_unit() && b.is_unit() {
        return Ok(Ordering::Equal);
    }
    Err(invalid("sort.type", format!("values of type {} cannot be sorted without a comparer", a.type_name())))
}

/// The indices of the elements in their new order. Stable; the elements stay where they are.
fn sorted(
    array: &Array,
    mut compare: impl FnMut(&Dynamic, &Dynamic) -> Fallible<Ordering>,
) -> Fallible<Vec<usize>> {
    let mut order: Vec<usize> = (0..array.len()).collect();
    let mut merged: Vec<usize> = Vec::with_capacity(order.len());
    let mut width = 1;
    while width < order.len() {
        tick()?;
        merged.clear();
        for run in order.chunks(width * 2) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let ([a, rest_left @ ..], [b, rest_right @ ..]) = (left, right) {
                if compare(&array[*a], &array[*b])? == Ordering::Greater {
                    merged.push(*b);
                    right = rest_right;
                } else {
                    merged.push(*a);
                    left = rest_left;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    Ok(order)
}

fn apply(array: &mut Array, order: &[usize]) {
    let taken = order.iter().map(|i| array.get_mut(*i).map(std::mem::take).unwrap_or_default()).collect();
    *array = taken;
}
