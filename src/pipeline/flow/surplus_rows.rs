//! From when on a stretch of the log has no more rows than were published. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::pack::Sequences;

/// How many rows of each lane a stretch has too many, and when the last of them was committed.
#[derive(Debug, Default)]
pub struct SurplusRows {
    rows: BTreeMap<Arc<str>, u64>,
    /// The newest commit time so far, until the last of them has gone by.
    newest_us: AtomicI64,
    /// That time then; 0 before.
    passed_us: AtomicI64,
}

impl SurplusRows {
    /// So many rows of each lane.
    pub fn of(rows: BTreeMap<Arc<str>, u64>) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Takes the end of a transaction, with the numbers of lanes that all began with 1. Whether all of
    /// them have gone by.
    pub(super) fn committed(&self, committed_at_us: i64, sequences: &mut Sequences) -> bool {
        let newest = self.newest_us.fetch_max(committed_at_us, Ordering::Relaxed);
        let newest = newest.max(committed_at_us);
        let is_passed = self.rows.iter().all(|(key, rows)| {
            let lane = sequences.lane(key);
            sequences.next(lane) > *rows
        });
        if is_passed {
            self.passed_us.store(newest, Ordering::Relaxed);
        }
        is_passed
    }

    /// The earliest time after all of them; `None` while some have not gone by.
    pub fn earliest_us(&self) -> Option<i64> {
        let passed = self.passed_us.load(Ordering::Relaxed);
        (passed > 0).then_some(passed + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_after_the_newest_commit_up_to_the_last_row_that_is_too_many() {
        let lane = |name: &str| Arc::from(name);
        let surplus_rows = SurplusRows::of([(lane("a"), 2), (lane("b"), 1)].into());
        let mut sequences = Sequences::default();
        // Lanes of the rows of each transaction, and its commit time: a clock steps back.
        let log: [(&[&str], i64); 5] =
            [(&["a"], 10), (&["c"], 40), (&["a", "a"], 20), (&["b"], 30), (&["a"], 50)];
        let mut passed = Vec::new();
        for (rows, time) in log {
            for row in rows {
                let id = sequences.lane(row);
                sequences.number(id);
            }
            passed.push(surplus_rows.committed(time, &mut sequences));
            if passed.last() == Some(&true) {
                break;
            }
        }
        assert_eq!(passed, [false, false, false, true]);
        assert_eq!(surplus_rows.earliest_us(), Some(41));
        assert_eq!(SurplusRows::of([(lane("a"), 1)].into()).earliest_us(), None);
    }
}
