//! The endpoints. One file each; this one finds the right one and holds what all of them use.

mod audio;
mod batches;
mod chat;
mod chat_render;
mod check;
mod completions;
mod compose;
mod embeddings;
mod files;
mod images;
mod models;
mod moderations;
mod organization;
pub(crate) mod realtime;
mod responses;
mod responses_events;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, header, request::Parts};
use serde::Deserialize;

pub(crate) use self::{batches::Batches, files::Files, responses::Responses};
use super::{
    account::{Ticket, Who},
    dice::Dice,
    error::ApiError,
    form::Form,
    limits::{Ask, Gauge, Used},
    wire::Reply,
    world::World,
};

/// The first second of simulated time; all `created` fields lie in the day after it.
const EPOCH: u64 = 1_767_225_600;
const DAY: u64 = 86_400;

/// What outlives a call.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    pub(crate) responses: Responses,
    pub(crate) files: Files,
    pub(crate) batches: Batches,
}

/// One call, for the endpoint that answers it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) method: &'a Method,
    /// With `/v1` in front.
    pub(crate) path: String,
    pub(crate) query: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a Bytes,
    pub(crate) form: Option<Form>,
    pub(crate) who: Who,
    pub(crate) gauge: Option<Gauge>,
    /// Held until the answer is over.
    pub(crate) ticket: Option<Ticket>,
    salt: u64,
}

/// Finds the endpoint and asks it.
pub(crate) fn route(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let path = std::mem::take(&mut call.path);
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(2).collect();
    let answer = match (call.method.as_str(), segments.as_slice()) {
        ("POST", ["chat", "completions"]) => chat::create(call),
        ("POST", ["completions"]) => completions::create(call),
        ("POST", ["responses"]) => responses::create(call),
        ("GET", ["responses", id]) => responses::get(call, id),
        ("GET", ["responses", id, "input_items"]) => responses::input_items(call, id),
        ("DELETE", ["responses", id]) => responses::delete(call, id),
        ("POST", ["responses", id, "cancel"]) => responses::cancel(call, id),
        ("POST", ["embeddings"]) => embeddings::create(call),
        ("GET", ["models"]) => models::list(call),
        ("GET", ["models", name @ ..]) if !name.is_empty() => models::get(call, &name.join("/")),
        ("GET", ["organization", rest @ ..]) => organization::get(call, rest),
        ("POST", ["moderations"]) => moderations::create(call),
        ("POST", ["images", "generations"]) => images::generate(call),
        ("POST", ["images", "edits" | "variations"]) => images::edit(call),
        ("POST", ["audio", "transcriptions"]) => audio::transcribe(call, false),
        ("POST", ["audio", "translations"]) => audio::transcribe(call, true),
        ("POST", ["audio", "speech"]) => audio::speech(call),
        ("POST", ["files"]) => files::create(call),
        ("GET", ["files"]) => files::list(call),
        ("GET", ["files", id]) => files::get(call, id),
        ("GET", ["files", id, "content"]) => files::content(call, id),
        ("DELETE", ["files", id]) => files::delete(call, id),
        ("POST", ["batches"]) => batches::create(call),
        ("GET", ["batches"]) => batches::list(call),
        ("GET", ["batches", id]) => batches::get(call, id),
        ("POST", ["batches", id, "cancel"]) => batches::cancel(call, id),
        (
            _,
            ["chat", "completions"]
            | ["completions" | "responses" | "embeddings" | "moderations"]
            | ["images", "generations" | "edits"]
            | ["audio", "transcriptions" | "translations" | "speech"],
        ) => Err(ApiError::method_not_allowed("POST")),
        (_, ["models"]) => Err(ApiError::method_not_allowed("GET")),
        _ => Err(ApiError::invalid_url(call.method, &path)),
    };
    call.path = path;
    answer
}

// === impl Call ===

impl<'a> Call<'a> {
    pub(crate) fn new(
        world: &'a Arc<World>,
        parts: &'a Parts,
        body: &'a Bytes,
        form: Option<Form>,
        who: Who,
        salt: u64,
    ) -> Self {
        let path = parts.uri.path();
        let prefixed = path.starts_with("/v1/") || path == "/v1";
        Self {
            world,
            method: &parts.method,
            path: if prefixed {
                path.to_owned()
            } else {
                format!("/v1{path}")
            },
            query: parts.uri.query().unwrap_or_default(),
            content_type: parts
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or(""),
            body,
            form,
            who,
            gauge: None,
            ticket: None,
            salt,
        }
    }

    /// Randomness for one purpose within this call.
    pub(crate) fn dice(&self, purpose: u64) -> Dice {
        Dice::new(
            self.world.seed,
            self.salt.wrapping_add(purpose.wrapping_mul(0x9e37_79b9)),
        )
    }

    /// The `created` of what this call makes.
    pub(crate) fn created(&self) -> u64 {
        EPOCH + self.dice(0xc1).next() % DAY
    }

    /// Reads the JSON body.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Result<T, ApiError> {
        let media = self.content_type.split(';').next().unwrap_or("").trim();
        if !media.is_empty() && !media.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::invalid(format!(
                "Unsupported Media Type: 'Content-Type' must be 'application/json', not '{media}'"
            ))
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .code("unsupported_media_type"));
        }
        serde_json::from_slice(self.body).map_err(|_| ApiError::bad_json())
    }

    /// The form, for endpoints that need one.
    pub(crate) fn form(&self) -> Result<&Form, ApiError> {
        self.form.as_ref().ok_or_else(|| {
            ApiError::invalid(format!(
                "Unsupported Media Type: 'Content-Type' must be 'multipart/form-data', not '{}'",
                self.content_type
            ))
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .code("unsupported_media_type")
        })
    }

    /// Checks that the model exists, then the account's limits and balance.
    pub(crate) fn admit(&mut self, model: &str, ask: Ask) -> Result<(), ApiError> {
        if !self.world.knows_model(model) {
            return Err(ApiError::model_not_found(model));
        }
        let (gauge, verdict) = self.world.account.admit(&self.who, model, ask);
        self.gauge = Some(gauge);
        self.ticket = verdict?;
        Ok(())
    }

    /// Books what was used.
    pub(crate) fn charge(&mut self, model: &str, input: u64, output: u64) {
        self.world.account.charge(&self.who, model, input, output);
        if let Some(ticket) = &mut self.ticket {
            ticket.used(Used { input, output });
        }
    }
}
