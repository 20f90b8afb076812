//! Cursors of lists: the last key handed out, bound to the list that handed it out.

use picloud_core::kv::{Key, KvError};
use picloud_core::page::Cursor;
use picloud_core::{AppId, CollectionName};

/// The list that a cursor belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListId<'a> {
    pub(crate) app: AppId,
    pub(crate) collection: &'a CollectionName,
    pub(crate) prefix: &'a str,
}

impl ListId<'_> {
    /// A cursor after `last`: a checksum, then the key, both in hexadecimal.
    pub(crate) fn cursor(&self, last: &Key) -> Cursor {
        let mut text = format!("{:016x}", self.checksum(last));
        for byte in last.as_str().bytes() {
            text.push_str(&format!("{byte:02x}"));
        }
        Cursor::new(text)
    }

    /// The key after which to go on.
    pub(crate) fn key_of(&self, cursor: &Cursor) -> Result<Key, KvError> {
        let key = cursor.as_str().get(16..).and_then(decode).ok_or(KvError::InvalidCursor)?;
        // Writing it again is the whole check: any other text, list or key gives another cursor.
        if self.cursor(&key) == *cursor { Ok(key) } else { Err(KvError::InvalidCursor) }
    }

    /// FNV-1a. It guards against accidents and guesses that change nothing: a cursor is no secret, and the
    /// caller may list every key anyway.
    fn checksum(&self, last: &Key) -> u64 {
        let parts = [
            self.app.as_uuid().as_bytes().as_slice(),
            self.collection.as_str().as_bytes(),
            self.prefix.as_bytes(),
            last.as_str().as_bytes(),
        ];
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in parts {
            // The length keeps the end of one part apart from the beginning of the next.
            for byte in part.iter().copied().chain(part.len().to_le_bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }
}

fn decode(hex: &str) -> Option<Key> {
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Key::new(String::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_key(key in "[^\0]{1,40}", prefix in ".{0,5}") {
            let (collection, key) = (CollectionName::new("things").unwrap(), Key::new(key).unwrap());
            let list = ListId { app: AppId::new(), collection: &collection, prefix: &prefix };
            prop_assert_eq!(list.key_of(&list.cursor(&key)), Ok(key));
        }

        #[test]
        fn no_text_makes_the_check_panic_or_pass(text in "([0-9a-f+]{0,60}|.{0,40})") {
            let collection = CollectionName::new("things").unwrap();
            let list = ListId { app: AppId::new(), collection: &collection, prefix: "" };
            prop_assert_eq!(list.key_of(&Cursor::new(text)), Err(KvError::InvalidCursor));
        }

        #[test]
        fn a_changed_character_is_noticed(key in "[^\0]{1,40}", at in any::<prop::sample::Index>(), to in "[0-9a-fA-F+]") {
            let collection = CollectionName::new("things").unwrap();
            let list = ListId { app: AppId::new(), collection: &collection, prefix: "" };
            let cursor = list.cursor(&Key::new(key).unwrap());
            let at = at.index(cursor.as_str().len());
            let mut text = cursor.as_str().to_owned();
            text.replace_range(at..=at, &to);
            prop_assume!(text != cursor.as_str());
            prop_assert_eq!(list.key_of(&Cursor::new(text)), Err(KvError::InvalidCursor));
        }
    }
}
