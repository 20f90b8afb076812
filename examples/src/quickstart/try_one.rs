//! `--try`: one request to one script, everything printed.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use http::{HeaderName, HeaderValue, Method};
use picloud_core::execution::HttpRequest;
use picloud_core::route::normalize_host;
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};

/// Deploys the file, with the modules beside it, and sends it the request: to the route that matches, or to the script itself if it has no
/// routes.
pub(crate) async fn run(
    cloud: &Picloud,
    app: &App,
    file: &Path,
    request: &str,
    body: Option<&str>,
    headers: &[String],
) -> Result<ExitCode, Box<dyn Error>> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or("the file needs a name")?;
    let source = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut bundle = Bundle::new().file(name, source)?;
    for (name, source) in modules_beside(file)? {
        bundle = bundle.file(&name, source)?;
    }
    let report = app.deploy(&bundle).await?;

    let (method, target) =
        request.split_once(' ').ok_or("a request reads 'METHOD PATH', as in 'GET /greet/ada'")?;
    let (path, query) = match target.trim().split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target.trim(), None),
    };
    let mut request = HttpRequest::new(Method::from_bytes(method.as_bytes())?, path);
    request.query = query;
    request.body = body.unwrap_or_default().to_owned().into();
    if body.is_some_and(|body| body.trim_start().starts_with(['{', '['])) {
        request.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for header in headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("{header:?} is not a header: 'NAME: VALUE'"))?;
        request
            .headers
            .insert(HeaderName::from_bytes(name.trim().as_bytes())?, HeaderValue::from_str(value.trim())?);
    }

    if let Some(host) = request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()) {
        request.host = normalize_host(host).into_owned();
    }

    let answer = if report.routes.is_empty() {
        app.script(name)?.request(request).await
    } else {
        app.request(request).await
    };
    // What it logged comes before what it answered.
    cloud.execution_log().flush().await;
    match answer {
        Ok(response) => {
            println!("{}", response.status);
            for (name, value) in &response.headers {
                println!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
            }
            println!("\n{}", String::from_utf8_lossy(&response.body));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error}");
            if error.code().starts_with("route.") {
                print!("{report}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The modules in the folder of a file: it may import them.
fn modules_beside(file: &Path) -> std::io::Result<Vec<(String, String)>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut modules = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_script = path.extension().is_some_and(|ending| ending == "rhai");
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_script) else {
            continue;
        };
        if path.file_name() == file.file_name() {
            continue;
        }
        if let Ok(source) = std::fs::read_to_string(&path)
            && source.lines().any(|line| line.trim() == "//! module")
        {
            modules.push((name.to_owned(), source));
        }
    }
    Ok(modules)
}
