//! How much there is inside a value.

use rhai::{Array, Blob, Dynamic, Map};

use super::{Fallible, tick};

/// Deeper than any conversion follows; what lies below counts as nothing, and cannot be converted either.
const MAX_DEPTH: usize = 1_000;

/// What copying a value makes: elements, entries and bytes, nested ones included. Strings are shared, not copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) elements: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// Memory of one entry of a map, keys and nodes of the tree included.
const BYTES_PER_ENTRY: u128 = 64;

impl Weight {
    pub(super) fn of(value: &Dynamic) -> Fallible<Self> {
        let mut weight = Weight::default();
        weight.add(value, 0)?;
        Ok(weight)
    }

    fn add(&mut self, value: &Dynamic, depth: usize) -> Fallible<()> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        if value.is_array() {
            if let Some(array) = value.read_lock::<Array>() {
                tick()?;
                self.elements += array.len() as u64;
                array.iter().try_for_each(|item| self.add(item, depth + 1))?;
            }
        } else if value.is_map() {
            if let Some(map) = value.read_lock::<Map>() {
                tick()?;
                self.entries += map.len() as u64;
                map.values().try_for_each(|item| self.add(item, depth + 1))?;
            }
        } else if value.is_blob()
            && let Some(blob) = value.read_lock::<Blob>()
        {
            self.bytes += blob.len() as u64;
        }
        Ok(())
    }

    /// Bytes of memory that `copies` of it take.
    pub(super) fn memory(self, copies: usize) -> u128 {
        let one = u128::from(self.elements) * size_of::<Dynamic>() as u128
            + u128::from(self.entries) * BYTES_PER_ENTRY
            + u128::from(self.bytes);
        one.saturating_mul(copies as u128)
    }
}
