//! Sending a password under the server's RSA key, for logins without TLS.
//!
//! mysql_common does the encryption, but panics on a key that is none. The key comes from the
//! network, so its form is checked here first: SubjectPublicKeyInfo of an RSA key (RFC 5280, RFC
//! 8017), as every MySQL server sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bytes::{Bytes, quote};

/// Keys from 1024 to 16384 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 128..=2048;
/// Bytes that the padding (OAEP with SHA-1) takes of the modulus.
const PADDING_BYTES: usize = 42;

/// The password, scrambled with the nonce and encrypted with the key.
///
/// # Errors
///
/// A key that is no RSA public key, or too small for the password; in words for people.
pub(super) fn encrypt(password: &str, nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, String> {
    let malformed = || format!("found {}, expected an RSA public key in PEM form", quote(pem));
    let modulus_bytes = modulus_bytes(pem).ok_or_else(malformed)?;
    if nonce.is_empty() {
        return Err("the server sent no random bytes with it".to_owned());
    }
    if password.len() + 1 + PADDING_BYTES > modulus_bytes {
        return Err(format!(
            "it has {} bits, too few for a password of this length",
            modulus_bytes * 8
        ));
    }
    let clear = password.bytes().chain(std::iter::once(0));
    let scrambled: Vec<u8> = clear.zip(nonce.iter().cycle()).map(|(a, b)| a ^ b).collect();
    Ok(mysql_common::crypto::encrypt(&scrambled, pem))
}

fn modulus_bytes(pem: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(pem).ok()?.trim_matches(['\0', '\n', '\r', ' ']);
    let body = text
        .strip_prefix("-----BEGIN PUBLIC KEY-----")?
        .strip_suffix("-----END PUBLIC KEY-----")?;
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    let (key_info, rest) = element(0x30, &der)?;
    let (_algorithm, bits) = element(0x30, key_info)?;
    let (bits, behind) = element(0x03, bits)?;
    let (unused, key) = bits.split_first()?;
    let (numbers, after) = element(0x30, key)?;
    let (modulus, exponent) = element(0x02, numbers)?;
    let (exponent, end) = element(0x02, exponent)?;
    let whole = [rest, behind, after, end].iter().all(|left| left.is_empty());
    // A leading zero only keeps the number positive. An even modulus is none of RSA's.
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let odd = modulus.last().is_some_and(|last| last & 1 == 1);
    let fits = MODULUS_BYTES.contains(&modulus.len()) && (1..=8).contains(&exponent.len());
    let sound = whole && *unused == 0 && odd && modulus.first() != Some(&0) && fits;
    sound.then_some(modulus.len())
}

/// One DER element of the given tag at the front: its content, and what is behind it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut input = Bytes(bytes);
    if input.byte()? != tag {
        return None;
    }
    let length = match input.byte()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(input.byte()?),
        0x82 => usize::from(u16::from_be_bytes(input.array()?)),
        _ => return None,
    };
    let content = input.take(length)?;
    Some((content, input.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::encrypt;

    /// A 2048 bit key as a server sends it; its private half was thrown away.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA3vjHaDNQSGSmq5ev4D8L
bB/zQm6+nk2fh4NX6l6NJuTW0NOjjYUzTRGybHVmHGxP2JF+cj5vdHCKJn8NqQQc
D/lqZFnDQs8E/uTSCgyVVpOBJFC++EPWLKEWtklTyJiRDHToN1gQfMKiQNLpD/sd
DosTBI2P2sVekECaDeu9kA71s5bk4gLr+1Z8Gy4LIvgBMh1hfVzlFI0KoxiHxaMn
g/v+IuZcxsqRW6OilMpxo5yrQUYR35vwCGp6cDILuk29S+iIHPZhN43VZ/XslTfz
Zth0DqXilTh6VpC8FujTEAygsa4Qs2ZYASJ/gbvGXFxL3Thn0RopblkUPmjRiEiM
XQIDAQAB
-----END PUBLIC KEY-----
";

    #[test]
    fn a_password_is_encrypted_to_the_keys_size() {
        let sent = encrypt("secret", b"abcdefghijklmnopqrst", PEM.as_bytes()).expect("a good key");
        assert_eq!(sent.len(), 256);
        let again = encrypt("secret", b"abcdefghijklmnopqrst", PEM.as_bytes()).expect("a good key");
        assert_ne!(sent, again, "the padding is random");
    }

    #[test]
    fn what_the_key_cannot_hold_is_refused() {
        assert!(encrypt(&"x".repeat(214), b"abcd", PEM.as_bytes()).is_err());
        assert!(encrypt(&"x".repeat(213), b"abcd", PEM.as_bytes()).is_ok());
        assert!(encrypt("secret", b"", PEM.as_bytes()).is_err());
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        for pem in ["", "nonsense", "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----"] {
            assert!(encrypt("secret", b"abcd", pem.as_bytes()).is_err(), "{pem}");
        }
        for cut in 0..PEM.len() - 1 {
            assert!(encrypt("secret", b"abcd", &PEM.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_key_never_panics(at in 0_usize..450, byte: u8) {
            let mut pem = PEM.as_bytes().to_vec();
            let at = at % pem.len();
            pem[at] = byte;
            let _ignored = encrypt("secret", b"abcd", &pem);
        }
    }
}
