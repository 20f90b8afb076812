//! The HTTP API so far: run a script by id, health, version.

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http::{Request, StatusCode, header};
use picloud_core::authz::{Capability, PrincipalKind};
use picloud_core::execution::HttpRequest;
use picloud_core::route::{normalize_host, normalize_path};
use picloud_core::script::ScriptKind;
use picloud_core::{Picloud, ScriptId};

use crate::scripts::{Handler, host_of};
use crate::{ApiError, RouterConfig};

pub(crate) fn router<S: Clone + Send + Sync + 'static>(cloud: &Picloud, config: &RouterConfig) -> Router<S> {
    let handler = Handler::new(cloud, config);
    let execute_handler = handler.clone();
    let execute = async move |Path(script): Path<String>, request: Request<Body>| {
        execute(&execute_handler, &script, request).await.unwrap_or_else(IntoResponse::into_response)
    };
    let cloud = cloud.clone();
    let version = cloud.version();
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(async move || ready(&cloud).await))
        .route("/version", get(async move || Json(version.clone())))
        .route("/api/v1/execute/{script_id}", post(execute))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown))
}

/// Whether the path is one of [`router`]'s.
pub(crate) fn answers(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (first, is_alone) = path.split_once('/').map_or((path, true), |(first, _)| (first, false));
    first == "api" || is_alone && ["healthz", "readyz", "version"].contains(&first)
}

/// Whatever is under `/api/` is for programs: they get JSON, not a page.
async fn unknown(request: Request<Body>) -> ApiError {
    let path = request.uri().path();
    let major = path.split('/').nth(2).unwrap_or("");
    if major == "v1" {
        ApiError::new(StatusCode::NOT_FOUND, "api.not_found", format!("the API has no {path:?}"))
    } else {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "api.unknown_version",
            format!("there is no API version {major:?}; there is v1"),
        )
    }
}

async fn ready(cloud: &Picloud) -> Response {
    match cloud.ready().await {
        Ok(()) => "ok".into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "not ready").into_response()
        }
    }
}

/// Runs a script whatever its routes. A known caller needs to be able to read the app; what the script may then do
/// is checked call by call.
async fn execute(handler: &Handler, script: &str, request: Request<Body>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let principal = handler.principal(&parts).await;
    let known = principal.as_ref().filter(|principal| principal.kind != PrincipalKind::Caller);
    if known.is_none() && !handler.config().open_execute {
        let text = "running a script by its id needs credentials";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", text));
    }
    let no_such_script =
        || ApiError::new(StatusCode::NOT_FOUND, "script.not_found", "there is no such script");
    let id: ScriptId = script.parse().map_err(|_| no_such_script())?;
    let (app, script) = handler.cloud().apps().script(id).ok_or_else(no_such_script)?;
    if known.is_some_and(|principal| !principal.allows(Capability::AppRead, Some(app.record.id))) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "AppRead is needed to run a script by its id",
        ));
    }
    if script.kind == ScriptKind::Module {
        let text = "a module is imported by other scripts, not run";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "script.is_module", text));
    }
    let path = normalize_path(parts.uri.path())
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "route.invalid_path", error.to_string()))?;
    let mut http = HttpRequest::new(parts.method.clone(), path.as_str());
    http.body = handler.body(&parts.headers, body).await?;
    http.host = normalize_host(host_of(&parts)).into_owned();
    http.query = parts.uri.query().map(str::to_owned);
    http.headers = parts.headers;
    Ok(handler.begin((app.record.id, script), http, principal).await.map(Body::from))
}
