//! What a handshake showed, or why it failed.

use std::time::{Duration, SystemTime};

use super::{Check, Finding};

/// A certificate that ends within this is worth a warning: renewal is due, and has not happened.
const SOON: Duration = Duration::from_secs(10 * 86_400);

/// Words in an issuer's name by which devices and programs that open TLS are known.
const INSPECTORS: [&str; 21] = [
    "zscaler",
    "netskope",
    "palo alto",
    "fortinet",
    "fortigate",
    "blue coat",
    "symantec web",
    "forcepoint",
    "umbrella",
    "mitmproxy",
    "charles proxy",
    "fiddler",
    "portswigger",
    "burp",
    "kaspersky",
    "avast",
    "eset ssl",
    "sophos",
    "checkpoint",
    "check point",
    "squid",
];

/// Organisations that sign for the public APIs of the vendors.
const PUBLIC: [&str; 22] = [
    "let's encrypt",
    "internet security research",
    "google trust",
    "google llc",
    "digicert",
    "amazon",
    "microsoft",
    "globalsign",
    "sectigo",
    "comodo",
    "cloudflare",
    "entrust",
    "godaddy",
    "starfield",
    "ssl corp",
    "ssl.com",
    "identrust",
    "baltimore",
    "zerossl",
    "certum",
    "buypass",
    "geotrust",
];

/// What the handshake showed.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsFacts {
    pub(super) version: &'static str,
    pub(super) took: Duration,
    pub(super) h2: bool,
    pub(super) certificate: Option<Certificate>,
}

/// The server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Organisation, else common name.
    pub(super) issuer: String,
    pub(super) until: SystemTime,
    pub(super) from: SystemTime,
    pub(super) self_signed: bool,
}

/// Why a handshake failed.
#[derive(Clone, Debug)]
pub(super) struct TlsTrouble {
    pub(super) why: Why,
    pub(super) certificate: Option<Certificate>,
}

/// The reason, as far as it leads to different advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    UnknownIssuer,
    Expired,
    NotYetValid,
    OtherName,
    NoTls,
    NoRoots,
    Other(String),
}

/// Findings of a handshake that succeeded. `public`: the host is a vendor's own, whose issuers are known.
pub(super) fn examine(facts: &TlsFacts, public: bool, now: SystemTime) -> Vec<Finding> {
    let Some(certificate) = &facts.certificate else {
        return vec![Finding::ok(
            Check::Tls,
            "tls",
            format!("{}.", facts.version),
        )];
    };
    let until = date(certificate.until);
    let left = certificate.until.duration_since(now).unwrap_or_default();
    let about = format!(
        "{}, certificate of {} until {until}",
        facts.version, certificate.issuer
    );
    let mut found = vec![if left < SOON {
        Finding::warning(
            Check::Tls,
            "tls-ends-soon",
            format!("{about}: in {} days.", left.as_secs() / 86_400),
        )
        .todo("Its owner has to renew it; if that is you, do it now.")
    } else {
        Finding::ok(Check::Tls, "tls", format!("{about}."))
    }];
    found.extend(inspected(certificate, public));
    found
}

/// Somebody between us and the provider opens the connection.
fn inspected(certificate: &Certificate, public: bool) -> Option<Finding> {
    let issuer = certificate.issuer.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| issuer.contains(word));
    let known = has(&INSPECTORS);
    (known || (public && !has(&PUBLIC))).then(|| {
        Finding::warning(
            Check::Tls,
            "tls-inspected",
            format!("The certificate is of {}, {}: a proxy reads what is sent, the key included.", certificate.issuer, if known { "which inspects traffic" } else { "no public authority that this vendor is known to use" }),
        )
        .todo("If your company does this on purpose, it is as meant. Otherwise find out who it is before you send a key.")
    })
}

/// The finding of a handshake that failed.
pub(super) fn failed(trouble: &TlsTrouble, host: &str) -> Finding {
    let issuer = trouble
        .certificate
        .as_ref()
        .map_or_else(String::new, |certificate| {
            if certificate.self_signed {
                " It is self-signed.".to_owned()
            } else {
                format!(" It was issued by {}.", certificate.issuer)
            }
        });
    let error = |id, what: String, todo: &str| Finding::error(Check::Tls, id, what).todo(todo);
    match &trouble.why {
        Why::UnknownIssuer => error(
            "tls-unknown-issuer",
            format!(
                "Nobody whom this machine trusts vouches for the certificate of {host}.{issuer}"
            ),
            "Behind a company proxy, point SSL_CERT_FILE at a bundle with its CA. In a bare container install ca-certificates.",
        ),
        Why::Expired => error(
            "tls-expired",
            format!(
                "The certificate of {host} has expired{}.{issuer}",
                trouble
                    .certificate
                    .as_ref()
                    .map_or_else(String::new, |c| format!(" on {}", date(c.until)))
            ),
            "Check this machine's clock first; else its owner has to renew it.",
        ),
        Why::NotYetValid => error(
            "tls-not-yet-valid",
            format!("The certificate of {host} is not valid yet.{issuer}"),
            "This machine's clock is slow, most likely: set it.",
        ),
        Why::OtherName => error(
            "tls-other-name",
            format!("The certificate shown for {host} is made out to another name.{issuer}"),
            "Check the host in base_url, and whether DNS or a captive portal leads elsewhere.",
        ),
        Why::NoTls => error(
            "tls-none",
            format!("{host} does not speak TLS on this port."),
            "A local server mostly wants http://; otherwise check the port.",
        ),
        Why::NoRoots => error(
            "tls-no-roots",
            "This machine has no trusted certificate roots.".to_owned(),
            "Install the ca-certificates package, or point SSL_CERT_FILE at a bundle.",
        ),
        Why::Other(text) => error(
            "tls-failed",
            format!("The TLS handshake with {host} failed: {text}.{issuer}"),
            "A proxy or an old server, mostly; try from another network.",
        ),
    }
}

/// The day, UTC.
pub(super) fn date(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(issuer: &str, days: u64) -> TlsFacts {
        TlsFacts {
            version: "TLS 1.3",
            certificate: Some(Certificate {
                issuer: issuer.to_owned(),
                from: SystemTime::UNIX_EPOCH,
                until: SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400),
                self_signed: false,
            }),
            ..TlsFacts::default()
        }
    }

    fn ids(issuer: &str, days: u64, public: bool) -> Vec<&'static str> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 86_400);
        examine(&facts(issuer, days), public, now)
            .iter()
            .map(|f| f.id)
            .collect()
    }

    #[test]
    fn a_certificate_that_ends_soon_is_told() {
        assert_eq!(ids("Google Trust Services (WE1)", 190, true), ["tls"]);
        assert_eq!(
            ids("Google Trust Services (WE1)", 105, true),
            ["tls-ends-soon"]
        );
        assert_eq!(
            ids("Google Trust Services (WE1)", 50, true),
            ["tls-ends-soon"]
        );
    }

    #[test]
    fn a_proxy_that_opens_tls_is_told_from_a_house_ca() {
        assert_eq!(
            ids("Zscaler Inc. (Zscaler Root)", 190, false),
            ["tls", "tls-inspected"]
        );
        assert_eq!(ids("Our Company CA", 190, false), ["tls"]);
        assert_eq!(ids("Our Company CA", 190, true), ["tls", "tls-inspected"]);
    }
}
