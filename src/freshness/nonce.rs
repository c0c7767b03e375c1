//! Values that canaries carry so that a forged echo is known.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{CanaryStep, Phase};
use crate::platform;

/// Bytes of a nonce.
const BYTES: usize = 16;

/// Makes the nonce of each canary message of this process from a secret that never leaves it. A message
/// that is sent again carries the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonces([u8; 32]);

impl Nonces {
    /// Of a secret that is made here.
    pub fn random() -> Self {
        let mut secret = [0; 32];
        platform::secret(&mut secret);
        Self(secret)
    }

    /// `secret` is random.
    #[cfg(feature = "testing")]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The nonce of this message.
    pub fn of(&self, step: &CanaryStep) -> Vec<u8> {
        let phase = match step.phase {
            Phase::Insert => 1,
            Phase::Update => 2,
            Phase::Delete => 3,
        };
        // All before the path has a fixed length, so no two messages give the same bytes.
        let mut digest = Sha256::new();
        digest.update(self.0);
        digest.update(step.number.to_be_bytes());
        digest.update([phase, u8::from(step.path.is_some())]);
        digest.update(step.path.as_deref().unwrap_or_default());
        digest.finalize()[..BYTES].to_vec()
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_message_has_its_own_and_each_process_others() {
        let mut seen = BTreeSet::new();
        for secret in [[0; 32], [1; 32]] {
            let nonces = Nonces::new(secret);
            for path in [None, Some("orders"), Some("")] {
                for number in [0, 1, u64::MAX] {
                    for phase in Phase::ALL {
                        let step = CanaryStep { path: path.map(Into::into), number, phase };
                        let nonce = nonces.of(&step);
                        assert_eq!((nonce.len(), nonces.of(&step)), (BYTES, nonce.clone()));
                        assert!(seen.insert(nonce), "{step:?}");
                    }
                }
            }
            assert_eq!(format!("{nonces:?}"), "Nonces");
        }
    }
}
