//! A sample of lines that is small enough to read along.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Lines shown of one period, beyond the first of each topic.
const LINES_MAX: usize = 4;
const PERIOD: Duration = Duration::from_secs(1);

/// Chooses which lines to show: of every second the first of each topic and a few more.
#[derive(Debug)]
pub(super) struct Sample {
    since: Instant,
    topics: BTreeSet<String>,
    shown: usize,
    left_out: u64,
}

impl Sample {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, topics: BTreeSet::new(), shown: 0, left_out: 0 }
    }

    /// Lines to print now: a line about those left out before, and this one if it is chosen.
    pub(super) fn choose(&mut self, now: Instant, topic: &str, line: String) -> Vec<String> {
        let mut chosen = Vec::new();
        if now.saturating_duration_since(self.since) >= PERIOD {
            chosen.extend(self.rest());
            *self = Self::new(now);
        }
        if self.topics.insert(topic.to_owned()) || self.shown < LINES_MAX {
            self.shown += 1;
            chosen.push(line);
        } else {
            self.left_out += 1;
        }
        chosen
    }

    /// A line about those left out since the last such line.
    pub(super) fn rest(&mut self) -> Option<String> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then(|| format!(r#"{{"kind":"sample","lines_left_out":{left_out}}}"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_a_few_lines_and_every_topic_is_seen() {
        let start = Instant::now();
        let mut sample = Sample::new(start);
        let mut shown = Vec::new();
        for number in 0..1_000 {
            shown.extend(sample.choose(start, "flood", format!("flood {number}")));
        }
        shown.extend(sample.choose(start, "trickle", "trickle".to_owned()));
        assert_eq!(shown.len(), LINES_MAX + 1);
        assert_eq!(shown.last().map(String::as_str), Some("trickle"));

        let next = sample.choose(start + PERIOD, "flood", "later".to_owned());
        assert_eq!(next, [r#"{"kind":"sample","lines_left_out":996}"#, "later"]);
        assert_eq!(sample.rest(), None);
    }
}
