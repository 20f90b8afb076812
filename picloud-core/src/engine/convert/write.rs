//! Script values to canonical text.

use rhai::{Array, Blob, Dynamic, FLOAT, INT, ImmutableString, Map};

use crate::Json;
use crate::json_canonical::{Failure, Step, Writer};

type Done = Result<(), Failure>;

/// Writes `value`, which lies within `depth` containers.
pub(super) fn value(out: &mut Writer, value: &Dynamic, depth: usize) -> Done {
    // Shared values first: everything else asks for their lock each time.
    if value.is_shared() { shared(out, value, depth, 0) } else { unshared(out, value, depth) }
}

/// Writes the value of a variable that a closure captured.
///
/// The read lock is held while the value is written. Reading again what is being read already, in a value that
/// contains itself, is granted; the depth ends it.
fn shared(out: &mut Writer, value: &Dynamic, depth: usize, hops: usize) -> Done {
    // Gives up after a moment where a script is just changing the value: waiting would be for itself.
    let Some(inner) = value.read_lock::<Dynamic>() else {
        return Err(Failure::invalid("this value is being changed by a method that is still running"));
    };
    if !inner.is_shared() {
        return unshared(out, &inner, depth);
    }
    if hops < Json::MAX_DEPTH { shared(out, &inner, depth, hops + 1) } else { Err(Failure::too_deep()) }
}

fn unshared(out: &mut Writer, value: &Dynamic, depth: usize) -> Done {
    // Not `as_int` and its like: they look up the name of the type for an error that nobody reads.
    if let Some(text) = value.read_lock::<ImmutableString>() {
        out.string(&text)
    } else if let Some(number) = value.read_lock::<INT>() {
        out.int(*number)
    } else if let Some(entries) = value.read_lock::<Map>() {
        map(out, &entries, enter(depth)?)
    } else if let Some(items) = value.read_lock::<Array>() {
        array(out, &items, enter(depth)?)
    } else if let Some(number) = value.read_lock::<FLOAT>() {
        out.float(*number)
    } else if let Some(truth) = value.read_lock::<bool>() {
        out.bool(*truth)
    } else if value.is_unit() {
        out.null()
    } else if let Some(bytes) = value.read_lock::<Blob>() {
        out.base64(&bytes)
    } else if let Ok(character) = value.as_char() {
        out.string(character.encode_utf8(&mut [0; 4]))
    } else {
        Err(Failure::invalid(format!("{} is not a value that JSON can hold", article(value))))
    }
}

fn enter(depth: usize) -> Result<usize, Failure> {
    if depth < Json::MAX_DEPTH { Ok(depth + 1) } else { Err(Failure::too_deep()) }
}

fn array(out: &mut Writer, items: &Array, depth: usize) -> Done {
    out.mark('[')?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.mark(',')?;
        }
        value(out, item, depth).map_err(|failure| failure.inside(Step::Index(index)))?;
    }
    out.mark(']')
}

/// The keys of a script's map are sorted by their bytes and unique as they come.
fn map(out: &mut Writer, entries: &Map, depth: usize) -> Done {
    out.mark('{')?;
    for (index, (key, item)) in entries.iter().enumerate() {
        out.sorted_key(key, index == 0)
            .and_then(|()| value(out, item, depth))
            .map_err(|failure| failure.inside(Step::key(key)))?;
    }
    out.mark('}')
}

/// The type of a value that is not shared, as people know it.
fn article(value: &Dynamic) -> String {
    if value.is_fnptr() {
        return "a function".to_owned();
    }
    let name = value.type_name();
    if name.starts_with("core::ops::range::Range") {
        return "a range".to_owned();
    }
    // The path of a Rust type means nothing to scripts.
    let plain = name.split('<').next().unwrap_or(name);
    format!("a value of type {}", plain.rsplit("::").next().unwrap_or(plain))
}
