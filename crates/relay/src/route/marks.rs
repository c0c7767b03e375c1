//! Marks of snapshots: how many parts each lane of a table has had. Without them nobody would miss the last
//! parts of a table that nobody writes to.

use std::collections::VecDeque;
use std::time::Duration;

use binpulse_client::proto;

use crate::lane::LaneKey;
use crate::lanes::order::LaneOrder;

/// Marks that are held at most: the oldest are given up first.
const MARKS_MAX: usize = 1_000;

/// A lane, its next row, and number and attempt of the part behind the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: LaneKey,
    next: u64,
    part: (u64, u32),
    is_start: bool,
}

impl Place {
    /// Tells its lane. Whether nothing is to come any more that stands before the mark.
    pub(super) fn tell<T>(&self, order: &mut LaneOrder<T>, now: Duration) -> bool {
        order.mark(self.is_start, self.next, self.part, now);
        order.is_past(self.part)
    }
}

/// The places of a mark. A mark without numbers of parts has none.
pub(super) fn places(mark: &proto::SnapshotMark) -> Vec<Place> {
    let stream = mark.source.as_ref().map_or("", |source| source.stream.as_str());
    let is_start = mark.phase() == proto::SnapshotPhase::Started;
    let lanes = mark.lanes.iter().filter(|lane| is_start || lane.snapshot_next > 0);
    lanes
        .map(|lane| Place {
            lane: LaneKey {
                stream: stream.into(),
                epoch: lane.epoch,
                lane: lane.lane.as_str().into(),
            },
            next: lane.sequence_next,
            part: (lane.snapshot_next, lane.snapshot_attempt),
            is_start,
        })
        .collect()
}

/// Marks whose parts have not all come. Their messages stay in the queue until they have, so that a process
/// that ends before forgets none.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<(u64, Vec<Place>)>);

impl Marks {
    /// Holds a mark; returns a message that is given up for it.
    pub(super) fn hold(&mut self, message: u64, places: Vec<Place>) -> Option<u64> {
        self.0.push_back((message, places));
        let has_room = self.0.len() <= MARKS_MAX;
        if has_room { None } else { self.0.pop_front().map(|(message, _)| message) }
    }

    /// Tells the lanes again: of each place whether nothing is to come any more that stands before it, or
    /// its lane is another process's. Returns the messages of marks of which that is so of all places.
    pub(super) fn tell(&mut self, mut is_past: impl FnMut(&Place) -> bool) -> Vec<u64> {
        for (_, places) in &mut self.0 {
            places.retain(|place| !is_past(place));
        }
        let mut finished = Vec::new();
        self.0.retain(|(message, places)| {
            if places.is_empty() {
                finished.push(*message);
            }
            !places.is_empty()
        });
        finished
    }
}
