//! `/incident`: the report of recent failures; `/case`: one call that met them.

use std::time::SystemTime;

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::serve::Admin;
use crate::{
    app,
    incident::{Facts, Report, Window},
    redact,
};

/// Longer words are not repeated in an answer.
const LONGEST: usize = 80;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
    upstream: Option<String>,
    /// `md` or `json`; else by `Accept`.
    format: Option<String>,
    /// Names the apps.
    apps: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Markdown,
    Json,
}

pub(super) async fn report(
    State(admin): State<Admin>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(_) => {
            return bad(
                "the query is not one of since, until, upstream, format=md|json, apps=true|false",
            );
        }
    };
    let now = SystemTime::now();
    let window = match Window::parse(asked.since.as_deref(), asked.until.as_deref(), now) {
        Ok(window) => window,
        Err(error) => return bad(&error.to_string()),
    };
    let format = match format(asked.format.as_deref(), &headers) {
        Ok(format) => format,
        Err(what) => return bad(&what),
    };
    let parts = std::sync::Arc::clone(&admin.parts.borrow());
    if let Some(name) = asked.upstream.as_deref()
        && let Err(unknown) = has_upstream(&parts, name)
    {
        return bad(&unknown);
    }
    // A book that is full takes some milliseconds: not on the thread that answers health checks.
    let written = tokio::task::spawn_blocking(move || {
        let facts = Facts::gather(&admin.state, &parts, &window, now);
        let report = Report::of(&facts, &window, asked.upstream.as_deref(), now);
        if asked.apps {
            report.with_apps(&facts)
        } else {
            report
        }
    });
    let Ok(report) = written.await else {
        return (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the report could not be made\n",
        )
            .into_response();
    };
    match format {
        // People read it, too.
        Format::Json => match serde_json::to_string_pretty(&report) {
            Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Format::Markdown => {
            let kind = (header::CONTENT_TYPE, "text/markdown; charset=utf-8");
            ([kind], report.markdown()).into_response()
        }
    }
}

pub(super) async fn case(State(admin): State<Admin>, Query(which): Query<Which>) -> Response {
    match admin.state.failures.find(&which.id) {
        Some(case) => Json(case).into_response(),
        None => {
            let what = format!(
                "no call with the id `{}` is in the book of failures\n",
                shown(&which.id)
            );
            (StatusCode::NOT_FOUND, what).into_response()
        }
    }
}

fn format(asked: Option<&str>, headers: &HeaderMap) -> Result<Format, String> {
    match asked {
        Some("md" | "markdown") => Ok(Format::Markdown),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(format!(
            "`format` is `{}`; it takes md or json",
            shown(other)
        )),
        None => {
            let accept = headers
                .get(header::ACCEPT)
                .and_then(|accept| accept.to_str().ok());
            let json =
                accept.is_some_and(|a| a.contains("application/json") && !a.contains("text/"));
            Ok(if json { Format::Json } else { Format::Markdown })
        }
    }
}

/// Or a sentence that says which there are.
pub(super) fn has_upstream(parts: &app::Parts, name: &str) -> Result<(), String> {
    let known: Vec<_> = parts.config.upstreams.iter().map(|u| &*u.name).collect();
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "there is no upstream `{}`; there are: {}",
        shown(name),
        known.join(", ")
    ))
}

fn shown(word: &str) -> String {
    let shown = redact::name(word);
    let plain = shown.chars().filter(|c| !c.is_control());
    plain.take(LONGEST).collect()
}

fn bad(what: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response()
}
