//! From the file's tree to a sound [`Config`].

mod alerts;
mod app;
mod checks;
mod route;
mod server;
mod upstream;

use std::{num::NonZeroU32, path::Path, sync::Arc};

use super::{
    Config, Listeners, Loaded, Mistakes, Warning,
    effective::Effective,
    env::Env,
    mistake::Draft,
    overrides,
    reader::{Reader, Walk},
    source::Source,
    table::{Kind, ROOT, Section},
    tree::{self, Item, Node, Place, SyntaxError, Table},
};

/// Checks a text; `path` is what messages call it, `None` for the built-in defaults.
pub(crate) fn resolve(
    path: Option<&Path>,
    text: &str,
    env: &Env,
    cores: NonZeroU32,
) -> Result<Loaded, Mistakes> {
    let (mut root, syntax) = tree::parse(text);
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let source = Source::new(&name, text, &root, !syntax.is_empty());
    let walk = Walk::new(env, cores);

    if root.entry("upstream").is_none() {
        root.set("upstream", built_in_upstream());
    }
    overrides::apply(&mut root, env, &mut walk.mistakes.borrow_mut());
    let config = config(&walk, &root, path);
    let mistakes = walk.mistakes.take();
    if let (Some(config), true) = (config, mistakes.is_empty() && syntax.is_empty()) {
        let warnings = sorted(walk.warnings.take());
        return Ok(Loaded {
            config,
            warnings: warnings
                .into_iter()
                .map(|draft| Warning(draft.locate(&source)))
                .collect(),
            effective: Effective::new(walk.effective.take(), &source),
        });
    }
    Err(all_of(mistakes, syntax, &source))
}

/// Only where to listen; mistakes elsewhere, such as a key that is not set, do not matter.
pub(crate) fn listeners(path: Option<&Path>, text: &str, env: &Env) -> Result<Listeners, Mistakes> {
    let (mut root, syntax) = tree::parse(text);
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let source = Source::new(&name, text, &root, !syntax.is_empty());
    let walk = Walk::new(env, NonZeroU32::MIN);

    overrides::apply(&mut root, env, &mut Vec::new());
    root.entries
        .retain(|entry| ["listen", "admin"].contains(&entry.name.as_str()));
    let top = Reader::root(&walk, &ROOT, &root);
    let listen = top.listen("listen");
    let admin = top.table("admin", section("admin")).listen("listen");
    let mistakes = walk.mistakes.take();
    match listen {
        Some(listen) if mistakes.is_empty() && syntax.is_empty() => Ok(Listeners { listen, admin }),
        _ => Err(all_of(mistakes, syntax, &source)),
    }
}

fn all_of(mistakes: Vec<Draft>, syntax: Vec<SyntaxError>, source: &Source<'_>) -> Mistakes {
    Mistakes::new(
        sorted(with_syntax(mistakes, syntax, source))
            .into_iter()
            .map(|draft| draft.locate(source))
            .collect(),
    )
}

/// `[[upstream]] name = "openai"`: what a file without upstreams, and no file at all, mean.
fn built_in_upstream() -> Item {
    let item = |node| Item {
        node,
        place: Place::Nowhere,
    };
    let mut table = Table::default();
    table.set("name", item(Node::Text("openai".to_owned())));
    item(Node::List(vec![item(Node::Table(table))]))
}

fn config(walk: &Walk<'_>, root: &Table, path: Option<&Path>) -> Option<Config> {
    let top = Reader::root(walk, &ROOT, root);
    let listen = top.listen("listen")?;
    let admin_reader = top.table("admin", section("admin"));
    let admin = admin_reader.listen("listen");
    let server = server::server(&top.table("server", section("server")), &listen);
    let readers = top
        .tables("upstream", section("upstream"))
        .unwrap_or_default();
    let upstreams = upstream::upstreams(&top, &readers);
    let readers = top.tables("route", section("route"));
    let routes = route::routes(&top, readers.as_deref(), &upstreams);
    let retry = server::retry(&top.table("retry", section("retry")));
    let breaker = server::breaker(&top.table("breaker", section("breaker")));
    let cache = server::cache(&top.table("cache", section("cache")));
    let limits = server::learning(&top.table("limits", section("limits")));
    let apps = app::apps(&top.tables("app", section("app")).unwrap_or_default());
    let alerts = alerts::alerts(&top.table("alerts", section("alerts")));
    let log = server::log(&top.table("log", section("log")));

    checks::listeners(&top, &admin_reader, &listen, admin.as_ref());
    checks::loops(walk, &upstreams, &listen, admin.as_ref());
    checks::open_listener(&top, &upstreams, &listen, &apps);
    checks::unused_upstreams(walk, &upstreams, &routes);
    checks::same_account(walk, &upstreams);
    checks::app_keys_to_providers(walk, &upstreams, &apps);

    let upstreams: Vec<_> = upstreams
        .into_iter()
        .filter_map(|parsed| parsed.resolved)
        .collect();
    let routes: Vec<_> = routes.into_iter().flatten().map(Arc::new).collect();
    let cache = cache.filter(|cache| {
        cache.policy != super::CachePolicy::Off
            || routes.iter().any(|route| {
                route
                    .cache_policy
                    .is_some_and(|policy| policy != super::CachePolicy::Off)
            })
    });
    // Empty only after a mistake.
    (!upstreams.is_empty() && !routes.is_empty()).then(|| Config {
        source: path.map(Path::to_owned),
        listen,
        admin,
        server,
        upstreams,
        routes,
        retry,
        breaker,
        cache,
        limits,
        apps,
        alerts,
        log,
    })
}

/// The section of a key of the top level.
fn section(key: &str) -> &'static Section {
    match ROOT.key(key).map(|key| key.kind) {
        Some(Kind::Table(section) | Kind::Tables(section)) => section,
        _ => &ROOT,
    }
}

/// Adds what the parser said. Where the file is broken, what seems missing may only be unread.
fn with_syntax(
    mut mistakes: Vec<Draft>,
    syntax: Vec<SyntaxError>,
    source: &Source<'_>,
) -> Vec<Draft> {
    if syntax.is_empty() {
        return mistakes;
    }
    let line = |place: &Place| match place {
        Place::File { start, .. } => Some(source.line(*start)),
        _ => None,
    };
    // One broken line makes the parser stumble more than once; the first word on it counts.
    let mut told = Vec::new();
    mistakes.retain(|draft| !draft.absence);
    for error in &syntax {
        let at = line(&error.place);
        if told.contains(&at) {
            continue;
        }
        told.push(at);
        mistakes.retain(|draft| line(&draft.place) != at || at.is_none());
        mistakes.push(Draft::new(
            &error.place,
            "",
            format!("not TOML: {}", error.message),
        ));
    }
    mistakes
}

fn sorted(mut drafts: Vec<Draft>) -> Vec<Draft> {
    drafts.sort_by(|a, b| a.place.cmp(&b.place));
    drafts
}
