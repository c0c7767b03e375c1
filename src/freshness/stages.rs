//! Up to which stage heartbeats have come. Pure.

use std::collections::VecDeque;
use std::time::Instant;

/// Heartbeats that are remembered: an hour and a half of them at the default interval.
const REMEMBERED_MAX: usize = 1024;

/// The stages that a heartbeat passes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Committed in the source.
    Written,
    /// Seen on the stream.
    Received,
    /// All messages before it are accepted by the topic.
    Published,
    /// All consumers that echo have a canary of its time.
    Delivered,
    /// The saved checkpoint covers it.
    Checkpointed,
}

impl Stage {
    const COUNT: usize = Self::ALL.len();

    /// All, in their order.
    pub const ALL: [Self; 5] =
        [Self::Written, Self::Received, Self::Published, Self::Delivered, Self::Checkpointed];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Received => "received",
            Self::Published => "published",
            Self::Delivered => "delivered",
            Self::Checkpointed => "checkpointed",
        }
    }
}

/// For each stage, when the newest heartbeat that has passed it was begun to be written. The age of
/// that is how stale what lies behind the stage may be, and it grows by itself.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Numbers, rising, with the begin of the write.
    started: VecDeque<(u64, Instant)>,
    passed: [Option<Instant>; Stage::COUNT],
}

impl Stages {
    /// The write of heartbeat `number` begins.
    pub fn started(&mut self, number: u64, at: Instant) {
        if self.started.len() >= REMEMBERED_MAX {
            self.started.pop_front();
        }
        self.started.push_back((number, at));
    }

    /// Heartbeat `number` passed `stage`; returns when its write began. Numbers of another process,
    /// or forgotten ones, change nothing.
    pub fn passed(&mut self, stage: Stage, number: u64) -> Option<Instant> {
        let index = self.started.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, started) = *self.started.get(index)?;
        self.passed_at(stage, started);
        Some(started)
    }

    /// Something that was begun to be written at `started` passed `stage`.
    pub fn passed_at(&mut self, stage: Stage, started: Instant) {
        let passed = &mut self.passed[stage as usize];
        *passed = (*passed).max(Some(started));
    }

    /// For each stage, in order; `None` before the first.
    pub fn moments(&self) -> [Option<Instant>; Stage::COUNT] {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_stage_keeps_the_newest_heartbeat_that_passed_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stages = Stages::default();
        for number in 1..=3 {
            stages.started(number, at(number * 5));
        }
        assert_eq!(stages.passed(Stage::Received, 2), Some(at(10)));
        assert_eq!(stages.passed(Stage::Received, 1), Some(at(5)));
        assert_eq!(stages.passed(Stage::Published, 9), None, "not one of ours");
        assert_eq!(stages.moments(), [None, Some(at(10)), None, None, None]);
    }
}
