//! The one place that spells canonical text.

use std::cmp::Ordering;

use super::failure::Failure;

type Done = Result<(), Failure>;

/// Canonical JSON text in the making.
///
/// Every number, string and object of ours is written here, whatever it is read from: that is what makes the
/// text of a value unique.
#[derive(Debug)]
pub(crate) struct Writer {
    text: String,
    max: usize,
    /// The entries of all objects that are open, the innermost object's last.
    entries: Vec<Entry>,
}

/// Where an entry of an object lies in the text.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    /// Past the closing quote of the key.
    key_end: usize,
    end: usize,
}

/// An object that is open.
#[derive(Debug)]
pub(crate) struct Object {
    start: usize,
    first: usize,
    last: usize,
    sorted: bool,
}

impl Writer {
    /// A writer that refuses to write more than `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Writer { text: String::new(), max, entries: Vec::new() }
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes.min(self.max));
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn room(&self, bytes: usize) -> Done {
        if bytes > self.max - self.text.len() { Err(Failure::too_large(self.max)) } else { Ok(()) }
    }

    /// Appends text that is canonical as it is: punctuation, words, numbers.
    #[inline]
    pub(crate) fn put(&mut self, text: &str) -> Done {
        self.room(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// Appends one ASCII character of punctuation.
    #[inline]
    pub(crate) fn mark(&mut self, mark: char) -> Done {
        self.room(1)?;
        self.text.push(mark);
        Ok(())
    }

    pub(crate) fn null(&mut self) -> Done {
        self.put("null")
    }

    pub(crate) fn bool(&mut self, value: bool) -> Done {
        self.put(if value { "true" } else { "false" })
    }

    #[inline]
    pub(crate) fn int(&mut self, value: i64) -> Done {
        self.put(itoa::Buffer::new().format(value))
    }

    /// The shortest text that reads back as `value`, always with a `.` or an exponent, and no `+` in it: `1e16`.
    #[inline]
    pub(crate) fn float(&mut self, value: f64) -> Done {
        if !value.is_finite() {
            return Err(Failure::not_finite(value));
        }
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        // Only large numbers have a positive exponent.
        if value.abs() < 1e15 {
            return self.put(text);
        }
        match text.split_once('+') {
            Some((digits, exponent)) => self.put(digits).and_then(|()| self.put(exponent)),
            None => self.put(text),
        }
    }

    #[inline]
    pub(crate) fn string(&mut self, text: &str) -> Done {
        let Some(special) = first_special(text.as_bytes()) else {
            return self.plain(text, false, false);
        };
        self.escaped(text, special)
    }

    /// The key of an entry whose object writes its own braces, and whose keys come in order, each once. What makes up
    /// most of an object of small values is written in one go.
    #[inline]
    pub(crate) fn sorted_key(&mut self, key: &str, first: bool) -> Done {
        if first_special(key.as_bytes()).is_none() {
            return self.plain(key, !first, true);
        }
        if !first {
            self.mark(',')?;
        }
        self.string(key)?;
        self.mark(':')
    }

    /// Appends a string that needs no escapes, with a comma before it and a colon behind it.
    #[inline(always)]
    fn plain(&mut self, text: &str, comma: bool, colon: bool) -> Done {
        let length = text.len().saturating_add(2 + usize::from(comma) + usize::from(colon));
        self.room(length)?;
        self.text.reserve(length);
        if comma {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(text);
        self.text.push('"');
        if colon {
            self.text.push(':');
        }
        Ok(())
    }

    fn escaped(&mut self, text: &str, first: usize) -> Done {
        let (mut rest, mut special) = (text, Some(first));
        self.mark('"')?;
        while let Some(at) = special {
            let (plain, tail) = rest.split_at(at);
            self.put(plain)?;
            let mut tail = tail.chars();
            match tail.next() {
                Some('\0') => return Err(Failure::nul()),
                Some('"') => self.put("\\\"")?,
                Some('\\') => self.put("\\\\")?,
                Some('\u{8}') => self.put("\\b")?,
                Some('\t') => self.put("\\t")?,
                Some('\n') => self.put("\\n")?,
                Some('\u{c}') => self.put("\\f")?,
                Some('\r') => self.put("\\r")?,
                Some(control) => self.put(&format!("\\u{:04x}", u32::from(control)))?,
                None => {}
            }
            rest = tail.as_str();
            special = first_special(rest.as_bytes());
        }
        self.put(rest)?;
        self.mark('"')
    }

    /// Bytes as a string: base64 with the standard alphabet and padding.
    pub(crate) fn base64(&mut self, bytes: &[u8]) -> Done {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let length = bytes.len().div_ceil(3).saturating_mul(4).saturating_add(2);
        self.room(length)?;
        self.text.reserve(length);
        let quartet = |a: u8, b: u8, c: u8| {
            let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
        };
        self.text.push('"');
        let (groups, tail) = bytes.as_chunks::<3>();
        self.text.extend(groups.iter().flat_map(|&[a, b, c]| quartet(a, b, c)));
        match *tail {
            [a] => self.text.extend(quartet(a, 0, 0).into_iter().take(2).chain(['=', '='])),
            [a, b] => self.text.extend(quartet(a, b, 0).into_iter().take(3).chain(['='])),
            _ => {}
        }
        self.text.push('"');
        Ok(())
    }

    pub(crate) fn open_object(&mut self) -> Result<Object, Failure> {
        self.mark('{')?;
        let first = self.entries.len();
        Ok(Object { start: self.text.len(), first, last: first, sorted: true })
    }

    /// Begins an entry; its value is written next. Keys come in any order.
    pub(crate) fn key(&mut self, object: &mut Object, key: &str) -> Done {
        self.end_entry(object);
        if self.entries.len() > object.first {
            self.mark(',')?;
        }
        let start = self.text.len();
        self.string(key)?;
        let entry = Entry { start, key_end: self.text.len(), end: start };
        if object.sorted
            && self.entries.len() > object.first
            && let Some(before) = self.entries.last()
        {
            match compare(&self.text, before, &entry) {
                Ordering::Less => {}
                Ordering::Equal => return Err(Failure::duplicate().inside(super::Step::key(key))),
                Ordering::Greater => object.sorted = false,
            }
        }
        object.last = self.entries.len();
        self.entries.push(entry);
        self.mark(':')
    }

    /// Ends the object: sorts its entries and refuses a key that is there twice.
    pub(crate) fn close_object(&mut self, object: &Object) -> Done {
        self.end_entry(object);
        if !object.sorted {
            let entries = &mut self.entries[object.first..];
            entries.sort_unstable_by(|a, b| compare(&self.text, a, b));
            let twice = entries.windows(2).find(|pair| compare(&self.text, &pair[0], &pair[1]).is_eq());
            if let Some(pair) = twice {
                let key = decoded(&self.text[pair[0].start..pair[0].key_end]);
                return Err(Failure::duplicate().inside(super::Step::key(&key)));
            }
            let mut sorted = String::with_capacity(self.text.len() - object.start);
            for (i, entry) in entries.iter().enumerate() {
                if i > 0 {
                    sorted.push(',');
                }
                sorted.push_str(&self.text[entry.start..entry.end]);
            }
            self.text.truncate(object.start);
            self.text.push_str(&sorted);
        }
        self.entries.truncate(object.first);
        self.mark('}')
    }

    /// The key whose value is being written.
    pub(crate) fn current_key(&self, object: &Object) -> String {
        let entry = self.entries.get(object.last);
        entry.map(|entry| decoded(&self.text[entry.start..entry.key_end])).unwrap_or_default()
    }

    fn end_entry(&mut self, object: &Object) {
        let end = self.text.len();
        if let Some(entry) = self.entries[object.first..].last_mut() {
            entry.end = end;
        }
    }
}

/// The order of two keys by their UTF-8 bytes, which is not that of their escaped text.
fn compare(text: &str, a: &Entry, b: &Entry) -> Ordering {
    let inner = |entry: &Entry| &text.as_bytes()[entry.start + 1..entry.key_end - 1];
    let (a, b) = (inner(a), inner(b));
    if !a.contains(&b'\\') && !b.contains(&b'\\') {
        return a.cmp(b);
    }
    let (mut a, mut b) = (a, b);
    loop {
        match (unescape(a), unescape(b)) {
            (Some((x, a_rest)), Some((y, b_rest))) if x == y => (a, b) = (a_rest, b_rest),
            (x, y) => return x.map(|(byte, _)| byte).cmp(&y.map(|(byte, _)| byte)),
        }
    }
}

/// The first byte that escaped text stands for, and the rest. Knows the escapes that [`Writer`] writes.
fn unescape(text: &[u8]) -> Option<(u8, &[u8])> {
    let hex = |digit: u8| char::from(digit).to_digit(16).map_or(0, |digit| digit as u8);
    match *text {
        [] => None,
        [b'\\', b'u', _, _, high, low, ref rest @ ..] => Some((hex(high) << 4 | hex(low), rest)),
        [b'\\', b'b', ref rest @ ..] => Some((8, rest)),
        [b'\\', b't', ref rest @ ..] => Some((b'\t', rest)),
        [b'\\', b'n', ref rest @ ..] => Some((b'\n', rest)),
        [b'\\', b'f', ref rest @ ..] => Some((12, rest)),
        [b'\\', b'r', ref rest @ ..] => Some((b'\r', rest)),
        [b'\\', byte, ref rest @ ..] | [byte, ref rest @ ..] => Some((byte, rest)),
    }
}

/// The string that a JSON string literal of valid text spells.
pub(crate) fn decoded(literal: &str) -> String {
    serde_json::from_str(literal).unwrap_or_default()
}

/// Where the first byte lies that a JSON string cannot hold as it is. Eight bytes at a time: most strings have
/// none, and this is where writing spends its time.
#[inline]
fn first_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The high bit of each byte below `limit`. A borrow may set more bits, but only above the first right one.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    // The number of the first such byte; eight and more if there is none.
    let first_in = |word: u64| {
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        (below(word, 0x20) | quote | backslash).trailing_zeros() as usize / 8
    };
    let one_by_one = || bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let at = first_in(u64::from_le_bytes(*word));
        if at < 8 {
            return Some(i * 8 + at);
        }
    }
    if tail.is_empty() {
        return None;
    }
    // The rest together with bytes that were looked at before, so that it is a word, too: most keys are short.
    if let Some(last) = bytes.last_chunk::<8>() {
        let at = first_in(u64::from_le_bytes(*last));
        return (at < 8).then(|| bytes.len() - 8 + at);
    }
    if let (Some(start), Some(end)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let word = u64::from(u32::from_le_bytes(*start)) | u64::from(u32::from_le_bytes(*end)) << 32;
        if first_in(word) >= 8 {
            return None;
        }
    }
    one_by_one()
}
