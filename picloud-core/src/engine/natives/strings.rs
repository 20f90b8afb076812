//! Strings: what can make them longer, and what makes many of one.

use rhai::{Array, Dynamic, FuncRegistration, ImmutableString, Module};

use super::{Fallible, Sizes, charge, invalid};

pub(super) fn register(module: &mut Module) {
    macro_rules! add {
        ($name:literal, $function:expr) => {
            FuncRegistration::new($name).in_global_namespace().set_into_module(module, $function)
        };
        (pure $name:literal, $function:expr) => {
            FuncRegistration::new($name)
                .in_global_namespace()
                .with_purity(true)
                .set_into_module(module, $function)
        };
    }
    add!("replace", |s: &mut ImmutableString, find: &str, with: &str| replace(s, find, with));
    add!("replace", |s: &mut ImmutableString, find: &str, with: char| {
        replace(s, find, with.encode_utf8(&mut [0; 4]))
    });
    add!("replace", |s: &mut ImmutableString, find: char, with: &str| {
        replace(s, find.encode_utf8(&mut [0; 4]), with)
    });
    add!("replace", |s: &mut ImmutableString, find: char, with: char| {
        replace(s, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
    });
    add!("pad", |s: &mut ImmutableString, len: i64, with: char| pad(s, len, with.encode_utf8(&mut [0; 4])));
    add!("pad", |s: &mut ImmutableString, len: i64, with: &str| pad(s, len, with));

    add!("to_upper", |s: ImmutableString| cased(&s, str::to_uppercase));
    add!("to_lower", |s: ImmutableString| cased(&s, str::to_lowercase));
    add!("make_upper", |s: &mut ImmutableString| cased(s, str::to_uppercase).map(|new| *s = new));
    add!("make_lower", |s: &mut ImmutableString| cased(s, str::to_lowercase).map(|new| *s = new));

    add!(pure "to_chars", |s: &mut ImmutableString| {
        parts(s.len(), s.chars().count(), s.chars().map(Dynamic::from))
    });
    add!(pure "split", |s: &mut ImmutableString| {
        if s.is_empty() {
            return Ok(vec![s.clone().into()]);
        }
        parts(s.len(), s.split_whitespace().count(), s.split_whitespace().map(part))
    });
    add!(pure "split", |s: &mut ImmutableString, by: &str| split(s, by, i64::MAX, false));
    add!(pure "split", |s: &mut ImmutableString, by: &str, most: i64| split(s, by, most, false));
    add!(pure "split", |s: &mut ImmutableString, by: char| {
        split(s, by.encode_utf8(&mut [0; 4]), i64::MAX, false)
    });
    add!(pure "split", |s: &mut ImmutableString, by: char, most: i64| {
        split(s, by.encode_utf8(&mut [0; 4]), most, false)
    });
    add!(pure "split_rev", |s: &mut ImmutableString, by: &str| split(s, by, i64::MAX, true));
    add!(pure "split_rev", |s: &mut ImmutableString, by: &str, most: i64| split(s, by, most, true));
    add!(pure "split_rev", |s: &mut ImmutableString, by: char| {
        split(s, by.encode_utf8(&mut [0; 4]), i64::MAX, true)
    });
    add!(pure "split_rev", |s: &mut ImmutableString, by: char, most: i64| {
        split(s, by.encode_utf8(&mut [0; 4]), most, true)
    });
}

fn replace(s: &mut ImmutableString, find: &str, with: &str) -> Fallible<()> {
    if s.is_empty() {
        return Ok(());
    }
    charge(s.len())?;
    if with.len() > find.len() {
        let more = s.matches(find).count().saturating_mul(with.len() - find.len());
        Sizes::current().string(s.len(), s.len().saturating_add(more))?;
    }
    *s = s.replace(find, with).into();
    Ok(())
}

/// Appends `padding` over and over until there are `len` characters; the last one may be cut.
fn pad(s: &mut ImmutableString, len: i64, padding: &str) -> Fallible<()> {
    let Ok(len) = u64::try_from(len) else { return Ok(()) };
    charge(s.len())?;
    let missing = len.saturating_sub(s.chars().count() as u64);
    if missing == 0 {
        return Ok(());
    }
    if padding.is_empty() {
        return Err(invalid("pad.empty", "a string cannot be padded with an empty string"));
    }
    let each = padding.chars().count() as u64;
    let (whole, rest) = (missing / each, (missing % each) as usize);
    let rest = padding.char_indices().nth(rest).map_or("", |(end, _)| &padding[..end]);
    let after = u128::from(whole) * padding.len() as u128 + (rest.len() + s.len()) as u128;
    let after = usize::try_from(after).unwrap_or(usize::MAX);
    Sizes::current().string(s.len(), after)?;
    let mut padded = String::with_capacity(after);
    padded.push_str(s);
    for _ in 0..whole {
        padded.push_str(padding);
    }
    padded.push_str(rest);
    *s = padded.into();
    Ok(())
}

/// A character can become three in the other case.
fn cased(s: &ImmutableString, change: fn(&str) -> String) -> Fallible<ImmutableString> {
    charge(s.len())?;
    let sizes = Sizes::current();
    // Most strings cannot exceed the limit even so.
    if s.len().saturating_mul(3) as u64 > sizes.string {
        sizes.room(s.len() as u128 * 3)?;
    }
    let changed = change(s);
    sizes.string(s.len(), changed.len())?;
    Ok(changed.into())
}

fn split(s: &ImmutableString, by: &str, most: i64, reverse: bool) -> Fallible<Array> {
    if most <= 1 || s.is_empty() {
        return Ok(vec![s.clone().into()]);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let count = s.matches(by).count().saturating_add(1).min(most);
    if count == 1 {
        charge(s.len())?;
        return Ok(vec![s.clone().into()]);
    }
    if reverse {
        parts(s.len(), count, s.rsplitn(most, by).map(part))
    } else {
        parts(s.len(), count, s.splitn(most, by).map(part))
    }
}

fn part(text: &str) -> Dynamic {
    ImmutableString::from(text).into()
}

/// An array of the `count` parts of a string of `len` bytes.
fn parts(len: usize, count: usize, items: impl Iterator<Item = Dynamic>) -> Fallible<Array> {
    charge(len)?;
    Sizes::current().array(0, count)?;
    let mut parts = Array::with_capacity(count);
    parts.extend(items);
    Ok(parts)
}
