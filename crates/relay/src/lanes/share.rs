//! Which part of the rows a route delivers. Pure.

/// A part of all keys, told by their hashes: of relays with parts that do not overlap, each key has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    from: f64,
    upto: f64,
}

impl Share {
    /// All rows.
    pub const ALL: Self = Self { from: 0.0, upto: 1.0 };

    /// From a text: `0.01`, or `0.01-1` for what the first leaves.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, upto) = text.split_once('-').unwrap_or(("0", text));
        let (from, upto) = (from.trim().parse().ok()?, upto.trim().parse().ok()?);
        (0.0 <= from && from < upto && upto <= 1.0).then_some(Self { from, upto })
    }

    /// Whether nothing is left out.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether the key with this hash is in it.
    pub(crate) fn has(self, hash: u64) -> bool {
        // MurmurHash3's finaliser: hashes of short keys differ in few bits.
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        let place = f64::from(u32::try_from((hash ^ (hash >> 33)) >> 32).unwrap_or(u32::MAX));
        let place = place / (f64::from(u32::MAX) + 1.0);
        self.from <= place && place < self.upto
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn shares_that_follow_each_other_have_each_key_once_and_a_larger_one_has_all_of_a_smaller() {
        let share = |text| Share::parse(text).expect(text);
        let parts = [share("0.1"), share("0.1-0.5"), share("0.5 - 1")];
        let mut counts = [0_u32; 3];
        for hash in 0..10_000_u64 {
            let has = parts.map(|part| part.has(hash));
            assert_eq!(has.iter().filter(|has| **has).count(), 1, "{hash}");
            assert!(Share::ALL.has(hash) && (!has[0] || share("0.5").has(hash)));
            for (count, has) in counts.iter_mut().zip(has) {
                *count += u32::from(has);
            }
        }
        let near = |count: u32, expected: u32| count.abs_diff(expected) < 200;
        assert!(near(counts[0], 1_000) && near(counts[1], 4_000), "{counts:?}");
        assert!(share("1").is_all() && share("0-1").is_all() && !share("0.99").is_all());
        for text in ["", "0", "1.1", "0.5-0.5", "0.6-0.5", "-1", "NaN", "x", "0.1-0.2-0.3"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
    }
}
