//! Real answers bent on their way out: cut, stalled, reset, slowed, spoiled.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;

use super::{
    body::{End, Play, Script, SimBody},
    conn::Conn,
    dice::Dice,
    fault::{Effects, Fault, Kind},
    journal::Entry,
    serve::{boxed, head},
    substitute::made_error,
    wire::{Dialect, Events, Payload, Reply},
};

/// Events before a break when the fault does not tell.
const DEFAULT_AFTER: usize = 3;

/// The fault's name in the log.
pub(crate) fn name(effects: &Effects) -> String {
    match &effects.act {
        Some((Kind::Error, fault)) => fault.error.clone().unwrap_or_default(),
        Some((kind, _)) => serde_json::to_value(kind)
            .ok()
            .and_then(|kind| kind.as_str().map(str::to_owned))
            .unwrap_or_default(),
        None => "pace".to_owned(),
    }
}

/// The endpoint's answer, bent and paced.
pub(crate) fn respond(
    reply: Reply,
    effects: &Effects,
    dice: Dice,
    mut entry: Entry,
    conn: Conn,
) -> Response<Body> {
    let told = reply
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let head = head(reply.status, reply.content_type, told);
    let good = reply.status.is_success();
    let close_after = match &effects.act {
        Some((Kind::Close, fault)) => Some(fault.delay_close.unwrap_or_default().0),
        _ => None,
    };
    // What is refused anyway is not bent: a fault on streams is about streams.
    let act = effects
        .act
        .as_ref()
        .filter(|_| good)
        .map(|(kind, fault)| (*kind, fault.as_ref()));
    let (script, end) = match reply.payload {
        Payload::Events(events) => play(events, act, effects, dice),
        Payload::Whole(bytes) => whole(bytes, act),
        Payload::Pieces(bytes, size) => match whole(bytes, act) {
            (Script::Whole { bytes, .. }, end) => (Script::Pieces { bytes, size }, end),
            other => other,
        },
    };
    entry.answered(reply.status.as_u16(), matches!(script, Script::Play(_)));
    boxed(head, SimBody::new(script, end, entry, conn, close_after))
}

fn whole(bytes: Bytes, act: Option<(Kind, &Fault)>) -> (Script, End) {
    let full = bytes.len() as u64;
    let half = bytes.slice(..bytes.len() / 2);
    let (bytes, length, end) = match act.map(|(kind, _)| kind) {
        Some(Kind::Truncate | Kind::Cut) => (half.clone(), half.len() as u64, End::Whole),
        Some(Kind::Drop) => (half, full, End::Drop),
        Some(Kind::Stall) => (half, full, End::Stall),
        _ => (bytes, full, End::Whole),
    };
    (Script::Whole { bytes, length }, end)
}

fn play(
    events: Events,
    act: Option<(Kind, &Fault)>,
    effects: &Effects,
    dice: Dice,
) -> (Script, End) {
    let total = events.len();
    let own_gap = Duration::from_millis(events.gap_ms);
    let each = effects
        .tokens_per_second
        .map_or(own_gap, |rate| Duration::from_secs_f64(1.0 / rate));
    let mut play = Play {
        at: 0,
        until: total,
        coda: None,
        insert: None,
        // The gap a request asks for is before every event, the first one too.
        first: effects.first_token + own_gap,
        gap: effects.gap,
        each,
        dice,
        events,
    };
    let mut end = End::Whole;
    if let Some((kind, fault)) = act {
        // Within the stream even when that is short: a break after its end would be none.
        let after = fault
            .after_events
            .unwrap_or(DEFAULT_AFTER)
            .min(total.saturating_sub(2));
        let half = |at: usize| {
            let event = play.events.get(at)?;
            fault.mid_event.then(|| event.slice(..event.len() / 2))
        };
        match kind {
            Kind::Cut | Kind::Truncate | Kind::Drop | Kind::Reset | Kind::Stall => {
                play.coda = half(after);
                play.until = after;
                end = match kind {
                    Kind::Drop => End::Drop,
                    Kind::Reset => End::Reset,
                    Kind::Stall => End::Stall,
                    _ => End::Whole,
                };
            }
            Kind::RoleOnly => play.until = play.events.preface,
            Kind::Malformed => {
                play.insert = Some((
                    after,
                    Bytes::from_static(b"data: {\"id\":\"chatcmpl-\",,}\n\n"),
                ))
            }
            Kind::ErrorEvent => {
                play.until = after;
                play.coda = Some(error_event(fault, play.events.dialect, after));
            }
            _ => {}
        }
    }
    (Script::Play(Box::new(play)), end)
}

/// An error in the stream's own shape.
fn error_event(fault: &Fault, dialect: Dialect, sequence: usize) -> Bytes {
    let error = made_error(fault, 500);
    let code = error.code.as_deref().unwrap_or("server_error");
    match dialect {
        Dialect::Chat => {
            let compact = serde_json::json!({"error": {
                "message": error.message, "type": error.kind, "param": null, "code": error.code,
            }});
            format!("data: {compact}\n\n")
        }
        Dialect::Responses => {
            let compact = serde_json::json!({
                "type": "error", "code": code, "message": error.message, "param": null, "sequence_number": sequence,
            });
            format!("event: error\ndata: {compact}\n\n")
        }
    }
    .into()
}
