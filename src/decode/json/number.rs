//! Doubles, as the server prints them in JSON.
//!
//! Source: `my_gcvt` in the server's `mysys/dtoa.cc` and `append_double` in `sql-common/json_dom.cc`:
//! the shortest digits that read back the same; plain notation while the point lies at most 15 places
//! to the right of the first digit and 14 to its left, else an exponent; always a point or an
//! exponent.

use super::JsonError;

const POINT_MIN: i32 = -14;
const POINT_MAX: i32 = 15;
/// Most significant digits of a double.
const DIGITS_MAX: usize = 17;

/// Shortest digits of a number, without point; value = 0.DIGITS x 10^point.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    len: usize,
    point: i32,
}

/// Appends `value`.
pub(super) fn write_double(value: f64, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !value.is_finite() {
        return Err(JsonError::NotFinite);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        out.extend_from_slice(b"0.0");
        return Ok(());
    }
    let shortest = Digits::of(value.abs());
    let digits = shortest.bytes.get(..shortest.len).unwrap_or_default();
    match shortest.point {
        point @ POINT_MIN..=0 => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
        }
        point @ 1..=POINT_MAX => write_plain(digits, point.unsigned_abs() as usize, out),
        point => write_exponent(digits, point - 1, out),
    }
    Ok(())
}

fn write_plain(digits: &[u8], point: usize, out: &mut Vec<u8>) {
    match digits.split_at_checked(point) {
        Some((whole, fraction)) => {
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction });
        }
        None => {
            out.extend_from_slice(digits);
            out.resize(out.len() + point - digits.len(), b'0');
            out.extend_from_slice(b".0");
        }
    }
}

fn write_exponent(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    if let Some((first, rest)) = digits.split_first() {
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
    }
    out.push(b'e');
    out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
}

impl Digits {
    /// Digits of a finite number above zero.
    fn of(value: f64) -> Self {
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().expect("ryu writes a small whole exponent");
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = Self { bytes: [0; DIGITS_MAX], len: 0, point: exponent };
        let mut significant = 0;
        for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            if digits.len == 0 && digit == b'0' {
                // A leading zero moves the point only behind it.
                digits.point -= i32::from(index >= whole.len());
                continue;
            }
            digits.point += i32::from(index < whole.len());
            if let Some(place) = digits.bytes.get_mut(digits.len) {
                *place = digit;
                digits.len += 1;
            }
            if digit != b'0' {
                significant = digits.len;
            }
        }
        digits.len = significant;
        digits
    }
}
