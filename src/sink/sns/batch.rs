//! What goes into one PublishBatch. Pure.

/// Most entries of a PublishBatch call (SNS API reference).
pub(super) const ENTRIES_MAX: usize = 10;

/// Room of one call as it fills.
#[derive(Debug)]
pub(super) struct BatchCapacity {
    limit_bytes: usize,
    bytes: usize,
    entries: usize,
    entries_max: usize,
}

impl BatchCapacity {
    /// An empty call to a topic that takes `limit_bytes`, which counts for the whole batch.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, bytes: 0, entries: 0, entries_max: ENTRIES_MAX }
    }

    /// Takes an entry of `bytes`, which may share its call with `entries_max - 1` others at most;
    /// whether there was room. The first always has: if it is too large by itself, SNS will say so.
    pub(super) fn admit(&mut self, bytes: usize, entries_max: usize) -> bool {
        let entries_limit = self.entries_max.min(entries_max.max(1));
        let sum = self.bytes.saturating_add(bytes);
        if self.entries > 0 && (self.entries >= entries_limit || sum > self.limit_bytes) {
            return false;
        }
        self.entries += 1;
        self.entries_max = entries_limit;
        self.bytes = sum;
        true
    }

    /// Whether no further entry can be admitted.
    pub(super) fn is_full(&self) -> bool {
        self.entries >= self.entries_max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_entries_fit_and_the_eleventh_does_not() {
        let mut capacity = BatchCapacity::new(1000);
        assert!((0..ENTRIES_MAX).all(|_| capacity.admit(1, ENTRIES_MAX)));
        assert!(capacity.is_full());
        assert!(!capacity.admit(1, ENTRIES_MAX));
    }

    #[test]
    fn the_limit_counts_for_the_sum() {
        let mut capacity = BatchCapacity::new(100);
        assert!(capacity.admit(60, ENTRIES_MAX));
        assert!(!capacity.admit(41, ENTRIES_MAX));
        assert!(capacity.admit(40, ENTRIES_MAX));
    }

    #[test]
    fn an_entry_that_must_travel_in_small_company_limits_the_call() {
        let mut capacity = BatchCapacity::new(1000);
        assert!(capacity.admit(1, 2));
        assert!(capacity.admit(1, ENTRIES_MAX));
        assert!(!capacity.admit(1, ENTRIES_MAX));

        let mut capacity = BatchCapacity::new(1000);
        assert!(capacity.admit(1, ENTRIES_MAX));
        assert!(!capacity.admit(1, 1));
    }

    proptest! {
        #[test]
        fn no_call_of_more_than_one_entry_exceeds_a_limit(
            sizes in prop::collection::vec((0_usize..400, 1_usize..=10), 1..40)
        ) {
            let mut capacity = BatchCapacity::new(1000);
            let mut taken = Vec::new();
            for (bytes, most) in sizes {
                if capacity.admit(bytes, most) {
                    taken.push((bytes, most));
                }
            }
            prop_assert!(!taken.is_empty());
            if taken.len() > 1 {
                prop_assert!(taken.iter().map(|(bytes, _)| bytes).sum::<usize>() <= 1000);
                prop_assert!(taken.iter().all(|(_, most)| taken.len() <= *most));
            }
        }
    }
}
