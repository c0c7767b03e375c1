//! Events in memory, as a dump would bring them.

use std::ops::Range;

use binpulse::source::FileReader;

use crate::Outcome;
use crate::data::Binlogs;

/// Most bytes of a workload that are held in memory.
const BYTES_MAX: usize = 1 << 30;

/// Raw events, back to back.
#[derive(Debug, Default)]
pub(crate) struct Events {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Events {
    /// Reads the logs.
    pub(crate) fn load(binlogs: &Binlogs) -> Outcome<Self> {
        let mut events = Self::default();
        for file in &binlogs.files {
            let mut captured = FileReader::open_path(file)?;
            while let Some(event) = captured.next()? {
                let start = events.bytes.len();
                if start + event.len() > BYTES_MAX {
                    return Err("more than 1 GiB of events: choose a smaller scale".into());
                }
                events.bytes.extend_from_slice(event);
                events.ranges.push(start..events.bytes.len());
            }
        }
        Ok(events)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.ranges.len()
    }
}
