//! `/explain?id=…`: what went wrong in one call, from the book of recent failures.

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::serve::Admin;
use crate::explain::{Style, Told, text};

/// Longer ones are nobody's.
const LONGEST_ID: usize = 256;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    /// weir's id of the call, or the provider's of one of its attempts.
    #[serde(default)]
    id: String,
    /// `json`, which is the default, or `text`.
    format: Option<String>,
}

pub(super) async fn explain(State(admin): State<Admin>, Query(which): Query<Which>) -> Response {
    if which.id.is_empty() || which.id.len() > LONGEST_ID {
        let say = json!({"error": "which call? /explain?id=wr_... or a provider's request id"});
        return (StatusCode::BAD_REQUEST, Json(say)).into_response();
    }
    let Some(case) = admin.state.failures.find(&which.id) else {
        let say = json!({"error": "no failure is remembered under this id"});
        return (StatusCode::NOT_FOUND, Json(say)).into_response();
    };
    let told = Told::of_case(&case);
    if which.format.as_deref() == Some("text") {
        let kind = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        return ([kind], text(&told, Style::default())).into_response();
    }
    Json(told).into_response()
}
