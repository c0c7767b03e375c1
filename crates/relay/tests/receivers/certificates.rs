//! Certificates for one test.

use std::sync::Arc;

use binpulse_relay::target::webhook::{Auth, SecretSource};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::world::fixed;

/// An authority that vouches for servers and clients.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        Self { issuer }
    }

    /// Its certificate, as `relay.to.ca` is given it.
    pub(crate) fn source(&self) -> SecretSource {
        fixed("relay.to.ca", &self.issuer.pem())
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server of this name, which asks for no certificate.
    pub(crate) fn server(&self, name: &str) -> ServerConfig {
        let builder = builder().with_no_client_auth();
        let (chain, key) = self.identity(name).parsed();
        builder.with_single_cert(chain, key).expect("fit")
    }

    /// A server of this name, which asks for a certificate of `clients`.
    pub(crate) fn server_for(&self, name: &str, clients: &Authority) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        let (chain, key) = self.identity(name).parsed();
        let builder = builder().with_client_cert_verifier(verifier);
        builder.with_single_cert(chain, key).expect("fit")
    }
}

impl Identity {
    fn parsed(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        (vec![chain], key)
    }

    pub(crate) fn auth(&self) -> Auth {
        Auth::Certificate {
            certificate: fixed("relay.to.certificate", &self.certificate),
            key: fixed("relay.to.key", &self.key),
        }
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
}
