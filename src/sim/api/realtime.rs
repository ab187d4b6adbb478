//! `GET /v1/realtime`: a WebSocket that answers each text with its own words.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{
        FromRequestParts, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::IntoResponse,
};
use http::{Response, request::Parts};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::sim::{
    account::Who,
    conn::Conn,
    dice::Dice,
    error::ApiError,
    fault::{Ask, Effects, Kind},
    journal::Entry,
    rows,
    serve::api_headers,
    shape, substitute,
    wire::Reply,
    world::World,
};

/// Answers an upgrade: switches protocols, or refuses as the plain API would.
pub(crate) async fn upgrade(
    world: Arc<World>,
    conn: Conn,
    parts: &mut Parts,
    mut entry: Entry,
) -> Response<Body> {
    let arrived = Instant::now();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let model = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("model="))
        .unwrap_or_default()
        .to_owned();
    entry.asked(Some(&model), true, &bytes::Bytes::new(), blake3::hash(b""));
    let key = crate::sim::account::bearer(&parts.headers)
        .map(crate::sim::account::fingerprint)
        .unwrap_or_default();
    let ask = Ask {
        path: parts.uri.path(),
        model: Some(&model),
        key: &key,
        stream: true,
    };
    let effects = world.faults.strike(ask, arrived);
    if effects.fault_id.is_some() {
        entry.fault(&shape::name(&effects));
    }
    tokio::time::sleep(effects.delay).await;
    let error = websocket_error(&effects);
    if error.is_none()
        && let Some(substitute) = substitute::substitute(&effects, true)
    {
        return substitute.respond(entry, conn, arrived).await;
    }
    let admitted = world.account.identify(&parts.headers).and_then(|who| {
        if model.is_empty() {
            return Err(ApiError::no_model_parameter());
        }
        if !world.knows_model(&model) {
            return Err(ApiError::model_not_found(&model));
        }
        let (_, verdict) = world.account.admit(&who, &model, Default::default());
        verdict.map(|ticket| (who, ticket))
    });
    let (who, ticket) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            return shape::respond(
                Reply::from(refused),
                &Effects::default(),
                Dice::new(0, 0),
                entry,
                conn,
            );
        }
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade.protocols(["realtime"]),
        Err(_) => {
            let refused =
                ApiError::invalid("You must use a WebSocket client to connect to this endpoint.");
            return shape::respond(
                Reply::from(refused),
                &Effects::default(),
                Dice::new(0, 0),
                entry,
                conn,
            );
        }
    };
    entry.hold(ticket);
    entry.answered(101, true);
    let named = who.clone();
    let mut response = upgrade
        .on_upgrade(move |socket| talk(world, named, model, socket, entry, error))
        .into_response();
    api_headers(response.headers_mut(), Some(&who), None, arrived);
    response
}

/// The event that a fault row of this transport sends before it closes.
fn websocket_error(effects: &Effects) -> Option<Value> {
    let (Kind::Error, fault) = effects.act.as_ref()? else {
        return None;
    };
    let row = rows::row(fault.error.as_deref()?)?;
    (row.transport.as_deref() == Some("websocket")).then(|| row.body.clone())
}

async fn talk(
    world: Arc<World>,
    who: Who,
    model: String,
    mut socket: WebSocket,
    mut entry: Entry,
    error: Option<Value>,
) {
    let mut dice = Dice::new(
        world.seed,
        blake3::hash(model.as_bytes()).as_bytes()[0].into(),
    );
    let session = json!({
        "type": "session.created", "event_id": dice.id("event_", 20),
        "session": {
            "id": dice.id("sess_", 20), "object": "realtime.session", "type": "realtime", "model": model,
            "output_modalities": ["text"], "instructions": "", "tools": [], "tool_choice": "auto",
        },
    });
    if send(&mut socket, &entry, &session).await.is_none() {
        return;
    }
    if let Some(error) = error {
        let _ = send(&mut socket, &entry, &error).await;
        entry.settle();
        return;
    }
    let mut heard = String::new();
    while let Some(Ok(message)) = socket.recv().await {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => break,
            _ => continue,
        };
        for event in reply(&text, &mut heard, &mut dice) {
            if send(&mut socket, &entry, &event).await.is_none() {
                return;
            }
        }
        world
            .account
            .charge(&who, &model, (heard.len() / 4) as u64, 8);
    }
    // Leaving is how such a conversation ends.
    entry.settle();
}

async fn send(socket: &mut WebSocket, entry: &Entry, event: &Value) -> Option<()> {
    let text = event.to_string();
    entry.sent(text.len());
    socket.send(Message::Text(text.into())).await.ok()
}

fn reply(text: &str, heard: &mut String, dice: &mut Dice) -> Vec<Value> {
    let Ok(event) = serde_json::from_str::<Value>(text) else {
        return vec![json!({
            "type": "error", "event_id": dice.id("event_", 20),
            "error": {
                "type": "invalid_request_error", "code": "invalid_json",
                "message": "We could not parse the JSON of your event.", "param": null, "event_id": null,
            },
        })];
    };
    let mut make = |mut value: Value| {
        value["event_id"] = dice.id("event_", 20).into();
        value
    };
    match event["type"].as_str() {
        Some("session.update") => vec![make(
            json!({"type": "session.updated", "session": event["session"]}),
        )],
        Some("conversation.item.create") => {
            heard.clear();
            heard.push_str(
                event["item"]["content"][0]["text"]
                    .as_str()
                    .unwrap_or_default(),
            );
            let item = &event["item"];
            vec![
                make(
                    json!({"type": "conversation.item.added", "previous_item_id": null, "item": item}),
                ),
                make(
                    json!({"type": "conversation.item.done", "previous_item_id": null, "item": item}),
                ),
            ]
        }
        Some("response.create") => {
            let said = format!("You said: {heard}");
            let response = |status: &str| json!({"id": "resp_sim", "object": "realtime.response", "status": status});
            vec![
                make(json!({"type": "response.created", "response": response("in_progress")})),
                make(
                    json!({"type": "response.output_text.delta", "response_id": "resp_sim", "delta": said}),
                ),
                make(
                    json!({"type": "response.output_text.done", "response_id": "resp_sim", "text": said}),
                ),
                make(json!({"type": "response.done", "response": response("completed")})),
            ]
        }
        other => vec![make(json!({
            "type": "error",
            "error": {
                "type": "invalid_request_error", "code": "invalid_value", "param": "type",
                "message": format!("Invalid value: '{}'.", other.unwrap_or_default()), "event_id": event["event_id"],
            },
        }))],
    }
}
