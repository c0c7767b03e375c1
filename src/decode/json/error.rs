//! Why a JSON document could not be read.

/// Why a JSON document could not be read. Never quotes the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The document ends inside a value, or an offset points outside it.
    #[error("{what} at byte {at} needs {needed} bytes, the document has {len}")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
        /// Bytes that it needs.
        needed: usize,
        /// Length of the document.
        len: usize,
    },
}
