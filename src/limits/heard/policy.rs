//! The standard's fields for limits, in all drafts: `RateLimit: "default";r=50;t=30` beside
//! `RateLimit-Policy: "default";q=100;w=60`; `RateLimit: limit=100, remaining=50, reset=30`; and `RateLimit-Limit: 100, 100;w=60`
//! with `RateLimit-Remaining` and `RateLimit-Reset`.

use std::time::Duration;

use super::names::{Counter, Counters};
use super::value::{self, Clock};
use super::{Heard, counter};

/// Policies of one reply that are read.
const POLICIES: usize = 4;

/// One policy, or what is left of it.
#[derive(Clone, Copy, Debug, Default)]
struct Item<'a> {
    name: &'a str,
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<&'a str>,
    window: Option<Duration>,
    /// What is counted, where it is told.
    unit: Option<&'a str>,
}

/// Adds what the fields tell.
pub(super) fn resolve(
    counters: &Counters<'_>,
    clock: &Clock<'_>,
    refused: bool,
    heard: &mut Heard,
) {
    let policy = counters
        .policy
        .and_then(text)
        .map(items)
        .unwrap_or_default();
    let standard = counters.standard.and_then(text);
    let mut left = match standard {
        Some(field) if field.contains("remaining=") || field.contains("limit=") => {
            [Some(item(field)), None, None, None]
        }
        Some(field) => items(field),
        None => Default::default(),
    };
    let draft = counters.of(Counter::Draft);
    if left[0].is_none() && (draft.limit.is_some() || draft.remaining.is_some()) {
        let limits = draft.limit.and_then(text);
        let mut own = Item {
            limit: limits.and_then(first_count),
            remaining: draft.remaining.and_then(value::count),
            reset: draft.reset.and_then(text),
            ..Item::default()
        };
        // The windows follow the number: `100, 10;w=1, 100;w=60`.
        let windows = limits.map(items).unwrap_or_default();
        own.window = of_limit(&windows, own.limit).and_then(|item| item.window);
        if own.limit.is_none() && limits.is_some() {
            return;
        }
        left[0] = Some(own);
    }
    let known = left.iter().flatten();
    for item in known.clone() {
        let own = policy
            .iter()
            .flatten()
            .find(|own| own.name == item.name && !item.name.is_empty());
        let own = own.or_else(|| of_limit(&policy, item.limit));
        tell(item, own, clock, refused, heard);
    }
    if known.count() == 0 {
        for item in policy.iter().flatten() {
            tell(item, None, clock, refused, heard);
        }
    }
}

/// The policy of this size; a single one, where no size is told.
fn of_limit<'a, 'b>(items: &'b [Option<Item<'a>>], limit: Option<u64>) -> Option<&'b Item<'a>> {
    let mut known = items.iter().flatten();
    match limit {
        Some(_) => known.find(|item| item.limit == limit && item.window.is_some()),
        None => known.next().filter(|_| known.next().is_none()),
    }
}

fn tell(
    item: &Item<'_>,
    policy: Option<&Item<'_>>,
    clock: &Clock<'_>,
    refused: bool,
    heard: &mut Heard,
) {
    let told = policy.copied().unwrap_or_default();
    let unit = item.unit.or(told.unit);
    let tokens = match unit {
        Some("requests") => false,
        Some("tokens") => true,
        // Bytes, or calls at once.
        Some(_) => return,
        None => item.name.contains("token"),
    };
    let reset = item.reset.and_then(|reset| clock.reset(reset.as_bytes()));
    let limit = item.limit.or(told.limit);
    let window = item.window.or(told.window);
    if let Some(reading) = counter::windowed(tokens, limit, item.remaining, reset, window, refused)
    {
        heard.add(reading);
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn first_count(field: &str) -> Option<u64> {
    value::count(field.split([',', ';']).next()?.as_bytes())
}

fn items(field: &str) -> [Option<Item<'_>>; POLICIES] {
    let mut found = [None; POLICIES];
    let parts = field.split(',').filter(|part| part.contains(';'));
    for (slot, part) in found.iter_mut().zip(parts) {
        *slot = Some(item(part));
    }
    found
}

/// `"name";q=100;w=60`, `100;w=60`, `limit=100, remaining=50, reset=30`.
fn item(text: &str) -> Item<'_> {
    let mut item = Item::default();
    for (nth, part) in text.split([';', ',']).enumerate() {
        let part = part.trim();
        let Some((key, value)) = part.split_once('=') else {
            if nth == 0 {
                item.name = part.trim_matches('"');
                item.limit = value::count(part.as_bytes());
            }
            continue;
        };
        let value = value.trim().trim_matches('"');
        match key.trim() {
            "q" | "limit" => item.limit = value::count(value.as_bytes()),
            "r" | "remaining" => item.remaining = value::count(value.as_bytes()),
            "t" | "reset" => item.reset = Some(value),
            "w" | "window" => item.window = value::window(value.as_bytes()),
            "qu" => item.unit = Some(value),
            _ => {}
        }
    }
    item
}
