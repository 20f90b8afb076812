//! Blobs, and the ways between blobs and strings.

use std::ops::{Range, RangeInclusive};

use rhai::{Array, Blob, Dynamic, FuncRegistration, ImmutableString, Module};

use super::containers::{exclusive, inclusive, span};
use super::{Fallible, Sizes, answer, charge};

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
    }
    add!("blob", |len: i64| filled(len, 0));
    add!("blob", filled);
    add!("pad", |blob: &mut Blob, len: i64, value: i64| {
        let len = usize::try_from(len).unwrap_or(if len < 0 { 0 } else { usize::MAX });
        if len > blob.len() {
            Sizes::current().blob(blob.len(), len)?;
            blob.resize(len, byte(value));
        }
        answer(())
    });
    for name in ["push", "append"] {
        FuncRegistration::new(name)
            .in_global_namespace()
            .set_into_module(module, |blob: &mut Blob, value: i64| extend(blob, &[byte(value)]));
    }
    add!("append", |blob: &mut Blob, other: Blob| extend(blob, &other));
    add!("append", |blob: &mut Blob, text: &str| extend(blob, text.as_bytes()));
    add!("append", |blob: &mut Blob, c: char| extend(blob, c.encode_utf8(&mut [0; 4]).as_bytes()));
    add!("+", |mut blob: Blob, other: Blob| extend(&mut blob, &other).map(|()| blob));
    add!("insert", |blob: &mut Blob, index: i64, value: i64| {
        Sizes::current().blob(blob.len(), blob.len() + 1)?;
        charge(blob.len())?;
        let (at, _) = span(blob.len(), index, 0);
        blob.insert(at, byte(value));
        answer(())
    });
    add!("splice", |blob: &mut Blob, range: Range<i64>, with: Blob| {
        let (start, len) = exclusive(&range);
        splice(blob, start, len, with)
    });
    add!("splice", |blob: &mut Blob, range: RangeInclusive<i64>, with: Blob| {
        let (start, len) = inclusive(&range);
        splice(blob, start, len, with)
    });
    add!("splice", splice);

    FuncRegistration::new("to_array").in_global_namespace().with_purity(true).set_into_module(
        module,
        |blob: &mut Blob| {
            charge(blob.len())?;
            Sizes::current().array(0, blob.len())?;
            answer(blob.iter().map(|byte| Dynamic::from(i64::from(*byte))).collect::<Array>())
        },
    );
    add!("as_string", |blob: Blob| {
        let mut text = String::new();
        push_lossy(&mut text, &blob)?;
        answer(ImmutableString::from(text))
    });
    add!("+", |s: &str, blob: Blob| {
        let mut text = s.to_owned();
        push_lossy(&mut text, &blob)?;
        answer(ImmutableString::from(text))
    });
    for name in ["+=", "append"] {
        FuncRegistration::new(name).in_global_namespace().set_into_module(
            module,
            |s: &mut ImmutableString, blob: Blob| {
                let mut text = s.to_string();
                push_lossy(&mut text, &blob)?;
                *s = text.into();
                answer(())
            },
        );
    }
    add!("+", |blob: Blob, s: &str| {
        let mut text = String::new();
        push_lossy(&mut text, &blob)?;
        Sizes::current().string(text.len(), text.len() + s.len())?;
        text.push_str(s);
        answer(ImmutableString::from(text))
    });
}

/// The lowest byte, as everywhere in the language.
fn byte(value: i64) -> u8 {
    (value & 0xff) as u8
}

fn filled(len: i64, value: i64) -> Fallible<Blob> {
    let len = usize::try_from(len).unwrap_or(if len < 0 { 0 } else { usize::MAX });
    Sizes::current().blob(0, len)?;
    Ok(vec![byte(value); len])
}

fn extend(blob: &mut Blob, with: &[u8]) -> Fallible<()> {
    Sizes::current().blob(blob.len(), blob.len() + with.len())?;
    charge(with.len())?;
    blob.extend_from_slice(with);
    Ok(())
}

fn splice(blob: &mut Blob, start: i64, len: i64, with: Blob) -> Fallible<()> {
    let (start, len) = span(blob.len(), start, len);
    Sizes::current().blob(blob.len(), blob.len() - len + with.len())?;
    charge(blob.len() + with.len())?;
    blob.splice(start..start + len, with);
    Ok(())
}

/// Appends bytes as text. Each run of bytes that is not text becomes a replacement character of three bytes. A
/// blob that is text already is as long as before, and may be longer than strings are otherwise.
fn push_lossy(text: &mut String, blob: &[u8]) -> Fallible<()> {
    charge(blob.len())?;
    let added: usize = blob
        .utf8_chunks()
        .map(|chunk| chunk.valid().len() + if chunk.invalid().is_empty() { 0 } else { 3 })
        .sum();
    Sizes::current().string(text.len().max(blob.len()), text.len() + added)?;
    text.push_str(&String::from_utf8_lossy(blob));
    Ok(())
}
