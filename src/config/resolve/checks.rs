//! What single sections cannot see: listeners against upstreams, keys against callers.

use std::{net::IpAddr, sync::Arc};

use super::upstream::Parsed;
use crate::config::{
    App, Listen, Route, Upstream, UpstreamKey,
    mistake::Draft,
    reader::{Reader, Walk},
    tree::Place,
};

/// Two listeners at one address, and an admin page open to everybody.
pub(super) fn listeners(
    top: &Reader<'_>,
    admin_reader: &Reader<'_>,
    listen: &Listen,
    admin: Option<&Listen>,
) {
    let Some(admin) = admin else { return };
    let same = match (listen, admin) {
        (Listen::Tcp(a), Listen::Tcp(b)) => {
            let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || everywhere)
        }
        (a, b) => a == b,
    };
    if same {
        // Point at whichever of the two was written.
        let at_admin = admin_reader.place_of("listen");
        let draft = match at_admin {
            Place::Nowhere => {
                top.draft("listen", "apps and admin would listen at the same address")
            }
            _ => admin_reader.draft("listen", "apps and admin would listen at the same address"),
        };
        top.walk.mistake(
            draft
                .found(format!("{listen} and {admin}"))
                .help("give admin another port, or \"off\""),
        );
    }
    if !admin.is_local() {
        let message = "the admin listener is open to other machines and asks nobody who they are";
        top.walk.warn(
            admin_reader
                .draft("listen", message)
                .found(admin.to_string())
                .help("127.0.0.1 or a unix socket, unless the network around is yours"),
        );
    }
}

/// A base URL that points back at weir: every call would come in again, until nothing is left.
pub(super) fn loops(
    walk: &Walk<'_>,
    upstreams: &[Parsed],
    listen: &Listen,
    admin: Option<&Listen>,
) {
    for parsed in upstreams {
        let Some(upstream) = &parsed.resolved else {
            continue;
        };
        let uri = &upstream.base_url;
        let default_port = if uri.scheme_str() == Some("http") {
            80
        } else {
            443
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let host = uri.host().unwrap_or_default();
        let back = [("apps", Some(listen)), ("admin", admin)]
            .into_iter()
            .find_map(|(whose, listener)| match listener {
                Some(Listen::Tcp(addr)) if addr.port() == port && reaches(host, addr.ip()) => {
                    Some((whose, addr))
                }
                _ => None,
            });
        if let Some((whose, addr)) = back {
            let draft = Draft::new(
                &parsed.base_url_place,
                format!("{}.base_url", parsed.path),
                "`base_url` points back at weir itself",
            );
            walk.mistake(draft.found(uri.to_string()).help(format!(
                "{addr} is where weir listens for {whose}; write the provider's address"
            )));
        }
    }
}

/// Whether a connection to `host` may arrive at a listener of that address on this machine.
fn reaches(host: &str, listener: IpAddr) -> bool {
    let host = host
        .trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let listener = listener.to_canonical();
    let here = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback();
    if host == "localhost" || host.ends_with(".localhost") {
        return here(listener);
    }
    let Ok(ip) = host.parse::<IpAddr>().map(|ip| ip.to_canonical()) else {
        return false;
    };
    // 127.0.0.2 is a place of its own; the other ways to say "this machine" are one.
    let apart = |ip: IpAddr| ip.is_loopback() && ip != IpAddr::from([127, 0, 0, 1]) && ip.is_ipv4();
    match (ip, listener) {
        (a, b) if a == b => true,
        (a, b) if apart(a) || apart(b) => b.is_unspecified(),
        (a, b) => here(a) && here(b),
    }
}

/// Keys that weir holds serve only callers it can tell apart.
pub(super) fn open_listener(
    top: &Reader<'_>,
    upstreams: &[Parsed],
    listen: &Listen,
    apps: &[Arc<App>],
) {
    let Some(holder) = upstreams.iter().find(|parsed| parsed.holds_key) else {
        return;
    };
    if listen.is_local() || !apps.is_empty() {
        return;
    }
    let name = holder.name.as_deref().unwrap_or("an upstream");
    let message =
        format!("whoever reaches {listen} could spend the key that weir holds for `{name}`");
    let draft = top.draft("listen", message).help(
        "add an [[app]] for each program that calls (`weir keys create NAME`), or listen on 127.0.0.1 or a unix socket, or write api_key = \"passthrough\"",
    );
    top.walk.mistake(draft);
}

/// Accounts that no call can reach.
pub(super) fn unused_upstreams(walk: &Walk<'_>, upstreams: &[Parsed], routes: &[Option<Route>]) {
    // A route with a mistake may name any of them.
    if routes.iter().any(Option::is_none) {
        return;
    }
    let used = |id| {
        routes
            .iter()
            .flatten()
            .flat_map(|route| &route.targets)
            .any(|target| target.upstream.id == id)
    };
    for parsed in upstreams {
        if let Some(upstream) = parsed
            .resolved
            .as_ref()
            .filter(|upstream| !used(upstream.id))
        {
            let draft = Draft::new(
                &parsed.place,
                &parsed.path,
                format!("no route has `{}` as a target", upstream.name),
            );
            walk.warn(draft.help("name it in the targets of a [[route]]; without any, all calls go to the first upstream"));
        }
    }
}

/// One account under two names: what one of them spends looks like a stranger's to the other.
pub(super) fn same_account(walk: &Walk<'_>, upstreams: &[Parsed]) {
    let account = |upstream: &Upstream| {
        let same_key = matches!(upstream.key, UpstreamKey::Held(_));
        same_key.then(|| {
            let (url, key) = (upstream.base_url.clone(), upstream.key.clone());
            let within = (upstream.organization.clone(), upstream.project.clone());
            (url, key, within, upstream.headers.clone())
        })
    };
    for (at, parsed) in upstreams.iter().enumerate() {
        let Some(upstream) = &parsed.resolved else {
            continue;
        };
        let Some(own) = account(upstream) else {
            continue;
        };
        let mut earlier = upstreams[..at].iter().filter_map(|p| p.resolved.as_ref());
        if let Some(twin) = earlier.find(|twin| account(twin).as_ref() == Some(&own)) {
            let message = format!(
                "`{}` and `{}` are the same account: each learns its limits by itself, and takes the other's calls for foreign use",
                twin.name, upstream.name
            );
            let draft = Draft::new(&parsed.place, &parsed.path, message);
            walk.warn(draft.help("name one of them in all routes (\"UPSTREAM:MODEL\" asks for other models), or give them keys of different projects"));
        }
    }
}

/// A caller known by an `[[app]]` key has no key of its own to pass through.
pub(super) fn app_keys_to_providers(walk: &Walk<'_>, upstreams: &[Parsed], apps: &[Arc<App>]) {
    let Some(app) = apps.first() else { return };
    for parsed in upstreams {
        if parsed
            .resolved
            .as_ref()
            .is_some_and(|upstream| upstream.key == UpstreamKey::Passthrough)
        {
            let message = format!(
                "`{}` wants the caller's own key, but `{}` calls with its [[app]] key",
                parsed.path, app.name
            );
            walk.warn(
                Draft::new(&parsed.place, format!("{}.api_key", parsed.path), message)
                    .help("give the upstream an api_key"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(host: &str, listener: &str) -> bool {
        reaches(host, listener.parse().expect("an address"))
    }

    #[test]
    fn every_way_to_say_this_machine_reaches_a_loopback_listener() {
        for host in [
            "127.0.0.1",
            "localhost",
            "LocalHost.",
            "api.localhost",
            "[::1]",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            for listener in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
                assert!(meets(host, listener), "{host} {listener}");
            }
        }
    }

    #[test]
    fn other_machines_and_other_loopback_addresses_do_not() {
        for (host, listener) in [
            ("api.openai.com", "127.0.0.1"),
            ("10.0.0.1", "127.0.0.1"),
            ("127.0.0.2", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("10.0.0.1", "10.0.0.2"),
        ] {
            assert!(!meets(host, listener), "{host} {listener}");
        }
        assert!(meets("10.0.0.1", "10.0.0.1"));
        assert!(meets("127.0.0.2", "0.0.0.0"));
    }
}
