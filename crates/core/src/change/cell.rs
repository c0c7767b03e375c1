//! One value of one column, borrowed from the event or from the decoder's scratch space.

/// A column's value in one row image.
///
/// Which SQL type it stands for is the [`Column`](super::Column)'s to say; a cell is only the shape
/// that travels. DECIMAL and temporal values are canonical text, as is everything that MySQL prints
/// losslessly as text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// The image does not carry this column (`binlog_row_image` MINIMAL or NOBLOB). Not NULL.
    Absent,
    /// SQL NULL.
    Null,
    /// Signed integers, YEAR.
    Int(i64),
    /// Unsigned integers, BIT.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Valid UTF-8: character data, DECIMAL, temporal text, ENUM label, SET labels joined by commas.
    Text(&'a [u8]),
    /// Character data that is not valid in its column's character set, or whose character set has
    /// no known decoding: the bytes as stored.
    Malformed(&'a [u8]),
    /// BINARY (padded to its length), VARBINARY, BLOB, geometry (SRID and WKB as stored).
    Bytes(&'a [u8]),
    /// A JSON document as MySQL prints it, valid UTF-8.
    Json(&'a [u8]),
    /// Partial JSON update whose before image is not at hand: a JSON array of
    /// `{"op":"replace|insert|remove","path":"$.a","value":...}`, valid UTF-8.
    JsonDiff(&'a [u8]),
    /// VECTOR: packed little-endian IEEE 754 single precision.
    Vector(&'a [u8]),
    /// Left out by the oversize ladder: its length in bytes and the SHA-256 of its bytes.
    Omitted {
        /// Length of the value that was left out, bytes.
        size_bytes: u64,
        /// SHA-256 of the value that was left out.
        sha256: [u8; 32],
    },
}

/// Where a slot's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// In the raw event: nothing was copied.
    Event,
    /// In the row buffer's scratch space: the value had to be transcoded.
    Scratch,
}

/// What a slot's bytes mean; the byte-carrying variants of [`Cell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BytesKind {
    /// See [`Cell::Text`].
    Text,
    /// See [`Cell::Malformed`].
    Malformed,
    /// See [`Cell::Bytes`].
    Bytes,
    /// See [`Cell::Json`].
    Json,
    /// See [`Cell::JsonDiff`].
    JsonDiff,
    /// See [`Cell::Vector`].
    Vector,
    /// See [`Cell::Omitted`]: its size, eight bytes, little-endian, and its hash. Only in rows that were
    /// read back from messages.
    Omitted,
}

/// A cell without its bytes: 16 bytes, `Copy`, kept in a vector that is used again for each row, so
/// that a row costs no allocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slot {
    /// See [`Cell::Absent`].
    Absent,
    /// See [`Cell::Null`].
    Null,
    /// See [`Cell::Int`].
    Int(i64),
    /// See [`Cell::UInt`].
    UInt(u64),
    /// See [`Cell::Float`].
    Float(f32),
    /// See [`Cell::Double`].
    Double(f64),
    /// Bytes `start..end` of `area`. Events are shorter than 4 GiB (their length field has 32 bits).
    Span {
        /// What the bytes mean.
        kind: BytesKind,
        /// Where they lie.
        area: Area,
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
}
