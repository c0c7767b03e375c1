//! The certificate that the pages are served with: the one that its files hold, also after a renewal.
//!
//! The files are reloaded at before each handshake, so there is no time in which a renewal is not known.
//! What they hold now and cannot be used changes nothing: the last good certificate is served on, and
//! the log says why, once for each change.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// Certificate and key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds something else.
    #[error("{what} from {}: {reason}", path.display())]
    File {
        /// `the certificate` or `its key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Certificate and key do not go together, for example.
    #[error("certificate and key: {0}")]
    Rejected(#[from] rustls::Error),
}

/// A certificate chain and its key, in PEM files. Cheap to clone; the clones share what they know.
#[derive(Clone)]
pub struct Certificate(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

/// Invariant: `acceptor` is the last of the files' contents that could be used, and `seen` tells the
/// files that were reloaded into last, whether they could be used or not.
struct Held {
    seen: Seen,
    acceptor: TlsAcceptor,
}

/// By what a change of each file is known; `None`: it is not there.
type Seen = [Option<Mark>; 2];

/// Device, inode, size, and time of the last change: a renewal in place, by another file under the same
/// name, and by a link that leads elsewhere change one of them at least.
type Mark = (u64, u64, u64, i64, i64);

impl Certificate {
    /// Reads the files.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        // Marked before it is read: what changes in between is seen at the next look.
        let seen = seen(certificate, key);
        let acceptor = acceptor(certificate, key)?;
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self(Arc::new(Files { certificate, key, held: Mutex::new(Held { seen, acceptor }) })))
    }

    /// What the next handshake is to be made with.
    pub(super) async fn acceptor(&self) -> TlsAcceptor {
        let this = self.clone();
        // A disk may hang; the runtime's threads must not.
        let reloaded = tokio::task::spawn_blocking(move || this.reload()).await;
        reloaded.unwrap_or_else(|_| self.held())
    }

    fn held(&self) -> TlsAcceptor {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Looks whether the files have changed. Blocks for as long as the disk does.
    fn reload(&self) -> TlsAcceptor {
        let Files { certificate, key, held } = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen(certificate, key);
        if held.seen != now {
            held.seen = now;
            match acceptor(certificate, key) {
                Ok(renewed) => {
                    info!(certificate = %certificate.display(), "serving HTTPS with the new certificate");
                    held.acceptor = renewed;
                }
                Err(error) => {
                    warn!(
                        %error,
                        "the changed certificate for HTTPS can't be used: the previous one is \
                         still served"
                    );
                }
            }
        }
        held.acceptor.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.0.certificate).finish()
    }
}

fn seen(certificate: &Path, key: &Path) -> Seen {
    [certificate, key].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    })
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = chain(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
        what: "its key",
        path: key.to_owned(),
        reason: error.to_string(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate chain in a PEM file, the server's own first; never empty.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed =
        |reason: String| TlsError::File { what: "the certificate", path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() { Err(failed("there is none in it".to_owned())) } else { Ok(chain) }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    fn certificate(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    #[test]
    fn certificate_and_key_must_fit() {
        let wrong = Certificate::open(&certificate("other.crt"), &certificate("page.key"))
            .map(drop)
            .expect_err("no pair");
        assert!(wrong.to_string().starts_with("certificate and key: "), "{wrong}");
        let wrong = Certificate::open(&certificate("page.key"), &certificate("page.key"))
            .map(drop)
            .expect_err("no chain");
        assert!(wrong.to_string().contains("page.key: there is none in it"), "{wrong}");
        let wrong = Certificate::open(&certificate("page.crt"), &certificate("page.crt"))
            .map(drop)
            .expect_err("no key");
        assert!(wrong.to_string().contains("its key from"), "{wrong}");
    }

    /// A folder with the certificate `page`, and the files in it.
    fn opened() -> (tempfile::TempDir, Certificate) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["page.crt", "page.key"] {
            fs::copy(certificate(name), folder.path().join(name)).expect("copied");
        }
        let files = [folder.path().join("page.crt"), folder.path().join("page.key")];
        let opened = Certificate::open(&files[0], &files[1]).expect("a pair");
        (folder, opened)
    }

    /// The certificate that a client is shown.
    async fn shown(served: &Certificate) -> Vec<u8> {
        let mut roots = RootCertStore::empty();
        for name in ["page.crt", "renewed.crt"] {
            for certificate in chain(&certificate(name)).expect("a file") {
                roots.add(certificate).expect("an authority");
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let (here, there) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("page.test").expect("a name");
        let accepted = async { served.acceptor().await.accept(there).await };
        let (asked, accepted) = tokio::join!(connector.connect(name, here), accepted);
        accepted.expect("a handshake");
        let stream = asked.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("they were sent")[0].to_vec()
    }

    #[tokio::test]
    async fn a_renewal_is_served_at_the_next_handshake_and_what_cannot_be_used_never_is() {
        let (folder, served) = opened();
        let of = |name: &str| chain(&certificate(name)).expect("a file")[0].to_vec();
        let (page, renewed) = (of("page.crt"), of("renewed.crt"));
        let path = |name: &str| folder.path().join(name);
        assert_eq!(shown(&served).await, page);

        // A renewal that is half done: the new certificate does not go with the old key.
        fs::copy(certificate("renewed.crt"), path("page.crt")).expect("copied");
        assert_eq!(shown(&served).await, page);
        fs::copy(certificate("renewed.key"), path("page.key")).expect("copied");
        assert_eq!(shown(&served).await, renewed);

        for text in ["", "no certificate"] {
            fs::write(path("page.crt"), text).expect("written");
            assert_eq!(shown(&served).await, renewed);
        }
        fs::remove_file(path("page.crt")).expect("it was there");
        assert_eq!(shown(&served).await, renewed);

        // By a link that leads elsewhere, as Kubernetes renews what it mounts.
        fs::copy(certificate("page.key"), path("page.key")).expect("copied");
        std::os::unix::fs::symlink(certificate("page.crt"), path("page.crt")).expect("linked");
        assert_eq!(shown(&served).await, page);
    }

    #[test]
    fn each_change_is_looked_into_once() {
        let (folder, served) = opened();
        let looked_into = || served.0.held.lock().expect("no panic").seen;
        let before = looked_into();
        served.reload();
        assert_eq!(looked_into(), before);
        fs::write(folder.path().join("page.crt"), "broken").expect("written");
        served.reload();
        let broken = looked_into();
        assert_ne!(broken, before);
        served.reload();
        assert_eq!(looked_into(), broken, "it is in the log already");
    }
}
