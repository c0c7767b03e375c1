//! Sets of numbers, as disjoint ranges.

use std::collections::BTreeMap;

/// Numbers, by the first and last one of each range. Ranges that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range, both ends included; one that ends before it begins adds nothing.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Those that begin within it or just behind it, and the one before, if it reaches that far.
        while let Some((begin, end)) = self.0.range(..=last.saturating_add(1)).next_back() {
            let (begin, end) = (*begin, *end);
            if end.saturating_add(1) < first {
                break;
            }
            self.0.remove(&begin);
            (first, last) = (first.min(begin), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Whether all of a range is in it.
    pub(crate) fn contains(&self, first: u64, last: u64) -> bool {
        self.0.range(..=first).next_back().is_some_and(|(_, end)| *end >= last)
    }

    /// Takes away what is below `next`, and what follows it without a gap: the smallest number from
    /// `next` on that is not in the set.
    pub(crate) fn advance(&mut self, next: u64) -> u64 {
        let mut next = next;
        while let Some(entry) = self.0.first_entry()
            && *entry.key() <= next
        {
            next = next.max(entry.remove().saturating_add(1));
        }
        next
    }

    /// The ranges, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// How many ranges there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::default();
        for (first, last) in ranges {
            set.insert(first, last);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_numbers(
            ranges in prop::collection::vec((0_u64..60, 0_u64..9), 0..30), next in 0_u64..60,
            asked in prop::collection::vec((0_u64..70, 0_u64..9), 0..20),
        ) {
            let mut set: Ranges = ranges.iter().map(|(first, more)| (*first, first + more)).collect();
            let mut model: BTreeSet<u64> =
                ranges.iter().flat_map(|(first, more)| *first..=first + more).collect();
            for (first, more) in asked {
                let all = (first..=first + more).all(|number| model.contains(&number));
                prop_assert_eq!(set.contains(first, first + more), all);
            }
            let pairs: Vec<_> = set.iter().collect();
            prop_assert!(pairs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", pairs);
            let mut free = next;
            while model.contains(&free) {
                free += 1;
            }
            prop_assert_eq!(set.advance(next), free);
            model.retain(|number| *number >= free);
            let left: BTreeSet<u64> = set.iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(left, model);
        }
    }

    #[test]
    fn the_largest_number_overflows_nothing() {
        let mut set = Ranges::default();
        set.insert(u64::MAX - 1, u64::MAX);
        set.insert(3, 2);
        assert_eq!((set.len(), set.contains(u64::MAX, u64::MAX)), (1, true));
        assert_eq!(set.advance(u64::MAX - 1), u64::MAX);
    }
}
