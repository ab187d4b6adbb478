//! The documents show configurations that work as they stand.

use super::sound;

const PAGES: [(&str, &str, usize); 7] = [
    ("README.md", include_str!("../../../README.md"), 4),
    ("docs/alerts.md", include_str!("../../../docs/alerts.md"), 2),
    (
        "deploy/container.toml",
        include_str!("../../../deploy/container.toml"),
        0,
    ),
    (
        "deploy/sidecar.toml",
        include_str!("../../../deploy/sidecar.toml"),
        0,
    ),
    (
        "deploy/simulated.toml",
        include_str!("../../../deploy/simulated.toml"),
        0,
    ),
    (
        "deploy/kubernetes-sidecar.yaml",
        include_str!("../../../deploy/kubernetes-sidecar.yaml"),
        1,
    ),
    (
        "config/weir.example.toml",
        include_str!("../../../config/weir.example.toml"),
        0,
    ),
];

/// The configurations in a page: fenced as `toml`, or a block scalar named `weir.toml`; a `.toml` file is one.
fn configurations(name: &str, text: &str) -> Vec<String> {
    if name.ends_with(".toml") {
        return vec![text.to_owned()];
    }
    if let Some((_, rest)) = text.split_once("  weir.toml: |\n") {
        let block = rest
            .lines()
            .take_while(|line| line.is_empty() || line.starts_with("    "));
        return vec![
            block
                .map(|line| line.strip_prefix("    ").unwrap_or(line))
                .collect::<Vec<_>>()
                .join("\n"),
        ];
    }
    text.split("```toml\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

/// Every `${NAME}` in the text, set to something.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let names = text
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split(['}', ':']).next());
    names
        .map(|name| {
            (
                name,
                if name.ends_with("_URL") {
                    "http://provider:8090/v1"
                } else {
                    "something"
                },
            )
        })
        .collect()
}

#[test]
fn every_documented_configuration_is_sound() {
    for (name, text, at_least) in PAGES {
        let found = configurations(name, text);
        assert!(
            found.len() >= at_least.max(1),
            "{name}: {} configurations",
            found.len()
        );
        for configuration in found {
            let config = sound(&configuration, &variables(&configuration));
            assert!(!config.upstreams.is_empty(), "{name}");
        }
    }
}
