//! Numbers of rows: contiguous in each lane, the same again after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use crate::encode::LaneId;

/// The number of a lane's first row.
const FIRST: u64 = 1;

/// The next row's number of each lane, and the lanes' names.
///
/// A checkpoint holds, by the lanes' keys, the numbers as they were when its last transaction had
/// been packed: [`Sequences::take_moved`] after each run of transactions tells which have changed.
/// Restored from it, the rows that follow get the numbers that they had before.
#[derive(Debug, Default)]
pub struct Sequences {
    ids: HashMap<Arc<str>, LaneId>,
    lanes: Vec<Numbers>,
    moved: Vec<LaneId>,
}

#[derive(Debug)]
struct Numbers {
    key: Arc<str>,
    next: u64,
    moved: bool,
}

impl Sequences {
    /// The numbers that a checkpoint holds: next number by lane key.
    pub fn restored<K: AsRef<str>>(numbers: impl IntoIterator<Item = (K, u64)>) -> Self {
        let mut sequences = Self::default();
        for (key, next) in numbers {
            let lane = sequences.lane(key.as_ref());
            if let Some(numbers) = sequences.numbers_mut(lane) {
                numbers.next = next;
            }
        }
        sequences
    }

    /// The lane with this key; made when it is new.
    pub fn lane(&mut self, key: &str) -> LaneId {
        if let Some(lane) = self.ids.get(key) {
            return *lane;
        }
        // Memory ends long before four thousand million lanes.
        let lane = LaneId(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        let key: Arc<str> = key.into();
        self.ids.insert(Arc::clone(&key), lane);
        self.lanes.push(Numbers { key, next: FIRST, moved: false });
        lane
    }

    /// The lane's key.
    pub fn key(&self, lane: LaneId) -> Option<&Arc<str>> {
        self.lanes.get(lane.0 as usize).map(|numbers| &numbers.key)
    }

    /// The number that the lane's next row will have.
    pub fn next(&self, lane: LaneId) -> u64 {
        self.lanes.get(lane.0 as usize).map_or(FIRST, |numbers| numbers.next)
    }

    /// Gives the lane's next number to a row, a statement or a heartbeat.
    pub fn number(&mut self, lane: LaneId) -> u64 {
        self.numbers(lane, 1)
    }

    /// Gives the lane's next `count` numbers; the first of them.
    pub fn numbers(&mut self, lane: LaneId, count: u64) -> u64 {
        let Some(numbers) = self.lanes.get_mut(lane.0 as usize) else {
            return FIRST;
        };
        let first = numbers.next;
        numbers.next += count;
        if !numbers.moved {
            numbers.moved = true;
            self.moved.push(lane);
        }
        first
    }

    /// Key and next row number of each lane.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.lanes.iter().map(|lane| (&lane.key, lane.next))
    }

    /// The lane with this key, if there is one.
    pub fn find(&self, key: &str) -> Option<LaneId> {
        self.ids.get(key).copied()
    }

    /// Number, key and next row number of each lane that gave numbers since the last call. Costs in proportion
    /// to these, however many lanes there are.
    pub fn take_moved(&mut self) -> Vec<(LaneId, Arc<str>, u64)> {
        let moved = std::mem::take(&mut self.moved);
        let mut numbers = Vec::with_capacity(moved.len());
        for id in moved {
            if let Some(lane) = self.numbers_mut(id) {
                lane.moved = false;
                numbers.push((id, Arc::clone(&lane.key), lane.next));
            }
        }
        numbers
    }

    fn numbers_mut(&mut self, lane: LaneId) -> Option<&mut Numbers> {
        self.lanes.get_mut(lane.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_lane_goes_on_where_it_was() {
        let mut before = Sequences::default();
        let lane = before.lane("shop.orders#0");
        assert_eq!([before.number(lane), before.number(lane)], [1, 2]);
        let mut after =
            Sequences::restored(before.take_moved().into_iter().map(|(_, key, next)| (key, next)));
        let lane = after.lane("shop.orders#0");
        assert_eq!(after.key(lane).map(|key| &**key), Some("shop.orders#0"));
        assert_eq!(after.number(lane), 3);
    }

    #[test]
    fn only_lanes_that_moved_are_told() {
        let mut sequences = Sequences::restored([("a#0", 5), ("b#0", 6), ("c#0", 7)]);
        assert!(sequences.take_moved().is_empty());
        let lane = sequences.lane("b#0");
        sequences.number(lane);
        sequences.number(lane);
        let moved = sequences.take_moved().into_iter().map(|(_, key, next)| (key, next));
        assert_eq!(moved.collect::<Vec<(Arc<str>, u64)>>(), [("b#0".into(), 8)]);
        assert!(sequences.take_moved().is_empty());
    }
}
