//! A bound on the work that one document can cause.

use super::JsonError;

/// Bytes of a document that may still be printed.
///
/// In a sound document no two values share bytes, so values and string bytes together are fewer than
/// its bytes. Offsets made up by an attacker may point many parents at one child, and the text would
/// double with each level: the budget ends that.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_left: usize,
}

impl Budget {
    /// For documents of `bytes` in all. An empty one still prints `null`.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes_left: bytes.saturating_add(1) }
    }

    /// Takes one value with `bytes` of string in it.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), JsonError> {
        let left = self.bytes_left.checked_sub(bytes).ok_or(JsonError::Overlap)?;
        self.bytes_left = left;
        Ok(())
    }
}
