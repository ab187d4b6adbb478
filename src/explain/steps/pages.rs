//! Where vendors show bills, limits, keys and their state.

/// A vendor's pages.
pub(super) struct Pages {
    pub(super) billing: &'static str,
    pub(super) limits: &'static str,
    pub(super) keys: &'static str,
    pub(super) status: &'static str,
}

/// By preset. What is missing is put into words.
const PAGES: &[(&str, Pages)] = &[
    (
        "openai",
        Pages {
            billing: "platform.openai.com/settings/organization/billing",
            limits: "platform.openai.com/settings/organization/limits",
            keys: "platform.openai.com/api-keys",
            status: "status.openai.com",
        },
    ),
    (
        "anthropic",
        Pages {
            billing: "console.anthropic.com/settings/billing",
            limits: "console.anthropic.com/settings/limits",
            keys: "console.anthropic.com/settings/keys",
            status: "status.anthropic.com",
        },
    ),
    (
        "gemini",
        Pages {
            billing: "console.cloud.google.com/billing",
            limits: "aistudio.google.com/usage",
            keys: "aistudio.google.com/apikey",
            status: "status.cloud.google.com",
        },
    ),
    (
        "azure",
        Pages {
            billing: "portal.azure.com: Cost Management + Billing",
            limits: "ai.azure.com: Quota, and the deployment's tokens per minute",
            keys: "portal.azure.com: the resource, Keys and Endpoint",
            status: "status.azure.com",
        },
    ),
    (
        "groq",
        Pages {
            billing: "console.groq.com/settings/billing",
            limits: "console.groq.com/settings/limits",
            keys: "console.groq.com/keys",
            status: "groqstatus.com",
        },
    ),
    (
        "openrouter",
        Pages {
            billing: "openrouter.ai/settings/credits",
            limits: "openrouter.ai/settings/keys (a key has a limit of its own)",
            keys: "openrouter.ai/settings/keys",
            status: "status.openrouter.ai",
        },
    ),
    (
        "mistral",
        Pages {
            billing: "admin.mistral.ai: Billing",
            limits: "admin.mistral.ai: Limits",
            keys: "console.mistral.ai/api-keys",
            status: "status.mistral.ai",
        },
    ),
    (
        "deepseek",
        Pages {
            billing: "platform.deepseek.com/top_up",
            limits: "platform.deepseek.com/usage",
            keys: "platform.deepseek.com/api_keys",
            status: "status.deepseek.com",
        },
    ),
];

const ELSEWHERE: Pages = Pages {
    billing: "the provider's console, Billing",
    limits: "the provider's console, Limits",
    keys: "the provider's console, API keys",
    status: "the provider's status page",
};

/// The pages of the vendor behind a preset.
pub(super) fn of(preset: &str) -> &'static Pages {
    PAGES
        .iter()
        .find(|(name, _)| preset == *name || preset.strip_suffix("-openai") == Some(name))
        .map_or(&ELSEWHERE, |(_, pages)| pages)
}
