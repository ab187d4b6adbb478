//! Vendors, as far as keys and free calls tell them apart.

use crate::{config::Upstream, triage::Provider};

/// Who issues a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vendor(pub(super) &'static str);

pub(super) const OPENAI: Vendor = Vendor("OpenAI");
pub(super) const AZURE: Vendor = Vendor("Azure");
pub(super) const ANTHROPIC: Vendor = Vendor("Anthropic");
pub(super) const GOOGLE: Vendor = Vendor("Google");
pub(super) const MISTRAL: Vendor = Vendor("Mistral");
pub(super) const DEEPSEEK: Vendor = Vendor("DeepSeek");
pub(super) const GROQ: Vendor = Vendor("Groq");
pub(super) const OPENROUTER: Vendor = Vendor("OpenRouter");
pub(super) const MOONSHOT: Vendor = Vendor("Moonshot");

/// Hosts of vendors without a preset that are known all the same.
const HOSTS: [(&str, Vendor); 8] = [
    ("moonshot.ai", MOONSHOT),
    ("moonshot.cn", MOONSHOT),
    ("x.ai", Vendor("xAI")),
    ("perplexity.ai", Vendor("Perplexity")),
    ("cerebras.ai", Vendor("Cerebras")),
    ("fireworks.ai", Vendor("Fireworks")),
    ("together.xyz", Vendor("Together")),
    ("nvidia.com", Vendor("NVIDIA")),
];

// === impl Vendor ===

impl Vendor {
    /// Whose API the upstream is meant to be; `None`: anybody's that speaks the dialect.
    pub(super) fn of(upstream: &Upstream) -> Option<Self> {
        Self::of_preset(&upstream.provider).or_else(|| {
            let host = upstream.base_url.host()?.to_ascii_lowercase();
            let owns = |own: &str| {
                host.strip_suffix(own)
                    .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
            };
            Some(HOSTS.iter().find(|(own, _)| owns(own))?.1)
        })
    }

    fn of_preset(provider: &Provider) -> Option<Self> {
        Some(match &*provider.name {
            "openai" => OPENAI,
            "azure" => AZURE,
            "anthropic" | "anthropic-openai" => ANTHROPIC,
            "gemini" | "gemini-openai" => GOOGLE,
            "mistral" => MISTRAL,
            "deepseek" => DEEPSEEK,
            "groq" => GROQ,
            "openrouter" => OPENROUTER,
            _ => return None,
        })
    }
}
