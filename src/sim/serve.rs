//! One request from its head to the head of its answer.
//!
//! Order, as far as it can be seen from outside at the real one: faults (an outage asks nobody for a key), key, body,
//! endpoint (validation, limits, balance, answer), then pace and stream faults on the way out.

use std::{sync::Arc, time::SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    account::{Ticket, Who, bearer, fingerprint},
    api::{self, Call},
    conn::Conn,
    dice::Dice,
    error::ApiError,
    fault::{Ask, Effects},
    form::Form,
    journal::Entry,
    limits::Gauge,
    shape, substitute,
    wire::Reply,
    world::World,
};

/// Larger than any real body; keeps a mistake from filling the memory.
const MAX_BODY: usize = 1 << 30;

/// What faults and the log want to know of a JSON body, whatever the endpoint.
#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<&'a RawValue>,
}

/// Answers one request. A doomed connection ([`Conn::is_doomed`]) means that the answer must not be sent.
pub(crate) async fn handle(
    world: Arc<World>,
    conn: Conn,
    request: Request<Body>,
) -> Response<Body> {
    let arrived = Instant::now();
    let (mut parts, body) = request.into_parts();
    let key = bearer(&parts.headers).map(fingerprint).unwrap_or_default();
    let mut entry = world.journal.enter(&parts, key.clone());
    if parts.headers.contains_key(header::UPGRADE) && parts.uri.path().ends_with("/realtime") {
        return api::realtime::upgrade(world, conn, &mut parts, entry).await;
    }
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        // Left or broken in the middle of the upload: nobody reads an answer.
        entry.fault("upload-broken");
        return Response::new(Body::empty());
    };
    let form = Form::of(&parts.headers, &body);
    let hash = blake3::hash(&body);
    let (model, stream) = envelope(form.as_ref(), &body);
    entry.asked(model.as_deref(), stream, &body, hash);

    let effects = if world.faults.is_empty() {
        Effects::default()
    } else {
        let ask = Ask {
            path: parts.uri.path(),
            model: model.as_deref(),
            key: &key,
            stream,
        };
        world.faults.strike(ask, arrived)
    };
    if effects.fault_id.is_some() {
        entry.fault(&shape::name(&effects));
    }
    if !effects.delay.is_zero() {
        tokio::time::sleep(effects.delay).await;
    }
    if let Some(substitute) = substitute::substitute(&effects, stream) {
        return substitute.respond(entry, conn, arrived).await;
    }
    let salt = salt(&parts, form.as_ref(), hash);
    let (reply, gauge, who, ticket) = answer(&world, &parts, &body, form, salt);
    entry.hold(ticket);
    let dice = Dice::new(world.seed, salt ^ 0xface);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let mut response = shape::respond(reply, &effects, dice, entry, conn);
    api_headers(
        response.headers_mut(),
        who.as_ref(),
        gauge.as_ref(),
        arrived,
    );
    response
}

fn answer(
    world: &Arc<World>,
    parts: &Parts,
    body: &Bytes,
    form: Option<Form>,
    salt: u64,
) -> (Reply, Option<Gauge>, Option<Who>, Option<Ticket>) {
    let who = match world.account.identify(&parts.headers) {
        Ok(who) => who,
        Err(refused) => return (refused.into(), None, None, None),
    };
    let mut call = Call::new(world, parts, body, form, who, salt);
    let reply = api::route(&mut call).unwrap_or_else(ApiError::into);
    let Call {
        gauge, who, ticket, ..
    } = call;
    (reply, gauge, Some(who), ticket)
}

fn envelope(form: Option<&Form>, body: &[u8]) -> (Option<String>, bool) {
    if let Some(form) = form {
        return (
            form.text("model").map(str::to_owned),
            form.text("stream") == Some("true"),
        );
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).unwrap_or_default();
    let model = envelope
        .model
        .and_then(|raw| serde_json::from_str(raw.get()).ok());
    (
        model,
        envelope.stream.is_some_and(|raw| raw.get() == "true"),
    )
}

/// What the answer's bytes are a function of, beside the seed. A form's boundary is left out: clients draw it anew.
fn salt(parts: &Parts, form: Option<&Form>, hash: blake3::Hash) -> u64 {
    let first = |hash: blake3::Hash| {
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default())
    };
    let body = form.map_or_else(|| first(hash), |form| first(form.hash()));
    let path = parts
        .uri
        .path()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    body ^ path
}

/// The headers that the API itself (and not the edge before it) puts on an answer.
pub(crate) fn api_headers(
    headers: &mut HeaderMap,
    who: Option<&Who>,
    gauge: Option<&Gauge>,
    arrived: Instant,
) {
    let mut put = |name: &'static str, value: &str| {
        let name = HeaderName::from_static(name);
        if let (false, Ok(value)) = (headers.contains_key(&name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    };
    // Only this one id may differ between equal calls: it names the call and not its content.
    put(
        "x-request-id",
        &Dice::new(fastrand::u64(..), 0).hex_id("req_", 32),
    );
    put(
        "openai-processing-ms",
        &arrived.elapsed().as_millis().to_string(),
    );
    put("openai-version", "2020-10-01");
    if let Some(who) = who {
        put("openai-organization", &who.organization);
        if let Some(project) = &who.project {
            put("openai-project", project);
        }
    }
    let wall = SystemTime::now();
    for (name, value) in gauge.iter().flat_map(|gauge| gauge.headers(wall)) {
        put(name, &value);
    }
    put("x-content-type-options", "nosniff");
    edge_headers(headers);
}

/// The headers of the edge, which are on everything.
pub(crate) fn edge_headers(headers: &mut HeaderMap) {
    headers
        .entry(header::SERVER)
        .or_insert(HeaderValue::from_static("cloudflare"));
    headers
        .entry("cf-cache-status")
        .or_insert(HeaderValue::from_static("DYNAMIC"));
    headers
        .entry("cf-ray")
        .or_insert(HeaderValue::from_static("0000000000000000-SIM"));
}

/// The head of a response, from its parts; what cannot be a header is left out.
pub(crate) fn head<'a>(
    status: StatusCode,
    content_type: &str,
    more: impl Iterator<Item = (&'a str, &'a str)>,
) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in more {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    if let (false, Ok(value)) = (content_type.is_empty(), HeaderValue::from_str(content_type)) {
        headers.entry(header::CONTENT_TYPE).or_insert(value);
    }
    response
}

/// Wraps up a finished body.
pub(crate) fn boxed(head: Response<()>, body: super::body::SimBody) -> Response<Body> {
    head.map(|()| Body::new(body))
}

/// For the answers that are never sent.
pub(crate) fn nothing(mut entry: Entry) -> Response<Body> {
    entry.settle();
    Response::new(Body::empty())
}
