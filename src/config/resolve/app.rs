//! `[[app]]`: the programs that call.

use std::{collections::HashMap, sync::Arc};

use crate::config::{
    App, AppId, OnLimit, Priority,
    reader::{Found, Reader, Text},
};

pub(super) fn apps(readers: &[Reader<'_>]) -> Vec<Arc<App>> {
    let mut names: HashMap<String, ()> = HashMap::new();
    let mut hashes: HashMap<[u8; 32], String> = HashMap::new();
    let mut apps = Vec::with_capacity(readers.len());
    for (index, reader) in readers.iter().enumerate() {
        let name = super::upstream::name(reader);
        let key = match reader.text("key") {
            Found::Absent => {
                reader.missing(
                    "key",
                    "`weir keys create NAME` makes a key and prints its hash",
                );
                None
            }
            Found::Wrong => None,
            Found::Value(text) => hash(reader, &text),
        };
        let app = App {
            id: AppId(u32::try_from(index + 1).unwrap_or(u32::MAX)),
            name: Arc::from(name.as_deref().unwrap_or_default()),
            key_hash: key.unwrap_or_default(),
            requests_per_minute: reader.count_opt("requests_per_minute"),
            tokens_per_minute: reader.count_opt("tokens_per_minute"),
            tokens_per_day: reader.long_count_opt("tokens_per_day"),
            concurrency: reader.count_opt("concurrency"),
            priority: match reader.word("priority") {
                Some("batch") => Priority::Batch,
                _ => Priority::Interactive,
            },
            weight: reader.count("weight"),
            on_limit: match reader.word("on_limit") {
                Some("reject") => OnLimit::Reject,
                _ => OnLimit::Wait,
            },
        };
        if let Some(name) = name
            && names.insert(name.clone(), ()).is_some()
        {
            reader
                .walk
                .mistake(reader.draft("name", format!("a second [[app]] is named `{name}`")));
        }
        if let Some(hash) = key
            && let Some(other) = hashes.insert(hash, app.name.to_string())
        {
            let message = format!(
                "`{}` has the key of `{other}`: they could not be told apart",
                app.name
            );
            reader.walk.mistake(
                reader
                    .draft("key", message)
                    .help("give each its own: `weir keys create NAME`"),
            );
        }
        apps.push(Arc::new(app));
    }
    apps
}

/// `blake3:` and 64 hex digits; whatever else it is, it is not shown.
fn hash(reader: &Reader<'_>, text: &Text) -> Option<[u8; 32]> {
    let digits = text.value.strip_prefix("blake3:");
    let hash = digits.and_then(|digits| blake3::Hash::from_hex(digits).ok());
    if hash.is_none() {
        let (message, help) = match digits {
            Some(digits) => (
                format!(
                    "`key` is not a whole hash: {} characters after `blake3:`",
                    digits.chars().count()
                ),
                "copy the line that `weir keys create` printed",
            ),
            None => (
                "`key` must be the hash of a key, not the key".to_owned(),
                "`weir keys create NAME` makes a key and prints its hash; a key that stood in a file should be replaced",
            ),
        };
        reader.refuse("key", text, &message, |draft| draft.help(help));
    }
    hash.map(|hash| *hash.as_bytes())
}
