//! Protobuf's wire format: tags, varints and length prefixes, as short as they can be.

/// Wire type of varints.
pub(crate) const VARINT: u32 = 0;
/// Wire type of 8 bytes.
pub(crate) const FIXED64: u32 = 1;
/// Wire type of a length and that many bytes.
pub(crate) const LENGTH: u32 = 2;
/// Wire type of 4 bytes.
pub(crate) const FIXED32: u32 = 5;

/// First byte or bytes of a field, as a number: its varint is what is written.
pub(crate) const fn tag(field: u32, wire_type: u32) -> u64 {
    ((field << 3) | wire_type) as u64
}

/// Bytes that the varint of `value` takes, 1 to 10.
#[inline]
pub(crate) const fn varint_bytes(value: u64) -> usize {
    // By seven, rounded up, as a multiplication: right for 1 to 64 bits.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) >> 6
}

/// Appends the varint of `value`.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// The varint of `value`, first byte lowest, and how many bytes it takes.
///
/// Without a loop up to 8 bytes: the groups of seven bits are moved apart all at once, halves first.
#[inline]
pub(crate) const fn varint(value: u64) -> (u128, usize) {
    let length = varint_bytes(value);
    if length > 8 {
        let (front, behind) = (spread(value & LOW_56) | CONTINUED, value >> 56);
        // One byte is left, or eight bits of it, and the eighth makes a tenth byte.
        let ninth = if length == 10 { behind & 0x7f | 0x80 } else { behind };
        let tenth = behind >> 7;
        return (front as u128 | (ninth as u128) << 64 | (tenth as u128) << 72, length);
    }
    let continued = CONTINUED & !(u64::MAX << (8 * (length - 1)));
    ((spread(value) | continued) as u128, length)
}

/// What eight bytes of a varint carry.
const LOW_56: u64 = (1 << 56) - 1;
/// The bit of each of eight bytes that says that another follows.
const CONTINUED: u64 = 0x8080_8080_8080_8080;

/// The 56 bits of `value`, seven to each byte.
#[inline]
const fn spread(value: u64) -> u64 {
    let halves = value & 0x0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
    let quarters = halves & 0x0000_3fff_0000_3fff | (halves & 0x0fff_c000_0fff_c000) << 2;
    quarters & 0x007f_007f_007f_007f | (quarters & 0x3f80_3f80_3f80_3f80) << 1
}

#[inline]
const fn low_byte(value: u64) -> u8 {
    (value & 0xff) as u8
}

/// `sint64`'s mapping: small absolute values become small numbers.
#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Bytes that a length-delimited field of `length` bytes takes, its tag included.
#[inline]
pub(crate) const fn field_bytes(field: u32, length: usize) -> usize {
    varint_bytes(tag(field, LENGTH)) + varint_bytes(length as u64) + length
}

/// Appends tag and length of a length-delimited field; its bytes are to follow.
#[inline]
pub(crate) fn put_header(out: &mut Vec<u8>, field: u32, length: usize) {
    put_varint(out, tag(field, LENGTH));
    put_varint(out, length as u64);
}

/// Appends a length-delimited field.
pub(crate) fn put_field(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_header(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a text or bytes field unless it is empty, as proto3 has it.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_field(out, field, bytes);
    }
}

/// Appends a varint field unless it is 0, as proto3 has it.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, tag(field, VARINT));
        put_varint(out, value);
    }
}

/// Bytes that [`put_number`] appends.
pub(crate) const fn number_bytes(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { varint_bytes(tag(field, VARINT)) + varint_bytes(value) }
}

/// Takes a varint off the front of `bytes`; `None` when it is cut short or longer than 10 bytes.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes `length` bytes off the front of `bytes`; `None` when there are fewer.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_takes_as_many_bytes_as_announced_and_reads_back() {
        for value in (0..64)
            .flat_map(|bit| {
                [
                    (1_u64 << bit) - 1,
                    1 << bit,
                    0x5555_5555_5555_5555 >> bit,
                    0xdead_beef_fedc_ba98 >> bit,
                ]
            })
            .chain([u64::MAX])
        {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
            assert_eq!(take_varint(&mut out.as_slice()), Some(value));
            let (bytes, length) = varint(value);
            let bytes = bytes.to_le_bytes();
            assert_eq!(bytes[..length], out, "{value}");
            assert!(bytes[length..].iter().all(|byte| *byte == 0), "{value}");
        }
        assert_eq!(take_varint(&mut [0x80_u8; 11].as_slice()), None);
    }
}
