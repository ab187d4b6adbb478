//! The address of an upstream, read with care: what the configuration could not refuse and still goes wrong.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

use super::{Check, Finding};
use crate::{
    config::Listen,
    triage::{self, Dialect, Provider},
};

/// What is wrong with the base URL, as far as it shows without a connection.
pub(super) fn examine(uri: &Uri, provider: &Provider, carries_key: bool) -> Vec<Finding> {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let mut found = Vec::new();
    found.extend(vendor_of_host(&host, provider));
    found.extend(path_of(uri, &host, provider));
    if uri.scheme_str() == Some("http") && !is_inside(&host) {
        let what = format!(
            "http:// to {host}: prompts{} cross the network in the clear.",
            if carries_key { " and the key" } else { "" }
        );
        let todo = "Write https://.";
        found.push(if provider.owns_host(&host) {
            Finding::error(Check::BaseUrl, "base-url-plain-http", what).todo(todo)
        } else {
            Finding::warning(Check::BaseUrl, "base-url-plain-http", what).todo(todo)
        });
    }
    if found.is_empty() {
        found.push(Finding::ok(
            Check::BaseUrl,
            "base-url",
            format!("{uri} is well formed."),
        ));
    }
    found
}

/// The host is a vendor's whose preset is another one.
fn vendor_of_host(host: &str, provider: &Provider) -> Option<Finding> {
    // What runs on this machine is nobody's, though presets for local servers name it.
    if provider.owns_host(host) || is_inside(host) {
        return None;
    }
    let owner = triage::presets()
        .filter_map(triage::preset)
        .find(|preset| {
            preset.dialect == Dialect::OpenAi && !preset.local && preset.owns_host(host)
        })?;
    Some(
        Finding::warning(
            Check::BaseUrl,
            "base-url-other-preset",
            format!("{host} belongs to {}, but the preset is `{}`: the key may go in the wrong header, and failures are judged by the wrong words.", owner.title, provider.name),
        )
        .todo(format!("Write provider = \"{}\".", owner.name)),
    )
}

fn path_of(uri: &Uri, host: &str, provider: &Provider) -> Option<Finding> {
    let path = uri.path().trim_end_matches('/');
    let warn = |id, what: String, todo: String| {
        Some(Finding::warning(Check::BaseUrl, id, what).todo(todo))
    };
    if &*provider.name == "azure" || host.ends_with(".openai.azure.com") {
        return azure_path(uri, path, host);
    }
    if path.matches("/v1").count() > 1 {
        return warn(
            "base-url-v1-twice",
            format!("The path `{path}` has /v1 twice."),
            "One /v1 is enough, at the end.".to_owned(),
        );
    }
    // The vendor's own path is known; elsewhere only an answer can tell.
    let usual: Uri = triage::preset(&provider.name)?
        .base_url
        .as_deref()?
        .parse()
        .ok()?;
    let wanted = usual.path().trim_end_matches('/');
    let same_host = provider.owns_host(host) && !provider.local;
    if !same_host || path == wanted {
        return None;
    }
    if path.is_empty() {
        return warn(
            "base-url-no-version",
            format!(
                "The path is missing: {} has its API under {wanted}.",
                provider.title
            ),
            format!("Write base_url = \"https://{host}{wanted}\"."),
        );
    }
    // A region or an account may stand in the path; one more word after it does not belong there.
    path.strip_prefix(wanted)
        .filter(|rest| !rest.is_empty())
        .and_then(|rest| {
            warn(
                "base-url-too-long",
                format!(
                    "`{rest}` stands behind the API's path {wanted}; weir adds the endpoint itself."
                ),
                format!("Write base_url = \"https://{host}{wanted}\"."),
            )
        })
}

fn azure_path(uri: &Uri, path: &str, host: &str) -> Option<Finding> {
    let warn = |id, what: String| {
        let todo = format!(
            "Write base_url = \"https://{host}/openai/v1\"; the model is the deployment's name."
        );
        Some(Finding::warning(Check::BaseUrl, id, what).todo(todo))
    };
    if path.contains("/deployments/") {
        return warn(
            "base-url-azure-deployment",
            "The path names a deployment, as the old Azure API had it; weir speaks the v1 API."
                .to_owned(),
        );
    }
    let own = host.ends_with(".azure.com");
    if own && path != "/openai/v1" {
        return warn(
            "base-url-azure-path",
            format!(
                "The path is `{}`, and Azure's v1 API is under /openai/v1.",
                uri.path()
            ),
        );
    }
    None
}

/// A host whose traffic stays in the house: this machine, a private network, a name that only an inner resolver knows.
fn is_inside(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
        Err(_) => {
            // Digits and dots that are no address are one of the old ways to write it: 127.1.
            let old_form =
                bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') && bare.starts_with("127");
            old_form
                || !bare.trim_end_matches('.').contains('.')
                || [
                    ".localhost",
                    ".local",
                    ".internal",
                    ".lan",
                    ".svc",
                    ".home.arpa",
                    ".intern",
                    ".corp",
                ]
                .iter()
                .any(|end| bare.ends_with(end))
        }
    }
}

/// What the name led to is where this weir listens.
pub(super) fn loops(
    addresses: &[SocketAddr],
    listeners: &[&Listen],
    is_ours: impl Fn(IpAddr) -> bool,
) -> Option<Finding> {
    let back = addresses.iter().find_map(|address| {
        let ip = address.ip().to_canonical();
        listeners.iter().find_map(|listen| match listen {
            Listen::Tcp(own) if own.port() == address.port() && own.port() != 0 => {
                let at = own.ip().to_canonical();
                let same = at == ip
                    || (at.is_unspecified() && (ip.is_loopback() || is_ours(ip)))
                    || (ip.is_unspecified() && at.is_loopback());
                same.then_some((address, own))
            }
            _ => None,
        })
    });
    let (address, own) = back?;
    Some(
        Finding::error(
            Check::BaseUrl,
            "base-url-loop",
            format!("The name leads to {address}, where weir itself listens ({own}): a call would go round for ever."),
        )
        .todo("Write the provider's address. If a hosts file or proxy leads its name to weir, give weir the true one."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(url: &str, preset: &str) -> Vec<&'static str> {
        let uri: Uri = url.parse().unwrap();
        let provider = triage::preset(preset).unwrap().at(url);
        examine(&uri, &provider, true)
            .iter()
            .map(|f| f.id)
            .collect()
    }

    #[test]
    fn usual_addresses_are_well_formed() {
        for (url, preset) in [
            ("https://api.openai.com/v1", "openai"),
            ("https://eu.api.openai.com/v1", "openai"),
            ("https://api.groq.com/openai/v1", "groq"),
            ("https://house.openai.azure.com/openai/v1", "azure"),
            ("http://127.0.0.1:11434/v1", "ollama"),
            ("http://vllm:8000/v1", "vllm"),
            ("http://10.1.2.3/v1", "openai-compatible"),
            ("http://127.1:8484/v1", "openai"),
            ("http://127.0.0.1:8090/v1", "openai"),
            ("http://localhost:8091/v1", "openai-compatible"),
            ("http://[::1]:1234/v1", "openai-compatible"),
            ("https://gateway.example.com/any/path", "openai"),
        ] {
            assert_eq!(ids(url, preset), ["base-url"], "{url}");
        }
    }

    #[test]
    fn what_goes_wrong_is_named() {
        for (url, preset, id) in [
            ("https://api.openai.com", "openai", "base-url-no-version"),
            (
                "https://api.openai.com/v1/engines",
                "openai",
                "base-url-too-long",
            ),
            (
                "https://host.example/v1/proxy/v1",
                "openai",
                "base-url-v1-twice",
            ),
            (
                "https://api.groq.com/openai/v1",
                "openai",
                "base-url-other-preset",
            ),
            (
                "https://house.openai.azure.com/openai/deployments/gpt",
                "azure",
                "base-url-azure-deployment",
            ),
            (
                "https://house.openai.azure.com",
                "azure",
                "base-url-azure-path",
            ),
            ("http://api.openai.com/v1", "openai", "base-url-plain-http"),
            (
                "http://gateway.example.com/v1",
                "openai-compatible",
                "base-url-plain-http",
            ),
        ] {
            assert!(
                ids(url, preset).contains(&id),
                "{url}: {:?}",
                ids(url, preset)
            );
        }
    }

    #[test]
    fn a_name_that_leads_back_is_a_loop() {
        let listen = Listen::Tcp("127.0.0.1:8484".parse().unwrap());
        let any = Listen::Tcp("0.0.0.0:8484".parse().unwrap());
        let at = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        let never = |_| false;
        assert!(loops(&at("127.0.0.1:8484"), &[&listen], never).is_some());
        assert!(loops(&at("[::ffff:127.0.0.1]:8484"), &[&listen], never).is_some());
        assert!(loops(&at("127.0.0.1:8485"), &[&listen], never).is_none());
        assert!(loops(&at("192.0.2.7:8484"), &[&any], never).is_none());
        assert!(loops(&at("192.0.2.7:8484"), &[&any], |_| true).is_some());
    }
}
