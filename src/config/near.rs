//! The name that was probably meant.

use super::table::{ROOT, Section};

/// Words of other gateways and of habit, and what they are called here.
const ALIASES: &[(&str, &[&str])] = &[
    ("url", &["base_url"]),
    ("api_base", &["base_url"]),
    ("endpoint", &["base_url"]),
    ("token", &["api_key", "key"]),
    ("key", &["api_key"]),
    ("secret", &["api_key", "key"]),
    ("type", &["provider"]),
    ("vendor", &["provider"]),
    ("org", &["organization"]),
    ("organisation", &["organization"]),
    ("rpm", &["requests_per_minute"]),
    ("tpm", &["tokens_per_minute"]),
    ("max_parallel_requests", &["concurrency"]),
    ("upstreams", &["upstream", "targets"]),
    ("providers", &["upstream"]),
    ("routes", &["route"]),
    ("apps", &["app"]),
    ("model", &["models"]),
    ("target", &["targets"]),
    ("fallbacks", &["targets"]),
    ("retries", &["max_attempts", "retry"]),
    ("max_retries", &["max_attempts"]),
    ("bind", &["listen"]),
    ("port", &["listen"]),
];

/// The nearest of `names`, when one is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    // Bounded: the distance of a whole prompt pasted as a name would cost a second.
    if word.chars().count() > 64 {
        return None;
    }
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&word, &name.to_ascii_lowercase().replace('-', "_")),
                name,
            )
        })
        .filter(|(distance, name)| {
            *distance <= 1 + name.chars().count() / 5 && *distance < name.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

/// The nearest key of a section; else what the word is called here; else where it belongs.
pub(crate) fn nearest_key(word: &str, section: &'static Section) -> Option<String> {
    if let Some(name) = nearest(word, section.keys.iter().map(|key| key.name)) {
        return Some(name);
    }
    let lower = word.to_ascii_lowercase();
    let aliases = ALIASES
        .iter()
        .filter(|(alias, _)| *alias == lower)
        .flat_map(|(_, names)| *names);
    if let Some(name) = aliases.copied().find(|name| section.key(name).is_some()) {
        return Some(name.to_owned());
    }
    let elsewhere = ROOT
        .walk()
        .into_iter()
        .find(|other| other.key(&lower).is_some());
    elsewhere.map(|other| match other.name {
        "" => format!("{lower}, at the top level"),
        _ => format!("{} {lower}", other.header()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_near() {
        assert_eq!(
            nearest("cluade", ["openai", "claude"]).as_deref(),
            Some("claude")
        );
        assert_eq!(
            nearest("stale-if-error", ["stale_if_error", "ttl"]).as_deref(),
            Some("stale_if_error")
        );
    }

    #[test]
    fn what_is_far_is_not_suggested() {
        assert_eq!(nearest("zzz", ["openai", "a"]), None);
        assert_eq!(nearest("x", ["a"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["openai"]), None);
    }

    #[test]
    fn habits_and_keys_of_other_sections_are_known() {
        assert_eq!(nearest_key("routes", &ROOT).as_deref(), Some("route"));
        assert_eq!(nearest_key("ttl", &ROOT).as_deref(), Some("[cache] ttl"));
    }
}
