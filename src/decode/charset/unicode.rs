//! UCS-2, UTF-16, UTF-32.

use super::push;

/// Big-endian; surrogates are no characters here.
pub(super) fn decode_ucs2(bytes: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
    let (units, rest) = bytes.as_chunks::<2>();
    for unit in units {
        push(scratch, char::from_u32(u16::from_be_bytes(*unit).into())?);
    }
    rest.is_empty().then_some(())
}

/// `read` says in which order the two bytes of a unit lie.
pub(super) fn decode_utf16(
    bytes: &[u8],
    read: fn([u8; 2]) -> u16,
    scratch: &mut Vec<u8>,
) -> Option<()> {
    let (units, rest) = bytes.as_chunks::<2>();
    for point in char::decode_utf16(units.iter().map(|unit| read(*unit))) {
        push(scratch, point.ok()?);
    }
    rest.is_empty().then_some(())
}

/// Big-endian.
pub(super) fn decode_utf32(bytes: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
    let (points, rest) = bytes.as_chunks::<4>();
    for point in points {
        push(scratch, char::from_u32(u32::from_be_bytes(*point))?);
    }
    rest.is_empty().then_some(())
}
