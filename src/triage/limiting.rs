//! How a vendor limits: how its headers tell it, what it counts of a call, and which models share. Data, from `[limits]`.

/// The `[limits]` table of a provider's file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limiting {
    /// How the headers of its replies tell limits.
    pub headers: LimitHeaders,
    /// What is taken off the buckets when a call comes in.
    pub charged: Charged,
    /// Input read from the provider's prompt cache takes nothing.
    pub cached_input_is_free: bool,
    /// Output is counted as it is written, not as it was declared.
    pub output_as_produced: bool,
    /// Ends of model names that only tell a date: what is before them shares its limits with its other dates. `Y`, `M` and
    /// `D` stand for digits of a year, a month and a day.
    pub dated: Vec<String>,
    /// Models that share their limits; asked in order, before dates are taken off and again after.
    pub family: Vec<Family>,
}

/// Models that share their limits.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Names; `*` at an end stands for anything.
    pub models: Vec<String>,
    /// The pool's name; `*` is the whole account.
    pub name: String,
}

/// A vendor's way to tell limits in headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitHeaders {
    /// Whatever is found is read: nothing is known of this vendor.
    #[default]
    Any,
    /// There are none; what is found there is somebody else's.
    None,
    /// `x-ratelimit-*-requests` by the minute or, for some models, by the day: the reset tells which.
    OpenAi,
    /// The same names; `renewalperiod` tells the window, and `-1` and `0` that nothing is known.
    Azure,
    /// `anthropic-ratelimit-*`: points in time, tokens rounded to thousands.
    Anthropic,
    /// OpenAI's names, but requests are by the day.
    Groq,
    /// `…-req-minute`, `…-tokens-minute`, `x-ratelimitbysize-*`; no resets.
    Mistral,
    /// `…-requests-day`, `…-tokens-minute`.
    Cerebras,
    /// `x-ratelimit-limit` alone: requests by the minute or by the day, as the reset tells.
    OpenRouter,
    /// `x-ratelimit-limit` and `x-tokenlimit-limit`: by the second.
    Together,
    /// `…-tokens-prompt`, `…-tokens-generated`.
    Fireworks,
    /// `x-trial-endpoint-call-*`: trial keys only, calls by the minute.
    Cohere,
}

/// What a provider takes off its buckets when a call comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Charged {
    /// Its estimate of the input.
    #[serde(rename = "input")]
    Input,
    /// Its estimate of the input, and the declared output.
    #[serde(rename = "input+output")]
    InputAndOutput,
    /// One call; tokens are not limited.
    #[serde(rename = "request")]
    Request,
    /// Not known: as input and output, with the output that is usual where none is declared.
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

// === impl Limiting ===

impl Default for Limiting {
    fn default() -> Self {
        Self {
            headers: LimitHeaders::Any,
            charged: Charged::Unknown,
            cached_input_is_free: false,
            output_as_produced: false,
            dated: ["-latest", "-YYYY-MM-DD", "-YYYYMMDD", "-MMDD"]
                .map(str::to_owned)
                .to_vec(),
            family: Vec::new(),
        }
    }
}

impl Limiting {
    /// The name of the pool that a model's calls are counted in.
    pub fn pool<'a>(&'a self, model: &'a str) -> &'a str {
        // A tuned model counts with the one that it was made of: `ft:gpt-4o-mini:acme::1`.
        let base = model
            .strip_prefix("ft:")
            .and_then(|rest| rest.split(':').next())
            .filter(|base| !base.is_empty());
        let model = base.unwrap_or(model);
        if let Some(name) = self.family_of(model) {
            return name;
        }
        let undated = self
            .dated
            .iter()
            .find_map(|end| without_date(model, end))
            .unwrap_or(model);
        self.family_of(undated).unwrap_or(undated)
    }

    fn family_of(&self, model: &str) -> Option<&str> {
        let fits = |family: &&Family| family.models.iter().any(|name| is_like(model, name));
        self.family
            .iter()
            .find(fits)
            .map(|family| family.name.as_str())
    }
}

fn is_like(model: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => model.contains(pattern.trim_matches('*')),
        (Some(end), None) => model.ends_with(end),
        (None, Some(start)) => model.starts_with(start),
        (None, None) => model == pattern,
    }
}

/// What stands before a date that is written like `pattern`; `None` when there is none, or nothing before it.
fn without_date<'a>(model: &'a str, pattern: &str) -> Option<&'a str> {
    let at = model.len().checked_sub(pattern.len())?;
    let (name, end) = model.split_at_checked(at)?;
    let (mut month, mut day) = (None, None);
    for (letter, byte) in pattern.bytes().zip(end.bytes()) {
        let number = match letter {
            b'Y' | b'M' | b'D' if !byte.is_ascii_digit() => return None,
            b'Y' => continue,
            b'M' => &mut month,
            b'D' => &mut day,
            _ if letter == byte => continue,
            _ => return None,
        };
        *number = Some(number.unwrap_or(0) * 10 + u32::from(byte - b'0'));
    }
    let real = month.is_none_or(|month| (1..=12).contains(&month))
        && day.is_none_or(|day| (1..=31).contains(&day));
    (real && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Charged, LimitHeaders};
    use crate::triage::{Provider, preset};

    #[test]
    fn the_page_on_providers_shows_a_file_that_loads() {
        let page = include_str!("../../docs/providers.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let provider = Provider::from_toml(text, "docs").unwrap();
        assert_eq!(provider.limiting.headers, LimitHeaders::OpenAi);
        assert_eq!(provider.limiting.charged, Charged::InputAndOutput);
        assert_eq!(provider.limiting.pool("acme-big-2"), "acme-big");
        for (from, to) in [
            ("headers = \"openai\"", "headers = \"opnai\""),
            ("charged = \"input+output\"", "charged = \"all\""),
            ("output_as_produced =", "output_as_produces ="),
            ("name = \"acme-big\"", "nam = \"acme-big\""),
        ] {
            let spoilt = text.replace(from, to);
            assert_ne!(spoilt, text);
            assert!(Provider::from_toml(&spoilt, "docs").is_err(), "{to}");
        }
    }

    #[test]
    fn models_that_share_are_one_pool() {
        for (provider, model, pool) in [
            ("openai", "gpt-4o", "gpt-4o"),
            ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
            ("openai", "gpt-4-0613", "gpt-4"),
            ("openai", "gpt-4-32k-0314", "gpt-4-32k"),
            ("openai", "gpt-4o-mini", "gpt-4o-mini"),
            ("openai", "chatgpt-4o-latest", "chatgpt-4o"),
            (
                "openai",
                "ft:gpt-4o-mini-2024-07-18:acme::abc",
                "gpt-4o-mini",
            ),
            ("openai", "ft:", "ft:"),
            ("openai", "-latest", "-latest"),
            ("openai", "gpt-4-9999", "gpt-4-9999"),
            ("openai", "babbage-002", "babbage-002"),
            ("anthropic", "claude-opus-4-1-20250805", "claude-opus-4"),
            ("anthropic", "claude-opus-4-6", "claude-opus-4"),
            (
                "anthropic-openai",
                "claude-sonnet-4-5-20250929",
                "claude-sonnet-4",
            ),
            ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("anthropic", "claude-3-5-haiku-latest", "claude-3-5-haiku"),
            ("anthropic", "claude-opus-5", "claude-opus-5"),
            ("deepseek", "deepseek-chat", "*"),
            ("deepseek", "deepseek-reasoner", "*"),
            ("openrouter", "qwen/qwen3-coder:free", "*:free"),
            ("openrouter", "z-ai/glm-4.5-air:free", "*:free"),
            ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
            ("azure", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
            ("azure", "mine-latest", "mine-latest"),
            ("mistral", "mistral-large-2411", "mistral-large"),
            ("mistral", "mistral-large-latest", "mistral-large"),
            ("xai", "grok-4-0709", "grok-4"),
            ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ] {
            let limiting = &preset(provider).unwrap().limiting;
            assert_eq!(limiting.pool(model), pool, "{provider} {model}");
        }
    }

    proptest! {
        #[test]
        fn any_name_has_a_pool(model in "\\PC{0,40}", tail in "(-latest|-2024-08-06|-é|-0613)?") {
            let model = format!("{model}{tail}");
            for name in crate::triage::presets() {
                let limiting = &preset(name).unwrap().limiting;
                let pool = limiting.pool(&model);
                prop_assert!(!pool.is_empty() || model.is_empty());
            }
        }
    }
}
