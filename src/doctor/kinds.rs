//! What a key says of itself by its first characters.

use super::vendor::{ANTHROPIC, AZURE, DEEPSEEK, GOOGLE, GROQ, OPENAI, OPENROUTER, Vendor};

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Calls.
    Api,
    /// The account's settings, and no calls.
    Admin,
    /// A browser's or a tool's sign-in: ends soon, or is not taken by the API.
    Session,
    /// Another service altogether.
    Elsewhere,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) vendor: Vendor,
    pub(super) name: &'static str,
    pub(super) good_for: Use,
    /// Whole keys of this kind are at least this long.
    pub(super) at_least: usize,
}

const fn kind(vendor: Vendor, name: &'static str, good_for: Use, at_least: usize) -> Kind {
    Kind {
        vendor,
        name,
        good_for,
        at_least,
    }
}

const fn api(vendor: &'static str, at_least: usize) -> Kind {
    kind(Vendor(vendor), "API key", Use::Api, at_least)
}

const fn other(vendor: &'static str, name: &'static str) -> Kind {
    kind(Vendor(vendor), name, Use::Elsewhere, 0)
}

/// Longer prefixes before those that they begin with.
const PREFIXES: [(&str, Kind); 38] = [
    ("sk-proj-", kind(OPENAI, "project key", Use::Api, 48)),
    (
        "sk-svcacct-",
        kind(OPENAI, "service account key", Use::Api, 48),
    ),
    (
        "sk-service-",
        kind(OPENAI, "service account key", Use::Api, 40),
    ),
    ("sk-admin-", kind(OPENAI, "admin key", Use::Admin, 48)),
    ("sk-None-", kind(OPENAI, "user key", Use::Api, 48)),
    (
        "sess-",
        kind(OPENAI, "browser session key", Use::Session, 0),
    ),
    ("sk-ant-admin", kind(ANTHROPIC, "admin key", Use::Admin, 80)),
    ("sk-ant-api", kind(ANTHROPIC, "API key", Use::Api, 80)),
    (
        "sk-ant-oat",
        kind(ANTHROPIC, "OAuth access token", Use::Session, 0),
    ),
    (
        "sk-ant-ort",
        kind(ANTHROPIC, "OAuth refresh token", Use::Session, 0),
    ),
    (
        "sk-ant-sid",
        kind(ANTHROPIC, "browser session key", Use::Session, 0),
    ),
    ("sk-ant-", kind(ANTHROPIC, "key", Use::Api, 40)),
    ("sk-or-", kind(OPENROUTER, "API key", Use::Api, 64)),
    ("sk-lf-", other("Langfuse", "key")),
    ("pk-lf-", other("Langfuse", "key")),
    ("sk_live_", other("Stripe", "key")),
    ("sk_test_", other("Stripe", "key")),
    ("gsk_", kind(GROQ, "API key", Use::Api, 48)),
    ("AIza", kind(GOOGLE, "API key", Use::Api, 39)),
    ("ya29.", kind(GOOGLE, "OAuth access token", Use::Session, 0)),
    ("xai-", api("xAI", 60)),
    ("pplx-", api("Perplexity", 40)),
    ("nvapi-", api("NVIDIA", 40)),
    ("csk-", api("Cerebras", 40)),
    ("fw_", api("Fireworks", 20)),
    ("tgp_v1_", api("Together", 40)),
    ("hf_", kind(Vendor("Hugging Face"), "token", Use::Api, 34)),
    ("r8_", api("Replicate", 37)),
    ("ghp_", other("GitHub", "token")),
    ("gho_", other("GitHub", "token")),
    ("github_pat_", other("GitHub", "token")),
    ("glpat-", other("GitLab", "token")),
    ("wk-", other("weir", "app key")),
    ("AKIA", other("AWS", "access key id")),
    ("xoxb-", other("Slack", "token")),
    ("sk-litellm-", other("LiteLLM", "virtual key")),
    ("sk-helicone-", other("Helicone", "key")),
    ("eyJ", kind(AZURE, "sign-in token (JWT)", Use::Session, 0)),
];

/// OpenAI puts it into every key of its own.
const OPENAI_MARK: &str = "T3BlbkFJ";

/// The kind of a key; `None` when its form says nothing.
pub(super) fn kind_of(key: &str) -> Option<Kind> {
    if let Some((_, kind)) = PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix)) {
        return Some(*kind);
    }
    let rest = key.strip_prefix("sk-")?;
    if rest.contains(OPENAI_MARK) {
        return Some(kind(OPENAI, "user key (legacy)", Use::Api, 51));
    }
    let hex = rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex.then(|| {
        kind(
            DEEPSEEK,
            "API key (or another vendor's of the same form)",
            Use::Api,
            35,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_prefix_that_fits_is_the_longest() {
        for (at, (prefix, _)) in PREFIXES.iter().enumerate() {
            let earlier = PREFIXES[..at]
                .iter()
                .find(|(other, _)| prefix.starts_with(other));
            assert!(earlier.is_none(), "{prefix} is never reached");
        }
    }

    #[test]
    fn kinds_are_told_by_their_beginnings() {
        let name = |key: &str| kind_of(key).map(|kind| (kind.vendor.0, kind.name));
        assert_eq!(name("sk-proj-abc"), Some(("OpenAI", "project key")));
        assert_eq!(name("sk-admin-abc"), Some(("OpenAI", "admin key")));
        assert_eq!(name("sk-ant-admin01-abc"), Some(("Anthropic", "admin key")));
        assert_eq!(name("gsk_abc"), Some(("Groq", "API key")));
        assert_eq!(
            name("sk-abcT3BlbkFJdef"),
            Some(("OpenAI", "user key (legacy)"))
        );
        assert_eq!(
            name("sk-0123456789abcdef0123456789abcdef").map(|(vendor, _)| vendor),
            Some("DeepSeek")
        );
        assert_eq!(name("sk-something-of-a-gateway"), None);
        assert_eq!(name("0123456789abcdef"), None);
    }
}
