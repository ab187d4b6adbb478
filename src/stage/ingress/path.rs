//! One form for every path: `/v1/…`.

use http::uri::PathAndQuery;

/// First segments of the OpenAI API, which apps may also call without the `/v1`.
const ROOTS: &[&str] = &[
    "assistants",
    "audio",
    "batches",
    "chat",
    "completions",
    "containers",
    "conversations",
    "edits",
    "embeddings",
    "engines",
    "evals",
    "files",
    "fine_tuning",
    "images",
    "models",
    "moderations",
    "organization",
    "realtime",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
];

/// `path` under `/v1/`, the query untouched. `None`: not a path of the API.
///
/// The path goes to the provider behind the upstream's own prefix, so a segment that climbs (`..`) is
/// refused: no request may leave that prefix.
pub fn canonical(path: &PathAndQuery) -> Option<PathAndQuery> {
    let text = path.as_str();
    let plain = path.path();
    if climbs(plain) {
        return None;
    }
    if plain
        .strip_prefix("/v1/")
        .is_some_and(|rest| !rest.is_empty())
    {
        return Some(path.clone());
    }
    let root = plain.strip_prefix('/')?.split('/').next()?;
    if !ROOTS.contains(&root) {
        return None;
    }
    PathAndQuery::try_from(format!("/v1{text}")).ok()
}

/// Whether a part of `path` climbs, read as carelessly as the most careless server might: escaped dots are dots,
/// escaped slashes and backslashes part segments.
fn climbs(path: &str) -> bool {
    let dots = |path: &str| {
        path.split(['/', '\\'])
            .any(|part| part == "." || part == "..")
    };
    match path.contains('%') {
        true => dots(
            &path
                .to_ascii_lowercase()
                .replace("%2e", ".")
                .replace("%2f", "/")
                .replace("%5c", "\\"),
        ),
        false => dots(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<String> {
        canonical(&path.parse().unwrap()).map(|p| p.to_string())
    }

    #[test]
    fn the_version_prefix_is_optional() {
        assert_eq!(
            of("/v1/chat/completions?x=1").as_deref(),
            Some("/v1/chat/completions?x=1")
        );
        assert_eq!(
            of("/chat/completions?x=1").as_deref(),
            Some("/v1/chat/completions?x=1")
        );
        assert_eq!(
            of("/v1/something/new").as_deref(),
            Some("/v1/something/new")
        );
    }

    #[test]
    fn other_paths_are_not_the_api() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/favicon.ico",
            "/v2/chat/completions",
            "/admin",
            "/modelsx",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn no_path_climbs_out_of_the_prefix() {
        for path in [
            "/v1/../admin",
            "/v1/files/%2e%2e/%2E%2e/x",
            "/v1/./x",
            "/v1/.%2e/x",
            "/v1/files/%2e.%2Fx",
            "/v1/..%5cx",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        for path in [
            "/v1/files/..a/content",
            "/v1/models/org%2Fname",
            "/v1/models/a..b",
        ] {
            assert!(of(path).is_some(), "{path}");
        }
    }
}
