//! `GET /v1/models` and `GET /v1/models/{name}`.

use serde_json::{Value, json};

use super::{Call, EPOCH};
use crate::sim::{error::ApiError, models::MODELS, wire::Reply};

pub(crate) fn list(call: &Call<'_>) -> Result<Reply, ApiError> {
    let extra = call.world.extra_models.iter().map(String::as_str);
    let all: Vec<Value> = MODELS
        .iter()
        .map(|model| model.name)
        .chain(extra)
        .map(one)
        .collect();
    Ok(Reply::json(format!(
        "{:#}",
        json!({"object": "list", "data": all})
    )))
}

pub(crate) fn get(call: &Call<'_>, name: &str) -> Result<Reply, ApiError> {
    if !call.world.knows_model(name) {
        return Err(
            ApiError::invalid(format!("The model '{name}' does not exist"))
                .status(http::StatusCode::NOT_FOUND)
                .param("model")
                .code("model_not_found"),
        );
    }
    Ok(Reply::json(format!("{:#}", one(name))))
}

fn one(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": EPOCH, "owned_by": "system"})
}
