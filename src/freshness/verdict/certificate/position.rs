//! Contiguity of file and offset, for transactions that have no GTIDs to be counted by.

use std::fmt;

use crate::change::Position;

/// A hole: the log continues elsewhere than where we stopped reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where the next event group should have started.
    pub expected: Position,
    /// Where it did.
    pub found: Position,
}

impl Gap {
    /// Bytes that are missing, if both are in one file.
    pub fn bytes(&self) -> Option<u64> {
        let same_file = self.expected.file == self.found.file;
        same_file.then(|| self.found.offset.saturating_sub(self.expected.offset))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => write!(f, "{bytes} bytes after {}", self.expected),
            None => write!(f, "from {} to {}", self.expected, self.found),
        }
    }
}

/// Where the next event group must start.
#[derive(Debug, Default)]
pub(super) struct Contiguity {
    end: Option<Position>,
    /// The server seeks by identity: the first transaction may stand anywhere.
    is_sought: bool,
}

impl Contiguity {
    /// Reading was taken up, or the file changed: what comes next starts there.
    pub(super) fn take_up(&mut self, at: &Position) {
        if !self.is_sought {
            self.end = Some(at.clone());
        }
    }

    /// Reading was taken up after a set of transactions: what stands in front of the first that comes
    /// says nothing of what was skipped.
    pub(super) fn seek(&mut self) {
        (self.end, self.is_sought) = (None, true);
    }

    /// The first transaction has come.
    pub(super) fn found(&mut self) {
        self.is_sought = false;
    }

    /// Something stands from `start` to `end`. What was read before is read again after a redial,
    /// so only going forward can leave a hole.
    pub(super) fn step(&mut self, start: &Position, end: &Position) -> Option<Gap> {
        if self.is_sought {
            return None;
        }
        let expected = self.end.replace(end.clone())?;
        let jumped = expected.file != start.file || start.offset > expected.offset;
        jumped.then(|| Gap { expected, found: start.clone() })
    }
}
