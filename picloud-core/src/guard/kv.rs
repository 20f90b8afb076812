//! The door of the KV room.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability;
use crate::kv::{
    Entry, Key, KvService, ListOptions, MAX_KEY_BYTES, MAX_TTL_SECONDS, MAX_VALUE_BYTES, SetOptions,
};
use crate::metric::call;
use crate::outbox::EventSource;
use crate::page::{MAX_PAGE_SIZE, Page};
use crate::{CallCx, CollectionName, Error, ErrorKind, Json, Result};

/// A KV service behind the door.
#[derive(Debug)]
pub(super) struct GuardedKv {
    inner: Arc<dyn KvService>,
    door: Door,
}

impl GuardedKv {
    pub(super) fn new(inner: Arc<dyn KvService>, door: Door) -> Self {
        GuardedKv { inner, door }
    }
}

fn check_value(key: &Key, value: &Json) -> Result<()> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        "kv.value_too_large",
        format!("a value has at most {MAX_VALUE_BYTES} bytes as JSON, this one has {}", value.len()),
    )
    .with("key", key))
}

fn check_ttl(options: &SetOptions) -> Result<()> {
    match options.ttl_seconds {
        Some(seconds) if !(1..=MAX_TTL_SECONDS).contains(&seconds) => Err(Error::invalid(
            "kv.invalid_ttl",
            format!("ttl_seconds is 1 to {MAX_TTL_SECONDS}, not {seconds}"),
        )),
        _ => Ok(()),
    }
}

fn check_prefix(prefix: Option<&str>) -> Result<()> {
    let wrong = match prefix {
        Some(prefix) if prefix.len() > MAX_KEY_BYTES => {
            format!("a prefix has at most {MAX_KEY_BYTES} bytes, as a key, this one has {}", prefix.len())
        }
        Some(prefix) if prefix.contains('\0') => "a prefix must not contain a NUL character".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::invalid("kv.invalid_prefix", wrong))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KvService for GuardedKv {
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>> {
        self.door.read(cx, call!("kv.get"), Capability::AppKvRead, self.inner.get(cx, collection, key)).await
    }

    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>> {
        if keys.len() > MAX_PAGE_SIZE {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "kv.too_many_keys",
                format!("get_many takes at most {MAX_PAGE_SIZE} keys, these are {}", keys.len()),
            ));
        }
        self.door
            .read(cx, call!("kv.get_many"), Capability::AppKvRead, self.inner.get_many(cx, collection, keys))
            .await
    }

    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()> {
        check_value(key, value)?;
        check_ttl(options)?;
        self.door
            .write(
                cx,
                call!("kv.set"),
                Capability::AppKvWrite,
                EventSource::Kv { collection, key },
                async |cx: CallCx| self.inner.set(&cx, collection, key, value, options).await,
            )
            .await
    }

    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        self.door
            .write(
                cx,
                call!("kv.delete"),
                Capability::AppKvWrite,
                EventSource::Kv { collection, key },
                async |cx: CallCx| self.inner.delete(&cx, collection, key).await,
            )
            .await
    }

    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64> {
        self.door
            .write(
                cx,
                call!("kv.increment"),
                Capability::AppKvWrite,
                EventSource::Kv { collection, key },
                async |cx: CallCx| self.inner.increment(&cx, collection, key, by).await,
            )
            .await
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool> {
        check_value(key, value)?;
        // It tells what is stored, and it writes.
        cx.require(Capability::AppKvRead)?;
        self.door
            .write(
                cx,
                call!("kv.compare_and_set"),
                Capability::AppKvWrite,
                EventSource::Kv { collection, key },
                async |cx: CallCx| self.inner.compare_and_set(&cx, collection, key, expected, value).await,
            )
            .await
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        check_prefix(options.prefix.as_deref())?;
        self.door
            .read(cx, call!("kv.list"), Capability::AppKvRead, self.inner.list(cx, collection, options))
            .await
    }
}
