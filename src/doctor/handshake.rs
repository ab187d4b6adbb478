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

use super::tls::{Certificate, TlsFacts, TlsTrouble, Why};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read() {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let read = Certificate::read(signed.cert.der()).unwrap();
        assert!(read.self_signed);
        assert!(read.from < SystemTime::now() && read.until > SystemTime::now());
        assert!(Certificate::read(&CertificateDer::from(b"no certificate".to_vec())).is_none());
    }
}
