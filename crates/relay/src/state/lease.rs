//! Who holds a lane: the rules. Pure; time is an argument.
//!
//! * A lane has one holder at most, and its fence rises with each.
//! * A lease is taken if it is free: given back, ended, or the owner's own.
//! * A lease counts for its fence alone: who has an older one changes nothing, whatever its name and
//!   its clock say. The end of a lease alone does not stop its holder, only the next holder does.
//!
//! The file's store uses this as it is; the others do the same in SQL and in Lua, by their server's
//! clock, and one test drives all three through the same histories.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::lane::LaneKey;

/// The leases of all lanes.
#[derive(Debug)]
pub(super) struct Leases {
    held: HashMap<LaneKey, Held>,
    fence_last: u64,
}

#[derive(Debug)]
struct Held {
    owner: String,
    fence: u64,
    /// `None`: longer than the clock can say.
    until: Option<Instant>,
}

impl Held {
    fn has_ended(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Leases {
    /// Nobody holds a lane; fences rise from here.
    pub(super) fn new(fence_last: u64) -> Self {
        Self { held: HashMap::new(), fence_last }
    }

    /// The new fence; or the owner that holds the lane.
    pub(super) fn acquire(
        &mut self,
        lane: &LaneKey,
        owner: &str,
        now: Instant,
        ttl: Duration,
    ) -> Result<u64, String> {
        if let Some(held) = self.held.get(lane)
            && held.owner != owner
            && !held.has_ended(now)
        {
            return Err(held.owner.clone());
        }
        self.fence_last += 1;
        let held =
            Held { owner: owner.to_owned(), fence: self.fence_last, until: now.checked_add(ttl) };
        self.held.insert(lane.clone(), held);
        Ok(self.fence_last)
    }

    /// Whether the lane is still of the holder with this fence.
    pub(super) fn is_current(&self, lane: &LaneKey, fence: u64) -> bool {
        self.held.get(lane).is_some_and(|held| held.fence == fence)
    }

    /// Prolongs a lease; whether it is still the caller's.
    pub(super) fn renew(
        &mut self,
        lane: &LaneKey,
        fence: u64,
        now: Instant,
        ttl: Duration,
    ) -> bool {
        let held = self.held.get_mut(lane).filter(|held| held.fence == fence);
        held.map(|held| held.until = now.checked_add(ttl)).is_some()
    }

    /// Gives a lease back, if it is the caller's.
    pub(super) fn release(&mut self, lane: &LaneKey, fence: u64) {
        if self.is_current(lane, fence) {
            self.held.remove(lane);
        }
    }

    /// Who holds a lane.
    pub(super) fn owner(&self, lane: &LaneKey, now: Instant) -> Option<&str> {
        let held = self.held.get(lane).filter(|held| !held.has_ended(now))?;
        Some(&held.owner)
    }
}
