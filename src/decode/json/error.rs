//! Why a JSON document could not be read.

/// Why a JSON document could not be read. Never quotes the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The document ends inside a value, or an offset points outside its container.
    #[error("{what} needs bytes {start} to {end}, there are {len}")]
    Short {
        /// What was being read.
        what: &'static str,
        /// First byte that it needs.
        start: usize,
        /// One past the last.
        end: usize,
        /// Bytes that there are.
        len: usize,
    },
    /// A code of the format that has no meaning.
    #[error("{what} {found} is not known")]
    Unknown {
        /// What the code stands for.
        what: &'static str,
        /// What the document says.
        found: u8,
    },
    /// A length that takes more bytes than the format allows.
    #[error("a length of a string has more than 5 bytes, or does not fit in 32 bits")]
    Length,
    /// Longer as text than the server could print it.
    #[error("the text is longer than 1 GiB, the most that max_allowed_packet can be")]
    TooLong,
    /// Deeper than MySQL stores.
    #[error("nested deeper than 100 levels")]
    TooDeep,
    /// Parts of the document share bytes.
    #[error("parts of the document overlap")]
    Overlap,
    /// A string, key or path that is not UTF-8.
    #[error("a string is not valid UTF-8")]
    NotUtf8,
    /// NaN or an infinity.
    #[error("a number is not finite")]
    NotFinite,
    /// A date, time or decimal inside the document is damaged.
    #[error("a {0} in the document is out of range")]
    OutOfRange(&'static str),
    /// A partial update whose path cannot be read.
    #[error("the path of a partial update cannot be read")]
    Path,
    /// A partial update that does not fit its before image.
    #[error("a partial update's path does not lead to a value of the before image")]
    NoSuchPath,
}
