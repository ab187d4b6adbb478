//! Balances that an ordinary key may see: OpenRouter, DeepSeek, Moonshot.

use serde_json::Value;

use super::{
    Check, Finding,
    vendor::{DEEPSEEK, MOONSHOT, OPENROUTER, Vendor},
};

/// A free question about money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    OpenRouterKey,
    OpenRouterCredits,
    DeepSeekBalance,
    MoonshotBalance,
}

pub(super) fn questions(vendor: Option<Vendor>) -> &'static [Question] {
    match vendor {
        Some(OPENROUTER) => &[Question::OpenRouterKey, Question::OpenRouterCredits],
        Some(DEEPSEEK) => &[Question::DeepSeekBalance],
        Some(MOONSHOT) => &[Question::MoonshotBalance],
        _ => &[],
    }
}

// === impl Question ===

impl Question {
    /// Below the base URL, or, for DeepSeek, below its host.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::OpenRouterKey => "/key",
            Self::OpenRouterCredits => "/credits",
            Self::DeepSeekBalance => "/user/balance",
            Self::MoonshotBalance => "/users/me/balance",
        }
    }

    /// The base URL's path does not stand before it.
    pub(super) fn is_at_root(self) -> bool {
        self == Self::DeepSeekBalance
    }

    /// Its refusal says something about the key. Credits may ask for another kind of key.
    pub(super) fn is_decisive(self) -> bool {
        self != Self::OpenRouterCredits
    }

    pub(super) fn read(self, body: &[u8]) -> Vec<Finding> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Vec::new();
        };
        match self {
            Self::OpenRouterKey => open_router_key(&value["data"]),
            Self::OpenRouterCredits => open_router_credits(&value["data"]).into_iter().collect(),
            Self::DeepSeekBalance => deep_seek(&value),
            Self::MoonshotBalance => number(&value["data"]["available_balance"])
                .map(|left| balance(left, "", "in the account"))
                .into_iter()
                .collect(),
        }
    }
}

/// Numbers come as numbers or as texts.
pub(super) fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .filter(|number| number.is_finite())
}

fn balance(left: f64, currency: &str, of: &str) -> Finding {
    let what = format!(
        "{left:.2}{}{currency} left {of}.",
        if currency.is_empty() { "" } else { " " }
    );
    if left <= 0.0 {
        Finding::error(Check::Balance, "balance-empty", what)
            .todo("Add credit, then `weir credit topped-up`.")
    } else {
        Finding::ok(Check::Balance, "balance", what)
    }
}

fn open_router_key(data: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(left) = number(&data["limit_remaining"]) {
        found.push(balance(left, "USD", "of this key's own limit"));
    }
    if data["is_free_tier"].as_bool() == Some(true) {
        found.push(Finding::note(
            Check::Balance,
            "free-tier",
            "The account has never bought credit: free models only, and few calls a day.",
        ));
    }
    found
}

fn open_router_credits(data: &Value) -> Option<Finding> {
    let left = number(&data["total_credits"])? - number(&data["total_usage"])?;
    Some(balance(left, "USD", "in the account"))
}

fn deep_seek(value: &Value) -> Vec<Finding> {
    let entries = value["balance_infos"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let usable = value["is_available"].as_bool();
    let of = |entry: &Value| {
        let currency: String = entry["currency"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .take(8)
            .collect();
        Some((number(&entry["total_balance"])?, currency))
    };
    let mut found: Vec<Finding> = entries
        .iter()
        .take(4)
        .filter_map(of)
        .map(|(left, currency)| {
            // One of several currencies may well be empty.
            if usable == Some(true) {
                Finding::ok(
                    Check::Balance,
                    "balance",
                    format!("{left:.2} {currency} left in the account."),
                )
            } else {
                balance(left, &currency, "in the account")
            }
        })
        .collect();
    if usable == Some(false) && !found.iter().any(|finding| finding.id == "balance-empty") {
        found.push(
            Finding::error(
                Check::Balance,
                "balance-empty",
                "The balance does not suffice for calls.",
            )
            .todo("Add credit, then `weir credit topped-up`."),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(question: Question, body: &str) -> Vec<&'static str> {
        question
            .read(body.as_bytes())
            .iter()
            .map(|finding| finding.id)
            .collect()
    }

    #[test]
    fn balances_are_read_as_the_vendors_write_them() {
        use Question::{DeepSeekBalance, MoonshotBalance, OpenRouterCredits, OpenRouterKey};
        let rich = r#"{"is_available":true,"balance_infos":[{"currency":"CNY","total_balance":"110.00"},{"currency":"USD","total_balance":"0.00"}]}"#;
        assert_eq!(ids(DeepSeekBalance, rich), ["balance", "balance"]);
        let poor =
            r#"{"is_available":false,"balance_infos":[{"currency":"CNY","total_balance":"0.00"}]}"#;
        assert_eq!(ids(DeepSeekBalance, poor), ["balance-empty"]);
        assert_eq!(
            ids(
                OpenRouterCredits,
                r#"{"data":{"total_credits":10,"total_usage":10.5}}"#
            ),
            ["balance-empty"]
        );
        assert_eq!(
            ids(
                OpenRouterKey,
                r#"{"data":{"limit":null,"limit_remaining":null,"is_free_tier":true}}"#
            ),
            ["free-tier"]
        );
        assert_eq!(
            ids(
                OpenRouterKey,
                r#"{"data":{"limit":5,"limit_remaining":2.5,"is_free_tier":false}}"#
            ),
            ["balance"]
        );
        assert_eq!(
            ids(MoonshotBalance, r#"{"data":{"available_balance":49.5}}"#),
            ["balance"]
        );
        assert!(ids(MoonshotBalance, "<html>").is_empty());
    }
}
