//! What scripts see of files: `files::collection(name)` and its methods.

use std::sync::Arc;

use rhai::{Blob, Dynamic, ImmutableString, Map};

use super::store::Upload;
use super::{
    ByteSource, ContentType, FileChange, FileInfo, FileName, Files, FilesError, ListOptions,
    MAX_METADATA_BYTES, Metadata, ServedFile,
};
use crate::engine::convert::{self, ConvertLimits};
use crate::engine::natives::{self, Sizes};
use crate::engine::{Args, Around, Bytes, FromScript, Handle, IntoScript, ScriptModule, This};
use crate::page::Page;
use crate::{CallCx, CollectionName, Error, ErrorKind, Json, Result};

/// The handle that `files::collection(name)` answers.
#[derive(Clone)]
struct Collection {
    files: Files,
    name: Arc<CollectionName>,
}

fn one(file: &FileInfo) -> Result<Around> {
    Ok(Around(Some(file.to_json()?)))
}

fn page(page: &Page<FileInfo>) -> Result<Around> {
    let cursor = Json::from_value(&page.cursor)?;
    let items = page.items.iter().map(FileInfo::to_json).collect::<Result<Vec<_>>>()?;
    let items: Vec<_> = items.iter().map(Json::as_str).collect();
    let text = format!("{{\"cursor\":{},\"items\":[{}]}}", cursor.as_str(), items.join(","));
    Ok(Around(Some(Json::from_canonical(text))))
}

/// What a script says of a file.
struct Given {
    change: FileChange,
    data: Option<bytes::Bytes>,
}

impl FromScript for Given {
    /// Field by field, since the bytes of a blob are not to take the way through JSON.
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        let mut given = Given { change: FileChange::default(), data: None };
        let Some(value) = args.take() else { return Ok(given) };
        let Some(fields) = value.read_lock::<Map>() else {
            let error = format!("expected a map, not a value of type {}", value.type_name());
            return Err(args.mismatch(Error::invalid("invalid_argument", error)));
        };
        for (field, value) in fields.iter().filter(|(_, value)| !value.is_unit()) {
            given.set(field, value)?;
        }
        Ok(given)
    }
}

impl Given {
    fn set(&mut self, field: &str, value: &Dynamic) -> Result<()> {
        let mismatch = |expected: &str| {
            let text = format!(
                "the field {field} of a file is {expected}, not a value of type {}",
                value.type_name()
            );
            Error::invalid("invalid_argument", text)
        };
        let text = || {
            value
                .read_lock::<ImmutableString>()
                .map(|text| text.to_string())
                .ok_or_else(|| mismatch("a string"))
        };
        let change = &mut self.change;
        match field {
            "name" => change.name = Some(FileName::new(text()?)?),
            "content_type" => change.content_type = Some(ContentType::new(text()?)?),
            "metadata" => {
                let limits = ConvertLimits { max_bytes: 2 * MAX_METADATA_BYTES };
                change.metadata = Some(Metadata::new(convert::to_json(value, limits)?)?);
            }
            "data" => {
                let bytes = match value.read_lock::<Blob>() {
                    Some(blob) => natives::copied(&blob)?,
                    None => {
                        let text = value.read_lock::<ImmutableString>();
                        natives::copied(text.ok_or_else(|| mismatch("a string or a blob"))?.as_bytes())?
                    }
                };
                self.data = Some(bytes.into());
            }
            _ => {
                let field = field.chars().take(80).collect();
                return Err(FilesError::UnknownField { field }.into());
            }
        }
        Ok(())
    }

    /// All that a new file needs.
    fn whole(self) -> Result<(Upload, bytes::Bytes)> {
        let missing = |field| FilesError::MissingField { field };
        let FileChange { name, content_type, metadata, .. } = self.change;
        let upload = Upload {
            name: name.ok_or_else(|| missing("name"))?,
            content_type: content_type.ok_or_else(|| missing("content_type"))?,
            metadata: metadata.unwrap_or_default(),
        };
        Ok((upload, self.data.ok_or_else(|| missing("data"))?))
    }
}

/// The bytes of a file; `()` when there is none.
struct Data(Option<Bytes>);

impl IntoScript for Data {
    fn to_script(&self) -> Result<Dynamic> {
        self.0.as_ref().map_or(Ok(Dynamic::UNIT), Bytes::to_script)
    }
}

/// How to answer a request with a file.
#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ServeOptions {
    inline: Option<bool>,
}

/// A response whose body is a file; `()` when there is none.
struct Served(Option<ServedFile>);

impl IntoScript for Served {
    fn to_script(&self) -> Result<Dynamic> {
        let Some(file) = &self.0 else { return Ok(Dynamic::UNIT) };
        let mut map = Map::new();
        map.insert("statusCode".into(), Dynamic::from_int(200));
        map.insert("headers".into(), Dynamic::from_map(Map::new()));
        map.insert("file".into(), Dynamic::from(file.clone()));
        Ok(Dynamic::from_map(map))
    }
}

/// The script module `files`.
pub(crate) fn module(files: Files) -> ScriptModule {
    ScriptModule::new("files")
        .doc("Files in collections of this app: bytes with a name, a type and metadata.")
        .handle_type::<Collection>("FilesCollection")
        .handle_type::<ServedFile>("ServedFile")
        .function(
            "collection(name: string) -> FilesCollection",
            move |_cx: CallCx, name: String| -> Result<_> {
                Ok(Handle(Collection { files: files.clone(), name: Arc::new(CollectionName::new(name)?) }))
            },
        )
        .async_function(
            "FilesCollection.create(file: #{ name, content_type, data, metadata }) -> map",
            |cx: CallCx, this: This<Collection>, given: Given| async move {
                let This(Collection { files, name }) = this;
                let (upload, mut data) = given.whole()?;
                one(&files.create(&cx, &name, &upload, &mut data).await?)
            },
        )
        .async_function(
            "FilesCollection.head(id: string) -> map",
            |cx: CallCx, this: This<Collection>, id: String| async move {
                let This(Collection { files, name }) = this;
                let found = files.head(&cx, &name, id.parse()?).await?;
                Ok::<_, Error>(Around(found.map(|record| record.info.to_json()).transpose()?))
            },
        )
        .async_function(
            "FilesCollection.get(id: string) -> blob",
            |cx: CallCx, this: This<Collection>, id: String| {
                let This(Collection { files, name }) = this;
                // Here, where the execution is the current one.
                let max = Sizes::current().blob;
                async move {
                    let id = id.parse()?;
                    let size = files.head(&cx, &name, id).await?.map(|record| record.info.size);
                    if let Some(size) = size.filter(|size| *size > max) {
                        let text = format!(
                            "the file has {size} bytes, more than max_blob_size: {max}; serve answers with it"
                        );
                        return Err(Error::new(ErrorKind::TooLarge, "files.too_large", text));
                    }
                    let found = files.get(&cx, &name, id).await?;
                    Ok(Data(found.map(|(_, bytes)| Bytes::from(bytes))))
                }
            },
        )
        .async_function(
            "FilesCollection.update(id: string, change: #{ name, content_type, data, metadata }) -> map",
            |cx: CallCx, this: This<Collection>, id: String, given: Given| async move {
                let This(Collection { files, name }) = this;
                let Given { change, mut data } = given;
                let source = data.as_mut().map(|data| data as &mut dyn ByteSource);
                one(&files.update(&cx, &name, id.parse()?, change, source).await?)
            },
        )
        .async_function(
            "FilesCollection.delete(id: string) -> bool",
            |cx: CallCx, this: This<Collection>, id: String| async move {
                let This(Collection { files, name }) = this;
                files.delete(&cx, &name, id.parse()?).await
            },
        )
        .async_function(
            "FilesCollection.list(options?: #{ cursor, limit }) -> #{ items, cursor }",
            |cx: CallCx, this: This<Collection>, options: Option<ListOptions>| async move {
                let This(Collection { files, name }) = this;
                page(&files.list(&cx, &name, &options.unwrap_or_default()).await?)
            },
        )
        .async_function(
            "FilesCollection.serve(id: string, options?: #{ inline }) -> map",
            |cx: CallCx, this: This<Collection>, id: String, options: Option<ServeOptions>| async move {
                let This(Collection { files, name }) = this;
                let found = files.head(&cx, &name, id.parse()?).await?;
                Ok::<_, Error>(Served(found.map(|record| {
                    let mut served = ServedFile::new(cx.app(), (*name).clone(), record);
                    served.inline = options.and_then(|options| options.inline).unwrap_or_default();
                    served
                })))
            },
        )
        .about("collection", "A collection of files of this app; it exists as soon as a file is in it. Throws `collection.invalid_name`.")
        .about("create", "Stores a file; answers `#{ id, name, content_type, size, sha256, metadata, created_at, updated_at }`. `data` is a string or a blob; `metadata`, a map of yours, may be left out. Throws `files.missing_field`, `files.unknown_field`, `files.invalid_name`, `files.invalid_content_type`, `files.invalid_metadata`, `files.too_large` above 10 MiB.")
        .about("head", "The same of a file that is there, or `()`. Throws `files.invalid_id`, as all do that take an id.")
        .about("get", "The bytes as a blob, or `()`. Throws `files.corrupted` rather than answer wrong bytes.")
        .about("update", "Replaces what is given and keeps the rest; answers as `create`. Throws `files.not_found`, and as `create`.")
        .about("delete", "Removes the file; answers whether there was one.")
        .about("list", "All files, page by page, in the order of their ids. Throws `files.invalid_cursor`.")
        .about("serve", "An answer that the server fills with the bytes, or `()` for a missing file: `serve(id) ?? #{ statusCode: 404 }` is a whole script for ids that are UUIDs. With `etag`, `last-modified` and ranges. Browsers save the file; `#{ inline: true }` lets them show it.")
}
