//! Who may ask: a token to be shown, and TLS so that nobody else sees it. Who may change something: `admit` in
//! `switch.rs`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::Authority;
use sha2::Sha256;
use tracing::debug;

use super::Certificate;

/// Who may ask. The default: everybody, without TLS.
#[derive(Clone, Default)]
pub struct Access {
    /// To be shown for everything but `/healthz` and `/readyz`.
    pub token: Option<Token>,
    /// With it, nothing is answered without TLS.
    pub tls: Option<Certificate>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Access");
        shown.field("token", &self.token.is_some()).field("tls", &self.tls.is_some()).finish()
    }
}

/// What keeps strangers from reading.
#[derive(Clone)]
pub(super) enum Guard {
    /// A token has to be shown.
    Token(Token),
    /// The listener is on a loopback address: only this machine reaches it. A page in a browser here
    /// does too once it makes its own name lead here, so a request must not call us by such a name.
    Names,
    /// Nothing: others are let in on purpose, by whatever name they have for us.
    Nothing,
}

impl Guard {
    /// With the token as it is now.
    pub(super) async fn now(self) -> Self {
        match self {
            Self::Token(token) => Self::Token(token.now().await),
            Self::Names | Self::Nothing => self,
        }
    }
}

/// Whether each `Host` header is an address or `localhost`: no stranger can make these lead elsewhere.
/// Browsers always send one, so a request without it comes from none.
pub(super) fn is_own_name(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|value| {
        let Ok(authority) = Authority::try_from(value.as_bytes()) else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
    })
}

/// A token, kept as a keyed hash: what is given is compared in a time that tells nothing of it. One that
/// is kept in a file is read again before each request, so that a rotation needs no restart.
#[derive(Clone)]
pub struct Token {
    expected: Hmac<Sha256>,
    file: Option<Arc<Path>>,
}

/// Fewest characters of a token: what is shorter can be guessed.
pub const TOKEN_MIN: usize = 16;

/// Longest token that is read from a file, bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024;

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Key of the hash. It need not be secret: the hash is never shown.
const PURPOSE: &[u8] = b"binpulse http token";

impl Token {
    /// Takes the text that has to be shown.
    pub fn new(text: &str) -> Self {
        Self { expected: hash(text.as_bytes()), file: None }
    }

    /// The same, as read from `file`.
    pub fn in_file(text: &str, file: &Path) -> Self {
        Self { file: Some(file.into()), ..Self::new(text) }
    }

    /// As it is now. While its file can't be read, or holds no token, it is as it was.
    pub(super) async fn now(&self) -> Self {
        let Some(file) = self.file.clone() else { return self.clone() };
        // A disk may hang; the runtime's threads must not.
        let read = tokio::task::spawn_blocking(move || read(&file).map_err(|error| (file, error)));
        match read.await {
            Ok(Ok(text)) => Self { file: self.file.clone(), ..Self::new(&text) },
            Ok(Err((file, error))) => {
                debug!(
                    file = %file.display(), %error,
                    "the token that was read at start remains in use"
                );
                self.clone()
            }
            Err(_) => self.clone(),
        }
    }

    /// Whether an `Authorization` header shows it: as a bearer token, or as the password of any user,
    /// which is what a browser can ask for.
    pub(super) fn is_in(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some((scheme, given)) = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let given = given.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(given.as_bytes());
        }
        if scheme.eq_ignore_ascii_case("basic")
            && let Ok(pair) = STANDARD.decode(given)
            && let Some(colon) = pair.iter().position(|byte| *byte == b':')
        {
            return self.is(pair.get(colon + 1..).unwrap_or_default());
        }
        false
    }

    fn is(&self, given: &[u8]) -> bool {
        let expected = self.expected.clone().finalize().into_bytes();
        hash(given).verify(&expected).is_ok()
    }
}

/// The token in the file, without the end of its line.
fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let is_regular = file.metadata()?.is_file();
    let mut text = String::new();
    if is_regular {
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.chars().count() < TOKEN_MIN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no token"));
    }
    Ok(text)
}

fn hash(text: &[u8]) -> Hmac<Sha256> {
    let mut hash = Hmac::<Sha256>::new_from_slice(PURPOSE).expect("HMAC takes a key of any length");
    hash.update(text);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_our_own_names_and_no_others_are() {
        let is_own = |host: &'static str| {
            is_own_name(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]))
        };
        for own in ["127.0.0.1:9187", "127.0.0.1", "[::1]:9187", "localhost:9187", "LocalHost"] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "",
            "evil.example:9187",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "[localhost]",
        ] {
            assert!(!is_own(other), "{other}");
        }
        let mut two = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_own_name(&two) && is_own_name(&HeaderMap::new()));
    }

    #[test]
    fn the_token_is_taken_as_bearer_and_as_password_and_nothing_else_is() {
        let token = Token::new("a-token-of-some-length");
        let shows = |text: &str| token.is_in(Some(&HeaderValue::from_str(text).expect("header")));
        assert!(shows("Bearer a-token-of-some-length") && shows("bearer  a-token-of-some-length"));
        let basic = |pair: &str| shows(&format!("Basic {}", STANDARD.encode(pair)));
        assert!(basic("anybody:a-token-of-some-length") && basic(":a-token-of-some-length"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer a-token-of-some-lengt", "Basic %", "Digest a"]
        {
            assert!(!shows(wrong), "{wrong}");
        }
        for wrong in
            ["a-token-of-some-length", "a-token-of-some-length:", "x:A-token-of-some-length"]
        {
            assert!(!basic(wrong), "{wrong}");
        }
        assert!(!token.is_in(None));
        assert!(!format!("{token:?}").contains("length"));
    }
}
