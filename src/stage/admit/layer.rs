//! The layer.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower::{Layer, Service};

use super::{Apps, Refused, directives};
use crate::{
    call::{Call, Deadline, Inbound, Meter, Payload, Reply},
    dialect::{
        Endpoint,
        openai::{Envelope, multipart},
    },
    error::Error,
    stage::{Answering, route::Router},
};

/// A caller's own timeout, less this share: our error must arrive before it gives up.
const MARGIN: f64 = 0.05;
const LONGEST_MARGIN: Duration = Duration::from_millis(500);
/// A busy machine may need as long to deliver it; of very short timeouts no more than a fifth.
const USUAL_MARGIN: Duration = Duration::from_millis(100);
const LARGEST_SHARE: f64 = 0.2;

/// Resolved from `[[app]]`, `[server]` and the routes.
#[derive(Clone, Debug)]
pub struct Params {
    pub apps: Arc<Apps>,
    /// Time to the first byte of the answer for callers that name none.
    pub timeout: Duration,
    /// For routes that have a timeout of their own.
    pub router: Arc<Router>,
}

#[derive(Clone, Debug)]
pub struct AdmitLayer(Arc<Params>);

#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    params: Arc<Params>,
}

// === impl AdmitLayer ===

impl AdmitLayer {
    pub fn new(params: Params) -> Self {
        Self(Arc::new(params))
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            params: Arc::clone(&self.0),
        }
    }
}

// === impl Admit ===

impl<S> Service<Inbound> for Admit<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future = Answering>,
{
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, inbound: Inbound) -> Answering {
        match self.params.admit(inbound) {
            Ok(call) => self.inner.call(Arc::new(call)),
            Err(refused) => Box::pin(std::future::ready(Err(refused.into()))),
        }
    }
}

impl Params {
    fn admit(&self, inbound: Inbound) -> Result<Call, Refused> {
        let Inbound {
            id,
            arrived,
            ready,
            method,
            path,
            mut headers,
            payload,
            upgrade,
        } = inbound;
        let (app, credential) = self.apps.identify(&mut headers)?;
        let (directives, timeout, name) = directives::take(&mut headers)?;
        let app = self.apps.named(app, name.as_deref());
        let (sdk, sdk_timeout) = directives::sdk(&headers);
        let endpoint = Endpoint::of(&method, path.path());
        let envelope = envelope(endpoint, &payload, &headers);
        strip(&mut headers);
        let told = timeout.or(sdk_timeout);
        let time = told.map_or_else(
            || {
                self.router
                    .timeout(envelope.model.as_deref().unwrap_or_default())
                    .unwrap_or(self.timeout)
            },
            |told| told - margin(told),
        );
        Ok(Call {
            id,
            arrived,
            ready,
            app,
            credential,
            endpoint,
            method,
            path,
            headers,
            payload,
            envelope,
            deadline: Deadline::at(arrived + time),
            directives,
            sdk,
            upgrade,
            meter: Meter::default(),
        })
    }
}

/// What the body says. Unreadable or of another kind: nothing, and the provider will say what it thinks of it.
fn envelope(endpoint: Endpoint, payload: &Payload, headers: &HeaderMap) -> Envelope {
    match payload {
        Payload::Whole(body) if endpoint.has_json_body() => {
            Envelope::scan(endpoint, body).unwrap_or_else(|_| Envelope::empty(endpoint))
        }
        Payload::Whole(_) => Envelope::empty(endpoint),
        Payload::Upload(upload) => {
            let mut envelope = Envelope::empty(endpoint);
            if endpoint.has_form_body()
                && let Some(boundary) = form_boundary(headers)
            {
                envelope.model = multipart::multipart_model(&upload.prefix(), boundary)
                    .map(|(_, model)| model.into());
                envelope.stream = multipart::multipart_field(&upload.prefix(), boundary, "stream")
                    .is_some_and(|(_, stream)| stream.eq_ignore_ascii_case("true"));
            }
            envelope
        }
    }
}

/// The boundary of a form.
pub(crate) fn form_boundary(headers: &HeaderMap) -> Option<&str> {
    multipart::boundary(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// Removes what is between the caller and weir alone: hop-by-hop headers (RFC 9110 §7.6.1, and those that
/// `Connection` names) and what the connection to the provider sets anew.
fn strip(headers: &mut HeaderMap) {
    const HOP: [HeaderName; 9] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::EXPECT,
    ];
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value: &HeaderValue| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
}

/// How long before the caller gives up weir does.
fn margin(told: Duration) -> Duration {
    let usual = USUAL_MARGIN.min(told.mul_f64(LARGEST_SHARE));
    told.mul_f64(MARGIN).min(LONGEST_MARGIN).max(usual)
}
