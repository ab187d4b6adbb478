//! What lies in the environment and points elsewhere: names only, never a key.

use std::path::Path;

use http::Uri;

use super::{
    Check, Finding,
    kinds::{Use, kind_of},
};
use crate::{
    config::{Env, Listen},
    triage,
};

/// A file of variables larger than this is none.
const MAX_DOTENV: u64 = 64 << 10;

/// Variables by which programs name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// What is looked at.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) env: &'a Env,
    /// Names and values in `./.env`, which weir does not read.
    pub(super) dotenv: &'a [(String, String)],
    /// Where apps reach this weir.
    pub(super) listen: &'a Listen,
    /// Variables that an upstream's key comes from: examined there.
    pub(super) examined: &'a [String],
    /// Usable certificates of the machine, when an upstream is behind TLS.
    pub(super) roots: Option<usize>,
    /// There is an upstream at Azure.
    pub(super) azure: bool,
}

pub(super) fn examine(around: &Surroundings<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(base_url(around));
    found.extend(proxy(around.env));
    found.extend(certificates(around));
    found.extend(dotenv(around));
    found.extend(strange_keys(around));
    found.extend(azure(around));
    found
}

fn set<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.var(name).filter(|value| !value.trim().is_empty())
}

/// Where SDKs that are started here go.
fn base_url(around: &Surroundings<'_>) -> Option<Finding> {
    let (name, raw) = ["OPENAI_BASE_URL", "OPENAI_API_BASE"]
        .into_iter()
        .find_map(|name| Some((name, set(around.env, name)?)))?;
    let url = raw.trim();
    let warn = |id, what: String, todo: &str| {
        Some(Finding::warning(Check::Environment, id, what).todo(todo.to_owned()))
    };
    let Some(uri) = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some()) else {
        return warn(
            "env-base-url-unreadable",
            format!("{name} is no URL."),
            "Write scheme, host and /v1.",
        );
    };
    if raw != url {
        return warn(
            "env-base-url-blanks",
            format!("{name} has blanks around it, which SDKs send as part of the address."),
            "Set it anew, without them.",
        );
    }
    let path = uri.path().trim_end_matches('/');
    let at = format!(
        "{}://{}{path}",
        uri.scheme_str().unwrap_or("http"),
        host_and_port(&uri)
    );
    if path.matches("/v1").count() > 1 {
        return warn(
            "env-base-url-v1-twice",
            format!("{name} is {at}: /v1 is there twice."),
            "One /v1 is enough.",
        );
    }
    if [
        "/chat/completions",
        "/completions",
        "/responses",
        "/embeddings",
        "/models",
    ]
    .iter()
    .any(|end| path.ends_with(end))
    {
        return warn(
            "env-base-url-endpoint",
            format!("{name} is {at}: it goes on into an endpoint, which SDKs add themselves."),
            "End it after /v1.",
        );
    }
    if leads_to(&uri, around.listen) {
        return Some(Finding::ok(
            Check::Environment,
            "env-base-url",
            format!("{name} leads to weir ({at})."),
        ));
    }
    if path.is_empty()
        && triage::preset("openai")
            .is_some_and(|openai| uri.host().is_some_and(|host| openai.owns_host(host)))
    {
        return warn(
            "env-base-url-no-version",
            format!("{name} is {at}: the /v1 is missing."),
            "Add /v1.",
        );
    }
    Some(
        Finding::note(
            Check::Environment,
            "env-base-url-elsewhere",
            format!("{name} is {at}: programs started here go there, not through weir."),
        )
        .todo(format!(
            "Set it to http://{}/v1 for what is to go through weir.",
            around.listen
        )),
    )
}

/// Without user and password.
fn host_and_port(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn leads_to(uri: &Uri, listen: &Listen) -> bool {
    let Listen::Tcp(own) = listen else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip == own.ip());
    here && uri.port_u16() == Some(own.port())
}

fn proxy(env: &Env) -> Option<Finding> {
    let name = PROXIES.into_iter().find(|name| set(env, name).is_some())?;
    Some(
        Finding::note(Check::Environment, "env-proxy", format!("{name} is set. weir does not use it: it connects to providers directly."))
            .todo("Where only the proxy leads out, let weir's host connect to the providers' hosts on port 443."),
    )
}

fn certificates(around: &Surroundings<'_>) -> Option<Finding> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .find(|name| set(around.env, name).is_some());
    match (around.roots?, named) {
        (0, Some(name)) => Some(
            Finding::error(
                Check::Environment,
                "env-no-certificates",
                format!("{name} leads to no usable certificate: every TLS connection fails."),
            )
            .todo("Correct its path, or unset it for the system's own."),
        ),
        (0, None) => Some(
            Finding::error(
                Check::Environment,
                "env-no-certificates",
                "This machine has no trusted certificates: every TLS connection fails.",
            )
            .todo("Install the ca-certificates package, or point SSL_CERT_FILE at a bundle."),
        ),
        (count, Some(name)) => Some(Finding::note(
            Check::Environment,
            "env-certificates",
            format!("{name} replaces the system's certificates: {count} are trusted."),
        )),
        (_, None) => None,
    }
}

/// A key in `.env` that is another than the one in force.
fn dotenv(around: &Surroundings<'_>) -> Vec<Finding> {
    let is_known = |name: &str| {
        ["OPENAI_", "AZURE_OPENAI_", "ANTHROPIC_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name.ends_with("_API_KEY")
            || around.examined.iter().any(|examined| examined == name)
    };
    let differing: Vec<_> = around
        .dotenv
        .iter()
        .filter(|(name, value)| {
            is_known(name) && set(around.env, name).is_some_and(|set| set.trim() != value.trim())
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if differing.is_empty() {
        return Vec::new();
    }
    vec![
        Finding::warning(
            Check::Environment,
            "env-dotenv-differs",
            format!("./.env has another value than the environment for {}. weir takes the environment's; programs that load .env may take the other.", differing.join(", ")),
        )
        .todo("Make them the same, or remove one."),
    ]
}

/// Vendors' usual variables that hold another vendor's key.
fn strange_keys(around: &Surroundings<'_>) -> Vec<Finding> {
    let usual = triage::presets()
        .filter_map(triage::preset)
        .filter(|preset| !preset.local);
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for preset in usual {
        let Some(name) = preset.key_variable.clone() else {
            continue;
        };
        if seen.contains(&name) || around.examined.contains(&name) {
            continue;
        }
        seen.push(name.clone());
        let Some(kind) = set(around.env, &name).and_then(|key| kind_of(key.trim())) else {
            continue;
        };
        let vendor = preset.title.split([' ', '(']).next().unwrap_or_default();
        let own = preset.title.contains(kind.vendor.0)
            || kind.good_for == Use::Session
            || kind.name.contains("another vendor");
        if !own {
            found.push(
                Finding::warning(
                    Check::Environment,
                    "env-key-of-another-vendor",
                    format!(
                        "{name} holds a key of {} ({}), not of {vendor}.",
                        kind.vendor.0, kind.name
                    ),
                )
                .todo("No upstream uses it; programs that bypass weir do."),
            );
        }
    }
    found
}

fn azure(around: &Surroundings<'_>) -> Option<Finding> {
    let names: Vec<_> = around
        .env
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("AZURE_OPENAI_"))
        .collect();
    (!names.is_empty() && !around.azure).then(|| {
        Finding::note(
            Check::Environment,
            "env-azure",
            format!(
                "{} in the environment, but no upstream is at Azure.",
                names.join(", ")
            ),
        )
        .todo("SDKs' Azure clients read these and go to Azure directly, past weir.")
    })
}

/// The names and values in a file of `NAME=value` lines; none when there is no such file.
pub(super) fn read_dotenv(path: &Path) -> Vec<(String, String)> {
    let small =
        std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= MAX_DOTENV);
    if !small {
        return Vec::new();
    }
    std::fs::read_to_string(path)
        .map(|text| parse_dotenv(&text))
        .unwrap_or_default()
}

fn parse_dotenv(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=')?;
            let name = name.trim();
            let plain =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let value = value.trim().trim_matches(['"', '\'']);
            plain.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(env: &[(&str, &str)], dotenv: &str) -> Vec<&'static str> {
        let env: Env = env.iter().copied().collect();
        let listen = Listen::Tcp("127.0.0.1:8484".parse().unwrap());
        let around = Surroundings {
            env: &env,
            dotenv: &parse_dotenv(dotenv),
            listen: &listen,
            examined: &["OPENAI_API_KEY".to_owned()],
            roots: Some(100),
            azure: false,
        };
        let found = examine(&around);
        for finding in &found {
            assert!(!finding.what.contains("secret"), "{}", finding.what);
        }
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn an_empty_environment_has_nothing_to_say() {
        assert!(ids(&[("PATH", "/bin"), ("OPENAI_BASE_URL", "")], "").is_empty());
    }

    #[test]
    fn a_base_url_is_read_as_sdks_read_it() {
        for (url, id) in [
            ("http://127.0.0.1:8484/v1", "env-base-url"),
            ("http://localhost:8484/v1", "env-base-url"),
            ("http://127.0.0.1:8484/v1/v1", "env-base-url-v1-twice"),
            (
                "https://api.openai.com/v1/chat/completions",
                "env-base-url-endpoint",
            ),
            ("https://api.openai.com", "env-base-url-no-version"),
            (
                "https://user:secret@proxy.example/v1",
                "env-base-url-elsewhere",
            ),
            ("https://api.openai.com/v1 ", "env-base-url-blanks"),
            ("not a url", "env-base-url-unreadable"),
        ] {
            assert_eq!(ids(&[("OPENAI_BASE_URL", url)], ""), [id], "{url}");
        }
    }

    #[test]
    fn two_keys_of_one_name_are_told_by_name_alone() {
        let env = [("OPENAI_API_KEY", "sk-secret-one")];
        assert_eq!(
            ids(&env, "export OPENAI_API_KEY=\"sk-secret-two\"\n# x\n"),
            ["env-dotenv-differs"]
        );
        assert!(ids(&env, "OPENAI_API_KEY='sk-secret-one'").is_empty());
    }

    #[test]
    fn a_variable_with_another_vendors_key_is_told() {
        assert_eq!(
            ids(&[("GROQ_API_KEY", "sk-ant-api03-secret")], ""),
            ["env-key-of-another-vendor"]
        );
        assert!(ids(&[("GROQ_API_KEY", "gsk_secret")], "").is_empty());
        assert!(
            ids(
                &[
                    ("GEMINI_API_KEY", "AIzasecret"),
                    ("ANTHROPIC_API_KEY", "sk-ant-api03-secret")
                ],
                ""
            )
            .is_empty()
        );
    }

    #[test]
    fn proxies_and_azure_are_noted() {
        assert_eq!(
            ids(&[("HTTPS_PROXY", "http://u:secret@p:3128")], ""),
            ["env-proxy"]
        );
        assert_eq!(
            ids(&[("AZURE_OPENAI_ENDPOINT", "https://x")], ""),
            ["env-azure"]
        );
    }
}
