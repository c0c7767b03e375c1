//! Character sets of one byte a character.

use super::push;
use super::single_byte::Upper;

/// No character has this code point: the byte means nothing.
const UNMAPPED: char = '\u{fffd}';

/// A character set of one byte a character, ASCII below 0x80 but for `lower`.
#[derive(Debug)]
pub(super) struct Single {
    /// Code points of 0x80 to 0xFF.
    pub(super) upper: &'static Upper,
    /// Bytes below 0x80 that are not ASCII, ascending.
    pub(super) lower: &'static [(u8, u16)],
}

impl Single {
    /// Whether `bytes` read the same as ASCII.
    pub(super) fn is_ascii(&self, bytes: &[u8]) -> bool {
        bytes.is_ascii()
            && (self.lower.is_empty() || bytes.iter().all(|byte| self.swapped(*byte).is_none()))
    }

    /// Appends `bytes` in UTF-8; `None` if one of them means nothing.
    pub(super) fn decode(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
        scratch.reserve(bytes.len());
        for byte in bytes {
            match self.point(*byte)? {
                UNMAPPED => return None,
                point => push(scratch, point),
            }
        }
        Some(())
    }

    fn point(&self, byte: u8) -> Option<char> {
        if byte.is_ascii() {
            return self.swapped(byte).or(Some(char::from(byte)));
        }
        char::from_u32(u32::from(*self.upper.get(usize::from(byte & 0x7f))?))
    }

    fn swapped(&self, byte: u8) -> Option<char> {
        let index = self.lower.binary_search_by_key(&byte, |(swapped, _)| *swapped).ok()?;
        char::from_u32(u32::from(self.lower.get(index)?.1))
    }
}
