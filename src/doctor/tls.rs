//! The TLS handshake, and the certificate that was shown in it, trusted or not.
//!
//! Certificates are checked exactly as the gateway checks them; a witness beside the check keeps what was shown, so that
//! a refusal can say who vouched for it. No request goes over a connection that was not trusted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

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

/// Checks as the gateway does, and remembers what it was shown.
#[derive(Debug)]
pub(super) struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<CertificateDer<'static>>>,
}

// === impl Witness ===

impl Witness {
    pub(super) fn new(roots: Arc<RootCertStore>) -> Result<Arc<Self>, TlsTrouble> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|_| TlsTrouble {
                why: Why::NoRoots,
                certificate: None,
            })?;
        Ok(Arc::new(Self {
            inner,
            seen: Mutex::new(None),
        }))
    }

    fn certificate(&self) -> Option<Certificate> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Certificate::read(seen.as_ref()?)
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(end_entity.clone().into_owned());
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

// === impl Certificate ===

impl Certificate {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let at = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let validity = certificate.validity();
        Some(Self {
            issuer: name(certificate.issuer()),
            from: at(validity.not_before.timestamp()),
            until: at(validity.not_after.timestamp()),
            self_signed: certificate.issuer() == certificate.subject(),
        })
    }
}

fn name(name: &X509Name<'_>) -> String {
    let organization = name.iter_organization().next();
    let common = name.iter_common_name().next();
    let text = |part: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        part.and_then(|part| part.as_str().ok())
            .map(|text| text.chars().take(80).collect::<String>())
    };
    match (text(organization), text(common)) {
        (Some(organization), Some(common)) => format!("{organization} ({common})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "nobody named".to_owned(),
    }
}

/// Shakes hands; the stream is trusted when it comes back.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    witness: &Arc<Witness>,
) -> Result<TlsStream<TcpStream>, TlsTrouble> {
    let trouble = |why| TlsTrouble {
        why,
        certificate: witness.certificate(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| trouble(Why::Other(error.to_string())))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(witness))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| trouble(Why::Other("the host is no name for TLS".to_owned())))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| trouble(why(&error)))
}

pub(super) fn facts(stream: &TlsStream<TcpStream>, witness: &Witness, took: Duration) -> TlsFacts {
    let (_, session) = stream.get_ref();
    TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        },
        took,
        h2: session.alpn_protocol() == Some(b"h2"),
        certificate: witness.certificate(),
    }
}

fn why(error: &std::io::Error) -> Why {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer => Why::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Why::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Why::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Why::OtherName
            }
            // An authority of the trusted one's name with another key (an old root, a proxy's namesake), and what webpki
            // calls a self-signed certificate that claims to be an authority.
            CertificateError::BadSignature | CertificateError::Other(_) => Why::UnknownIssuer,
            other => Why::Other(other.to_string()),
        },
        Some(Error::InvalidMessage(_)) => Why::NoTls,
        Some(other) => Why::Other(other.to_string()),
        None => Why::Other(error.to_string()),
    }
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

    #[test]
    fn a_certificate_is_read() {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let read = Certificate::read(signed.cert.der()).unwrap();
        assert!(read.self_signed);
        assert!(read.from < SystemTime::now() && read.until > SystemTime::now());
        assert!(Certificate::read(&CertificateDer::from(b"no certificate".to_vec())).is_none());
    }
}
