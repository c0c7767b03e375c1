//! Bitmaps of columns, lowest bit first.

use super::{CellError, cursor};

/// One bit per column, lowest bit of the first byte first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bitmap<'a> {
    bytes: &'a [u8],
    bits: usize,
}

impl<'a> Bitmap<'a> {
    /// Takes `bits` bits off `event` at `*at`.
    pub(crate) fn take(event: &'a [u8], at: &mut usize, bits: usize) -> Result<Self, CellError> {
        let bytes = cursor::slice(event, at, bits.div_ceil(8), "bitmap of columns")?;
        Ok(Self { bytes, bits })
    }

    /// Whether bit `index` is set; no, beyond the last.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> bool {
        index < self.bits
            && self.bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Whether there are so many bits, and all of them are set.
    #[inline]
    pub(crate) fn is_full(&self, bits: usize) -> bool {
        let (whole, rest) = self.bytes.split_at_checked(bits / 8).unwrap_or_default();
        let last = (1_u8 << (bits % 8)) - 1;
        self.bits == bits
            && whole.iter().all(|byte| *byte == u8::MAX)
            && rest.first().is_none_or(|byte| byte & last == last)
    }

    /// The bytes, of which the last may have bits to spare.
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of set bits.
    pub(crate) fn count(&self) -> usize {
        let whole = self.bits / 8;
        let ones =
            |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
        let rest = (whole * 8..self.bits).filter(|index| self.get(*index)).count();
        self.bytes.get(..whole).map_or(0, ones) + rest
    }

    /// Number of bits.
    pub(crate) fn len(&self) -> usize {
        self.bits
    }
}
