//! Tokens used, and what else an answer says about itself.
//!
//! The vendors name the same counts differently; one reader takes every spelling in use.

use crate::dialect::Endpoint;
use crate::json::{self, Kind, Members, Raw};

/// Tokens of one answer. `cached_input` and `cache_write` are parts of `input`, `reasoning` is a
/// part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub input: u64,
    /// Of these, read from the provider's prompt cache.
    pub cached_input: u64,
    /// Of these, written to the provider's prompt cache.
    pub cache_write: u64,
    /// Tokens written.
    pub output: u64,
    /// Of these, reasoning.
    pub reasoning: u64,
    /// Told by the provider; `false`: estimated by us.
    pub exact: bool,
}

/// A provider's class of service; it changes the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// `auto`: as the project is set up.
    Auto,
    /// `default` or `standard`.
    Default,
    /// `flex`: slower, cheaper.
    Flex,
    /// `priority`: faster, dearer.
    Priority,
    /// `scale`: bought in advance.
    Scale,
    /// Any other word.
    Other,
}

/// What a whole reply says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Tokens used, when told.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<Box<str>>,
    /// The class of service it was billed as.
    pub service_tier: Option<ServiceTier>,
    /// Where an error object stands in the body, when one does: a reply of status 200 may still
    /// be a failure.
    pub error: Option<std::ops::Range<usize>>,
}

// === impl Usage ===

impl Usage {
    /// Reads a `usage` object; `None` when it is no object or tells no count we know.
    pub fn of(usage: Raw<'_>) -> Option<Self> {
        let mut read = Self {
            exact: true,
            ..Self::default()
        };
        let mut known = false;
        for member in usage.members().ok()?.flatten() {
            let number = || member.value.as_u64().unwrap_or(0);
            match member.raw_key() {
                b"prompt_tokens" | b"input_tokens" => (read.input, known) = (number(), true),
                b"completion_tokens" | b"output_tokens" => (read.output, known) = (number(), true),
                b"prompt_tokens_details" | b"input_tokens_details" => {
                    read.input_details(member.value)
                }
                b"completion_tokens_details" | b"output_tokens_details" => {
                    read.reasoning = count(member.value, "reasoning_tokens").unwrap_or(0);
                }
                // DeepSeek's, and Anthropic's where a compatible endpoint lets it through.
                b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => {
                    read.cached_input = read.cached_input.max(number());
                }
                b"cache_creation_input_tokens" => read.cache_write = read.cache_write.max(number()),
                // Embeddings of some vendors tell only the total.
                b"total_tokens" if !known => read.input = number(),
                _ => {}
            }
        }
        (known || read.input > 0).then_some(read)
    }

    fn input_details(&mut self, details: Raw<'_>) {
        for member in details.members().into_iter().flatten().flatten() {
            let number = member.value.as_u64().unwrap_or(0);
            match member.raw_key() {
                b"cached_tokens" => self.cached_input = self.cached_input.max(number),
                b"cache_write_tokens" => self.cache_write = self.cache_write.max(number),
                _ => {}
            }
        }
    }

    /// Input and output together.
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

fn count(details: Raw<'_>, key: &str) -> Option<u64> {
    details.get(key)?.as_u64()
}

// === impl ServiceTier ===

impl ServiceTier {
    /// Reads a `service_tier` value; `None` when it is no string.
    pub fn of(value: Raw<'_>) -> Option<Self> {
        Some(match value.inner()? {
            b"auto" => Self::Auto,
            b"default" | b"standard" => Self::Default,
            b"flex" => Self::Flex,
            b"priority" => Self::Priority,
            b"scale" => Self::Scale,
            _ => Self::Other,
        })
    }

    /// The name in ledger and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Scale => "scale",
            Self::Other => "other",
        }
    }
}

// === impl Facts ===

impl Facts {
    /// Reads a whole JSON reply.
    ///
    /// # Errors
    /// When it is not a JSON object of sound structure: with status 200 that is an upstream
    /// failure (an edge's page, a cut body).
    pub fn scan(endpoint: Endpoint, body: &[u8]) -> Result<Self, json::Error> {
        let mut facts = Self::default();
        let mut fallback = None;
        for member in Members::of(body)? {
            let member = member?;
            match member.raw_key() {
                b"usage" => facts.usage = Usage::of(member.value),
                b"x_groq" => fallback = member.value.get("usage").and_then(Usage::of),
                b"model" => facts.model = member.value.as_str().map(|m| m.into_owned().into()),
                b"service_tier" => facts.service_tier = ServiceTier::of(member.value),
                b"error" => facts.error = error_range(member.value),
                b"choices" if endpoint == Endpoint::ChatCompletions => {
                    let mut choices = member.value.elements().into_iter().flatten().flatten();
                    let inner = choices.find_map(|c| error_range(c.get("error")?));
                    facts.error = facts.error.or(inner);
                }
                _ => {}
            }
        }
        facts.usage = facts.usage.or(fallback);
        Ok(facts)
    }
}

/// Where the error stands, when the member says that there is one. Responses carry
/// `"error": null` when all is well.
pub(super) fn error_range(value: Raw<'_>) -> Option<std::ops::Range<usize>> {
    let told = match value.kind() {
        Kind::Object | Kind::String | Kind::Array => !value.is_empty(),
        Kind::Bool => value.as_bool() == Some(true),
        Kind::Number => !value.is_empty(),
        Kind::Null => false,
    };
    told.then(|| value.range())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(endpoint: Endpoint, body: &str) -> Facts {
        Facts::scan(endpoint, body.as_bytes()).unwrap()
    }

    #[test]
    fn chat_usage_is_read_with_its_details() {
        let facts = facts(
            Endpoint::ChatCompletions,
            r#"{"id":"x","model":"gpt-4o-2024-08-06","service_tier":"default","choices":[],"error":null,
            "usage":{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":3}}}"#,
        );
        let usage = Usage {
            input: 10,
            cached_input: 4,
            cache_write: 0,
            output: 7,
            reasoning: 3,
            exact: true,
        };
        assert_eq!(facts.usage, Some(usage));
        assert_eq!(facts.model.as_deref(), Some("gpt-4o-2024-08-06"));
        assert_eq!(facts.service_tier, Some(ServiceTier::Default));
        assert_eq!(facts.error, None);
    }

    #[test]
    fn responses_embeddings_and_vendors_are_read_too() {
        let responses = r#"{"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":2}}}"#;
        let usage = facts(Endpoint::Responses, responses).usage.unwrap();
        assert_eq!(
            (
                usage.input,
                usage.cached_input,
                usage.output,
                usage.reasoning
            ),
            (5, 1, 6, 2)
        );
        let embeddings = facts(Endpoint::Embeddings, r#"{"usage":{"total_tokens":8}}"#);
        assert_eq!(embeddings.usage.unwrap().input, 8);
        let deepseek =
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_cache_hit_tokens":3}}"#;
        assert_eq!(
            facts(Endpoint::ChatCompletions, deepseek)
                .usage
                .unwrap()
                .cached_input,
            3
        );
        assert_eq!(
            facts(Endpoint::ChatCompletions, r#"{"usage":null}"#).usage,
            None
        );
    }

    #[test]
    fn an_error_inside_a_success_is_found() {
        let body = r#"{"error":{"code":502},"x":1}"#;
        let range = facts(Endpoint::ChatCompletions, body).error.unwrap();
        assert_eq!(&body[range], r#"{"code":502}"#);
        let body = r#"{"choices":[{"error":{"code":1}}]}"#;
        let range = facts(Endpoint::ChatCompletions, body).error.unwrap();
        assert_eq!(&body[range], r#"{"code":1}"#);
    }
}
