//! `base_url`: checked, without its trailing slash.

use http::Uri;

use crate::{
    config::{
        effective::Origin,
        reader::{Found, Reader},
    },
    triage::Provider,
};

pub(super) fn base_url(reader: &Reader<'_>, provider: Option<&Provider>) -> Option<Uri> {
    let text = match reader.text("base_url") {
        Found::Wrong => return None,
        Found::Value(text) => text,
        Found::Absent => {
            let provider = provider?;
            let Some(url) = &provider.base_url else {
                reader.missing(
                    "base_url",
                    &format!(
                        "the preset `{}` does not know where your server is",
                        provider.name
                    ),
                );
                return None;
            };
            reader.note("base_url", format!("{url:?}"), Origin::Preset);
            return url.trim_end_matches('/').parse().ok();
        }
    };
    match checked_url(text.value.trim()) {
        Ok(uri) => Some(uri),
        Err((message, help)) => {
            reader.refuse("base_url", &text, message, |draft| match help {
                Some(help) => draft.help(help),
                None => draft,
            });
            None
        }
    }
}

/// The URL without its trailing slash, or what is wrong with it and what to do.
fn checked_url(url: &str) -> Result<Uri, (&'static str, Option<&'static str>)> {
    if url.contains('#') || url.contains('?') {
        return Err((
            "`base_url` has a query or a fragment, which would end up before the path of a call",
            Some("write only scheme, host and path prefix; keys belong into api_key or headers"),
        ));
    }
    let url = url.trim_end_matches('/');
    let uri: Uri = url.parse().map_err(|_| ("`base_url` is no URL", None))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(("`base_url` does not begin with http:// or https://", None));
    }
    let Some(authority) = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
    else {
        return Err(("`base_url` has no host", None));
    };
    if authority.as_str().contains('@') {
        return Err((
            "`base_url` holds a user or password",
            Some("write the key as api_key, or as a header"),
        ));
    }
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| port.parse::<u16>().unwrap_or(0) == 0) {
        return Err(("`base_url` has no possible port", None));
    }
    let path = uri.path().to_ascii_lowercase();
    if path.ends_with("/v1/v1") {
        return Err(("`base_url` ends in /v1 twice", Some("one /v1 is enough")));
    }
    if [
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/responses",
        "/models",
    ]
    .iter()
    .any(|end| path.ends_with(end))
    {
        return Err((
            "`base_url` goes on into an endpoint",
            Some("end it before the endpoint, mostly after /v1"),
        ));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_base_url_keeps_its_path_and_loses_its_slash() {
        let url = |text| checked_url(text).map(|uri| uri.to_string());
        assert_eq!(
            url("https://api.openai.com/v1/").as_deref(),
            Ok("https://api.openai.com/v1")
        );
        assert_eq!(
            url("http://[::1]:8000/v1").as_deref(),
            Ok("http://[::1]:8000/v1")
        );
        assert_eq!(
            url("http://localhost:11434").as_deref(),
            Ok("http://localhost:11434/")
        );
    }

    #[test]
    fn a_base_url_that_cannot_work_is_refused() {
        for url in [
            "",
            "api.openai.com/v1",
            "ftp://host/v1",
            "https://",
            "https:///v1",
            "https://host/v1?key=1",
            "https://host/v1#a",
            "https://user:pass@host/v1",
            "https://host/v1/v1",
            "https://host/v1/v1/",
            "https://host:99999/v1",
            "https://host:0/",
            "https://host/v1/chat/completions",
            "https://ho st/",
        ] {
            assert!(checked_url(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "\\PC*") {
            let _ = checked_url(&url);
        }
    }
}
