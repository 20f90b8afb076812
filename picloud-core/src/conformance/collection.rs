//! A KV collection as cases write it: keys and values as text.

use std::pin::Pin;
use std::sync::Arc;

use crate::kv::{Entry, Key, KvService, ListOptions, SetOptions};
use crate::outbox::Fanout;
use crate::page::Page;
use crate::{AppId, CallCx, CollectionName, Error, Json, Result};

#[derive(Debug, Clone)]
pub(crate) struct Collection {
    kv: Arc<dyn KvService>,
    cx: CallCx,
    name: CollectionName,
}

impl Collection {
    pub(crate) fn new(kv: Arc<dyn KvService>, cx: CallCx, name: &str) -> Result<Self> {
        Ok(Collection { kv, cx, name: CollectionName::new(name)? })
    }

    /// Another collection of the same app.
    pub(crate) fn other(&self, name: &str) -> Result<Self> {
        Collection::new(self.kv.clone(), self.cx.clone(), name)
    }

    /// The same collection, whose writes take these outbox rows along.
    pub(crate) fn with_fanout(&self, fanout: &Fanout) -> Self {
        Collection { cx: self.cx.with_fanout(Arc::new(fanout.clone())), ..self.clone() }
    }

    pub(crate) fn app(&self) -> AppId {
        self.cx.app()
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(text(self.kv.get(&self.cx, &self.name, &Key::new(key)?).await?))
    }

    pub(crate) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<String>>> {
        let keys = keys.iter().map(|key| Key::new(*key)).collect::<Result<Vec<_>>>()?;
        Ok(self.kv.get_many(&self.cx, &self.name, &keys).await?.into_iter().map(text).collect())
    }

    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<()> {
        self.set_with(key, value, SetOptions::default()).await
    }

    pub(crate) async fn set_ttl(&self, key: &str, value: &str, seconds: u64) -> Result<()> {
        self.set_with(key, value, SetOptions::ttl(seconds)).await
    }

    async fn set_with(&self, key: &str, value: &str, options: SetOptions) -> Result<()> {
        self.kv.set(&self.cx, &self.name, &Key::new(key)?, &Json::parse(value)?, &options).await
    }

    /// Writes `null` under each of the keys.
    pub(crate) fn fill<'a>(
        &'a self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        let keys: Vec<String> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        Box::pin(async move {
            for key in keys {
                self.set(&key, "null").await?;
            }
            Ok(())
        })
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<bool> {
        self.kv.delete(&self.cx, &self.name, &Key::new(key)?).await
    }

    pub(crate) async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.kv.increment(&self.cx, &self.name, &Key::new(key)?, by).await
    }

    pub(crate) async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool> {
        let expected = expected.map(Json::parse).transpose()?;
        let (key, value) = (Key::new(key)?, Json::parse(value)?);
        self.kv.compare_and_set(&self.cx, &self.name, &key, expected.as_ref(), &value).await
    }

    pub(crate) async fn list(&self, options: ListOptions) -> Result<Page<Entry>> {
        self.kv.list(&self.cx, &self.name, &options).await
    }

    /// The keys of the first page.
    pub(crate) async fn keys(&self, options: ListOptions) -> Result<Vec<String>> {
        Ok(keys_of(&self.list(options).await?))
    }

    /// The keys of each page of a whole walk, at most `pages` of them.
    pub(crate) async fn walk(&self, options: ListOptions, pages: usize) -> Result<Vec<Vec<String>>> {
        let mut walked = Vec::new();
        let mut next = Some(options.clone());
        while let Some(options_now) = next.take() {
            assert!(walked.len() < pages, "the walk does not end after {pages} pages: {walked:?}");
            let page = self.list(options_now).await?;
            walked.push(keys_of(&page));
            next = page.cursor.map(|cursor| options.clone().cursor(cursor));
        }
        Ok(walked)
    }
}

pub(crate) fn keys_of(page: &Page<Entry>) -> Vec<String> {
    page.items.iter().map(|entry| entry.key.as_str().to_owned()).collect()
}

fn text(value: Option<Json>) -> Option<String> {
    value.map(|value| value.as_str().to_owned())
}

/// Runs the futures at the same time, each on a task of its own, and answers in their order.
pub(crate) async fn together<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.map_err(|error| Error::internal(error.to_string()))??);
    }
    Ok(answers)
}
