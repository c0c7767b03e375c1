//! Decimals as Kafka Connect has them: the unscaled value, two's complement, big-endian.

/// Bytes of the widest: 76 digits. MySQL has up to 65.
const BYTES: usize = 32;
const DIGITS_MAX: usize = 76;

/// The unscaled value of `-12.50`, -1250, in as few bytes as hold it, at the end of the array.
pub(super) struct Unscaled {
    bytes: [u8; BYTES],
    start: usize,
}

impl Unscaled {
    /// Of decimal text; `None` for what is none, or is too long.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let (is_negative, digits) = match text.split_first()? {
            (b'-', digits) => (true, digits),
            _ => (false, text),
        };
        let mut words = [0_u32; BYTES / 4];
        let (mut count, mut has_point) = (0, false);
        for byte in digits {
            match byte {
                b'.' if !has_point => has_point = true,
                b'0'..=b'9' => {
                    times_ten_plus(&mut words, byte - b'0');
                    count += 1;
                }
                _ => return None,
            }
        }
        if count == 0 || count > DIGITS_MAX {
            return None;
        }
        if is_negative {
            negate(&mut words);
        }
        let mut bytes = [0; BYTES];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words.iter().rev()) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        Some(Self { start: first_needed(&bytes), bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Words are in ascending order of weight.
fn times_ten_plus(words: &mut [u32], digit: u8) {
    let mut carry = u64::from(digit);
    for word in words {
        carry += u64::from(*word) * 10;
        *word = low(carry);
        carry >>= 32;
    }
}

fn negate(words: &mut [u32]) {
    let mut carry = 1;
    for word in words {
        carry += u64::from(!*word);
        *word = low(carry);
        carry >>= 32;
    }
}

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Where the bytes begin that are more than the sign repeated.
fn first_needed(bytes: &[u8; BYTES]) -> usize {
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    pairs
        .take_while(|(byte, next)| {
            (**byte == 0 && **next < 0x80) || (**byte == 0xff && **next >= 0x80)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<Vec<u8>> {
        Unscaled::of(text.as_bytes()).map(|unscaled| unscaled.bytes().to_vec())
    }

    #[test]
    fn decimals_are_as_javas_big_integer_has_them() {
        for (text, bytes) in [
            ("0", &[0][..]),
            ("-0.00", &[0]),
            ("1.27", &[127]),
            ("1.28", &[0, 128]),
            ("-1.28", &[128]),
            ("-129", &[0xff, 0x7f]),
            ("-0.9", &[0xf7]),
            ("-256", &[0xff, 0]),
            ("999999999.9999999999", &[0, 0x8a, 0xc7, 0x23, 0x04, 0x89, 0xe7, 0xff, 0xff]),
        ] {
            assert_eq!(of(text).as_deref(), Some(bytes), "{text}");
        }
        let most = of(&"9".repeat(65)).expect("65 digits");
        assert_eq!((most.len(), most[0], most[1]), (28, 0, 0xf3));
        for text in ["", "-", ".", "1.2.3", "1e3", " 1", "+1", &"9".repeat(77)] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_bytes_mean_the_number(value in any::<i128>()) {
            let bytes = of(&value.to_string()).expect("at most 39 digits");
            let sign = if value < 0 { 0xff } else { 0 };
            let mut wide = [sign; 16];
            wide[16 - bytes.len()..].copy_from_slice(&bytes);
            prop_assert_eq!(i128::from_be_bytes(wide), value);
            prop_assert!(bytes.len() == 1 || bytes[0] != sign || (bytes[1] ^ sign) & 0x80 != 0);
        }
    }
}
