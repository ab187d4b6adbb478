//! Answers put in the place of the endpoint's: recorded failures, made errors, pages of the edge, silence.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::{
    body::{End, Script, SimBody},
    conn::Conn,
    dice::Dice,
    error::ApiError,
    fault::{Effects, Fault, Kind},
    journal::Entry,
    rows::{self, Row},
    serve::{api_headers, boxed, edge_headers, head, nothing},
};

/// An answer that does not ask the endpoint.
#[derive(Debug)]
pub(crate) enum Substitute {
    Never,
    Reset,
    Row(&'static Row),
    Made {
        status: StatusCode,
        content_type: String,
        body: Bytes,
        fault: Arc<Fault>,
        by_api: bool,
    },
    Comments(Duration),
}

/// What to answer instead, if the fault is of that kind.
pub(crate) fn substitute(effects: &Effects, stream: bool) -> Option<Substitute> {
    let (kind, fault) = effects.act.as_ref()?;
    let made = |status: u16, content_type: &str, body: Bytes, by_api| Substitute::Made {
        status: StatusCode::from_u16(fault.status.unwrap_or(status))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        content_type: fault
            .content_type
            .clone()
            .unwrap_or_else(|| content_type.to_owned()),
        body: fault.body.clone().map_or(body, Bytes::from),
        fault: Arc::clone(fault),
        by_api,
    };
    Some(match kind {
        Kind::Error => {
            let row = rows::row(fault.error.as_deref()?)?;
            match (row.transport.as_deref(), row.id.contains("timeout")) {
                (Some("network"), true) => Substitute::Never,
                (Some("network"), false) => Substitute::Reset,
                _ => Substitute::Row(row),
            }
        }
        Kind::Status => {
            let error = made_error(fault, fault.status?);
            let html = fault
                .body
                .as_deref()
                .is_some_and(|body| body.trim_start().starts_with('<'));
            made(
                500,
                if html {
                    "text/html; charset=UTF-8"
                } else {
                    "application/json"
                },
                error.body().into(),
                true,
            )
        }
        Kind::ErrorEvent if !stream => made(
            500,
            "application/json",
            made_error(fault, 500).body().into(),
            true,
        ),
        Kind::Hang => Substitute::Never,
        Kind::Reset if fault.after_events.is_none() || !stream => Substitute::Reset,
        Kind::EmptyStream => made(200, "text/event-stream; charset=utf-8", Bytes::new(), true),
        Kind::CommentsOnly => {
            let gap = fault
                .gap
                .map_or(Duration::from_secs(1), |gap| gap.draw(&mut Dice::new(0, 0)));
            Substitute::Comments(gap.max(Duration::from_millis(1)))
        }
        Kind::Html => {
            let status = StatusCode::from_u16(fault.status.unwrap_or(502))
                .unwrap_or(StatusCode::BAD_GATEWAY);
            made(
                502,
                "text/html; charset=UTF-8",
                edge_page(&status.to_string()).into(),
                false,
            )
        }
        Kind::Html200 => made(
            200,
            "text/html; charset=UTF-8",
            edge_page("Welcome").into(),
            false,
        ),
        Kind::Empty => made(200, "application/json", Bytes::new(), true),
        _ => return None,
    })
}

// === impl Substitute ===

impl Substitute {
    pub(crate) async fn respond(
        self,
        mut entry: Entry,
        conn: Conn,
        arrived: Instant,
    ) -> Response<Body> {
        match self {
            // The guard lives in this future, which hyper drops when the client leaves.
            Self::Never => {
                std::future::pending::<()>().await;
                nothing(entry)
            }
            Self::Reset => {
                conn.reset();
                nothing(entry)
            }
            Self::Row(row) => {
                let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_GATEWAY);
                let told = row
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let mut head = head(status, row.content_type(), told);
                let by_edge = row.headers.contains_key("server") || row.id.starts_with("edge-");
                if row.provider == "openai" && !by_edge {
                    api_headers(head.headers_mut(), None, None, arrived);
                }
                entry.answered(status.as_u16(), row.transport.as_deref() == Some("sse"));
                let bytes = Bytes::from(row.bytes());
                let script = match row.transport.as_deref() {
                    Some("sse" | "ndjson") => Script::Pieces {
                        size: bytes.len(),
                        bytes,
                    },
                    _ => Script::Whole {
                        length: bytes.len() as u64,
                        bytes,
                    },
                };
                boxed(head, SimBody::new(script, End::Whole, entry, conn, None))
            }
            Self::Made {
                status,
                content_type,
                body,
                fault,
                by_api,
            } => {
                let told = fault
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let mut head = head(status, &content_type, told);
                if by_api {
                    api_headers(head.headers_mut(), None, None, arrived);
                } else {
                    edge_headers(head.headers_mut());
                }
                let streaming = content_type.starts_with("text/event-stream");
                entry.answered(status.as_u16(), streaming);
                let script = if streaming {
                    Script::Pieces {
                        size: body.len().max(1),
                        bytes: body,
                    }
                } else {
                    Script::Whole {
                        length: body.len() as u64,
                        bytes: body,
                    }
                };
                boxed(head, SimBody::new(script, End::Whole, entry, conn, None))
            }
            Self::Comments(gap) => {
                let mut head = head(
                    StatusCode::OK,
                    "text/event-stream; charset=utf-8",
                    std::iter::empty(),
                );
                api_headers(head.headers_mut(), None, None, arrived);
                entry.answered(200, true);
                let script = Script::Repeat {
                    bytes: Bytes::from_static(b": keep-alive\n\n"),
                    gap,
                };
                boxed(head, SimBody::new(script, End::Stall, entry, conn, None))
            }
        }
    }
}

/// The words OpenAI has for a status, unless the fault brings its own.
pub(crate) fn made_error(fault: &Fault, status: u16) -> ApiError {
    let (message, kind, code) = match status {
        400 => ("Invalid request.", "invalid_request_error", None),
        401 => (
            "Incorrect API key provided.",
            "invalid_request_error",
            Some("invalid_api_key"),
        ),
        403 => (
            "You do not have access to this resource.",
            "invalid_request_error",
            None,
        ),
        404 => ("Not found.", "invalid_request_error", None),
        408 => ("Request timed out.", "server_error", None),
        429 => (
            "Rate limit reached for requests",
            "requests",
            Some("rate_limit_exceeded"),
        ),
        503 => (
            "The server is overloaded or not ready yet.",
            "server_error",
            None,
        ),
        _ => (
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            None,
        ),
    };
    let mut error = ApiError::invalid(message).kind(kind);
    error.code = code.map(Into::into);
    if let Some(message) = &fault.message {
        error.message = message.clone().into();
    }
    if let Some(kind) = &fault.error_type {
        error.kind = kind.clone().into();
    }
    if let Some(code) = &fault.code {
        error.code = Some(code.clone().into());
    }
    error
}

fn edge_page(title: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
    )
}
