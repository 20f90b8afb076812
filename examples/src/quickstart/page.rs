//! What the program prints.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use picloud_core::route::{RouteMethod, RouteRecord};
use picloud_core::script::{Change, DeployProblem, DeployReport};

/// What was registered, where, and what to try.
pub(crate) fn welcome(folder: &Path, report: &DeployReport, address: SocketAddr, watch: bool) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "picloud serves {} on http://{address}\n", folder.display());
    let _ = write!(page, "{report}");
    if [&report.created, &report.updated, &report.unchanged].into_iter().all(Vec::is_empty) {
        let _ =
            writeln!(page, "There is no .rhai file in it; hidden files and symbolic links are passed over.");
    }
    let _ = writeln!(page, "\nOpen http://{address}/ or try:");
    for route in report.routes.iter().filter(|route| route.change != Change::Removed) {
        let _ = writeln!(page, "  {}", curl(&route.route, address));
    }
    let _ = writeln!(page, "  curl -i http://{address}/version");
    if report.triggers.iter().any(|trigger| trigger.change != Change::Removed) {
        let _ = write!(page, "What fires when you write shows up here");
        // Only where there is the script that can be made to fail.
        if report.routes.iter().any(|route| route.route.path == "/hooks/:source") {
            let _ = write!(page, "; with /hooks/broken in place of /hooks/ada, a dead letter");
        }
        let _ = writeln!(page, ".");
    }
    let next = if watch {
        "Edit a script: it is live when you save it."
    } else {
        "With --watch a script is live when you save it."
    };
    let _ = writeln!(page, "\n{next} Stop with Ctrl-C.");
    page
}

/// Mistakes, and what became of them.
pub(crate) fn mistakes(problems: &[DeployProblem]) -> String {
    let mut page = String::new();
    for problem in problems {
        let _ = writeln!(page, "error: {problem}");
    }
    page
}

/// A command that reaches the route.
fn curl(route: &RouteRecord, address: SocketAddr) -> String {
    let segments = route.path.split('/').map(|segment| match segment {
        "*" => "anything",
        capture if capture.starts_with(':') => "ada",
        literal => literal,
    });
    let url = format!("http://{address}{}", segments.collect::<Vec<_>>().join("/"));
    let host = match &route.host {
        Some(host) => format!("-H 'host: {}' ", host.replace("*.", "www.")),
        None => String::new(),
    };
    match &route.method {
        RouteMethod::Only(method) if *method == http::Method::GET => format!("curl -i {host}{url}"),
        RouteMethod::Any => format!("curl -i {host}{url}"),
        RouteMethod::Only(method) if *method == http::Method::POST && route.path.contains("guestbook") => {
            format!("curl -i {host}{url} -d 'name=Ada&text=Hello!'")
        }
        RouteMethod::Only(method) => {
            format!(
                "curl -i -X {method} {host}{url} -H 'content-type: application/json' -d '{{\"hello\": \"world\"}}'"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_folder_is_empty_if_it_has_no_scripts_whether_new_or_not() {
        let says_empty = |report: &DeployReport| {
            let page = welcome(Path::new("scripts"), report, ([127, 0, 0, 1], 8000).into(), false);
            page.contains("There is no .rhai file")
        };
        let mut report = DeployReport::default();
        assert!(says_empty(&report));
        report.unchanged.push("greet".parse().unwrap());
        assert!(!says_empty(&report));
    }
}
