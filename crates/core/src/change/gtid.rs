//! Global transaction identifiers, MySQL's (with tags, 8.4 and newer) and MariaDB's.

use std::fmt;
use std::str::FromStr;

/// Text or bytes that are no GTID, or no GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID at byte {at}: found {found}, expected {expected}")]
pub struct GtidError {
    /// Offset in the text or bytes.
    pub at: usize,
    /// What was there, shortened.
    pub found: String,
    /// What should have been there.
    pub expected: &'static str,
}

/// A server's UUID: the source part of a GTID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

/// Bytes of a UUID's text.
const UUID_TEXT_BYTES: usize = 36;

impl Uuid {
    /// Its text, `3e11fa47-71ca-11e1-9e33-c80aa9429562`. Written by hand: every transaction in a
    /// message has one, and the formatting machinery would take longer than the transaction's row.
    pub fn text(self, space: &mut [u8; UUID_TEXT_BYTES]) -> &str {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut at = 0;
        for (index, byte) in self.0.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                space[at] = b'-';
                at += 1;
            }
            space[at] = DIGITS[usize::from(byte >> 4)];
            space[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        std::str::from_utf8(space).unwrap_or_default()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; UUID_TEXT_BYTES]))
    }
}

impl FromStr for Uuid {
    type Err = GtidError;

    /// Accepts 32 hexadecimal digits of either case, with or without the usual dashes.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        let error = |at: usize| GtidError {
            at,
            found: text.chars().take(40).collect(),
            expected: "a UUID",
        };
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, character) in text.char_indices() {
            if character == '-' && matches!(at, 8 | 13 | 18 | 23) {
                continue;
            }
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(digit), true) = (digit, digits < 32) else { return Err(error(at)) };
            bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
            digits += 1;
        }
        if digits == 32 { Ok(Self(bytes)) } else { Err(error(text.len())) }
    }
}

/// Tag of a GTID: up to 32 characters `[a-z_][a-z0-9_]*`; empty for an untagged GTID.
///
/// Kept inline so that a GTID is `Copy` and a transaction costs no allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Tag {
    bytes: [u8; Self::LENGTH_MAX],
    length: u8,
}

impl Tag {
    /// Longest tag, characters (MySQL manual, "GTID Format and Storage").
    pub const LENGTH_MAX: usize = 32;

    /// Checks and normalises (to lower case) a tag; empty text is the empty tag.
    pub fn new(text: &[u8]) -> Result<Self, GtidError> {
        let error = |at| GtidError {
            at,
            found: String::from_utf8_lossy(text).chars().take(40).collect(),
            expected: "a tag: a letter or underscore, then up to 31 letters, digits, underscores",
        };
        if text.len() > Self::LENGTH_MAX {
            return Err(error(Self::LENGTH_MAX));
        }
        let mut tag = Self { bytes: [0; Self::LENGTH_MAX], length: 0 };
        for (at, byte) in text.iter().enumerate() {
            let valid =
                byte.is_ascii_alphabetic() || *byte == b'_' || at > 0 && byte.is_ascii_digit();
            if !valid {
                return Err(error(at));
            }
            tag.bytes[at] = byte.to_ascii_lowercase();
            tag.length += 1;
        }
        Ok(tag)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// MySQL's global transaction identifier, `uuid:n` or `uuid:tag:n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gtid {
    /// The server that first executed the transaction.
    pub source: Uuid,
    /// Its tag; empty for most.
    pub tag: Tag,
    /// Its number, 1 to 2^63 - 2.
    pub sequence: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_empty() {
            write!(f, "{}:{}", self.source, self.sequence)
        } else {
            write!(f, "{}:{}:{}", self.source, self.tag.as_str(), self.sequence)
        }
    }
}

/// MariaDB's global transaction identifier, `domain-server-sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MariaGtid {
    /// Replication domain.
    pub domain: u32,
    /// `server_id` of the server that first executed the transaction.
    pub server: u32,
    /// Its number within the domain.
    pub sequence: u64,
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}
