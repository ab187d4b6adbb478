//! The key itself: where it came from, what kind it is, whether it was copied whole ([`copied`]). Nothing is asked.

use super::{
    Check, Finding, Severity, copied,
    kinds::{Kind, Use, kind_of},
    vendor::{ANTHROPIC, OPENAI, Vendor},
};

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable that the configuration names.
    Variable(String),
    /// It stands in the file, at this line.
    File(String),
    /// Callers bring their own; the one in this variable was examined in their place.
    Caller { examined: Option<String> },
    /// The server needs none.
    None,
}

/// What is known of a key without asking anybody.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// As it is sent.
    pub(super) key: &'a str,
    /// As its variable holds it.
    pub(super) raw: Option<&'a str>,
    pub(super) source: &'a Source,
    /// Whose API it goes to.
    pub(super) vendor: Option<Vendor>,
    /// It goes to a host of that vendor's own.
    pub(super) at_home: bool,
    /// The server runs in the house, and may take anything.
    pub(super) local: bool,
}

/// All that is to be said of the key; `true`: it must not be sent, since it is another vendor's.
pub(super) fn examine(subject: &Subject<'_>) -> (Vec<Finding>, bool) {
    let mut found = vec![origin(subject)];
    let marred = copied::mars(subject);
    let whole = marred.is_empty();
    found.extend(marred);
    let mut foreign = false;
    if whole && !subject.local {
        if let Some(finding) = copied::placeholder(subject.key) {
            found.push(finding);
        } else if let Some(kind) = kind_of(subject.key) {
            let finding = misplaced(&kind, subject);
            foreign = finding
                .as_ref()
                .is_some_and(|f| f.id == "key-of-another-vendor" && f.severity == Severity::Error);
            found.extend(finding.or_else(|| copied::cut(&kind, subject.key)));
        }
    }
    (found, foreign)
}

/// The kind's name, for tables and JSON.
pub(super) fn kind_name(key: &str) -> Option<String> {
    kind_of(key).map(|kind| format!("{} {}", kind.vendor.0, kind.name))
}

fn origin(subject: &Subject<'_>) -> Finding {
    let kind = kind_name(subject.key).unwrap_or_else(|| "of no known form".to_owned());
    let print = crate::call::Fingerprint::of(subject.key.as_bytes());
    let about = format!("{kind}, fingerprint {print}");
    match subject.source {
        Source::Variable(name) => Finding::ok(
            Check::Key,
            "key-source",
            format!("From ${name}: {about}."),
        ),
        Source::File(place) => Finding::warning(
            Check::Key,
            "key-in-file",
            format!("Stands in the file itself ({place}): {about}."),
        )
        .todo("Put the key into an environment variable and write api_key = \"${NAME}\"; a file gets copied and committed."),
        Source::Caller { examined } => Finding::ok(
            Check::Key,
            "key-source",
            format!(
                "Callers bring their own; examined with that of ${}: {about}.",
                examined.as_deref().unwrap_or("?")
            ),
        ),
        Source::None => Finding::ok(Check::Key, "key-source", "The server needs none."),
    }
}

/// A key of another vendor, or one that is not for calls.
fn misplaced(kind: &Kind, subject: &Subject<'_>) -> Option<Finding> {
    let severity = if subject.at_home {
        Severity::Error
    } else {
        Severity::Warning
    };
    let name = format!("{} {}", kind.vendor.0, kind.name);
    let foreign = subject
        .vendor
        .is_some_and(|vendor| vendor != kind.vendor && !shares_form(vendor, kind));
    if foreign || (kind.good_for == Use::Elsewhere && subject.vendor.is_some()) {
        let meant = subject.vendor.map_or("", |vendor| vendor.0);
        return Some(
            Finding::new(
                Check::Key,
                severity,
                "key-of-another-vendor",
                format!(
                    "This is a key of {} ({name}), and it would be sent to {meant}.",
                    kind.vendor.0
                ),
            )
            .todo(format!(
                "Use a key of {meant} here. If the key was ever sent there, revoke it."
            )),
        );
    }
    match kind.good_for {
        Use::Admin => Some(
            Finding::error(
                Check::Key,
                "key-is-admin",
                format!("This is an {name}: it manages the account and makes no calls."),
            )
            .todo("Make a project key for calls. The admin key belongs into admin_key, where only `weir doctor` uses it."),
        ),
        Use::Session => {
            let todo = match kind.vendor {
                OPENAI | ANTHROPIC => "Make an API key in the vendor's console.",
                _ => "Make an API key; such a token ends within hours and weir does not renew it.",
            };
            Some(
                Finding::new(
                    Check::Key,
                    Severity::Warning,
                    "key-is-session",
                    format!("This is a {name}, not an API key."),
                )
                .todo(todo),
            )
        }
        Use::Api | Use::Elsewhere => None,
    }
}

/// Vendors that take keys of that form too.
fn shares_form(vendor: Vendor, kind: &Kind) -> bool {
    use super::vendor::{AZURE, DEEPSEEK, MOONSHOT};
    // `sk-` and 32 hex digits is everybody's favourite, and JWTs are taken by whom they are made out to.
    (kind.vendor == DEEPSEEK && vendor != OPENAI && vendor != ANTHROPIC)
        || (kind.vendor == AZURE && kind.good_for == Use::Session)
        || (vendor == MOONSHOT && kind.vendor == OPENAI && kind.name.starts_with("user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::vendor::GROQ;

    fn long(prefix: &str) -> String {
        format!("{prefix}{}", "a1B2c3D4".repeat(20))
    }

    fn ids(
        key: &str,
        raw: Option<&str>,
        vendor: Option<Vendor>,
    ) -> (Vec<&'static str>, Severity, bool) {
        let source = Source::Variable("OPENAI_API_KEY".to_owned());
        let subject = Subject {
            key,
            raw,
            source: &source,
            vendor,
            at_home: true,
            local: false,
        };
        let (found, foreign) = examine(&subject);
        for finding in &found {
            let text = format!("{} {:?}", finding.what, finding.todo);
            assert!(key.trim().len() < 5 || !text.contains(key.trim()), "{text}");
        }
        let worst = found.iter().map(|f| f.severity).max().unwrap_or_default();
        (found.iter().map(|f| f.id).skip(1).collect(), worst, foreign)
    }

    #[test]
    fn a_sound_key_has_nothing_but_its_origin() {
        assert_eq!(
            ids(&long("sk-proj-"), None, Some(OPENAI)),
            (vec![], Severity::Ok, false)
        );
        assert_eq!(
            ids(&long("gsk_"), None, Some(GROQ)),
            (vec![], Severity::Ok, false)
        );
        assert_eq!(
            ids("any-word-of-a-gateway", None, None),
            (vec![], Severity::Ok, false)
        );
    }

    #[test]
    fn another_vendors_key_is_an_error_and_is_not_sent() {
        let (found, worst, foreign) = ids(&long("gsk_"), None, Some(OPENAI));
        assert_eq!(
            (found, worst, foreign),
            (vec!["key-of-another-vendor"], Severity::Error, true)
        );
        let (found, ..) = ids(&long("sk-proj-"), None, Some(ANTHROPIC));
        assert_eq!(found, ["key-of-another-vendor"]);
    }

    #[test]
    fn an_admin_key_makes_no_calls() {
        let (found, worst, foreign) = ids(&long("sk-admin-"), None, Some(OPENAI));
        assert_eq!(
            (found, worst, foreign),
            (vec!["key-is-admin"], Severity::Error, false)
        );
    }

    #[test]
    fn what_copying_adds_is_named() {
        for (key, id) in [
            ("\"sk-proj-abc\"", "key-quoted"),
            ("Bearer sk-proj-abc", "key-with-bearer"),
            ("OPENAI_API_KEY=sk-proj-abc", "key-with-name"),
            ("sk-proj- abc", "key-with-blanks"),
            ("sk-proj-****abcd", "key-masked"),
            ("sk-...abcd", "key-masked"),
        ] {
            let (found, worst, _) = ids(key, None, Some(OPENAI));
            assert_eq!((found, worst), (vec![id], Severity::Error), "{key}");
        }
        let key = long("sk-proj-");
        let (found, worst, _) = ids(&key, Some(&format!("{key}\n")), Some(OPENAI));
        assert_eq!(
            (found, worst),
            (vec!["key-with-blanks-around"], Severity::Warning)
        );
    }

    #[test]
    fn placeholders_and_cut_keys_are_told_apart() {
        for key in [
            "sk-xxx",
            "sk-xxxxxxxx",
            "your-api-key",
            "<key>",
            "sk-your_openai_key",
            "changeme",
        ] {
            assert_eq!(ids(key, None, Some(OPENAI)).0, ["key-placeholder"], "{key}");
        }
        assert_eq!(
            ids("sk-proj-a1B2c3D4", None, Some(OPENAI)).0,
            ["key-length"]
        );
        assert_eq!(
            ids(
                &format!("AIza{}", "b".repeat(34)),
                None,
                Some(crate::doctor::vendor::GOOGLE)
            )
            .0,
            ["key-length"]
        );
    }

    #[test]
    fn a_local_server_may_take_any_word() {
        let source = Source::Variable("X".to_owned());
        let subject = Subject {
            key: "dummy",
            raw: None,
            source: &source,
            vendor: None,
            at_home: true,
            local: true,
        };
        assert_eq!(examine(&subject).0.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_key_is_in_what_is_said_of_it(key in "(sk-|sk-proj-|gsk_|\"|Bearer )?[A-Za-z0-9_*=. -]{12,80}") {
            for vendor in [None, Some(OPENAI), Some(GROQ)] {
                let _ = ids(&key, Some(&format!(" {key}\n")), vendor);
            }
        }
    }
}
