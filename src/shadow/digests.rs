//! What is kept of each lane, and the document that shows it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::encode::{EncodedBatch, RowDigest, combined};

/// Path of the document on the HTTP server.
pub const PATH: &str = "/digests";

/// Rows of one digest, from the finest to the coarsest.
pub(super) const STEPS: [u64; 3] = [1, 64, 4096];
/// Digests of each step that are kept: twice as many rows as the next step needs for one.
const KEPT: usize = 128;
/// Most lanes. With all that is kept of each that is 3 MiB here, and 7 MiB as a document.
const LANES_MAX: usize = 1024;
/// Hexadecimal digits of a digest.
const DIGITS: usize = 16;

/// The newest digests of each lane of one process.
#[derive(Debug, Default)]
pub struct LaneDigests {
    lanes: Mutex<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    epoch: u64,
    by_key: HashMap<Arc<str>, Lane>,
    rows: u64,
    left_out: u64,
    from_us: i64,
    upto_us: i64,
}

/// The newest digests of one lane. All steps end at the last row, or at their last boundary before it.
#[derive(Debug, Default)]
struct Lane {
    /// Number that the next row has; 0 before the first.
    next: u64,
    /// When the last row was committed.
    upto_us: i64,
    kept: [VecDeque<u64>; STEPS.len()],
}

impl Lane {
    fn push(&mut self, row: RowDigest) {
        // Rows that are sent again are the same rows.
        if row.sequence < self.next {
            return;
        }
        if row.sequence > self.next {
            // The first row of this process, or some before it were never sent.
            self.kept.iter_mut().for_each(VecDeque::clear);
        }
        self.next = row.sequence + 1;
        self.upto_us = self.upto_us.max(row.committed_at_us);
        let mut digest = row.digest;
        for (step, kept) in self.kept.iter_mut().enumerate() {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(digest);
            let Some(coarser) = STEPS.get(step + 1) else { return };
            let each = usize::try_from(coarser / STEPS[step]).unwrap_or(KEPT);
            if !row.sequence.is_multiple_of(*coarser) || kept.len() < each {
                return;
            }
            digest = combined(kept.iter().skip(kept.len() - each).copied());
        }
    }
}

impl LaneDigests {
    /// Takes the rows of a batch that is about to be published in this epoch.
    pub fn add(&self, batch: &EncodedBatch, epoch: u64) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = &mut *lanes;
        let mut rows = batch.row_digests().peekable();
        let Some(first) = rows.peek().copied() else { return };
        if lanes.epoch != epoch {
            *lanes = Lanes { epoch, ..Lanes::default() };
        }
        if lanes.rows == 0 {
            lanes.from_us = first.committed_at_us;
        }
        let key = &batch.lane().key;
        if !lanes.by_key.contains_key(key) {
            if lanes.by_key.len() >= LANES_MAX {
                lanes.left_out += u64::from(batch.rows());
                return;
            }
            lanes.by_key.insert(Arc::clone(key), Lane::default());
        }
        let Some(lane) = lanes.by_key.get_mut(key) else { return };
        for row in rows {
            lane.push(row);
            lanes.rows += 1;
        }
        lanes.upto_us = lanes.upto_us.max(lane.upto_us);
    }

    /// All that is kept.
    pub fn document(&self, stream: &str, format: &str) -> ShadowDocument {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let document_of = |lane: &Lane| {
            let [rows, rows_64, rows_4096] = lane.kept.each_ref().map(hex);
            LaneDocument { next: lane.next, upto_us: lane.upto_us, rows, rows_64, rows_4096 }
        };
        let shown = lanes.by_key.iter().map(|(key, lane)| (key.to_string(), document_of(lane)));
        ShadowDocument {
            stream: stream.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format: format.to_owned(),
            epoch: lanes.epoch,
            rows: lanes.rows,
            rows_left_out: lanes.left_out,
            from_us: lanes.from_us,
            upto_us: lanes.upto_us,
            lanes: shown.collect(),
        }
    }
}

fn hex(digests: &VecDeque<u64>) -> String {
    let mut text = String::with_capacity(digests.len() * DIGITS);
    for digest in digests {
        write!(text, "{digest:016x}").expect("writing to a String cannot fail");
    }
    text
}

/// The digests of a process: the body of `GET /digests`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShadowDocument {
    /// Name of the stream.
    pub stream: String,
    /// Version of binpulse.
    pub version: String,
    /// How rows are encoded (`message.format`): other encodings have other digests.
    pub format: String,
    /// Epoch of the row numbers.
    pub epoch: u64,
    /// Rows since the process started.
    pub rows: u64,
    /// Rows of lanes of which nothing is kept, because there are too many lanes.
    pub rows_left_out: u64,
    /// When the first row was committed, microseconds since 1970 UTC.
    pub from_us: i64,
    /// When the last row was committed, microseconds since 1970 UTC.
    pub upto_us: i64,
    /// The lanes by their keys.
    pub lanes: BTreeMap<String, LaneDocument>,
}

/// The digests of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LaneDocument {
    /// Number that the next row has.
    pub next: u64,
    /// When the last row was committed, microseconds since 1970 UTC.
    pub upto_us: i64,
    /// Digests of the newest rows, 16 hexadecimal digits each; the last is that of row `next - 1`.
    pub rows: String,
    /// Digests of 64 rows each; the last ends at the last row whose number is a multiple of 64.
    pub rows_64: String,
    /// Digests of 4,096 rows each, likewise.
    pub rows_4096: String,
}

impl LaneDocument {
    /// The digests of a step: the number of the first digest's first row, and the digests. `None` if the
    /// document can't be one of ours.
    pub(super) fn step(&self, step: usize) -> Option<(u64, Vec<u64>)> {
        let text = [&self.rows, &self.rows_64, &self.rows_4096].into_iter().nth(step)?;
        let size = *STEPS.get(step)?;
        let parts = text.as_bytes().chunks(DIGITS);
        let read = |part| u64::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok();
        let digests: Option<Vec<_>> = parts.map(read).collect();
        let digests = digests.filter(|_| text.len() % DIGITS == 0)?;
        let end = self.next.saturating_sub(1) / size * size;
        let first = end.checked_sub(size.checked_mul(digests.len() as u64)?)? + 1;
        Some((first, digests))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A document of lanes in which `damaged` rows have other digests.
    pub(in crate::shadow) fn document(
        lanes: &[(&str, std::ops::RangeInclusive<u64>)],
        damaged: &[(&str, u64)],
    ) -> ShadowDocument {
        let mut all = Lanes { epoch: 7, rows: 1, from_us: 1, upto_us: 1, ..Lanes::default() };
        for (key, numbers) in lanes {
            let lane = all.by_key.entry((*key).into()).or_default();
            for sequence in numbers.clone() {
                let is_damaged = damaged.contains(&(key, sequence));
                let digest = combined([sequence, u64::from(is_damaged)]);
                lane.push(RowDigest { sequence, digest, committed_at_us: 1 });
            }
        }
        LaneDigests { lanes: Mutex::new(all) }.document("orders", "protobuf")
    }

    #[test]
    fn each_step_ends_at_its_last_boundary() {
        let shown = document(&[("a", 3..=4300)], &[]);
        let lane = &shown.lanes["a"];
        let ends = |step: usize| {
            let (first, digests) = lane.step(step).expect("one of ours");
            (first, first + digests.len() as u64 * STEPS[step] - 1)
        };
        assert_eq!(ends(0), (4173, 4300), "128 rows");
        assert_eq!(ends(1), (65, 4288), "the first 64 are not whole");
        assert_eq!(ends(2).1, 4096, "no 4,096 are whole");
        assert_eq!(lane.rows_4096, "");
        let shown = document(&[("a", 1..=600_000)], &[]);
        let (first, digests) = shown.lanes["a"].step(2).expect("one of ours");
        assert_eq!((first, digests.len()), (18 * 4096 + 1, KEPT));
    }

    #[test]
    fn rows_that_were_not_sent_begin_anew_and_repeated_ones_change_nothing() {
        let whole = document(&[("a", 65..=200)], &[]);
        assert_eq!(document(&[("a", 65..=200), ("a", 100..=150)], &[]), whole);
        let gap = document(&[("a", 1..=20), ("a", 65..=200)], &[]);
        assert_eq!(gap.lanes["a"], whole.lanes["a"]);
    }

    #[test]
    fn a_document_that_is_none_of_ours_is_not_read() {
        let lane = |next, rows: &str| LaneDocument {
            next,
            rows: rows.to_owned(),
            ..LaneDocument::default()
        };
        assert!(lane(2, "0123456789abcdef").step(0).is_some());
        for wrong in
            [lane(1, "0123456789abcdef"), lane(2, "0123456789abcde"), lane(2, "0123456789abcdex")]
        {
            assert_eq!(wrong.step(0), None, "{wrong:?}");
        }
        assert!(lane(u64::MAX, "0123456789abcdef").step(0).is_some());
        assert_eq!(lane(u64::MAX, "").step(1).map(|(_, digests)| digests.len()), Some(0));
    }
}
