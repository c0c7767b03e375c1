//! TLS to a MySQL server: the modes of MySQL's own `--ssl-mode`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::tls::{Trust, Verifier};

/// How much of TLS is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// No TLS.
    Off,
    /// TLS if it can be had, else none; nothing is verified.
    #[default]
    Preferred,
    /// TLS or nothing; the certificate is not verified.
    Required,
    /// The certificate's chain must lead to a trusted authority; host names are not compared.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must name the host.
    VerifyIdentity,
}

impl TlsMode {
    /// Every mode, laxest first.
    pub const ALL: [Self; 5] =
        [Self::Off, Self::Preferred, Self::Required, Self::VerifyCa, Self::VerifyIdentity];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Preferred => "preferred",
            Self::Required => "required",
            Self::VerifyCa => "verify-ca",
            Self::VerifyIdentity => "verify-identity",
        }
    }

    fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is not a TLS mode; expected one of {names}")
        })
    }
}

/// TLS as configured: names of PEM files, not yet read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// What is asked of the server.
    pub mode: TlsMode,
    /// Trusted authorities; without it the verifying modes trust the machine's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain, for servers that ask for one. Needs `client_key_file`.
    pub client_certificate_file: Option<PathBuf>,
    /// Its private key.
    pub client_key_file: Option<PathBuf>,
    /// Without TLS: whether the server may be asked for the RSA key that the password is then sent
    /// under. Nothing shows that the key is the server's: whoever is in between gets to know the
    /// password (MySQL's `--get-server-public-key`).
    pub get_server_public_key: bool,
}

/// Files that make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no PEM of the kind, or can't be read.
    #[error("{what} from {}: {reason}", path.display())]
    File {
        /// `the certificate authorities`, ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// Certificate and key go together.
    #[error("a client certificate needs its key and the other way round: only one is configured")]
    HalfIdentity,
    /// Who names authorities believes that certificates are verified.
    #[error(
        "authorities are named in {}, but mode {mode} verifies no certificate: set verify-ca or \
         verify-identity", path.display()
    )]
    UnusedAuthorities {
        /// Their file.
        path: PathBuf,
        /// The mode.
        mode: TlsMode,
    },
    /// The machine's store of authorities is empty.
    #[error(
        "no certificate authority to verify with: this machine has none, name a file with the \
         server's"
    )]
    NoAuthorities,
    /// What the TLS library says.
    #[error("TLS: {0}")]
    Rejected(#[from] rustls::Error),
    /// What the verifier's builder says.
    #[error("TLS: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// TLS ready for use. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tls {
    mode: TlsMode,
    client: Option<Arc<ClientConfig>>,
    get_server_public_key: bool,
}

impl TlsConfig {
    /// Reads and checks the files. Blocks for as long as that takes.
    pub fn load(&self) -> Result<Tls, TlsError> {
        let identity = match (&self.client_certificate_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfIdentity),
        };
        if let Some(path) = self.ca_file.as_ref().filter(|_| !self.mode.verifies()) {
            return Err(TlsError::UnusedAuthorities { path: path.clone(), mode: self.mode });
        }
        let roots = if self.mode.verifies() { self.roots()? } else { Vec::new() };
        let client = match self.mode {
            TlsMode::Off => None,
            TlsMode::Preferred
            | TlsMode::Required
            | TlsMode::VerifyCa
            | TlsMode::VerifyIdentity => Some(self.client(&roots, identity.as_ref())?),
        };
        let get_server_public_key = self.get_server_public_key;
        Ok(Tls { mode: self.mode, client, get_server_public_key })
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match &self.ca_file {
            Some(path) => read_certificates("the certificate authorities", path),
            None => match rustls_native_certs::load_native_certs().certs {
                none if none.is_empty() => Err(TlsError::NoAuthorities),
                some => Ok(some),
            },
        }
    }

    fn client(
        &self,
        roots: &[CertificateDer<'static>],
        identity: Option<&(PathBuf, PathBuf)>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode {
            TlsMode::Off | TlsMode::Preferred | TlsMode::Required => {
                Arc::new(Verifier::new(Arc::clone(&provider), Trust::Any))
            }
            // The certificates that a MySQL server makes for itself carry no host name at all.
            TlsMode::VerifyCa => {
                let roots = Trust::Roots(Arc::new(self.store(roots)?));
                Arc::new(Verifier::new(Arc::clone(&provider), roots))
            }
            TlsMode::VerifyIdentity => {
                let roots = Arc::new(self.store(roots)?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match identity {
            Some((certificate, key)) => {
                let chain = read_certificates("the client certificate", certificate)?;
                builder.with_client_auth_cert(chain, read_key(key)?)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    /// A machine's store may hold an authority that we cannot use; a file of the operator's may
    /// not.
    fn store(&self, roots: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            let added = store.add(root.clone());
            if self.ca_file.is_some() {
                added?;
            }
        }
        if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
    }
}

impl Tls {
    /// Its mode.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Whether a connection without TLS will do when one with it cannot be had.
    pub(crate) fn may_fall_back(&self) -> bool {
        self.mode == TlsMode::Preferred
    }

    /// Whether the server may be asked for its public key where there is no TLS.
    pub(crate) fn may_ask_for_key(&self) -> bool {
        self.get_server_public_key
    }

    /// The same configuration without TLS, to fall back to.
    pub(crate) fn without(&self) -> Self {
        Self { mode: TlsMode::Off, client: None, ..self.clone() }
    }

    /// `None` when TLS is off.
    pub(crate) fn client(&self) -> Option<&Arc<ClientConfig>> {
        self.client.as_ref()
    }
}

fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |reason: String| TlsError::File { what, path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|reason| error(reason.to_string()))?;
    if certificates.is_empty() {
        return Err(error("no certificate in PEM form in it".to_owned()));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|reason| TlsError::File {
        what: "the client key",
        path: path.to_owned(),
        reason: reason.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::{TlsConfig, TlsError, TlsMode};

    #[test]
    fn modes_are_read_by_the_names_they_print() {
        for mode in TlsMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "verify_ca".parse::<TlsMode>().expect_err("underscore");
        assert!(error.contains("verify-ca"), "{error}");
    }

    #[test]
    fn half_an_identity_is_refused() {
        let config = TlsConfig { client_key_file: Some("key.pem".into()), ..TlsConfig::default() };
        assert!(matches!(config.load(), Err(TlsError::HalfIdentity)));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let config = TlsConfig {
            mode: TlsMode::VerifyCa,
            ca_file: Some(file.path().to_owned()),
            ..TlsConfig::default()
        };
        let error = config.load().expect_err("empty file").to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
