//! `/v1/batches`: validated when created, in progress at the first look, completed at the second, with a true output
//! file whose lines were answered by the same endpoints as direct calls.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::sim::{
    error::ApiError,
    wire::{Payload, Reply},
};

/// The batches, by id.
#[derive(Debug, Default)]
pub(crate) struct Batches(Mutex<BTreeMap<String, Value>>);

#[derive(Deserialize)]
struct Body {
    input_file_id: Option<String>,
    endpoint: Option<String>,
    completion_window: Option<String>,
    metadata: Option<Value>,
}

pub(crate) fn create(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body: Body = call.json()?;
    let file = body
        .input_file_id
        .ok_or_else(|| ApiError::missing("input_file_id"))?;
    let endpoint = body.endpoint.ok_or_else(|| ApiError::missing("endpoint"))?;
    let window = body
        .completion_window
        .ok_or_else(|| ApiError::missing("completion_window"))?;
    let Some(content) = call.world.stores.files.read(&file) else {
        return Err(
            ApiError::invalid(format!("No such File object: {file}")).param("input_file_id")
        );
    };
    let created = call.created();
    let id = call.dice(1).hex_id("batch_", 32);
    let total = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .count();
    let batch = json!({
        "id": id, "object": "batch", "endpoint": endpoint, "model": null, "errors": null, "input_file_id": file,
        "completion_window": window, "status": "validating", "output_file_id": null, "error_file_id": null,
        "created_at": created, "in_progress_at": null, "expires_at": created + 86_400, "finalizing_at": null,
        "completed_at": null, "failed_at": null, "expired_at": null, "cancelling_at": null, "cancelled_at": null,
        "request_counts": {"total": total, "completed": 0, "failed": 0}, "metadata": body.metadata,
    });
    call.world.stores.batches.lock().insert(id, batch.clone());
    Ok(Reply::json(format!("{batch:#}\n")))
}

pub(crate) fn list(call: &Call<'_>) -> Result<Reply, ApiError> {
    let all = call.world.stores.batches.lock();
    let data: Vec<&Value> = all.values().collect();
    let id = |batch: Option<&&Value>| batch.map_or(Value::Null, |batch| batch["id"].clone());
    let page = json!({
        "object": "list", "data": data, "first_id": id(data.first()), "last_id": id(data.last()), "has_more": false,
    });
    Ok(Reply::json(format!("{page:#}\n")))
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let mut batch = call.world.stores.batches.find(id)?;
    match batch["status"].as_str() {
        Some("validating") => {
            batch["status"] = "in_progress".into();
            batch["in_progress_at"] = (batch["created_at"].as_u64().unwrap_or(0) + 1).into();
        }
        Some("in_progress") => complete(call, &mut batch),
        Some("cancelling") => {
            batch["status"] = "cancelled".into();
            batch["cancelled_at"] = (batch["created_at"].as_u64().unwrap_or(0) + 3).into();
        }
        _ => {}
    }
    call.world
        .stores
        .batches
        .lock()
        .insert(id.to_owned(), batch.clone());
    Ok(Reply::json(format!("{batch:#}\n")))
}

pub(crate) fn cancel(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let mut batch = call.world.stores.batches.find(id)?;
    if !matches!(batch["status"].as_str(), Some("validating" | "in_progress")) {
        let status = batch["status"].as_str().unwrap_or_default();
        return Err(
            ApiError::invalid(format!("Cannot cancel a batch with status '{status}'."))
                .status(http::StatusCode::CONFLICT),
        );
    }
    batch["status"] = "cancelling".into();
    batch["cancelling_at"] = (batch["created_at"].as_u64().unwrap_or(0) + 2).into();
    call.world
        .stores
        .batches
        .lock()
        .insert(id.to_owned(), batch.clone());
    Ok(Reply::json(format!("{batch:#}\n")))
}

/// Answers every line and stores the output file.
fn complete(call: &Call<'_>, batch: &mut Value) {
    let content = call
        .world
        .stores
        .files
        .read(batch["input_file_id"].as_str().unwrap_or_default())
        .unwrap_or_default();
    let lines = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let (mut good, mut bad) = (String::new(), String::new());
    let (mut completed, mut failed) = (0, 0);
    for (at, line) in lines.enumerate() {
        let (status, body, custom) = answer(call, line);
        let mut dice = call.dice(1_000 + at as u64);
        let one = json!({
            "id": dice.id("batch_req_", 24), "custom_id": custom,
            "response": {"status_code": status, "request_id": dice.hex_id("", 32), "body": body}, "error": null,
        });
        let (out, count) = if status < 400 {
            (&mut good, &mut completed)
        } else {
            (&mut bad, &mut failed)
        };
        *count += 1;
        out.push_str(&one.to_string());
        out.push('\n');
    }
    let mut dice = call.dice(2);
    for (field, name, text) in [
        ("output_file_id", "output", good),
        ("error_file_id", "error", bad),
    ] {
        if !text.is_empty() {
            let id = dice.id("file-", 22);
            let name = format!("batch_{name}.jsonl");
            call.world
                .stores
                .files
                .put(call, &id, &name, "batch_output", text.into());
            batch[field] = id.into();
        }
    }
    let created = batch["created_at"].as_u64().unwrap_or(0);
    batch["status"] = "completed".into();
    batch["finalizing_at"] = (created + 2).into();
    batch["completed_at"] = (created + 3).into();
    batch["request_counts"]["completed"] = completed.into();
    batch["request_counts"]["failed"] = failed.into();
}

fn answer(call: &Call<'_>, line: &[u8]) -> (u16, Value, Value) {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    let url = line["url"].as_str().unwrap_or_default();
    // A batch of batches (or of files) would go on for ever.
    let allowed = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/moderations",
    ];
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .body(())
        .ok()
        .filter(|_| allowed.contains(&url));
    let reply = match request {
        Some(request) => {
            let parts = request.into_parts().0;
            let body = Bytes::from(line["body"].to_string());
            let salt = u64::from_le_bytes(
                blake3::hash(&body).as_bytes()[..8]
                    .try_into()
                    .unwrap_or_default(),
            );
            let mut inner = Call::new(call.world, &parts, &body, None, call.who.clone(), salt);
            super::route(&mut inner).unwrap_or_else(ApiError::into)
        }
        None => ApiError::invalid_url(&Method::POST, url).into(),
    };
    let body = match &reply.payload {
        Payload::Whole(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        _ => Value::Null,
    };
    (reply.status.as_u16(), body, line["custom_id"].clone())
}

// === impl Batches ===

impl Batches {
    fn find(&self, id: &str) -> Result<Value, ApiError> {
        self.lock().get(id).cloned().ok_or_else(|| {
            ApiError::invalid(format!("No batch found with id '{id}'."))
                .status(http::StatusCode::NOT_FOUND)
        })
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
