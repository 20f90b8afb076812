//! What scripts see of documents: `docs::collection(name)` and its methods.

use std::sync::Arc;

use super::{
    DocData, DocId, DocsService, DocsServiceExt, Document, Filter, ListOptions, Patch, Query, WriteOptions,
};
use crate::engine::{Around, Handle, Raw, ScriptModule, This};
use crate::page::Page;
use crate::{CallCx, CollectionName, Json, Result};

/// The handle that `docs::collection(name)` answers.
#[derive(Clone)]
struct Collection {
    docs: Arc<dyn DocsService>,
    name: Arc<CollectionName>,
}

fn one(document: &Document) -> Around {
    Around(Some(document.to_json()))
}

fn array(documents: &[Document]) -> String {
    let documents: Vec<_> = documents.iter().map(Document::to_json).collect();
    let texts: Vec<_> = documents.iter().map(Json::as_str).collect();
    format!("[{}]", texts.join(","))
}

fn page(page: &Page<Document>) -> Result<Around> {
    let cursor = Json::from_value(&page.cursor)?;
    let text = format!("{{\"cursor\":{},\"items\":{}}}", cursor.as_str(), array(&page.items));
    Ok(Around(Some(Json::from_canonical(text))))
}

fn query(given: Raw) -> Result<Query> {
    given.0.map_or_else(|| Ok(Query::default()), |json| Query::parse(&json))
}

/// The script module `docs` on top of a (guarded) service.
pub(crate) fn module(docs: Arc<dyn DocsService>) -> ScriptModule {
    ScriptModule::new("docs")
        .doc(
            "JSON documents in collections of this app, found by what is in them. What is indexed: equality and `$in`, always. A query \
             that sorts by one field, with a range of the same field or without, is quick among many documents if there is an \
             index on it: `//! index COLLECTION FIELD`. An index changes no answer.",
        )
        .handle_type::<Collection>("DocsCollection")
        .function("collection(name: string) -> DocsCollection", move |_cx: CallCx, name: String| -> Result<_> {
            Ok(Handle(Collection { docs: docs.clone(), name: Arc::new(CollectionName::new(name)?) }))
        })
        .async_function("DocsCollection.create(data: map) -> map", |cx: CallCx, this: This<Collection>, data: Raw| async move {
            let This(Collection { docs, name }) = this;
            Ok::<_, crate::Error>(one(&docs.create(&cx, &name, &DocData::new(data.or_null())?).await?))
        })
        .async_function("DocsCollection.get(id: string) -> map", |cx: CallCx, this: This<Collection>, id: String| async move {
            let This(Collection { docs, name }) = this;
            let found = docs.get(&cx, &name, id.parse()?).await?;
            Ok::<_, crate::Error>(Around(found.map(|document| document.to_json())))
        })
        .async_function(
            "DocsCollection.update(id: string, data: map, options?: #{ if_version }) -> map",
            |cx: CallCx, this: This<Collection>, id: String, data: Raw, options: Option<WriteOptions>| async move {
                let This(Collection { docs, name }) = this;
                let (id, data): (DocId, _) = (id.parse()?, DocData::new(data.or_null())?);
                let written = docs.update(&cx, &name, id, &data, &options.unwrap_or_default()).await?;
                Ok::<_, crate::Error>(one(&written))
            },
        )
        .async_function(
            "DocsCollection.patch(id: string, patch: map, options?: #{ if_version }) -> map",
            |cx: CallCx, this: This<Collection>, id: String, patch: Raw, options: Option<WriteOptions>| async move {
                let This(Collection { docs, name }) = this;
                let (id, patch): (DocId, _) = (id.parse()?, Patch::parse(&patch.or_null())?);
                let written = docs.patch(&cx, &name, id, &patch, &options.unwrap_or_default()).await?;
                Ok::<_, crate::Error>(one(&written))
            },
        )
        .async_function(
            "DocsCollection.delete(id: string, options?: #{ if_version }) -> bool",
            |cx: CallCx, this: This<Collection>, id: String, options: Option<WriteOptions>| async move {
                let This(Collection { docs, name }) = this;
                docs.delete(&cx, &name, id.parse()?, &options.unwrap_or_default()).await
            },
        )
        .async_function("DocsCollection.find(query?: map) -> array", |cx: CallCx, this: This<Collection>, given: Raw| async move {
            let This(Collection { docs, name }) = this;
            let page = docs.find(&cx, &name, &query(given)?).await?;
            Ok::<_, crate::Error>(Around(Some(Json::from_canonical(array(&page.items)))))
        })
        .async_function(
            "DocsCollection.find_page(query?: map) -> #{ items, cursor }",
            |cx: CallCx, this: This<Collection>, given: Raw| async move {
                let This(Collection { docs, name }) = this;
                page(&docs.find(&cx, &name, &query(given)?).await?)
            },
        )
        .async_function("DocsCollection.find_one(query?: map) -> map", |cx: CallCx, this: This<Collection>, given: Raw| async move {
            let This(Collection { docs, name }) = this;
            let found = docs.find_one(&cx, &name, &query(given)?).await?;
            Ok::<_, crate::Error>(Around(found.map(|document| document.to_json())))
        })
        .async_function("DocsCollection.count(query?: map) -> int", |cx: CallCx, this: This<Collection>, given: Raw| async move {
            let This(Collection { docs, name }) = this;
            let filter = given.0.map_or_else(|| Ok(Filter::All(Vec::new())), |json| Filter::parse(&json))?;
            docs.count(&cx, &name, &filter).await
        })
        .async_function(
            "DocsCollection.list(options?: #{ cursor, limit }) -> #{ items, cursor }",
            |cx: CallCx, this: This<Collection>, options: Option<ListOptions>| async move {
                let This(Collection { docs, name }) = this;
                page(&docs.list(&cx, &name, &options.unwrap_or_default()).await?)
            },
        )
        .about("collection", "A collection of this app; it exists as soon as a document is in it. Throws `collection.invalid_name`.")
        .about("create", "Stores a map as a new document; answers `#{ id, data, version, created_at, updated_at }`. Throws `docs.not_an_object`, `docs.data_too_large`.")
        .about("get", "The document, or `()`. Throws `docs.invalid_id`.")
        .about("update", "Replaces the data; answers the document. With `if_version` only if it still has that version. Throws `docs.not_found`, `docs.version_mismatch`.")
        .about("patch", "Changes parts of the data in one step: a merge patch (`()` removes a field), and the operators `$inc`, `$push`, `$pull` and `$unset`, each a map from path to value. Throws as `update`.")
        .about("delete", "Removes the document; answers whether there was one. With `if_version` only that version. Throws `docs.version_mismatch`.")
        .about("find", "The documents that a query describes, at most its `$limit` (100, at most 1 000). A query is a map from dotted paths in the data (not `id` or `created_at`) to values, or to operators: `$eq $ne $gt $gte $lt $lte $in $nin $exists $contains $starts_with $not`; beside paths stand `$and`, `$or`, `$sort` (a path, a map with one path, `#{ age: -1 }` for the greatest first, or an array of these: `[#{ age: -1 }, \"name\"]`), `$limit`, `$cursor`, `$select`. Throws `docs.invalid_query`.")
        .about("find_page", "The same as a page: `items`, and a `cursor` to give as `$cursor`.")
        .about("find_one", "The first of them, or `()`.")
        .about("count", "How many documents fit; sorting and limits do not belong here.")
        .about("list", "All documents, page by page, in the order of their ids.")
}
