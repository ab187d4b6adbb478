//! `[alerts]`: the webhook, and what it is told.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;

use crate::config::{
    AlertFormat, AlertKey, AlertTopic, Alerts, Webhook, near,
    reader::{Found, Reader},
};

/// Takes JSON in Slack's shape and nothing else.
const SLACK: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];
/// How a key in Base64 begins, by the convention of Standard Webhooks.
const ENCODED: &str = "whsec_";

/// `None` without a webhook.
pub(super) fn alerts(reader: &Reader<'_>) -> Option<Alerts> {
    let webhook = webhook(reader);
    let format = reader.word("format").map(|word| match word {
        "slack" => AlertFormat::Slack,
        _ => AlertFormat::Json,
    });
    let secret = secret(reader);
    let on = topics(reader);
    let (hold, timeout, give_up_after) = (
        reader.duration("hold"),
        reader.duration("timeout"),
        reader.duration("give_up_after"),
    );
    let Some(webhook) = webhook else {
        if !reader.has("webhook") && (reader.has("secret") || reader.has("format")) {
            reader.walk.warn(
                reader
                    .draft(
                        "webhook",
                        "[alerts] has no `webhook`, so that nobody is told",
                    )
                    .help("write webhook = \"${ALERT_WEBHOOK_URL}\""),
            );
        }
        return None;
    };
    let slack = SLACK.contains(&webhook.host().to_ascii_lowercase().as_str());
    Some(Alerts {
        format: format.unwrap_or(if slack {
            AlertFormat::Slack
        } else {
            AlertFormat::Json
        }),
        webhook,
        secret,
        on,
        hold,
        timeout,
        give_up_after,
    })
}

fn webhook(reader: &Reader<'_>) -> Option<Webhook> {
    let Found::Value(text) = reader.text("webhook") else {
        return None;
    };
    match checked_url(text.value.trim()) {
        Ok(url) => {
            if url.scheme_str() == Some("http") && !is_near(url.host().unwrap_or_default()) {
                reader.walk.warn(
                    reader
                        .draft("webhook", "alerts go over the open network without TLS")
                        .help("write https://"),
                );
            }
            Some(Webhook::new(url))
        }
        Err((message, help)) => {
            reader.refuse("webhook", &text, message, |draft| match help {
                Some(help) => draft.help(help),
                None => draft,
            });
            None
        }
    }
}

/// The URL, or what is wrong with it (without quoting it) and what to do.
fn checked_url(url: &str) -> Result<Uri, (&'static str, Option<&'static str>)> {
    let uri: Uri = url.parse().map_err(|_| ("`webhook` is no URL", None))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(("`webhook` does not begin with http:// or https://", None));
    }
    let authority = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
        .ok_or(("`webhook` has no host", None))?;
    if authority.as_str().contains('@') {
        return Err((
            "`webhook` holds a user or password",
            Some("it would not be sent; let the receiver check a signature instead"),
        ));
    }
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| port.parse::<u16>().unwrap_or(0) == 0) {
        return Err(("`webhook` has no possible port", None));
    }
    Ok(uri)
}

/// Whether the way to `host` leads over this machine or a private network only, as far as its name tells.
fn is_near(host: &str) -> bool {
    let host = host
        .trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase();
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => {
            let inner = [".localhost", ".local", ".internal", ".svc", ".lan"];
            !host.contains('.') || inner.iter().any(|end| host.ends_with(end))
        }
    }
}

fn secret(reader: &Reader<'_>) -> Option<AlertKey> {
    let Found::Value(text) = reader.text("secret") else {
        return None;
    };
    let secret = text.value.trim();
    let Some(encoded) = secret.strip_prefix(ENCODED) else {
        return Some(AlertKey::new(secret.as_bytes()));
    };
    match BASE64_STANDARD.decode(encoded) {
        Ok(key) if !key.is_empty() => Some(AlertKey::new(key)),
        _ => {
            reader.refuse(
                "secret",
                &text,
                "`secret` is not Base64 after `whsec_`",
                |draft| {
                    draft.help("copy it whole, with the = at its end; openssl rand -base64 32 makes a new one")
                },
            );
            None
        }
    }
}

fn topics(reader: &Reader<'_>) -> Vec<AlertTopic> {
    let Found::Value(texts) = reader.texts("on") else {
        return AlertTopic::ALL.to_vec();
    };
    let mut topics = Vec::with_capacity(texts.len());
    for text in &texts {
        let known = AlertTopic::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text.value);
        match known {
            Some(topic) if topics.contains(&topic) => {}
            Some(topic) => topics.push(topic),
            None => {
                let words = AlertTopic::ALL.iter().map(|topic| topic.as_str());
                let near = near::nearest(&text.value, words);
                reader.refuse("on", text, "`on` has an unknown word", |draft| {
                    draft.suggestion(near)
                });
            }
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_cannot_work_is_refused() {
        for url in [
            "",
            "hooks.example.com/a",
            "ftp://a/b",
            "https://",
            "https://me:pass@a/b",
            "https://a:0/",
            "https://a:99999/",
            "https://a b/",
        ] {
            assert!(checked_url(url).is_err(), "{url}");
        }
        for url in ["https://a/b?c=d", "http://127.0.0.1:9/x", "http://[::1]:9"] {
            assert!(checked_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn only_the_open_network_needs_tls() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "[::1]",
            "localhost",
            "receiver",
            "a.b.svc",
            "x.internal",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in ["8.8.8.8", "example.com", "[2001:db8::1]"] {
            assert!(!is_near(far), "{far}");
        }
    }
}
