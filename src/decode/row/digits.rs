//! Decimal digits, written by hand: the formatting machinery costs more than the rest of a row.

/// `value` modulo 100 as two digits.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a digit fits a byte")]
pub(super) fn two(value: u32) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

/// `value` modulo 10,000 as four digits.
#[inline]
pub(super) fn four(value: u32) -> [u8; 4] {
    let ([a, b], [c, d]) = (two(value / 100), two(value));
    [a, b, c, d]
}

/// `value` modulo 10^9 as nine digits.
#[inline]
pub(super) fn nine(value: u32) -> [u8; 9] {
    let ([a, b, c, d], [e, f, g, h], [_, i]) =
        (four(value / 100_000), four(value / 10), two(value));
    [a, b, c, d, e, f, g, h, i]
}

/// The last `count` digits of `value`, at most nine.
#[inline]
pub(super) fn push_last(out: &mut Vec<u8>, value: u32, count: usize) {
    let digits = nine(value);
    out.extend_from_slice(digits.get(9usize.saturating_sub(count)..).unwrap_or(&digits));
}

/// `value` below 10^9 without leading zeros; nothing for 0.
#[inline]
pub(super) fn push_significant(out: &mut Vec<u8>, value: u32) {
    let digits = nine(value);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    out.extend_from_slice(digits.get(zeros..).unwrap_or_default());
}
