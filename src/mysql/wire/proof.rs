//! Login methods: how each proves that we know the password.
//!
//! Until the login is over anybody may be at the other end. What comes from there is checked before
//! it reaches the crates that compute with it, some of which panic.

use std::num::NonZeroU32;

use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};
use ring::pbkdf2::{PBKDF2_HMAC_SHA512, derive};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;

use super::bytes::{Bytes, quote};
use super::failure::{Failure, Step};
use super::public_key;
use crate::mysql::Secret;

/// A login method that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Native,
    CachingSha2,
    Sha256,
    Ed25519,
    Parsec,
}

/// Bytes of the challenge of MariaDB's methods.
const CHALLENGE_BYTES: usize = 32;
/// Bytes of a salt of parsec.
const SALT_BYTES: usize = 18;
/// Rounds of parsec where its factor is 0.
const ROUNDS: NonZeroU32 = NonZeroU32::new(1024).expect("not zero");
/// Largest factor of parsec, which doubles the rounds so many times: MariaDB takes up to 3, and
/// a stranger must not have us compute for long.
const FACTOR_MAX: u8 = 7;

impl Method {
    const ALL: [Self; 5] =
        [Self::Native, Self::CachingSha2, Self::Sha256, Self::Ed25519, Self::Parsec];

    /// The server's name for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Sha256 => "sha256_password",
            Self::Ed25519 => "client_ed25519",
            Self::Parsec => "parsec",
        }
    }

    /// Finds a method by the server's name for it.
    pub(super) fn named(plugin: &str) -> Result<Self, Failure> {
        let method = Self::ALL.into_iter().find(|method| method.as_str() == plugin);
        method.ok_or_else(|| Failure::LoginMethod { plugin: plugin.to_owned() })
    }
}

/// A login under way.
pub(super) struct Proof<'a> {
    pub(super) method: Method,
    pub(super) password: &'a Secret,
    /// The server's random bytes.
    pub(super) nonce: Vec<u8>,
    /// Whether the connection is under TLS.
    pub(super) secured: bool,
    /// Whether the server may be asked for its public key where there is no TLS.
    pub(super) may_ask_for_key: bool,
}

impl Proof<'_> {
    /// What to send first.
    pub(super) fn first(&self) -> Result<Vec<u8>, Failure> {
        let password = self.password.expose().as_bytes();
        match self.method {
            Method::Native => {
                Ok(scramble_native(&self.nonce, password).map(Vec::from).unwrap_or_default())
            }
            Method::CachingSha2 => {
                Ok(scramble_sha256(&self.nonce, password).map(Vec::from).unwrap_or_default())
            }
            Method::Sha256 if password.is_empty() => Ok(vec![0]),
            Method::Sha256 if self.secured => Ok(self.clear_password()),
            Method::Sha256 => self.ask_for_key(1),
            Method::Ed25519 => {
                let challenge = self.challenge()?;
                Ok(create_response_for_ed25519(password, &challenge).to_vec())
            }
            // Asks for the salt.
            Method::Parsec => self.challenge().map(|_| Vec::new()),
        }
    }

    /// What to send after the server asked for more; `None` to wait.
    pub(super) fn next(&self, more: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        const FAST_ENOUGH: &[u8] = &[3];
        const FULL: &[u8] = &[4];
        match (self.method, more) {
            (Method::CachingSha2, FAST_ENOUGH) => Ok(None),
            (Method::CachingSha2, FULL) if self.secured => Ok(Some(self.clear_password())),
            (Method::CachingSha2, FULL) => self.ask_for_key(2).map(Some),
            // A key that nobody asked for is not to be trusted.
            (Method::CachingSha2 | Method::Sha256, pem)
                if !self.secured && self.may_ask_for_key =>
            {
                public_key::encrypt(self.password.expose(), &self.nonce, pem)
                    .map(Some)
                    .map_err(|reason| Failure::PublicKey { reason })
            }
            (Method::Parsec, salt) => self.sign(salt).map(Some),
            (Method::Native | Method::CachingSha2 | Method::Sha256 | Method::Ed25519, other) => {
                Err(unexpected(other))
            }
        }
    }

    /// Whether a server that does not have the account in its cache would have asked for the password
    /// itself, which it does not get without TLS unless its key may be asked for.
    pub(super) fn depends_on_cache(&self) -> bool {
        let is_caching = self.method == Method::CachingSha2 && !self.password.is_empty();
        is_caching && !self.secured && !self.may_ask_for_key
    }

    /// Asks for the server's public key, by this byte: whoever answers gets to know the password, so
    /// this is done only where it is allowed.
    fn ask_for_key(&self, by: u8) -> Result<Vec<u8>, Failure> {
        let plugin = self.method.as_str();
        if self.may_ask_for_key { Ok(vec![by]) } else { Err(Failure::KeyNotAllowed { plugin }) }
    }

    fn clear_password(&self) -> Vec<u8> {
        let mut clear = self.password.expose().as_bytes().to_vec();
        clear.push(0);
        clear
    }

    fn challenge(&self) -> Result<[u8; CHALLENGE_BYTES], Failure> {
        self.nonce.as_slice().try_into().map_err(|_| Failure::Protocol {
            step: Step::Login,
            found: format!("a challenge of {} bytes", self.nonce.len()),
            expected: "one of 32 bytes",
        })
    }

    /// parsec: a signature under a key that is derived from password and salt.
    fn sign(&self, salt: &[u8]) -> Result<Vec<u8>, Failure> {
        let challenge = self.challenge()?;
        let mut input = Bytes(salt);
        let head = input.array::<2>();
        let (Some([b'P', factor @ 0..=FACTOR_MAX]), SALT_BYTES) = (head, input.0.len()) else {
            return Err(Failure::Protocol {
                step: Step::Login,
                found: quote(salt),
                expected: "parsec's salt, with a factor of at most 7",
            });
        };
        let rounds = ROUNDS.saturating_mul(NonZeroU32::MIN.saturating_add((1 << factor) - 1));
        let mut seed = [0; 32];
        derive(PBKDF2_HMAC_SHA512, rounds, input.0, self.password.expose().as_bytes(), &mut seed);
        let failed = |what: &str| Failure::Protocol {
            step: Step::Login,
            found: what.to_owned(),
            expected: "a signature",
        };
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| failed("no key"))?;
        let mut nonce = [0; CHALLENGE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(|_| failed("no random bytes"))?;
        let signature = key.sign(&[challenge, nonce].concat());
        Ok([&nonce, signature.as_ref()].concat())
    }
}

pub(super) fn unexpected(packet: &[u8]) -> Failure {
    Failure::Protocol {
        step: Step::Login,
        found: quote(packet),
        expected: "the next step of the login, or a decision about it",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proof(method: Method, password: &Secret, nonce: Vec<u8>) -> Proof<'_> {
        Proof { method, password, nonce, secured: false, may_ask_for_key: false }
    }

    #[test]
    fn without_tls_no_method_asks_for_a_key_unless_allowed() {
        let password = Secret::new("secret");
        let refused = proof(Method::Sha256, &password, vec![1; 20]).first();
        assert!(matches!(refused, Err(Failure::KeyNotAllowed { plugin: "sha256_password" })));
        let mut caching = proof(Method::CachingSha2, &password, vec![1; 20]);
        assert!(matches!(caching.next(&[4]), Err(Failure::KeyNotAllowed { .. })));
        // One that comes unasked is not taken either
        assert!(matches!(caching.next(b"-----BEGIN"), Err(Failure::Protocol { .. })));
        caching.may_ask_for_key = true;
        assert_eq!(caching.next(&[4]).expect("allowed"), Some(vec![2]));
        assert!(matches!(caching.next(b"-----BEGIN"), Err(Failure::PublicKey { .. })));
    }

    #[test]
    fn under_tls_no_key_is_taken() {
        let password = Secret::new("secret");
        let mut caching = proof(Method::CachingSha2, &password, vec![1; 20]);
        (caching.secured, caching.may_ask_for_key) = (true, true);
        assert_eq!(caching.next(&[4]).expect("clear"), Some(b"secret\0".to_vec()));
        assert!(matches!(caching.next(b"-----BEGIN"), Err(Failure::Protocol { .. })));
    }

    #[test]
    fn unknown_methods_are_refused_by_name() {
        for plugin in ["", "mysql_clear_password", "dialog", "auth_gssapi_client", "sha256"] {
            let refused = Method::named(plugin);
            assert!(matches!(&refused, Err(Failure::LoginMethod { plugin: p }) if p == plugin));
        }
        for method in Method::ALL {
            assert_eq!(Method::named(method.as_str()).expect("known"), method);
        }
    }

    #[test]
    fn a_salt_that_asks_for_endless_rounds_is_refused() {
        let password = Secret::new("secret");
        let parsec = proof(Method::Parsec, &password, vec![1; 32]);
        for factor in [8, 31, 32, 255] {
            let salt = [&[b'P', factor][..], &[0; 18]].concat();
            assert!(matches!(parsec.next(&salt), Err(Failure::Protocol { .. })), "{factor}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_stranger_sends_panics(
            method in 0..Method::ALL.len(),
            nonce in proptest::collection::vec(any::<u8>(), 0..40),
            more in proptest::collection::vec(any::<u8>(), 0..40),
            (secured, may_ask_for_key, text) in (any::<bool>(), any::<bool>(), "[ -~]{0,40}"),
        ) {
            let password = Secret::new(text);
            let method = Method::ALL[method];
            let proof = Proof { method, password: &password, nonce, secured, may_ask_for_key };
            let _ignored = (proof.first().is_ok(), proof.next(&more).is_ok());
        }
    }
}
