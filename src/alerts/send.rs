//! One delivery: request, signature, answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;

use super::{event::Event, sign, slack};
use crate::{
    config::{AlertFormat, Alerts},
    triage::wait,
    upstream::{Connector, Pool, RequestBody, ResponseBody, SendError},
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION"), " (alerts)"));

/// Of an answer's body no more is read: nothing in it matters, but a connection that was read to its end can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// Nor is it waited for longer.
const ANSWER: Duration = Duration::from_millis(200);

/// What the receiver said.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub status: StatusCode,
    /// `Retry-After`
    pub told: Option<Duration>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// Sends one event and waits for the answer, as `weir alerts test` does.
///
/// # Errors
/// When there was no answer; it may have arrived all the same.
pub async fn try_once(
    connector: Connector,
    to: &Alerts,
    event: &Event,
) -> Result<Answered, Unanswered> {
    post(&Pool::new(connector), to, event, to.timeout).await
}

/// Sends `event` and waits for the answer's head, for `time` at most.
pub(super) async fn post(
    pool: &Pool,
    to: &Alerts,
    event: &Event,
    time: Duration,
) -> Result<Answered, Unanswered> {
    let body = Bytes::from(match to.format {
        AlertFormat::Json => event.to_json(),
        AlertFormat::Slack => slack::body(event),
    });
    let url = to.webhook.expose();
    let headers = headers(to, event, &body);
    let sending = pool.send(
        url,
        time,
        false,
        || true,
        |h2| request(url, &headers, &body, h2),
    );
    let sent = tokio::time::timeout(time, sending)
        .await
        .map_err(|_| Unanswered::Timeout(time))??;
    let (head, rest) = sent.response.into_parts();
    let _ = tokio::time::timeout(ANSWER, read(rest)).await;
    let told = head
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| wait::header(value.to_str().ok()?, SystemTime::now()));
    Ok(Answered {
        status: head.status,
        told,
    })
}

fn headers(to: &Alerts, event: &Event, body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let timestamp = sign::timestamp(SystemTime::now());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::USER_AGENT, AGENT);
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
    if let Ok(id) = HeaderValue::from_str(&event.id) {
        headers.insert(ID, id);
    }
    if let Some(key) = &to.secret
        && let Ok(signature) =
            HeaderValue::from_str(&sign::signature(key, &event.id, timestamp, body))
    {
        headers.insert(SIGNATURE, signature);
    }
    headers
}

fn request(url: &Uri, headers: &HeaderMap, body: &Bytes, h2: bool) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::whole(body.clone()));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers.clone();
    if h2 {
        *request.uri_mut() = url.clone();
        return request;
    }
    *request.uri_mut() = url
        .path_and_query()
        .cloned()
        .map_or_else(|| Uri::from_static("/"), Uri::from);
    let host = url.authority().map_or("", |authority| authority.as_str());
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

async fn read(mut body: ResponseBody) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_ANSWER {
            return;
        }
    }
}
