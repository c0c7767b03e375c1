//! Decimal digits, written by hand: the formatting machinery costs more than the rest of a row.

/// `value` below 10^9 as nine digits.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a digit fits a byte")]
pub(super) fn nine(value: u32) -> [u8; 9] {
    let mut text = [b'0' + (value / 100_000_000) as u8; 9];
    if let Some(rest) = text.last_chunk_mut() {
        *rest = eight(value % 100_000_000);
    }
    text
}

/// `value` below 10^8 as eight digits, all at once: halves, then quarters, then digits, each step in the
/// lanes of one word.
#[inline]
fn eight(value: u32) -> [u8; 8] {
    let halves = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    // A lane below 10,000 divided by 100, as a multiplication; then one below 100 divided by 10.
    let hundreds = (halves * 10_486) >> 20 & 0x7f_0000_007f;
    digits_of(hundreds | (halves - hundreds * 100) << 16)
}

/// Four numbers below 100 as two digits each.
#[inline]
pub(super) fn pairs(numbers: [u32; 4]) -> [u8; 8] {
    let [a, b, c, d] = numbers.map(u64::from);
    digits_of(a | b << 16 | c << 32 | d << 48)
}

/// The digits of four lanes of 16 bits that are below 100.
#[inline]
fn digits_of(pairs: u64) -> [u8; 8] {
    let tens = (pairs * 103) >> 10 & 0x0f_000f_000f_000f;
    let digits = tens | (pairs - tens * 10) << 8;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_their_digits() {
        let edges = [0, 1, 9, 10, 99, 100, 9_999, 10_000, 99_999_999, 100_000_000, 999_999_999];
        for value in edges.into_iter().chain((0..1_000_000_000).step_by(9_973)) {
            assert_eq!(nine(value), format!("{value:09}").as_bytes(), "{value}");
        }
    }

    #[test]
    fn pairs_read_as_their_digits() {
        for value in 0..100 {
            let numbers = [value, 99 - value, value * 7 % 100, value * 31 % 100];
            let text = numbers.map(|number| format!("{number:02}")).concat();
            assert_eq!(pairs(numbers), text.as_bytes(), "{numbers:?}");
        }
    }
}
