//! Credential → app.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use subtle::ConstantTimeEq;

use super::Refused;
use crate::{
    call::{Credential, Fingerprint},
    config::App,
    redact,
};

/// How keys that `weir keys create` makes begin.
const OWN_PREFIX: &[u8] = b"wk-";

/// Headers in which clients send keys: OpenAI's, Azure's, Anthropic's, Google's.
const KEY_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The apps of a configuration, by the hash of their key.
#[derive(Debug)]
pub struct Apps {
    by_hash: HashMap<[u8; 32], Arc<App>>,
    /// Callers who are none of the apps.
    anyone: Arc<App>,
    /// A caller's own provider key has a place to go to.
    passthrough: bool,
    /// Names that callers of an open listener gave themselves.
    named: Mutex<HashMap<String, Arc<App>>>,
}

/// Self-given names told apart; further ones are `other`. They are metric labels, so they must end somewhere.
const MAX_NAMES: usize = 64;

// === impl Apps ===

impl Apps {
    /// `passthrough`: at least one upstream takes the caller's own key.
    pub fn new(apps: &[Arc<App>], passthrough: bool) -> Self {
        let by_hash = apps
            .iter()
            .map(|app| (app.key_hash, Arc::clone(app)))
            .collect();
        Self {
            by_hash,
            anyone: Arc::new(App::anyone()),
            passthrough,
            named: Mutex::default(),
        }
    }

    /// Who sent `headers`. The key headers are taken out.
    ///
    /// # Errors
    /// A stranger, where apps are configured and no upstream takes callers' own keys.
    pub(super) fn identify(
        &self,
        headers: &mut HeaderMap,
    ) -> Result<(Arc<App>, Credential), Refused> {
        let page = is_foreign_page(headers);
        let mut sent = None;
        for name in KEY_HEADERS {
            if let Some(value) = headers.remove(&name)
                && sent.is_none()
            {
                sent = Some((name, value));
            }
        }
        let Some((name, value)) = sent else {
            return self.without_key(page);
        };
        let key = key_of(&value);
        if let Some(app) = self.app_of(key) {
            let credential = Credential {
                fingerprint: Fingerprint::of(key),
                forward: None,
                may_use_held: true,
            };
            return Ok((app, credential));
        }
        let open = self.by_hash.is_empty() && !page;
        // A key of ours that is no more: it is nothing to any provider.
        let revoked = !self.by_hash.is_empty() && key.starts_with(OWN_PREFIX);
        if revoked || (!open && !self.passthrough) {
            return Err(self.stranger(Refused::UnknownKey));
        }
        let credential = Credential {
            fingerprint: Fingerprint::of(key),
            forward: Some((name, value)),
            may_use_held: open,
        };
        Ok((Arc::clone(&self.anyone), credential))
    }

    /// The app under the name that the caller gives itself (`x-weir-app`). It counts only where no keys tell
    /// apps apart, and it is a label then, nothing more.
    pub(super) fn named(&self, app: Arc<App>, name: Option<&str>) -> Arc<App> {
        let Some(name) = name.filter(|name| self.by_hash.is_empty() && is_word(name)) else {
            return app;
        };
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(app) = named.get(name) {
            return Arc::clone(app);
        }
        // Somebody's key in the place of a name must not become a label.
        let name = if named.len() < MAX_NAMES && redact::name(name) == name {
            name
        } else {
            "other"
        };
        let app = named.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(App {
                name: name.into(),
                ..App::anyone()
            })
        });
        Arc::clone(app)
    }

    fn without_key(&self, page: bool) -> Result<(Arc<App>, Credential), Refused> {
        let open = self.by_hash.is_empty() && !page;
        if !open && !self.passthrough {
            return Err(self.stranger(Refused::NoKey));
        }
        // A passthrough upstream says itself that a key is missing.
        let credential = Credential {
            fingerprint: Fingerprint::default(),
            forward: None,
            may_use_held: open,
        };
        Ok((Arc::clone(&self.anyone), credential))
    }

    /// Without an [[app]] only web pages are refused, and a hint at keys of apps would lead them astray.
    fn stranger(&self, refused: Refused) -> Refused {
        if self.by_hash.is_empty() {
            Refused::ForeignPage
        } else {
            refused
        }
    }

    fn app_of(&self, key: &[u8]) -> Option<Arc<App>> {
        if self.by_hash.is_empty() {
            return None;
        }
        let hash = blake3::hash(key);
        let app = self.by_hash.get(hash.as_bytes())?;
        bool::from(app.key_hash.ct_eq(hash.as_bytes())).then(|| Arc::clone(app))
    }
}

/// The key in a header's value: what follows `Bearer`, else the whole.
fn key_of(value: &HeaderValue) -> &[u8] {
    let bytes = value.as_bytes();
    match bytes.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer ") => bytes[7..].trim_ascii(),
        _ => bytes.trim_ascii(),
    }
}

/// Whether a web page of another site makes the call. Any page that is open in a browser can post to a loopback
/// address; it must not spend the money of keys that serve everyone here. Programs send no `Origin`; pages of this
/// machine, and shells that are no web pages (`tauri://…`), are let in.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let Some((scheme, host)) = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        return true;
    };
    if !matches!(scheme, "http" | "https") {
        return false;
    }
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local = name == "localhost" || name.ends_with(".localhost");
    !(local || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

/// Fit for a metric label.
fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AppId;

    fn app(key: &str) -> Arc<App> {
        Arc::new(App {
            id: AppId(1),
            name: "shop".into(),
            key_hash: *blake3::hash(key.as_bytes()).as_bytes(),
            ..App::anyone()
        })
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn an_apps_key_names_the_app_and_goes_nowhere() {
        let apps = Apps::new(&[app("wk-1")], true);
        for (name, value) in [
            ("authorization", "Bearer wk-1"),
            ("api-key", "wk-1"),
            ("authorization", "bearer  wk-1 "),
        ] {
            let mut headers = headers(name, value);
            let (app, credential) = apps.identify(&mut headers).unwrap();
            assert_eq!(&*app.name, "shop");
            assert!(credential.forward.is_none() && credential.may_use_held);
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn a_stranger_is_refused_where_apps_are_told_apart() {
        let apps = Apps::new(&[app("wk-1")], false);
        assert_eq!(
            apps.identify(&mut headers("authorization", "Bearer wk-2"))
                .unwrap_err(),
            Refused::UnknownKey
        );
        assert_eq!(
            apps.identify(&mut HeaderMap::new()).unwrap_err(),
            Refused::NoKey
        );
    }

    #[test]
    fn a_callers_own_key_never_unlocks_held_keys_where_apps_are_told_apart() {
        let apps = Apps::new(&[app("wk-1")], true);
        let (_, credential) = apps
            .identify(&mut headers("authorization", "Bearer sk-own"))
            .unwrap();
        assert!(credential.forward.is_some() && !credential.may_use_held);
    }

    #[test]
    fn a_revoked_key_of_ours_goes_to_no_provider() {
        let apps = Apps::new(&[app("wk-1")], true);
        assert_eq!(
            apps.identify(&mut headers("authorization", "Bearer wk-old"))
                .unwrap_err(),
            Refused::UnknownKey
        );
    }

    #[test]
    fn an_open_listener_serves_anyone() {
        let apps = Apps::new(&[], false);
        let (app, credential) = apps
            .identify(&mut headers("authorization", "Bearer sk-own"))
            .unwrap();
        assert_eq!(&*app.name, "default");
        assert!(credential.may_use_held);
    }

    #[test]
    fn a_foreign_web_page_gets_none_of_the_keys_that_serve_everyone_here() {
        let apps = Apps::new(&[], true);
        for (origin, foreign) in [
            ("https://evil.example", true),
            ("http://evil.example:8484", true),
            ("http://localhost.evil.example", true),
            ("null", true),
            ("http://localhost:3000", false),
            ("http://127.0.0.1:8484", false),
            ("http://[::1]:3000", false),
            ("tauri://localhost", false),
        ] {
            let (_, credential) = apps.identify(&mut headers("origin", origin)).unwrap();
            assert_eq!(credential.may_use_held, !foreign, "{origin}");
        }
        let held_only = Apps::new(&[], false);
        assert_eq!(
            held_only
                .identify(&mut headers("origin", "https://evil.example"))
                .unwrap_err(),
            Refused::ForeignPage
        );
    }
}
