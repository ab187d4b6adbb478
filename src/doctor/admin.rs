//! What an admin key may see: spend limits, costs of the month, a project's limits and whether it lives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Check, Finding, balance::number};

/// A share of the limit from which on it is worth a warning.
const NEAR: f64 = 0.8;
/// Models whose limits are shown.
const MODELS: usize = 6;

/// A spend limit, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SpendLimit {
    /// In USD.
    pub(super) amount: f64,
    pub(super) enforcing: bool,
}

/// `threshold_amount` is in cents.
pub(super) fn spend_limit(body: &[u8]) -> Option<SpendLimit> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(SpendLimit {
        amount: number(&value["threshold_amount"])? / 100.0,
        enforcing: value["enforcement"]["status"].as_str() == Some("enforcing"),
    })
}

/// The sum of the amounts of a page of costs; `unit`: what one of them is in USD.
pub(super) fn costs(body: &[u8], unit: f64) -> Option<f64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let buckets = value["data"].as_array()?;
    let amounts = buckets
        .iter()
        .filter_map(|bucket| bucket["results"].as_array())
        .flatten()
        .filter_map(|result| match &result["amount"] {
            Value::Object(amount) => number(amount.get("value")?),
            plain => number(plain),
        });
    Some(amounts.sum::<f64>() * unit)
}

/// Limit and costs together. `whose`: `The organization`, `Project proj_…`.
pub(super) fn spending(whose: &str, limit: Option<SpendLimit>, cost: Option<f64>) -> Vec<Finding> {
    let spent = cost.map_or_else(
        || "not known how much".to_owned(),
        |cost| format!("${cost:.2}"),
    );
    let Some(limit) = limit else {
        return cost
            .map(|_| {
                Finding::ok(
                    Check::Admin,
                    "month-cost",
                    format!("{whose} has spent {spent} this month; no spend limit is set."),
                )
            })
            .into_iter()
            .collect();
    };
    let effect = if limit.enforcing {
        "which stops calls"
    } else {
        "which only alerts"
    };
    let what = format!(
        "{whose} has spent {spent} this month of a limit of ${:.2}, {effect}.",
        limit.amount
    );
    let share = cost.map(|cost| {
        if limit.amount > 0.0 {
            cost / limit.amount
        } else {
            1.0
        }
    });
    vec![match share {
        Some(share) if share >= 1.0 && limit.enforcing => {
            Finding::error(Check::Admin, "spend-limit-reached", what)
                .todo("Calls are refused until the month ends or the limit is raised.")
        }
        Some(share) if share >= NEAR => Finding::warning(Check::Admin, "spend-limit-near", what)
            .todo(if limit.enforcing {
                "Raise the limit in time; at the limit every call is refused."
            } else {
                "Costs of the last hours are not in it yet."
            }),
        _ => Finding::ok(Check::Admin, "spend-limit", what),
    }]
}

/// The state of a project.
pub(super) fn project(body: &[u8], id: &str) -> Option<Finding> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let name: String = value["name"]
        .as_str()
        .unwrap_or(id)
        .chars()
        .take(60)
        .collect();
    match value["status"].as_str()? {
        "archived" => Some(
            Finding::error(
                Check::Admin,
                "project-archived",
                format!("The project {name} ({id}) is archived."),
            )
            .todo("Use a key of an active project."),
        ),
        _ => Some(Finding::ok(
            Check::Admin,
            "project",
            format!("The project is {name} ({id}), active."),
        )),
    }
}

/// The limits of a project, for the models that routes name, or the first ones.
pub(super) fn rate_limits(body: &[u8], routed: &[String]) -> Vec<Finding> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let rows = value["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_routed = |row: &&Value| {
        row["model"]
            .as_str()
            .is_some_and(|model| routed.iter().any(|name| name == model))
    };
    let mut shown: Vec<&Value> = rows.iter().filter(is_routed).collect();
    if shown.is_empty() && routed.is_empty() {
        shown = rows.iter().collect();
    }
    shown.truncate(MODELS);
    shown.into_iter().filter_map(rate_limit).collect()
}

fn rate_limit(row: &Value) -> Option<Finding> {
    let model: String = row["model"].as_str()?.chars().take(60).collect();
    let parts: Vec<_> = [
        ("max_requests_per_1_minute", "requests/min"),
        ("max_tokens_per_1_minute", "tokens/min"),
        ("max_requests_per_1_day", "requests/day"),
    ]
    .into_iter()
    .filter_map(|(key, unit)| Some((number(&row[key])?, unit)))
    .collect();
    if parts.is_empty() {
        return None;
    }
    let text: Vec<_> = parts
        .iter()
        .map(|(amount, unit)| format!("{amount} {unit}"))
        .collect();
    let what = format!("The project's limits for {model}: {}.", text.join(", "));
    Some(if parts.iter().any(|(amount, _)| *amount <= 0.0) {
        Finding::warning(Check::Admin, "project-limit-zero", what)
            .todo("A limit of 0 refuses every call; raise it in the project's settings.")
    } else {
        Finding::ok(Check::Admin, "project-limits", what)
    })
}

/// The first second of the month (UTC) of `now`.
pub(super) fn month_start(now: SystemTime) -> SystemTime {
    let text = humantime::format_rfc3339_seconds(now).to_string();
    // 2026-11-21T…: the day of the month is how far back its first is.
    let day: u64 = text
        .get(8..10)
        .and_then(|day| day.parse().ok())
        .unwrap_or(1);
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let midnight = seconds - seconds % 86_400;
    UNIX_EPOCH + Duration::from_secs(midnight.saturating_sub((day - 1) * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_enforced_and_reached_is_an_error() {
        let body = br#"{"object":"organization.spend_limit","threshold_amount":10000,"currency":"USD","interval":"month","enforcement":{"status":"enforcing"}}"#;
        let limit = spend_limit(body).unwrap();
        assert_eq!(
            limit,
            SpendLimit {
                amount: 100.0,
                enforcing: true
            }
        );
        let id = |limit: SpendLimit, cost| spending("The organization", Some(limit), cost)[0].id;
        assert_eq!(id(limit, Some(100.0)), "spend-limit-reached");
        assert_eq!(id(limit, Some(85.0)), "spend-limit-near");
        assert_eq!(id(limit, Some(5.0)), "spend-limit");
        assert_eq!(id(limit, None), "spend-limit");
        assert_eq!(
            id(
                SpendLimit {
                    enforcing: false,
                    ..limit
                },
                Some(500.0)
            ),
            "spend-limit-near"
        );
        assert!(spending("x", None, None).is_empty());
    }

    #[test]
    fn costs_are_summed_whatever_their_type() {
        let body = br#"{"object":"page","data":[{"results":[{"amount":{"value":1.5,"currency":"usd"}},{"amount":{"value":"0.250000000000000000000000000001"}}]},{"results":[]}]}"#;
        assert!((costs(body, 1.0).unwrap() - 1.75).abs() < 1e-9);
        let cents = br#"{"data":[{"results":[{"amount":"123.5"}]}]}"#;
        assert!((costs(cents, 0.01).unwrap() - 1.235).abs() < 1e-9);
        assert_eq!(costs(b"{}", 1.0), None);
    }

    #[test]
    fn the_month_begins_on_its_first_day() {
        for (now, start) in [
            ("2026-11-21T11:22:33Z", "2026-11-01T00:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z"),
        ] {
            let now = humantime::parse_rfc3339(now).unwrap();
            assert_eq!(
                humantime::format_rfc3339(month_start(now)).to_string(),
                start
            );
        }
    }

    #[test]
    fn projects_and_their_limits_are_told() {
        assert_eq!(
            project(
                br#"{"id":"proj_1","name":"Search","status":"archived"}"#,
                "proj_1"
            )
            .unwrap()
            .id,
            "project-archived"
        );
        assert_eq!(
            project(
                br#"{"id":"proj_1","name":"Search","status":"active"}"#,
                "proj_1"
            )
            .unwrap()
            .id,
            "project"
        );
        let body = br#"{"data":[{"model":"gpt-4o","max_requests_per_1_minute":500,"max_tokens_per_1_minute":0},{"model":"o3","max_requests_per_1_minute":5}]}"#;
        let ids = |routed: &[&str]| {
            let routed: Vec<_> = routed.iter().map(|name| (*name).to_owned()).collect();
            rate_limits(body, &routed)
                .iter()
                .map(|finding| finding.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&["gpt-4o"]), ["project-limit-zero"]);
        assert_eq!(ids(&[]), ["project-limit-zero", "project-limits"]);
        assert!(ids(&["gpt-9"]).is_empty());
    }
}
