//! Decimal digits, written by hand: the formatting machinery costs more than the rest of a row.

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = pairs();

#[allow(clippy::cast_possible_truncation, reason = "a digit fits a byte")]
const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < pairs.len() {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
}

/// Writes `value` modulo 100 as two digits at `at`, which lies inside.
#[inline]
pub(super) fn put_two<const N: usize>(text: &mut [u8; N], at: usize, value: u32) {
    let pair = PAIRS.get(value as usize % PAIRS.len());
    if let (Some(place), Some(pair)) = (text.get_mut(at..at + 2), pair) {
        place.copy_from_slice(pair);
    }
}

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
    let pairs = hundreds | (halves - hundreds * 100) << 16;
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
}
