//! What scripts see of KV: `kv::collection(name)` and its methods.

use std::sync::Arc;

use serde::Serialize;

use super::{Key, KvService, KvServiceExt, ListOptions, SetOptions};
use crate::engine::{Handle, Raw, ScriptModule, This};
use crate::page::Cursor;
use crate::{CallCx, CollectionName, Error, Result};

/// The handle that `kv::collection(name)` answers.
#[derive(Clone)]
struct Collection {
    kv: Arc<dyn KvService>,
    name: Arc<CollectionName>,
}

/// A page as scripts see it.
#[derive(Serialize)]
struct Listed {
    items: Vec<super::Entry>,
    cursor: Option<Cursor>,
}

/// The script module `kv` on top of a (guarded) service.
pub(crate) fn module(kv: Arc<dyn KvService>) -> ScriptModule {
    ScriptModule::new("kv")
        .doc("Values under keys, in collections of this app.")
        .handle_type::<Collection>("KvCollection")
        .function("collection(name: string) -> KvCollection", move |_cx: CallCx, name: String| -> Result<_> {
            Ok(Handle(Collection { kv: kv.clone(), name: Arc::new(CollectionName::new(name)?) }))
        })
        .async_function("KvCollection.get(key: string) -> any", |cx: CallCx, this: This<Collection>, key: String| async move {
            let This(Collection { kv, name }) = this;
            Ok::<_, Error>(Raw(kv.get(&cx, &name, &Key::new(key)?).await?))
        })
        .async_function("KvCollection.get_many(keys: array) -> array", |cx: CallCx, this: This<Collection>, keys: Vec<String>| async move {
            let This(Collection { kv, name }) = this;
            let keys = keys.into_iter().map(Key::new).collect::<Result<Vec<_>>>()?;
            kv.get_many(&cx, &name, &keys).await
        })
        .async_function("KvCollection.has(key: string) -> bool", |cx: CallCx, this: This<Collection>, key: String| async move {
            let This(Collection { kv, name }) = this;
            kv.has(&cx, &name, &Key::new(key)?).await
        })
        .async_function(
            "KvCollection.set(key: string, value: any, options?: #{ ttl_seconds })",
            |cx: CallCx, this: This<Collection>, key: String, value: Raw, options: Option<SetOptions>| async move {
                let This(Collection { kv, name }) = this;
                kv.set(&cx, &name, &Key::new(key)?, &value.or_null(), &options.unwrap_or_default()).await
            },
        )
        .async_function("KvCollection.delete(key: string) -> bool", |cx: CallCx, this: This<Collection>, key: String| async move {
            let This(Collection { kv, name }) = this;
            kv.delete(&cx, &name, &Key::new(key)?).await
        })
        .async_function(
            "KvCollection.increment(key: string, by?: int) -> int",
            |cx: CallCx, this: This<Collection>, key: String, by: Option<i64>| async move {
                let This(Collection { kv, name }) = this;
                kv.increment(&cx, &name, &Key::new(key)?, by.unwrap_or(1)).await
            },
        )
        .async_function(
            "KvCollection.compare_and_set(key: string, expected: any, value: any) -> bool",
            |cx: CallCx, this: This<Collection>, key: String, expected: Raw, value: Raw| async move {
                let This(Collection { kv, name }) = this;
                // `()` means absent: a stored `()` cannot be expected.
                let expected = expected.0.filter(|expected| !expected.is_null());
                kv.compare_and_set(&cx, &name, &Key::new(key)?, expected.as_ref(), &value.or_null()).await
            },
        )
        .async_function(
            "KvCollection.list(options?: #{ prefix, cursor, limit }) -> #{ items, cursor }",
            |cx: CallCx, this: This<Collection>, options: Option<ListOptions>| async move {
                let This(Collection { kv, name }) = this;
                let page = kv.list(&cx, &name, &options.unwrap_or_default()).await?;
                Ok::<_, Error>(Listed { items: page.items, cursor: page.cursor })
            },
        )
        .about("collection", "A collection of this app; it exists as soon as something is in it. Throws `collection.invalid_name`.")
        .about("get", "The value of a key, or `()`. Keys are strings of 1 to 512 bytes; throws `kv.invalid_key`, as all of these do.")
        .about("get_many", "The values of up to 1 000 keys, in their order, `()` where there is none. Throws `kv.too_many_keys`.")
        .about("has", "Whether the key has a value.")
        .about("set", "Writes a value of up to 1 MiB of JSON. With `ttl_seconds` it is gone after that time, without an event; without, it stays. Throws `kv.value_too_large`, `kv.invalid_ttl`.")
        .about("delete", "Removes the value; answers whether there was one.")
        .about("increment", "Adds `by` (1 if left out) to an integer in one step, a missing one counting as 0, and answers the sum. Throws `kv.not_an_integer`, `kv.overflow`.")
        .about("compare_and_set", "Writes only if the value is still `expected` (`()`: there is none), in one step; answers whether it did. 1 is not 1.0.")
        .about("list", "A page in the order of the keys' bytes: `items` of `#{ key, value }`, and a `cursor` for the next page, `()` at the end. `limit` is 100, at most 1 000.")
}
