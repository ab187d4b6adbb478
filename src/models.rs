//! What is known about models beforehand: embedded data, read on first need.

use std::{collections::HashMap, sync::OnceLock};

use serde::Deserialize;

/// Derived from the MIT-licensed price file of LiteLLM; see the file's own notes.
const PRICES: &str = include_str!("../config/prices.json");

#[derive(Deserialize)]
struct File {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    model: String,
    context_window: Option<u64>,
}

/// Tokens of input and output together that `model` can hold; `None` when not known. A dated name
/// (`gpt-4o-2024-08-06`) has its family's.
pub fn context_window(model: &str) -> Option<u64> {
    static WINDOWS: OnceLock<HashMap<String, u64>> = OnceLock::new();
    let windows = WINDOWS.get_or_init(|| {
        let file: File = serde_json::from_str(PRICES).unwrap_or(File { models: Vec::new() });
        file.models
            .into_iter()
            .filter_map(|m| Some((m.model, m.context_window?)))
            .collect()
    });
    let mut name = model;
    loop {
        if let Some(window) = windows.get(name) {
            return Some(*window);
        }
        name = name.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_name_has_its_familys_window() {
        let family = context_window("gpt-4o");
        assert!(family.is_some());
        assert_eq!(context_window("gpt-4o-2024-08-06"), family);
        assert_eq!(context_window("no-such-model"), None);
    }
}
