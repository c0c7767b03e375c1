//! Secrets, and the signature that is made with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::ConfigError;

/// Longest secret that is read from a file, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a key, by Standard Webhooks.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Base64 with or without padding: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type ReadSecret = dyn Fn() -> io::Result<String> + Send + Sync;

/// Where a secret is read, each time when it is used: a rotation needs no restart.
#[derive(Clone)]
pub struct SecretSource {
    setting: Arc<str>,
    read: Arc<ReadSecret>,
}

impl SecretSource {
    /// The secret that `read` returns, for the setting of this name. `read` should not block for
    /// longer than a small local file takes.
    pub fn new(
        setting: &str,
        read: impl Fn() -> io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        Self { setting: setting.into(), read: Arc::new(read) }
    }

    /// The secret in `file`, without the end of its last line.
    pub fn file(setting: &str, file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        Self::new(setting, move || read_file(&file))
    }

    /// Reads it now.
    pub(super) fn read(&self) -> Result<String, ConfigError> {
        (self.read)().map_err(|error| self.unfit(error.to_string(), "a secret that can be read"))
    }

    pub(super) fn unfit(&self, found: String, needed: &'static str) -> ConfigError {
        ConfigError {
            setting: self.setting.to_string(),
            found,
            needed,
            remedy: "correct the file or the value",
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSource").field("setting", &self.setting).finish_non_exhaustive()
    }
}

fn read_file(file: &PathBuf) -> io::Result<String> {
    let place = |error: io::Error| {
        io::Error::new(error.kind(), format!("the file {}: {error}", file.display()))
    };
    let mut text = String::new();
    let opened = File::open(file).map_err(place)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(place)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(place(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The key of a secret in the form of Standard Webhooks, `whsec_` and base64.
fn parse(source: &SecretSource, text: &str) -> Result<Hmac<Sha256>, ConfigError> {
    const NEEDED: &str = "whsec_ and the base64 text of 24 to 64 random bytes";
    let encoded = text
        .trim()
        .strip_prefix("whsec_")
        .ok_or_else(|| source.unfit("a text that does not begin with whsec_".to_owned(), NEEDED))?;
    let key = BASE64
        .decode(encoded)
        .map_err(|_| source.unfit("a text that is not base64 after whsec_".to_owned(), NEEDED))?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err(source.unfit(format!("{} bytes", key.len()), NEEDED));
    }
    Hmac::new_from_slice(&key).map_err(|error| source.unfit(error.to_string(), NEEDED))
}

/// Signs with each of its secrets, so that a receiver that knows only one of them is content.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Vec<Key>,
}

struct Key {
    source: SecretSource,
    /// As it was read last, and whether the file was fit then.
    last: Mutex<(Hmac<Sha256>, bool)>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Signer {
    /// Reads and checks the secrets.
    pub(super) fn new(sources: &[SecretSource]) -> Result<Self, ConfigError> {
        let key = |source: &SecretSource| {
            let last = Mutex::new((parse(source, &source.read()?)?, true));
            Ok(Key { source: source.clone(), last })
        };
        Ok(Self { keys: sources.iter().map(key).collect::<Result<_, _>>()? })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signatures = String::new();
        for key in &self.keys {
            let mut mac = key.now();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str("v1,");
            let digest = mac.finalize().into_bytes();
            general_purpose::STANDARD.encode_string(digest, &mut signatures);
        }
        signatures
    }
}

impl Key {
    /// As it is now. While its file can't be read, or is being written, it is as it was.
    fn now(&self) -> Hmac<Sha256> {
        let read = self.source.read().and_then(|text| parse(&self.source, &text));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(key) => *last = (key, true),
            Err(error) => {
                let was_fit = std::mem::replace(&mut last.1, false);
                if was_fit {
                    tracing::warn!(%error, "the secret that was read before remains in use");
                }
            }
        }
        last.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(text: &str) -> SecretSource {
        let text = text.to_owned();
        SecretSource::new("relay.to.secret[0]", move || Ok(text.clone()))
    }

    /// The example of the specification.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let signer = Signer::new(&[fixed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).expect("fit");
        let signature =
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_being_shown() {
        let short = format!("whsec_{}", general_purpose::STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", general_purpose::STANDARD.encode([7; 65]));
        for text in ["", "hunter2", "whsec_", "whsec_hunter2!", short.as_str(), long.as_str()] {
            let error = Signer::new(&[fixed(text)]).expect_err("refused").to_string();
            assert!(error.starts_with("relay.to.secret[0]: found "), "{error}");
            assert!(text.len() < 8 || !error.contains(&text[6..]), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for bytes in [24, 25, 26, 64] {
            let padded = general_purpose::STANDARD.encode(vec![7; bytes]);
            let text = format!(" whsec_{}\n", padded.trim_end_matches('='));
            assert!(Signer::new(&[fixed(&text)]).is_ok(), "{bytes} bytes without padding");
        }
    }

    #[test]
    fn a_file_is_read_again_at_each_use_and_the_last_good_secret_survives_a_bad_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        let sign = |signer: &Signer| signer.sign("a", 1, b"b");
        write("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        let signer = Signer::new(&[SecretSource::file("relay.to.secret[0]", &path)]).expect("fit");
        let first = sign(&signer);
        write("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let second = sign(&signer);
        assert_ne!(first, second);
        write("");
        assert_eq!(sign(&signer), second);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(sign(&signer), second);
        write("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n");
        assert_eq!(sign(&signer), first);
        std::fs::write(&path, vec![b'x'; 70_000]).expect("written");
        let error = SecretSource::file("relay.to.bearer", &path).read().expect_err("too long");
        assert!(error.to_string().contains("longer than 65536 bytes"), "{error}");
    }
}
