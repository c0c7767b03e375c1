//! Bounds-checked steps through an event's body.

use super::Fault;

/// Bytes of an event that are not yet read.
///
/// Every step checks what is left first: a length from the wire can neither panic nor allocate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    /// All of `all`, from its beginning.
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Number of bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.all.len().saturating_sub(self.at)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.all.get(self.at..).unwrap_or_default();
        self.at = self.all.len();
        rest
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length);
        match end.and_then(|end| self.all.get(self.at..end)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(Fault::Short { what, at: self.at, needed: length, left: self.left() }),
        }
    }

    /// The next `length` bytes, a length from the wire.
    pub(super) fn take_long(&mut self, length: u64, what: &'static str) -> Result<&'a [u8], Fault> {
        self.take(usize::try_from(length).unwrap_or(usize::MAX), what)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        match self.all.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Fault::Short { what, at: self.at, needed: N, left: self.left() }),
        }
    }

    /// One byte.
    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Fault> {
        Ok(self.array::<1>(what)?[0])
    }

    /// Two bytes, little-endian.
    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Four bytes, little-endian.
    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Six bytes, little-endian.
    pub(super) fn u48(&mut self, what: &'static str) -> Result<u64, Fault> {
        self.widened::<6>(what)
    }

    /// Seven bytes, little-endian.
    pub(super) fn u56(&mut self, what: &'static str) -> Result<u64, Fault> {
        self.widened::<7>(what)
    }

    /// `N` bytes, at most 8, little-endian.
    fn widened<const N: usize>(&mut self, what: &'static str) -> Result<u64, Fault> {
        let mut wide = [0; 8];
        for (slot, byte) in wide.iter_mut().zip(self.array::<N>(what)?) {
            *slot = byte;
        }
        Ok(u64::from_le_bytes(wide))
    }

    /// Eight bytes, little-endian.
    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A length-encoded integer of the client/server protocol: 1, 3, 4 or 9 bytes. The NULL marker
    /// 251 and the error marker 255 are no numbers.
    pub(super) fn length_encoded(&mut self, what: &'static str) -> Result<u64, Fault> {
        match self.u8(what)? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => Ok(u64::from(self.u16(what)?)),
            253 => self.widened::<3>(what),
            254 => self.u64(what),
            marker @ (251 | 255) => Err(Fault::Unexpected {
                what,
                found: u64::from(marker),
                expected: "a length-encoded integer",
            }),
        }
    }

    /// A variable-length integer of the server's serialization library: as many low one bits in the
    /// first byte as bytes follow it, then the number, little-endian.
    pub(super) fn serialized(&mut self, what: &'static str) -> Result<u64, Fault> {
        let first = self.u8(what)?;
        let following = first.trailing_ones();
        if following == 8 {
            return self.u64(what);
        }
        let mut bytes = [0; 8];
        bytes[0] = first;
        let more = self.take(following as usize, what)?;
        for (slot, byte) in bytes.iter_mut().skip(1).zip(more) {
            *slot = *byte;
        }
        Ok(u64::from_le_bytes(bytes) >> (following + 1))
    }

    /// A signed number of the serialization library that must not be negative: its lowest bit is the
    /// sign.
    pub(super) fn serialized_positive(&mut self, what: &'static str) -> Result<u64, Fault> {
        let folded = self.serialized(what)?;
        if folded & 1 == 1 {
            return Err(Fault::Unexpected { what, found: folded, expected: "no negative number" });
        }
        Ok(folded >> 1)
    }

    /// Text that must be valid UTF-8, as identifiers are.
    pub(super) fn text(&mut self, length: usize, what: &'static str) -> Result<&'a str, Fault> {
        let at = self.at;
        std::str::from_utf8(self.take(length, what)?).map_err(|_| Fault::NotText { what, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoded_integers_of_every_width_are_read() {
        let read = |bytes: &[u8]| Bytes::new(bytes).length_encoded("n").ok();
        assert_eq!(read(&[250]), Some(250));
        assert_eq!(read(&[252, 1, 2]), Some(0x201));
        assert_eq!(read(&[253, 1, 2, 3]), Some(0x3_0201));
        assert_eq!(read(&[254, 1, 0, 0, 0, 0, 0, 0, 128]), Some(0x8000_0000_0000_0001));
        assert_eq!(read(&[251]), None);
        assert_eq!(read(&[252, 1]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn serialized_integers_of_every_width_are_read() {
        let read = |bytes: &[u8]| Bytes::new(bytes).serialized("n").ok();
        assert_eq!(read(&[0b0000_0010]), Some(1));
        assert_eq!(read(&[0b1111_1110]), Some(127));
        assert_eq!(read(&[0b0000_0001, 0b10]), Some(128));
        assert_eq!(read(&[0xff, 1, 0, 0, 0, 0, 0, 0, 0]), Some(1));
        assert_eq!(read(&[0b0111_1111, 1, 0, 0, 0, 0, 0, 0]), Some(1 << 0));
        assert_eq!(read(&[0b0000_0011, 0]), None);
    }

    #[test]
    fn what_is_left_is_taken_once() {
        let mut bytes = Bytes::new(&[1, 2, 3]);
        assert_eq!(bytes.u8("x").ok(), Some(1));
        assert_eq!((bytes.at(), bytes.left()), (1, 2));
        assert_eq!(bytes.rest(), [2, 3]);
        assert_eq!((bytes.at(), bytes.left()), (3, 0));
        assert!(bytes.rest().is_empty() && bytes.u8("x").is_err());
    }

    #[test]
    fn a_wire_length_beyond_the_event_is_an_error() {
        let mut bytes = Bytes::new(&[1, 2, 3]);
        assert!(bytes.take_long(u64::MAX, "x").is_err());
        assert_eq!(bytes.take(3, "x").ok(), Some(&[1, 2, 3][..]));
    }
}
