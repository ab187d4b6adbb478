//! Whose error it is, by what a paste gives away.

use super::Paste;
use crate::triage::{preset, presets};

/// Response headers that only one vendor sends. Azure before OpenAI, whose headers it repeats.
const HEADERS: &[(&str, &str)] = &[
    ("apim-request-id", "azure"),
    ("x-ms-region", "azure"),
    ("azureml-model-session", "azure"),
    ("x-groq-region", "groq"),
    ("anthropic-organization-id", "anthropic"),
    ("anthropic-ratelimit-requests-limit", "anthropic"),
    ("request-id", "anthropic"),
    ("x-generation-id", "openrouter"),
    ("mistral-correlation-id", "mistral"),
    ("x-ratelimitbysize-limit-minute", "mistral"),
    ("openai-organization", "openai"),
    ("openai-processing-ms", "openai"),
    ("openai-version", "openai"),
];

/// Pages that a vendor's messages point to, and names that only its messages have.
const WORDS: &[(&str, &str)] = &[
    ("azure openai", "azure"),
    ("aka.ms/oai", "azure"),
    ("openai.azure.com", "azure"),
    ("azureexception", "azure"),
    ("deploymentnotfound", "azure"),
    ("console.groq.com", "groq"),
    ("groq.com/", "groq"),
    ("console.anthropic.com", "anthropic"),
    ("docs.anthropic.com", "anthropic"),
    ("docs.claude.com", "anthropic"),
    ("platform.claude.com", "anthropic"),
    ("anthropic api", "anthropic"),
    ("ai.google.dev", "gemini"),
    ("type.googleapis.com", "gemini"),
    ("generativelanguage", "gemini"),
    ("cloud.google.com/vertex-ai", "gemini"),
    ("openrouter.ai", "openrouter"),
    ("mistral.ai", "mistral"),
    ("platform.deepseek.com", "deepseek"),
    ("console.x.ai", "xai"),
    ("fireworks.ai", "fireworks"),
    ("together.ai", "together"),
    ("cohere.com", "cohere"),
    ("perplexity.ai", "perplexity"),
    ("platform.openai.com", "openai"),
    ("help.openai.com", "openai"),
];

/// Modules and classes of clients. The general ones last: OpenAI's client is used for everybody.
const LIBRARIES: &[(&str, &str)] = &[
    ("azureopenai", "azure"),
    ("azure.requestfailedexception", "azure"),
    ("azure.ai.openai", "azure"),
    ("anthropic.", "anthropic"),
    ("anthropicexception", "anthropic"),
    ("anthropicerror", "anthropic"),
    ("@anthropic-ai", "anthropic"),
    ("groq.", "groq"),
    ("groqexception", "groq"),
    ("mistralai", "mistral"),
    ("mistralexception", "mistral"),
    ("google.genai", "gemini"),
    ("google.generativeai", "gemini"),
    ("google.api_core", "gemini"),
    ("googlegenerativeai", "gemini"),
    ("geminiexception", "gemini"),
    ("vertexaiexception", "gemini"),
    ("vertex_ai_", "gemini"),
    ("resource_exhausted", "gemini"),
    ("openrouterexception", "openrouter"),
    ("deepseekexception", "deepseek"),
    ("ollama", "ollama"),
    ("vllm", "vllm"),
    ("llama.cpp", "llamacpp"),
    ("xaiexception", "xai"),
    ("togetheraiexception", "together"),
    ("fireworks_aiexception", "fireworks"),
    ("cohereexception", "cohere"),
    ("openai", "openai"),
];

/// How keys begin; the longer before the shorter.
const KEYS: &[(&str, &str)] = &[
    ("sk-ant-", "anthropic"),
    ("sk-or-v1-", "openrouter"),
    ("gsk_", "groq"),
    ("xai-", "xai"),
    ("pplx-", "perplexity"),
    ("AIza", "gemini"),
    ("nvapi-", "nvidia"),
    ("hf_", "huggingface"),
    ("sk-proj-", "openai"),
    ("sk-svcacct-", "openai"),
];

/// The preset's name, and what told it.
pub(super) fn guess(paste: &Paste) -> (&'static str, &'static str) {
    let near = paste.context.to_ascii_lowercase();
    let body = paste.body.to_ascii_lowercase();
    let both = [near.as_str(), body.as_str()];
    by_host(&both)
        .map(|name| (name, "host"))
        .or_else(|| {
            known(HEADERS, |name| paste.headers.contains_key(name)).map(|name| (name, "headers"))
        })
        .or_else(|| {
            known(WORDS, |word| both.iter().any(|text| text.contains(word)))
                .map(|name| (name, "words"))
        })
        .or_else(|| by_shape(paste).map(|name| (name, "words")))
        .or_else(|| {
            known(LIBRARIES, |word| {
                both.iter().any(|text| text.contains(word))
            })
            .map(|name| (name, "library"))
        })
        .or_else(|| {
            let holds =
                |prefix: &str| paste.context.contains(prefix) || paste.body.contains(prefix);
            known(KEYS, holds).map(|name| (name, "key"))
        })
        .unwrap_or(("openai", "assumed"))
}

/// The first of a table that is there and has a preset.
fn known(table: &[(&str, &'static str)], is_there: impl Fn(&str) -> bool) -> Option<&'static str> {
    table
        .iter()
        .filter(|(sign, _)| is_there(sign))
        .map(|(_, name)| *name)
        .find(|name| presets().any(|known| known == *name))
}

/// A vendor's own host in the text. Every server on this machine has the same host, so there the port has to fit.
fn by_host(texts: &[&str]) -> Option<&'static str> {
    presets().find(|name| {
        let Some(provider) = preset(name) else {
            return false;
        };
        let named = |host: &str| texts.iter().any(|text| names_host(text, host));
        let url = provider.base_url.as_deref().unwrap_or_default();
        // A gateway such as LiteLLM stands here as well, though its models do not.
        if provider.local || url.contains("//127.0.0.1") || url.contains("//localhost") {
            let authority = url.split('/').nth(2).unwrap_or_default();
            return authority.contains(':') && named(authority);
        }
        provider
            .hosts
            .iter()
            .any(|host| named(host.strip_prefix('*').unwrap_or(host)))
    })
}

fn names_host(text: &str, host: &str) -> bool {
    text.match_indices(host).any(|(at, _)| {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let before = text[..at].chars().next_back();
        let after = text[at + host.len()..].chars().next();
        (host.starts_with('.') || !before.is_some_and(part)) && !after.is_some_and(part)
    })
}

/// Envelopes that are a vendor's own.
fn by_shape(paste: &Paste) -> Option<&'static str> {
    // In an event stream, its first object.
    let json = &paste.body[paste.body.find(['{', '['])?..];
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
    let value = values.next()?.ok()?;
    let value = value
        .as_array()
        .and_then(|list| list.first())
        .unwrap_or(&value);
    let error = value.get("error")?;
    let word = |value: &serde_json::Value, key: &str| {
        value
            .get(key)
            .and_then(|word| word.as_str())
            .map(str::to_owned)
    };
    if word(value, "type").as_deref() == Some("error") && word(error, "type").is_some() {
        return Some("anthropic");
    }
    let status = word(error, "status")?;
    let google = error.get("code").is_some_and(serde_json::Value::is_number)
        && status.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    google.then_some("gemini")
}
