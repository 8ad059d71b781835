//! TLS as a client: whom to trust, and how to tell that somebody is not.

use super::ClientError;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

pub(super) type Connector = HttpsConnector<HttpConnector>;

/// Connects by TLS where the URL says https. The authorities of the system are trusted, or in their place those in `ca_file`.
pub(super) fn connector(
    mut plain: HttpConnector,
    https: bool,
    ca_file: Option<&Path>,
) -> Result<Connector, ClientError> {
    // The connector is asked for hosts of both schemes.
    plain.enforce_http(false);
    let roots = match (https, ca_file) {
        (false, _) => RootCertStore::empty(),
        (true, None) => of_system()?,
        (true, Some(path)) => of_file(path)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| ClientError::Tls { reason: error.to_string() })?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    Ok(connector.wrap_connector(plain))
}

/// Certificates of the system that can't be read are passed over: others are there.
fn of_system() -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = "this system has no certificates of authorities; name some with --ca-file".to_owned();
        return Err(ClientError::Tls { reason });
    }
    Ok(roots)
}

fn of_file(path: &Path) -> Result<RootCertStore, ClientError> {
    let failed = |reason: String| ClientError::CaFile { file: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it holds none".to_owned()));
    }
    Ok(roots)
}

/// What is wrong with the other side's certificate, where that is why there is no connection.
pub(super) fn untrusted(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error passes over what it holds when it is asked for its source.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            next = Some(inner);
            continue;
        }
        let tls = error.downcast_ref::<rustls::Error>();
        if let Some(
            reason @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented),
        ) = tls
        {
            return Some(reason.to_string());
        }
        next = error.source();
    }
    None
}
