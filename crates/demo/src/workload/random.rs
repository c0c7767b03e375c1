//! Numbers that look random and are the same in each run.

/// SplitMix64: small, fast, and good enough for a shop.
#[derive(Debug)]
pub(in super::super) struct Random {
    state: u64,
}

impl Random {
    pub(in super::super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1; 0 when `end` is 0.
    pub(in super::super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    /// One of `from`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or_default();
        &from[at]
    }

    /// Eight bytes.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        self.next().to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_all_of_a_range_comes_up() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let numbers: Vec<_> = (0..200).map(|_| one.below(10)).collect();
        assert!((0..200).all(|at| numbers[at] == two.below(10)));
        assert!((0..10).all(|number| numbers.contains(&number)));
        assert_eq!(one.below(0), 0);
    }
}
