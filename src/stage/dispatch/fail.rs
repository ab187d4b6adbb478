//! Failures, made out of what came back or did not.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    call::{Attempt, Payload},
    config::UpstreamKey,
    error::{Answer, Error, Failure, status_of},
    failures::Seen,
    redact::Known,
    triage::{Evidence, NetworkKind, Transport, Verdict, judge},
    upstream::SendError,
};

/// A response's head as it is needed here.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Hop-by-hop headers are gone.
    pub(super) headers: HeaderMap,
}

/// Judges `body`, which came under `head` by `transport`.
pub(super) fn verdict(
    attempt: &Attempt,
    head: &Head,
    body: &[u8],
    transport: Transport,
) -> Verdict {
    let evidence = Evidence {
        status: head.status.as_u16(),
        headers: &head.headers,
        body,
        transport,
        endpoint: attempt.call.path.path(),
    };
    judge(&attempt.target.upstream.provider, &evidence)
}

/// The provider answered with an error status: its answer, whole.
pub(super) fn status(attempt: &Attempt, head: Head, raw: Bytes, decoded: &[u8]) -> Error {
    let verdict = verdict(attempt, &head, decoded, Transport::Http);
    let what = format!("the provider answered {}", head.status);
    let seen = seen(&head);
    let answer = Answer {
        status: head.status,
        headers: head.headers,
        body: raw,
    };
    failure(attempt, verdict, Some(answer), seen, what)
}

/// A 200 that is no answer: empty, a page, an error object, cut JSON. The provider's own error object goes to the
/// caller under the status that it should have had; a page does not.
pub(super) fn not_an_answer(
    attempt: &Attempt,
    head: Head,
    body: &Bytes,
    transport: Transport,
    what: &str,
) -> Error {
    let verdict = verdict(attempt, &head, body, transport);
    let object = body.trim_ascii().first() == Some(&b'{') && crate::json::Raw::parse(body).is_ok();
    let answer = object.then(|| in_band(&head, status_of(verdict.class), body.clone()));
    failure(attempt, verdict, answer, seen(&head), what.to_owned())
}

/// An error event inside a stream that had begun with 200. `data` is the event's, `range` its error object's.
pub(super) fn event(
    attempt: &Attempt,
    head: &Head,
    data: &[u8],
    range: std::ops::Range<usize>,
) -> Error {
    let verdict = verdict(attempt, head, data, Transport::StreamEvent);
    let object = data.get(range).unwrap_or(data);
    let whole = object.len() == data.len() && data.trim_ascii().first() == Some(&b'{');
    let nested = crate::json::Raw::parse(data)
        .ok()
        .and_then(|raw| raw.get("error"))
        .is_some();
    let body = if whole && nested {
        Bytes::copy_from_slice(data)
    } else {
        Bytes::from([b"{\"error\":", object.trim_ascii(), b"}"].concat())
    };
    let answer = crate::json::Raw::parse(&body)
        .is_ok()
        .then(|| in_band(head, status_of(verdict.class), body));
    failure(
        attempt,
        verdict,
        answer,
        seen(head),
        "the provider reported an error inside its stream".to_owned(),
    )
}

/// The stream ended or broke before anything of an answer.
pub(super) fn broken_stream(attempt: &Attempt, head: &Head, what: String) -> Error {
    let verdict = verdict(attempt, head, b"", Transport::StreamEvent);
    failure(attempt, verdict, None, seen(head), what)
}

/// The body broke off while it was read.
pub(super) fn broken_body(
    attempt: &Attempt,
    head: &Head,
    error: &(dyn StdError + 'static),
) -> Error {
    tracing::debug!(upstream = %attempt.target.upstream.name, error = %crate::upstream::Causes(error), "An upstream's body broke off.");
    let empty = Head {
        status: head.status,
        headers: head.headers.clone(),
    };
    let mut verdict = verdict(attempt, &empty, b"", Transport::Network(NetworkKind::Reset));
    verdict.request_id = verdict.request_id.or_else(|| request_id(attempt, head));
    failure(
        attempt,
        verdict,
        None,
        seen(head),
        "the provider's answer broke off".to_owned(),
    )
}

/// The answer's bytes are all there and are no whole answer: cut JSON, a corrupt encoding. Its words cannot be judged;
/// it is as good as a body that broke off.
pub(super) fn mangled(attempt: &Attempt, head: &Head, what: &str) -> Error {
    let mut verdict = verdict(attempt, head, b"", Transport::Network(NetworkKind::Reset));
    verdict.request_id = verdict.request_id.or_else(|| request_id(attempt, head));
    failure(attempt, verdict, None, seen(head), what.to_owned())
}

/// No first byte, no first token, or silence later.
pub(super) fn silent(attempt: &Attempt, what: &str, after: Duration) -> Error {
    let what = format!("{what} within {}", humantime::format_duration(after));
    network(attempt, NetworkKind::ReadTimeout, what)
}

/// No response head at all.
pub(super) fn unsent(attempt: &Attempt, error: &SendError) -> Error {
    tracing::debug!(upstream = %attempt.target.upstream.name, %error, "An upstream call failed.");
    let (kind, what) = match error {
        SendError::ConnectTimeout(after) => (
            NetworkKind::ConnectTimeout,
            format!(
                "no connection within {}",
                humantime::format_duration(*after)
            ),
        ),
        SendError::Closed(_) => (
            NetworkKind::Reset,
            "the connection ended before an answer".to_owned(),
        ),
        SendError::Connect(error) => {
            let kind = connect_kind(error);
            let why = match kind {
                NetworkKind::Refused => "connection refused",
                NetworkKind::Dns => "the host name does not resolve",
                NetworkKind::Tls => "the TLS handshake failed",
                NetworkKind::Reset
                | NetworkKind::ConnectTimeout
                | NetworkKind::ReadTimeout
                | NetworkKind::Other => "no connection",
            };
            (kind, format!("could not connect: {why}"))
        }
    };
    Error::Upstream(Arc::new(Failure {
        unsent: !matches!(error, SendError::Closed(_)),
        ..network_failure(attempt, kind, what)
    }))
}

/// The provider's share of a deadline that passed.
pub(super) fn silence(attempt: &Attempt, after: Duration) -> Arc<Failure> {
    let what = format!(
        "no answer within {}",
        humantime::format_duration(Duration::from_millis(after.as_millis() as u64))
    );
    Arc::new(network_failure(attempt, NetworkKind::ReadTimeout, what))
}

fn network(attempt: &Attempt, kind: NetworkKind, what: String) -> Error {
    Error::Upstream(Arc::new(network_failure(attempt, kind, what)))
}

fn network_failure(attempt: &Attempt, kind: NetworkKind, what: String) -> Failure {
    let none = Head {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
    };
    let evidence = Evidence {
        status: 0,
        headers: &none.headers,
        body: b"",
        transport: Transport::Network(kind),
        endpoint: attempt.call.path.path(),
    };
    let verdict = judge(&attempt.target.upstream.provider, &evidence);
    made(attempt, verdict, None, Seen::default(), what)
}

/// Which step of connecting failed. The libraries below tell it in words only.
fn connect_kind(error: &io::Error) -> NetworkKind {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return NetworkKind::Refused;
        }
        if error.downcast_ref::<rustls::Error>().is_some() {
            return NetworkKind::Tls;
        }
        cause = error.source();
    }
    let text = error.to_string();
    let has = |word: &str| text.contains(word);
    match () {
        () if has("dns error") || has("failed to lookup") => NetworkKind::Dns,
        () if has("refused") => NetworkKind::Refused,
        () if has("certificate") || has("tls") || has("handshake") || has("InvalidContentType") => {
            NetworkKind::Tls
        }
        () if has("reset") => NetworkKind::Reset,
        () => NetworkKind::Other,
    }
}

fn failure(
    attempt: &Attempt,
    verdict: Verdict,
    answer: Option<Answer>,
    seen: Seen,
    what: String,
) -> Error {
    Error::Upstream(Arc::new(made(attempt, verdict, answer, seen, what)))
}

fn seen(head: &Head) -> Seen {
    Seen::of(head.status, &head.headers)
}

/// Where an answer enters the records, it loses what could be a key or a prompt; the answer itself stays as it is.
fn made(
    attempt: &Attempt,
    mut verdict: Verdict,
    answer: Option<Answer>,
    mut seen: Seen,
    what: String,
) -> Failure {
    let known = Known::of(attempt);
    seen.hide(&known);
    verdict.hide(&known);
    let begun = matches!(&attempt.call.payload, Payload::Upload(upload) if upload.begun());
    Failure {
        verdict,
        target: Arc::clone(&attempt.target),
        answer,
        seen,
        what,
        own_key: attempt.target.upstream.key != UpstreamKey::Passthrough,
        begun,
        unsent: false,
        after_content: false,
    }
}

/// The provider's error object under its true status, with the headers that identify the answer.
fn in_band(head: &Head, status: StatusCode, body: Bytes) -> Answer {
    let mut headers = head.headers.clone();
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CACHE_CONTROL,
    ] {
        headers.remove(name);
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Answer {
        status,
        headers,
        body,
    }
}

fn request_id(attempt: &Attempt, head: &Head) -> Option<String> {
    let names = &attempt.target.upstream.provider.request_id_headers;
    names
        .iter()
        .find_map(|name| Some(head.headers.get(name)?.to_str().ok()?.to_owned()))
}
