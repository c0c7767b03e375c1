//! TLS towards receivers.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::config::{Auth, Config, ConfigError};
use super::signature::SecretSource;

/// Who may vouch for receivers, and what we show them.
#[derive(Debug)]
pub(super) struct Tls {
    roots: Arc<RootCertStore>,
    identity: Option<(SecretSource, SecretSource)>,
    /// For every connection, where we show no certificate.
    shared: Arc<ClientConfig>,
}

impl Tls {
    /// Reads and checks the files.
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let roots = Arc::new(roots(config.authorities.as_ref())?);
        let identity = match &config.auth {
            Auth::None | Auth::Bearer(_) | Auth::Client(_) => None,
            Auth::Certificate { certificate, key } => Some((certificate.clone(), key.clone())),
        };
        let shared = client(&roots, identity.as_ref())?;
        Ok(Self { roots, identity, shared })
    }

    /// For one connection: a client certificate is read again, since those are short-lived.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        match &self.identity {
            None => Ok(Arc::clone(&self.shared)),
            identity @ Some(_) => client(&self.roots, identity.as_ref()),
        }
    }
}

fn client(
    roots: &Arc<RootCertStore>,
    identity: Option<&(SecretSource, SecretSource)>,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit("relay.to", error.to_string(), "TLS 1.2 or 1.3"))?
        .with_root_certificates(Arc::clone(roots));
    let mut client = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(key.read()?.as_bytes())
                .map_err(|_| key.unfit("a text that is none".to_owned(), "a private key in PEM"))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                key.unfit(error.to_string(), "the private key of relay.to.certificate")
            })?
        }
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

fn certificates(source: &SecretSource) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    const NEEDED: &str = "certificates in PEM";
    let text = source.read()?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| source.unfit(error.to_string(), NEEDED))?;
    if found.is_empty() { Err(source.unfit("none".to_owned(), NEEDED)) } else { Ok(found) }
}

/// A machine's store may hold an authority that we can't use; a file of the operator's may not.
fn roots(authorities: Option<&SecretSource>) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    if let Some(source) = authorities {
        for root in certificates(source)? {
            store.add(root).map_err(|error| {
                source.unfit(error.to_string(), "certificates of authorities in PEM")
            })?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err(unfit("relay.to.ca", "none".to_owned(), "certificates of authorities"));
    }
    Ok(store)
}

fn unfit(setting: &str, found: String, needed: &'static str) -> ConfigError {
    let remedy = "install the machine's certificates (ca-certificates), or set relay.to.ca";
    ConfigError { setting: setting.to_owned(), found, needed, remedy }
}
