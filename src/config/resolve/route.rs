//! `[[route]]`: model names to ordered targets.

use std::sync::Arc;

use globset::{Glob, GlobMatcher, GlobSet, GlobSetBuilder};

use super::{server::policy, upstream::Parsed};
use crate::config::{
    Prefer, Route, RouteId, RouteTarget, UpstreamKey,
    effective::{Line, Origin},
    mistake::Draft,
    near,
    reader::{Found, Reader, Text, Walk},
    tree::Place,
};

/// The routes; `None` stands for one with a mistake.
pub(super) fn routes(
    top: &Reader<'_>,
    readers: Option<&[Reader<'_>]>,
    upstreams: &[Parsed],
) -> Vec<Option<Route>> {
    let walk = top.walk;
    let Some(readers) = readers else {
        let route = upstreams.first().and_then(implicit);
        let mut shown = walk.effective.borrow_mut();
        for target in route.iter().flat_map(|route| &route.targets) {
            let value = |key: &str, value: String| Line::Value {
                key: key.to_owned(),
                value,
                origin: Origin::Default,
            };
            shown.push(Line::Section("[[route]]".to_owned()));
            shown.push(value("models", "[\"*\"]".to_owned()));
            shown.push(value("targets", format!("[{:?}]", target.upstream.name)));
            shown.push(value("prefer", "\"order\"".to_owned()));
        }
        return vec![route];
    };
    let mut earlier: Vec<(GlobMatcher, Place)> = Vec::new();
    let mut routes = Vec::with_capacity(readers.len());
    let mut names: Vec<String> = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        let (route, globs) = route(reader, index, upstreams);
        warn_shadowed(walk, reader, &globs, &earlier);
        if let Some(route) = &route {
            if names.iter().any(|name| **name == *route.name) && reader.has("name") {
                walk.mistake(reader.draft(
                    "name",
                    format!("a second [[route]] is named `{}`", route.name),
                ));
            }
            names.push(route.name.to_string());
        }
        earlier.extend(globs);
        routes.push(route);
    }
    if top.is_empty_list("route") {
        walk.mistake(
            top.draft("route", "there is no [[route]]")
                .help("leave `route` out to send every model to the first upstream"),
        );
    }
    routes
}

/// Every model to the first upstream.
fn implicit(first: &Parsed) -> Option<Route> {
    let upstream = Arc::clone(first.resolved.as_ref()?);
    Some(Route {
        id: RouteId(0),
        name: Arc::from("*"),
        models: vec!["*".to_owned()],
        matcher: GlobSet::new([Glob::new("*").ok()?]).ok()?,
        targets: vec![RouteTarget {
            upstream,
            model: None,
        }],
        cache_policy: None,
        timeout: None,
        prefer: Prefer::Order,
    })
}

fn route(
    reader: &Reader<'_>,
    index: usize,
    upstreams: &[Parsed],
) -> (Option<Route>, Vec<(GlobMatcher, Place)>) {
    let name = match reader.text("name") {
        Found::Value(text) => Some(text.value),
        Found::Absent | Found::Wrong => None,
    };
    let models = required(reader, "models");
    let targets = required(reader, "targets");
    let cache_policy = policy(reader, "cache");
    let timeout = reader.duration_opt("timeout");
    let prefer = match reader.word("prefer") {
        Some("soonest") => Prefer::Soonest,
        _ => Prefer::Order,
    };
    let matcher = models.as_deref().and_then(|models| globs(reader, models));
    let targets = targets
        .as_deref()
        .and_then(|targets| resolved_targets(reader, targets, upstreams));
    let patterns: Vec<String> = models
        .iter()
        .flatten()
        .map(|text| text.value.clone())
        .collect();
    let singles = models.iter().flatten().filter_map(|text| {
        Some((
            Glob::new(&text.value).ok()?.compile_matcher(),
            text.place.clone(),
        ))
    });
    let singles = singles.collect();
    let route = match (matcher, targets, patterns.first()) {
        (Some(matcher), Some(targets), Some(first)) => Some(Route {
            id: RouteId(u16::try_from(index).unwrap_or(u16::MAX)),
            name: Arc::from(name.as_deref().unwrap_or(first)),
            models: patterns,
            matcher,
            targets,
            cache_policy,
            timeout,
            prefer,
        }),
        _ => None,
    };
    (route, singles)
}

fn required(reader: &Reader<'_>, key: &str) -> Option<Vec<Text>> {
    match reader.texts(key) {
        Found::Absent => {
            reader.missing(key, "");
            None
        }
        Found::Wrong => None,
        Found::Value(texts) => Some(texts),
    }
}

fn globs(reader: &Reader<'_>, models: &[Text]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    let mut sound = true;
    for (index, text) in models.iter().enumerate() {
        match Glob::new(&text.value) {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => {
                sound = false;
                let path = format!("{}[{index}]", reader.path("models"));
                let draft = Draft::new(
                    &text.place,
                    path,
                    format!("the pattern is no glob: {}", error.kind()),
                );
                reader.walk.mistake(
                    draft
                        .found(format!("{:?}", text.written))
                        .accepted("a name, `*` for any signs, `?` for one, [ab], {a,b}"),
                );
            }
        }
    }
    set.build().ok().filter(|_| sound)
}

/// `None` after a mistake, or when a target's upstream has one of its own.
fn resolved_targets(
    reader: &Reader<'_>,
    targets: &[Text],
    upstreams: &[Parsed],
) -> Option<Vec<RouteTarget>> {
    let mut resolved: Vec<RouteTarget> = Vec::new();
    let mut sound = true;
    for (index, text) in targets.iter().enumerate() {
        let path = format!("{}[{index}]", reader.path("targets"));
        let draft = |message: String| {
            Draft::new(&text.place, &path, message).found(format!("{:?}", text.written))
        };
        // At the first colon: a model's name may hold more of them (`qwen3:8b`).
        let (name, model) = match text.value.split_once(':') {
            Some((name, model)) => (name.trim(), Some(model.trim())),
            None => (text.value.trim(), None),
        };
        let Some(parsed) = upstreams
            .iter()
            .find(|parsed| parsed.name.as_deref() == Some(name))
        else {
            sound = false;
            let names: Vec<_> = upstreams
                .iter()
                .filter_map(|parsed| parsed.name.as_deref())
                .collect();
            let near = near::nearest(name, names.iter().copied()).map(|near| match model {
                Some(model) => format!("{near}:{model}"),
                None => near,
            });
            let known = names.join(", ");
            reader.walk.mistake(
                draft("the target names no upstream".to_owned())
                    .accepted(format!("UPSTREAM or UPSTREAM:MODEL, with one of: {known}"))
                    .suggestion(near),
            );
            continue;
        };
        if model == Some("") {
            sound = false;
            reader.walk.mistake(
                draft("no model after the colon".to_owned())
                    .accepted(format!("\"{name}\" or \"{name}:MODEL\"")),
            );
            continue;
        }
        let Some(upstream) = &parsed.resolved else {
            sound = false;
            continue;
        };
        if resolved
            .iter()
            .any(|other| other.upstream.id == upstream.id && other.model.as_deref() == model)
        {
            sound = false;
            reader.walk.mistake(
                draft("the same target twice in one route".to_owned())
                    .help("attempts at one target are repeated by [retry]"),
            );
            continue;
        }
        let callers = |target: &RouteTarget| {
            target.upstream.key == UpstreamKey::Passthrough && target.upstream.id != upstream.id
        };
        if upstream.key == UpstreamKey::Passthrough
            && let Some(other) = resolved.iter().find(|target| callers(target))
        {
            sound = false;
            let message = format!(
                "`{}` and `{name}` would both get the caller's own key, which is meant for one of them",
                other.upstream.name
            );
            reader.walk.mistake(draft(message).help(format!(
                "give `{name}` an api_key of its own, or leave it out of this route"
            )));
            continue;
        }
        resolved.push(RouteTarget {
            upstream: Arc::clone(upstream),
            model: model.map(Arc::from),
        });
    }
    (sound && !resolved.is_empty()).then_some(resolved)
}

fn warn_shadowed(
    walk: &Walk<'_>,
    reader: &Reader<'_>,
    globs: &[(GlobMatcher, Place)],
    earlier: &[(GlobMatcher, Place)],
) {
    for (index, (glob, place)) in globs.iter().enumerate() {
        let pattern = glob.glob().glob();
        if let Some((above, _)) = earlier.iter().find(|(above, _)| covers(above, pattern)) {
            let message = format!(
                "`{pattern}` is never reached: `{}` of an earlier route takes it",
                above.glob().glob()
            );
            let path = format!("{}[{index}]", reader.path("models"));
            walk.warn(
                Draft::new(place, path, message)
                    .help("the first route that matches wins: put the narrower one first"),
            );
        }
    }
}

/// Whether every name that `pattern` matches is matched by `above`. Sure when it says yes; it may
/// miss patterns other than names and `*`.
fn covers(above: &GlobMatcher, pattern: &str) -> bool {
    let stars_only = |glob: &str| !glob.contains(['?', '[', ']', '{', '}', '\\', '!']);
    let glob = above.glob().glob();
    if glob == pattern {
        return true;
    }
    // A `*` in the pattern becomes signs that only a `*` above can match.
    stars_only(glob)
        && stars_only(pattern)
        && above.is_match(pattern.replace('*', "\u{e000}\u{e001}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(pattern: &str) -> GlobMatcher {
        Glob::new(pattern).expect("a glob").compile_matcher()
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (above, below) in [
            ("*", "gpt-4o"),
            ("*", "gpt-*"),
            ("gpt-*", "gpt-4*"),
            ("gpt-*", "gpt-4o"),
            ("a*c", "ab*c"),
            ("x", "x"),
        ] {
            assert!(covers(&glob(above), below), "{above} {below}");
        }
        for (above, below) in [
            ("gpt-4*", "gpt-*"),
            ("gpt-4o", "gpt-4*"),
            ("g?t", "g*t"),
            ("[ab]", "a"),
            ("a*c", "a*"),
        ] {
            assert!(!covers(&glob(above), below), "{above} {below}");
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_is_never_missed_by_the_cover(above in "[ab*]{1,4}", below in "[ab*]{1,4}", name in "[ab]{0,6}") {
            let (above, pattern) = (glob(&above), glob(&below));
            if covers(&above, &below) && pattern.is_match(&name) {
                prop_assert!(above.is_match(&name));
            }
        }
    }
}
