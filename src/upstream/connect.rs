//! How a connection is made: DNS, happy eyeballs, TLS with the system's roots, ALPN.

use std::{fmt, io, time::Duration};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

/// A connected stream, TLS or not.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections; cheap to clone, the TLS session cache is shared.
#[derive(Clone)]
pub struct Connector {
    any: HttpsConnector<HttpConnector>,
    /// Offers HTTP/1.1 alone.
    http1: HttpsConnector<HttpConnector>,
}

/// The system has no usable certificate roots.
#[derive(Debug, thiserror::Error)]
#[error(
    "no trusted certificate roots were found on this system ({0}); install the `ca-certificates` package or point SSL_CERT_FILE at a bundle"
)]
pub struct TlsError(String);

// === impl Connector ===

impl Connector {
    /// Trusts the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed).
    ///
    /// # Errors
    /// When `https` is needed and not one root can be loaded: without that every call would fail.
    pub fn new(https: bool) -> Result<Self, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        // Always: a reload may add the first provider that needs them.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if https && roots.is_empty() {
            let why = found
                .errors
                .first()
                .map_or_else(|| "none present".to_owned(), ToString::to_string);
            return Err(TlsError(why));
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        // A dead peer behind a silent network is noticed even while a stream idles.
        http.set_keepalive(Some(Duration::from_secs(60)));
        let any = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http.clone());
        let http1 = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { any, http1 })
    }

    /// Connects to the origin of `uri`. The flag tells whether HTTP/2 was agreed on; for an `upgrade` it is not offered.
    pub(super) async fn connect(&self, uri: Uri, upgrade: bool) -> Result<(Io, bool), io::Error> {
        let mut connector = if upgrade {
            self.http1.clone()
        } else {
            self.any.clone()
        };
        let io = connector
            .ready()
            .await
            .map_err(other)?
            .call(uri)
            .await
            .map_err(other)?;
        let h2 = io.connected().is_negotiated_h2();
        Ok((io, h2))
    }
}

fn other(error: Box<dyn std::error::Error + Send + Sync>) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(io) => *io,
        Err(error) => io::Error::other(Causes(&*error).to_string()),
    }
}

/// An error with its chain of causes in one line.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
