//! Ids made of what they name: the same after every crash.

use sha2::{Digest, Sha256};

/// 160 bits of SHA-256 over the text, as `bp_` and 32 letters and digits.
pub(crate) fn hash(text: &str) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(text.as_bytes());
    let mut id = String::from("bp_");
    // 160 bits are 32 digits of five bits.
    for chunk in digest.chunks_exact(5).take(4) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for digit in (0..8).rev() {
            let digit = usize::try_from(bits >> (digit * 5) & 31).unwrap_or_default();
            id.extend(DIGITS.get(digit).map(|digit| char::from(*digit)));
        }
    }
    id
}
