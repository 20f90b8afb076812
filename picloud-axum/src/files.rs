//! Files of an app by their ids, for those who log in: without a script, and without holding their bytes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use picloud_core::authz::PrincipalKind;
use picloud_core::execution::HttpResponse;
use picloud_core::files::{
    ContentType, FileAnswer, FileChange, FileId, FileInfo, FileName, Files, FilesError, ServedFile, Upload,
};
use picloud_core::{CallCx, CollectionName, CxInner, Picloud};

use crate::body::{RequestBody, announced, file_response, json};
use crate::scripts::{Handler, host_of};
use crate::{ApiError, RouterConfig};

/// Up- and downloads for one collection of files, of the app that a request belongs to.
///
/// | request | answer |
/// |---|---|
/// | `POST /{name}` with a `content-type` | 201, the file as JSON, its place in `location` |
/// | `GET`, `HEAD /{id}` | the file, or what of it was asked for: ranges and conditions are those of [`picloud_core::files::http`] |
/// | `PUT /{id}` | 200; other bytes, and another type if the request has one |
/// | `DELETE /{id}` | 204 |
///
/// A caller needs credentials, and the capability to read or to write files of the app: there is no script that could decide
/// about anybody else. Bytes stream in and out; a file has at most
/// [`FilesConfig::max_file_bytes`](picloud_core::files::FilesConfig::max_file_bytes), whatever
/// [`RouterConfig::max_body_bytes`] says. Mount it where cookies of your login reach it only if they are not sent by other
/// sites (`SameSite`).
///
/// ```
/// use picloud_axum::{RouterConfig, files_router};
/// # fn host(cloud: picloud_core::Picloud) -> picloud_core::Result<()> {
/// let letters = picloud_core::CollectionName::new("letters")?;
/// let app: axum::Router =
///     axum::Router::new().nest("/letters", files_router(&cloud, letters, RouterConfig::default()));
/// # Ok(()) }
/// ```
pub fn files_router<S: Clone + Send + Sync + 'static>(
    cloud: &Picloud,
    collection: CollectionName,
    config: RouterConfig,
) -> Router<S> {
    let handler = Arc::new(FilesHandler { handler: Handler::new(cloud, &config), collection });
    let of = |answer: fn(Arc<FilesHandler>, String, Request<Body>) -> Answering| {
        let handler = handler.clone();
        async move |Path(key): Path<String>, request: Request<Body>| {
            answer(handler, key, request).await.unwrap_or_else(IntoResponse::into_response)
        }
    };
    let methods =
        get(of(|handler, key, request| Box::pin(async move { handler.download(&key, request).await })))
            .post(of(|handler, key, request| Box::pin(async move { handler.upload(key, request).await })))
            .put(of(|handler, key, request| Box::pin(async move { handler.replace(&key, request).await })))
            .delete(of(|handler, key, request| Box::pin(async move { handler.delete(&key, request).await })));
    Router::new().route("/{key}", methods)
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>>;

struct FilesHandler {
    handler: Handler,
    collection: CollectionName,
}

impl FilesHandler {
    fn files(&self) -> &Files {
        self.handler.cloud().files()
    }

    /// The call that a request makes.
    async fn cx(&self, parts: &Parts) -> Result<CallCx, ApiError> {
        let cloud = self.handler.cloud();
        let app = cloud.resolve_app(host_of(parts), &parts.headers, |app| app.record.id);
        let not_found =
            || ApiError::new(StatusCode::NOT_FOUND, "app.not_found", "no app answers to this host");
        let mut inner = CxInner::new(app.ok_or_else(not_found)?);
        inner.clock = cloud.backend().clock();
        let principal = self.handler.principal(parts).await;
        inner.principal = principal.filter(|principal| principal.kind != PrincipalKind::Caller);
        if inner.principal.is_none() {
            let text = "files by their ids need credentials";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", text));
        }
        Ok(inner.into())
    }

    fn source(&self, parts: &Parts, body: Body) -> Result<RequestBody, ApiError> {
        let max = self.files().max_bytes();
        if announced(&parts.headers).is_some_and(|length| length > max) {
            return Err(picloud_core::Error::from(FilesError::TooLarge { max }).into());
        }
        Ok(RequestBody::new(body, self.handler.config().body_timeout))
    }

    async fn upload(&self, name: String, request: Request<Body>) -> Result<Response, ApiError> {
        let (parts, body) = request.into_parts();
        let cx = self.cx(&parts).await?;
        let given = content_type(&parts.headers)?.ok_or_else(|| {
            let text = "a file needs a content-type";
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "files.missing_field", text)
        })?;
        let upload = Upload { name: FileName::new(name)?, content_type: given, metadata: Default::default() };
        let mut source = self.source(&parts, body)?;
        let file = self.files().create(&cx, &self.collection, &upload, &mut source).await?;
        let mut response = told(StatusCode::CREATED, &file)?;
        if let Ok(place) = HeaderValue::from_str(&file.id.to_string()) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        Ok(response)
    }

    async fn download(&self, key: &str, request: Request<Body>) -> Result<Response, ApiError> {
        let (parts, _) = request.into_parts();
        let cx = self.cx(&parts).await?;
        let id = key.parse::<FileId>().map_err(|_| missing())?;
        let found = self.files().head(&cx, &self.collection, id).await?.ok_or_else(missing)?;
        let file = ServedFile::new(cx.app(), self.collection.clone(), found);
        let answer = FileAnswer { file, method: parts.method, asked: parts.headers };
        Ok(file_response(self.files().respond(&answer, StatusCode::OK, HeaderMap::new()).await?))
    }

    async fn replace(&self, key: &str, request: Request<Body>) -> Result<Response, ApiError> {
        let (parts, body) = request.into_parts();
        let cx = self.cx(&parts).await?;
        let id = key.parse::<FileId>().map_err(|_| missing())?;
        let mut change = FileChange::default();
        change.content_type = content_type(&parts.headers)?;
        let mut source = self.source(&parts, body)?;
        let file = self.files().update(&cx, &self.collection, id, change, Some(&mut source)).await?;
        told(StatusCode::OK, &file)
    }

    async fn delete(&self, key: &str, request: Request<Body>) -> Result<Response, ApiError> {
        let (parts, _) = request.into_parts();
        let cx = self.cx(&parts).await?;
        let id = key.parse::<FileId>().map_err(|_| missing())?;
        if !self.files().delete(&cx, &self.collection, id).await? {
            return Err(missing());
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}

fn missing() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "files.not_found", "there is no such file")
}

fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, ApiError> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    // What is not text is no type either.
    Ok(Some(ContentType::new(given.to_str().unwrap_or_default())?))
}

fn told(status: StatusCode, file: &FileInfo) -> Result<Response, ApiError> {
    Ok(json(status, file.to_json()?.as_str().to_owned()))
}

/// What a script answered, with the file that it answered with.
pub(crate) async fn with_file(files: &Files, file: &FileAnswer, answer: HttpResponse) -> Response {
    match files.respond(file, answer.status, answer.headers).await {
        Ok(answer) => file_response(answer),
        Err(error) => ApiError::from(error).into_response(),
    }
}
