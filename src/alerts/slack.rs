//! The body for Slack and those who take its shape: short, readable on a phone.

use serde_json::{Value, json};

use super::{
    event::{Event, Kind},
    words,
};

/// Slack refuses a message whose section is longer.
const LONGEST_SECTION: usize = 3_000;

/// A message with the event's title as its notification.
pub(super) fn body(event: &Event) -> Vec<u8> {
    let mut blocks = vec![section(&headline(event))];
    let fields = fields(event);
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    blocks.push(json!({ "type": "context", "elements": [text(&footer(event))] }));
    let message = json!({
        "text": escape(&event.title),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    });
    message.to_string().into_bytes()
}

fn headline(event: &Event) -> String {
    let mut lines = vec![format!("*{}*", escape(&event.title))];
    if event.kind == Kind::CircuitClosed {
        lines.push("All calls are served again.".to_owned());
    } else {
        lines.extend(event.meaning.map(escape));
        lines.extend(
            event
                .advice
                .as_deref()
                .map(|advice| format!("*Do:* {}", escape(advice))),
        );
        // Neither a class nor advice: the words are all there is.
        if lines.len() == 1 && event.text != event.title {
            let rest = event.text.strip_prefix(&event.title);
            let rest = rest.map(|rest| rest.trim_start_matches(['.', ' ']));
            lines.push(escape(rest.unwrap_or(&event.text)));
        }
    }
    lines.join("\n")
}

/// At most ten, which is Slack's bound.
fn fields(event: &Event) -> Vec<Value> {
    let time = |at| humantime::format_rfc3339_seconds(at).to_string();
    let scope = event
        .scope
        .map(|scope| format!("{scope} {}", event.key.as_deref().unwrap_or_default()));
    let lasted = event
        .duration_seconds
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .map(words::duration);
    let flapped = (event.flaps > 0).then(|| format!("{} times", event.flaps));
    let all = [
        ("Class", event.class.map(str::to_owned)),
        ("Scope", scope),
        ("Since", event.since.map(time)),
        ("Lasted", lasted),
        ("Flapped", flapped),
        ("Calls", event.calls_affected.map(|calls| calls.to_string())),
        ("First request", event.first_request_id.clone()),
        ("Last request", event.last_request_id.clone()),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some(text(&format!("*{name}*\n{}", code(&value?)))))
        .collect()
}

fn footer(event: &Event) -> String {
    let mut parts = vec![format!("weir {} on {}", event.weir, escape(event.instance))];
    parts.extend(event.upstream.as_deref().map(escape));
    if event.missed_events > 0 {
        parts.push(format!(
            "{} earlier alerts did not arrive",
            event.missed_events
        ));
    }
    parts.join(" · ")
}

fn section(words: &str) -> Value {
    let bounded: String = words.chars().take(LONGEST_SECTION).collect();
    json!({ "type": "section", "text": text(&bounded) })
}

/// Verbatim: names that look like links or channels stay names.
fn text(words: &str) -> Value {
    json!({ "type": "mrkdwn", "text": words, "verbatim": true })
}

fn code(words: &str) -> String {
    format!("`{}`", escape(words).replace('`', "'"))
}

fn escape(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
