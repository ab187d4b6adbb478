//! `/_sim/…`: the control handle over HTTP. No key is asked for; these calls are not logged or counted.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::Path,
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Control, Fault, FaultView, Limits, Received, Scenario, Stats, world::World};

type World_ = Extension<Arc<World>>;
type Refused = (StatusCode, Json<Value>);

/// One fault or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Injected {
    Many(Vec<Value>),
    One(Value),
}

/// What `POST /_sim/account` sets; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountPatch {
    /// USD; `null` = money is no matter.
    #[serde(default, deserialize_with = "told")]
    balance: Option<Option<f64>>,
    #[serde(default)]
    limits: Option<Limits>,
}

/// Tells `null` from absent.
fn told<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::<f64>::deserialize(input).map(Some)
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/_sim/faults", get(list).post(inject).delete(clear))
        .route("/_sim/faults/{id}", delete(remove))
        .route("/_sim/scenario", post(play))
        .route("/_sim/log", get(log))
        .route("/_sim/stats", get(stats))
        .route(
            "/_sim/limits",
            get(limits).post(set_limits).patch(change_limits),
        )
        .route("/_sim/account", get(account).post(set_account))
        .route("/_sim/reset", post(reset))
        .route("/_sim/healthz", get(|| async { "ok\n" }))
}

fn control(Extension(world): World_) -> Control {
    Control::new(world)
}

fn refused(error: impl std::fmt::Display) -> Refused {
    (
        StatusCode::BAD_REQUEST,
        Json(json!({"error": error.to_string()})),
    )
}

async fn list(world: World_) -> Json<Vec<FaultView>> {
    Json(control(world).faults())
}

async fn inject(world: World_, Json(injected): Json<Injected>) -> Result<Json<Value>, Refused> {
    let values = match injected {
        Injected::Many(values) => values,
        Injected::One(value) => vec![value],
    };
    // All are read before the first is in force.
    let read = |value| serde_json::from_value::<Fault>(value).map_err(refused);
    let faults = values
        .into_iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    let control = control(world);
    let ids = faults
        .into_iter()
        .map(|fault| control.inject(fault))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    Ok(Json(json!({"ids": ids})))
}

async fn clear(world: World_) -> StatusCode {
    control(world).clear();
    StatusCode::NO_CONTENT
}

async fn remove(world: World_, Path(id): Path<u64>) -> StatusCode {
    if control(world).remove(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

/// The body is a scenario in TOML, or the name of a built-in one.
async fn play(world: World_, text: String) -> Result<StatusCode, Refused> {
    let scenario = match Scenario::named(text.trim()) {
        Some(scenario) => scenario,
        None => Scenario::parse(&text).map_err(refused)?,
    };
    control(world).play(&scenario).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log(world: World_) -> Json<Vec<Received>> {
    Json(control(world).log())
}

async fn stats(world: World_) -> Json<Stats> {
    Json(control(world).stats())
}

async fn account(world: World_) -> Json<Value> {
    Json(json!({"balance": control(world).balance()}))
}

async fn set_account(world: World_, Json(patch): Json<AccountPatch>) -> StatusCode {
    let control = control(world);
    if let Some(balance) = patch.balance {
        control.set_balance(balance);
    }
    if let Some(limits) = patch.limits {
        control.set_limits(limits);
    }
    StatusCode::NO_CONTENT
}

async fn limits(world: World_) -> Json<Limits> {
    Json(control(world).limits())
}

async fn set_limits(world: World_, Json(limits): Json<Limits>) -> StatusCode {
    control(world).set_limits(limits);
    StatusCode::NO_CONTENT
}

/// What is not told stays, and what is used stays used.
async fn change_limits(world: World_, Json(limits): Json<Limits>) -> StatusCode {
    control(world).change_limits(limits);
    StatusCode::NO_CONTENT
}

async fn reset(world: World_) -> StatusCode {
    control(world).reset();
    StatusCode::NO_CONTENT
}
