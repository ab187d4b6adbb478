//! `/v1/organization/…`: what admin keys read. Other keys are refused, as at the real one.

use http::StatusCode;
use serde_json::json;

use super::{Call, EPOCH};
use crate::sim::{error::ApiError, models::MODELS, wire::Reply};

pub(crate) fn get(call: &Call<'_>, path: &[&str]) -> Result<Reply, ApiError> {
    if !call.who.admin {
        return Err(ApiError::invalid(
            "You have insufficient permissions for this operation. Missing scopes: api.management.read.",
        )
        .status(StatusCode::FORBIDDEN));
    }
    let spending = &call.world.spending;
    let value = match path {
        ["costs"] => json!({
            "object": "page",
            "data": [{"object": "bucket", "start_time": EPOCH, "end_time": EPOCH + 86_400, "results": [{
                "object": "organization.costs.result",
                "amount": {"value": spending.spent_usd.to_string(), "currency": "usd"},
                "line_item": null, "project_id": null,
            }]}],
            "has_more": false, "next_page": null,
        }),
        ["spend_limit"] => {
            let Some(limit) = spending.limit_usd else {
                return Err(missing("spend limit"));
            };
            let status = if spending.enforcing {
                "enforcing"
            } else {
                "inactive"
            };
            json!({
                "object": "organization.spend_limit",
                "threshold_amount": (limit * 100.0).round() as u64,
                "currency": "USD", "interval": "month", "enforcement": {"status": status},
            })
        }
        ["projects", id] => {
            let archived = spending.archived.iter().any(|other| other == id);
            let status = if archived { "archived" } else { "active" };
            json!({"id": id, "object": "organization.project", "name": "Simulated", "created_at": EPOCH, "status": status})
        }
        ["projects", _, "rate_limits"] => {
            let rows: Vec<_> = MODELS
                .iter()
                .map(|model| json!({
                    "object": "project.rate_limit", "id": format!("rl-{}", model.name), "model": model.name,
                    "max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 30_000,
                }))
                .collect();
            json!({"object": "list", "data": rows, "has_more": false})
        }
        ["projects", _, "spend_limit"] => return Err(missing("spend limit")),
        _ => return Err(ApiError::invalid_url(call.method, &call.path)),
    };
    Ok(Reply::json(format!("{value:#}")))
}

fn missing(what: &str) -> ApiError {
    ApiError::invalid(format!("There is no {what}.")).status(StatusCode::NOT_FOUND)
}
