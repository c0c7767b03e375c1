//! Row numbers of the lanes: as rows go by, as delivered, as saved.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Lanes that moved, for a watermark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MovedLanes {
    /// Name of the lane and its next row number; all rows with a smaller number are delivered.
    pub lanes: Vec<(Arc<str>, u64)>,
    /// Whether more had moved than were asked for; those come the next time.
    pub truncated: bool,
}

/// Number of a lane's first row.
const FIRST: u64 = 1;

#[derive(Debug)]
struct Lane {
    key: Arc<str>,
    /// Number of the next row that goes by.
    next: u64,
    /// The ack group in which it last moved, for a look without a search.
    touched_in: Option<u64>,
    /// Number of the next row that is not known to be delivered.
    delivered: u64,
    is_unsaved: bool,
    is_moved: bool,
}

#[derive(Debug)]
pub(super) struct Lanes {
    /// Lanes of the checkpoint that were not named yet in this process.
    restored: BTreeMap<Arc<str>, u64>,
    known: Vec<Option<Lane>>,
    /// Lanes that moved in the open ack group, each once.
    touched: Vec<u32>,
    unsaved: Vec<u32>,
    moved: Vec<u32>,
}

impl Lanes {
    pub(super) fn new(restored: &BTreeMap<Arc<str>, u64>) -> Self {
        Self {
            restored: restored.clone(),
            known: Vec::new(),
            touched: Vec::new(),
            unsaved: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Sets the number of the lane's next row, as of this ack group. A lane that is new here begins with
    /// the number that the checkpoint holds.
    pub(super) fn reach(&mut self, lane: u32, key: &Arc<str>, next: u64, ack_group: u64) {
        let index = lane as usize;
        if self.known.len() <= index {
            self.known.resize_with(index + 1, || None);
        }
        let restored = &mut self.restored;
        let found = self.known[index].get_or_insert_with(|| Lane {
            key: Arc::clone(key),
            next,
            touched_in: None,
            delivered: restored.remove(key).unwrap_or(FIRST),
            is_unsaved: false,
            is_moved: false,
        });
        found.next = next;
        if found.touched_in != Some(ack_group) {
            found.touched_in = Some(ack_group);
            self.touched.push(lane);
        }
    }

    pub(super) fn take_touched(&mut self) -> Vec<(u32, u64)> {
        let next = |lane: u32| self.known.get(lane as usize)?.as_ref().map(|found| found.next);
        let taken = self.touched.iter().filter_map(|lane| Some((*lane, next(*lane)?))).collect();
        self.touched.clear();
        taken
    }

    pub(super) fn settle(&mut self, lanes: &[(u32, u64)]) {
        for (lane, next) in lanes {
            let Some(Some(found)) = self.known.get_mut(*lane as usize) else { continue };
            found.delivered = *next;
            if !std::mem::replace(&mut found.is_unsaved, true) {
                self.unsaved.push(*lane);
            }
            if !std::mem::replace(&mut found.is_moved, true) {
                self.moved.push(*lane);
            }
        }
    }

    pub(super) fn take_unsaved(&mut self) -> BTreeMap<Arc<str>, u64> {
        let mut taken = BTreeMap::new();
        for lane in self.unsaved.drain(..) {
            if let Some(Some(found)) = self.known.get_mut(lane as usize) {
                found.is_unsaved = false;
                taken.insert(Arc::clone(&found.key), found.delivered);
            }
        }
        taken
    }

    /// Lanes whose key begins like that, with the number of the next row that is not known to be
    /// delivered, in the order of their keys.
    pub(super) fn of(&self, prefix: &str, limit: usize) -> MovedLanes {
        let known = self.known.iter().flatten();
        let known = known.filter(|lane| lane.key.starts_with(prefix));
        let mut found: BTreeMap<_, _> =
            known.map(|lane| (Arc::clone(&lane.key), lane.delivered)).collect();
        let restored = self.restored.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let restored = restored.take_while(|(key, _)| key.starts_with(prefix));
        found.extend(restored.map(|(key, next)| (Arc::clone(key), *next)));
        let truncated = found.len() > limit;
        MovedLanes { lanes: found.into_iter().take(limit).collect(), truncated }
    }

    pub(super) fn take_moved(&mut self, limit: usize) -> MovedLanes {
        let truncated = self.moved.len() > limit;
        let mut lanes = Vec::new();
        for lane in self.moved.drain(..limit.min(self.moved.len())) {
            if let Some(Some(found)) = self.known.get_mut(lane as usize) {
                found.is_moved = false;
                lanes.push((Arc::clone(&found.key), found.delivered));
            }
        }
        MovedLanes { lanes, truncated }
    }
}
