//! Rate-limit headers, of whatever vendor: what is told, not what it means to the gateway.

use http::HeaderMap;
use serde::Serialize;

use super::{Check, Finding};

/// Kinds that are shown.
const MOST: usize = 12;

/// One bucket, as an answer's headers tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LimitSeen {
    /// `requests`, `tokens`, `req-minute`, …: the header's own word.
    pub kind: String,
    pub limit: Option<String>,
    pub remaining: Option<String>,
    pub reset: Option<String>,
}

/// The buckets that the headers tell of, in the order of their names.
pub(super) fn read(headers: &HeaderMap) -> Vec<LimitSeen> {
    let mut seen: Vec<LimitSeen> = Vec::new();
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Some(rest) = [
            "x-ratelimit-",
            "anthropic-ratelimit-",
            "ratelimit-",
            "x-ratelimitbysize-",
        ]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix)) else {
            continue;
        };
        let Some((kind, part)) = split(rest) else {
            continue;
        };
        let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
            continue;
        };
        // `-1` is some vendors' way to say that they do not know.
        if value.trim() == "-1" || value.len() > 40 {
            continue;
        }
        let at = seen.iter().position(|limit| limit.kind == kind);
        let at = at.unwrap_or_else(|| {
            seen.push(LimitSeen {
                kind,
                ..LimitSeen::default()
            });
            seen.len() - 1
        });
        let limit = &mut seen[at];
        match part {
            "limit" => limit.limit = Some(value.to_owned()),
            "remaining" => limit.remaining = Some(value.to_owned()),
            _ => limit.reset = Some(value.to_owned()),
        }
    }
    seen.retain(|limit| limit.limit.is_some() || limit.remaining.is_some());
    seen.truncate(MOST);
    seen
}

/// `limit-requests` and `requests-limit` are (`requests`, `limit`).
fn split(rest: &str) -> Option<(String, &'static str)> {
    let part = ["limit", "remaining", "reset"]
        .into_iter()
        .find(|part| rest.split('-').any(|word| word == *part))?;
    let words: Vec<_> = rest.split('-').filter(|word| *word != part).collect();
    let kind = if words.is_empty() {
        "requests".to_owned()
    } else {
        words.join("-")
    };
    Some((kind, part))
}

/// `spent`: the answer was a billed one.
pub(super) fn examine(seen: &[LimitSeen], spent: bool) -> Vec<Finding> {
    if seen.is_empty() {
        let finding = if spent {
            Finding::note(
                Check::Limits,
                "limits-unknown",
                "No rate-limit headers: this provider tells its limits only by refusing.",
            )
        } else {
            Finding::note(Check::Limits, "limits-unknown", "No rate-limit headers on the free call; many providers put them on billed answers only.")
                .todo("`weir doctor --spend` makes one smallest billed call and shows them.")
        };
        return vec![finding];
    }
    seen.iter().map(one).collect()
}

fn one(limit: &LimitSeen) -> Finding {
    let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    let reset = limit
        .reset
        .as_ref()
        .map_or_else(String::new, |reset| format!(", reset {reset}"));
    let what = format!(
        "{}: {} of {} left{reset}.",
        limit.kind,
        text(&limit.remaining),
        text(&limit.limit)
    );
    let none = |part: &Option<String>| part.as_deref().is_some_and(|part| part.trim() == "0");
    if none(&limit.limit) {
        return Finding::warning(
            Check::Limits,
            "limit-zero",
            format!("{}: the limit is 0.", limit.kind),
        )
        .todo("The plan gives no access to this, most likely; see the provider's limits page.");
    }
    if none(&limit.remaining) {
        return Finding::warning(Check::Limits, "limit-used-up", what)
            .todo("Something uses this key up now. Wait for the reset, or raise the limit.");
    }
    Finding::ok(Check::Limits, "limit", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn every_vendors_form_is_read() {
        let seen = read(&headers(&[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("anthropic-ratelimit-input-tokens-limit", "30,000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("x-ratelimit-limit-req-minute", "0"),
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-type", "Tokens"),
        ]));
        let kinds: Vec<_> = seen.iter().map(|limit| limit.kind.as_str()).collect();
        assert_eq!(kinds, ["input-tokens", "req-minute", "requests"]);
        let ids: Vec<_> = examine(&seen, true)
            .iter()
            .map(|finding| finding.id)
            .collect();
        assert_eq!(ids, ["limit-used-up", "limit-zero", "limit"]);
    }

    #[test]
    fn an_answer_without_them_says_how_to_get_them() {
        assert!(
            examine(&[], false)[0]
                .todo
                .as_deref()
                .unwrap()
                .contains("--spend")
        );
        assert_eq!(examine(&[], true)[0].todo, None);
    }
}
