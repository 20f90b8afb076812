//! The map `ctx`: what a script knows about its own call.

use rhai::{Dynamic, Map};

use super::compile::Part;
use super::convert;
use super::message::{append, body, headers};
use super::run::Run;
use crate::execution::{EventDelivery, HttpRequest, InvocationType};
use crate::outbox::EventKind;
use crate::route::parse_query;

/// The version of what scripts see.
pub const SDK_VERSION: &str = "1.0";

/// Builds the map anew: nothing a script does to it outlives the execution, and identity is never read from it. Parts
/// that the source does not name are left out: nobody can tell.
pub(crate) fn build(run: &Run) -> Dynamic {
    let (invocation, compiled) = (&run.invocation, &run.compiled);
    let mut map = Map::new();
    let mut put = |part: Part, name: &str, value: &dyn Fn() -> Dynamic| {
        if compiled.names.has(part) {
            map.insert(name.into(), value());
        }
    };
    put(Part::SdkVersion, "sdk_version", &|| SDK_VERSION.into());
    put(Part::ExecutionId, "execution_id", &|| invocation.execution.to_string().into());
    put(Part::RequestId, "request_id", &|| invocation.request_id.to_string().into());
    put(Part::AppId, "app_id", &|| invocation.app.to_string().into());
    put(Part::ScriptId, "script_id", &|| compiled.script_id.clone().into());
    put(Part::ScriptName, "script_name", &|| compiled.script_name.clone().into());
    put(Part::InvocationType, "invocation_type", &|| invocation.invocation_type.as_str().into());
    put(Part::TriggerDepth, "trigger_depth", &|| i64::from(invocation.trigger_depth).into());
    put(Part::Principal, "principal", &|| principal(run));
    put(Part::Request, "request", &|| request(run));
    // Not there at all without an event, so that `"event" in ctx` tells.
    if invocation.invocation_type == InvocationType::Trigger
        && let Some(delivery) = &invocation.event
    {
        put(Part::Event, "event", &|| event(delivery));
    }
    Dynamic::from_map(map)
}

fn event(delivery: &EventDelivery) -> Dynamic {
    let mut map = Map::new();
    map.insert("kind".into(), delivery.kind.as_str().into());
    map.insert("id".into(), delivery.id.to_string().into());
    let trigger = delivery.trigger.map_or(Dynamic::UNIT, |trigger| trigger.to_string().into());
    map.insert("trigger_id".into(), trigger);
    map.insert("attempt".into(), i64::from(delivery.attempt).into());
    map.insert("occurred_at".into(), delivery.occurred_at.to_string().into());
    let mut payload = convert::from_payload(&delivery.payload).unwrap_or(Dynamic::UNIT);
    if delivery.kind == EventKind::Queue
        && let Ok(mut told) = payload.as_map_mut()
    {
        told.insert("attempt".into(), i64::from(delivery.attempt).into());
    }
    map.insert(delivery.kind.as_str().into(), payload);
    Dynamic::from_map(map)
}

fn principal(run: &Run) -> Dynamic {
    let Some(principal) = &run.invocation.principal else { return Dynamic::UNIT };
    let mut map = Map::new();
    let kind = serde_json::to_value(principal.kind).ok();
    map.insert("kind".into(), kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().into());
    map.insert("id".into(), principal.id.as_str().into());
    map.insert("name".into(), principal.name.as_str().into());
    Dynamic::from_map(map)
}

fn request(run: &Run) -> Dynamic {
    let none = HttpRequest::default();
    let (names, sent) = (run.compiled.names, run.invocation.request.as_ref());
    let request = sent.unwrap_or(&none);
    let mut map = Map::new();
    let mut put = |part: Part, name: &str, value: &dyn Fn() -> Dynamic| {
        if names.has(part) {
            map.insert(name.into(), value());
        }
    };
    put(Part::Method, "method", &|| if sent.is_some() { request.method.as_str().into() } else { "".into() });
    put(Part::Host, "host", &|| request.host.as_str().into());
    put(Part::Path, "path", &|| request.path.as_str().into());
    put(Part::Rest, "rest", &|| request.rest.as_str().into());
    put(Part::Params, "params", &|| {
        let mut params = Map::new();
        for (name, value) in &request.params {
            params.insert(name.as_ref().into(), value.as_str().into());
        }
        Dynamic::from_map(params)
    });
    if names.has(Part::Query) {
        let (mut first, mut all) = (Map::new(), Map::new());
        for (name, value) in request.query.as_deref().map(parse_query).into_iter().flatten() {
            let value: Dynamic = value.to_string().into();
            first.entry(name.as_ref().into()).or_insert_with(|| value.clone());
            append(&mut all, &name, value);
        }
        map.insert("query".into(), Dynamic::from_map(first));
        map.insert("query_all".into(), Dynamic::from_map(all));
    }
    if names.has(Part::Headers) {
        let (first, all) = headers(&request.headers);
        map.insert("headers".into(), Dynamic::from_map(first));
        map.insert("headers_all".into(), Dynamic::from_map(all));
    }
    let payload = run.invocation.payload.as_ref();
    if names.has(Part::Body) {
        let body = match payload {
            Some(json) => convert::from_json(json).unwrap_or(Dynamic::UNIT),
            None => body(&request.headers, &request.body, convert::parse_json),
        };
        map.insert("body".into(), body);
    }
    if names.has(Part::BodyRaw) {
        let raw = payload.map_or_else(|| request.body.to_vec(), |json| json.as_str().into());
        map.insert("body_raw".into(), Dynamic::from_blob(raw));
    }
    Dynamic::from_map(map)
}
