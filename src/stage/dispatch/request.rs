//! The provider's request, out of the caller's.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use hyper::http::uri::PathAndQuery;

use crate::{
    call::{Attempt, Call, Payload, Target},
    config::{Upstream, UpstreamKey},
    dialect::openai::multipart,
    json,
    stage::admit,
    upstream::RequestBody,
};

const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

/// What is the same in every request to an upstream, made once.
#[derive(Debug)]
pub struct Prepared {
    /// Path of the base URL without a slash at its end.
    prefix: String,
    host: HeaderValue,
    auth: Option<(HeaderName, HeaderValue)>,
}

// === impl Prepared ===

impl Prepared {
    /// For `upstream`. A key that cannot stand in a header is left out; `config` has refused it before.
    pub fn new(upstream: &Upstream) -> Self {
        let auth = match &upstream.key {
            UpstreamKey::Held(secret) => {
                let auth = &upstream.provider.auth;
                let value = match &auth.scheme {
                    Some(scheme) => format!("{scheme} {}", secret.expose()),
                    None => secret.expose().to_owned(),
                };
                HeaderValue::from_str(&value).ok().map(|mut value| {
                    value.set_sensitive(true);
                    (auth.header.clone(), value)
                })
            }
            UpstreamKey::Passthrough | UpstreamKey::None => None,
        };
        let host = upstream.base_url.authority().map_or("", |a| a.as_str());
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        Self {
            prefix: upstream.base_url.path().trim_end_matches('/').to_owned(),
            host: HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("")),
            auth,
        }
    }

    /// The request of one attempt; `h2` asks for the absolute form.
    pub(super) fn request(
        &self,
        attempt: &Attempt,
        body: &Payload,
        h2: bool,
    ) -> Request<RequestBody> {
        let call = &*attempt.call;
        let upstream = &*attempt.target.upstream;
        let mut request = Request::new(RequestBody::of(body));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = self.uri(call, upstream, h2);
        *request.headers_mut() = self.headers(call, upstream, h2);
        request
    }

    fn uri(&self, call: &Call, upstream: &Upstream, h2: bool) -> Uri {
        let path = call.path.as_str();
        // The base URL brings its own version: `https://api.openai.com/v1`, `…/v1beta/openai`.
        let path = path.strip_prefix("/v1").unwrap_or(path);
        let path = format!("{}{path}", self.prefix);
        let Ok(path) = PathAndQuery::try_from(path) else {
            return Uri::default();
        };
        if !h2 {
            return Uri::from(path);
        }
        let mut parts = upstream.base_url.clone().into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).unwrap_or_default()
    }

    fn headers(&self, call: &Call, upstream: &Upstream, h2: bool) -> HeaderMap {
        let mut headers = call.headers.clone();
        if !h2 {
            headers.insert(header::HOST, self.host.clone());
        }
        if call.envelope.stream {
            // The stream is read event by event on its way.
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        if let Payload::Upload(upload) = &call.payload
            && let Some(length) = upload.length()
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // hyper leaves it out; without it many servers answer 411.
        let sends = [Method::POST, Method::PUT, Method::PATCH].contains(&call.method);
        if sends && matches!(&call.payload, Payload::Whole(bytes) if bytes.is_empty()) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        match (&upstream.key, &self.auth, &call.credential.forward) {
            (UpstreamKey::Passthrough, _, Some((name, value))) => {
                headers.insert(name, value.clone());
                own_words(&mut headers);
            }
            (_, auth, _) => {
                if let Some((name, value)) = auth {
                    headers.insert(name, value.clone());
                }
                // They belong to the caller's key and account, not to this one.
                headers.remove(ORGANIZATION);
                headers.remove(PROJECT);
                headers.remove(header::COOKIE);
            }
        }
        if let Some(organization) = &upstream.organization {
            headers.insert(ORGANIZATION, organization.clone());
        }
        if let Some(project) = &upstream.project {
            headers.insert(PROJECT, project.clone());
        }
        for (name, value) in &upstream.provider.send_headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        for (name, value) in &upstream.headers {
            headers.insert(name, value.clone());
        }
        if call.upgrade.is_some() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        headers
    }
}

/// An empty or `null` organisation or project is an app's unset variable; OpenAI answers it with a riddle.
fn own_words(headers: &mut HeaderMap) {
    for name in [ORGANIZATION, PROJECT] {
        let unset = |v: &HeaderValue| {
            matches!(
                v.as_bytes().trim_ascii(),
                b"" | b"null" | b"None" | b"undefined"
            )
        };
        if headers.get(&name).is_some_and(unset) {
            headers.remove(&name);
        }
    }
}

/// The body for `target`: the caller's own bytes, with the model replaced where the target has another.
pub(super) fn body(call: &Call, target: &Target) -> Payload {
    if !target.rewrite {
        return call.payload.clone();
    }
    match &call.payload {
        Payload::Whole(bytes) => {
            // It was scanned when it came in: a body whose model is known is sound.
            let spliced = json::splice(bytes, "model", &target.model);
            Payload::Whole(spliced.unwrap_or_else(|_| bytes.clone()))
        }
        Payload::Upload(upload) => {
            let prefix = upload.prefix();
            let boundary = admit::form_boundary(&call.headers);
            if let Some((range, _)) = boundary.and_then(|b| multipart::multipart_model(&prefix, b))
            {
                let parts = [
                    &prefix[..range.start],
                    target.model.as_bytes(),
                    &prefix[range.end..],
                ];
                upload.with_prefix(parts.concat().into());
            }
            call.payload.clone()
        }
    }
}

/// Removes what is between the provider and weir alone (RFC 9110 §7.6.1), and what a weir behind this one says of itself:
/// but for its warnings, which are true for the caller too.
pub(super) fn strip_reply(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in &named {
            headers.remove(name);
        }
    }
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        // Of the provider's host and port; the caller's is another.
        header::ALT_SVC,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    let foreign = |name: &&HeaderName| {
        name.as_str().starts_with("x-weir-") && name.as_str() != "x-weir-warning"
    };
    if headers.keys().any(|name| foreign(&name)) {
        let names: Vec<HeaderName> = headers.keys().filter(foreign).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}
