//! How many rows the next chunk has. Pure.

use std::time::Duration;

use crate::change::Position;

/// Rows of the first chunk of a table, of which nothing is known.
const ROWS_FIRST: u64 = 1_000;
/// Fewest and most rows of a chunk.
const ROWS_MIN: u64 = 1;
const ROWS_MAX: u64 = 200_000;
/// While the stream moves, a chunk has this part of its rows: changes wait behind it for milliseconds only.
const PART_BESIDE_CHANGES: u64 = 8;

/// Learns from each chunk what the next may be. Bytes are what it aims at: time is a poor sign while
/// a server is busy with others, and only bounds it.
#[derive(Debug)]
pub(super) struct Pace {
    bytes: usize,
    time: Duration,
    rows: u64,
    /// Where the stream stood when the newest chunk was asked for.
    stream_at: Option<Position>,
}

impl Pace {
    /// For chunks of about so many bytes that are read in less than `time`.
    pub(super) fn new(bytes: usize, time: Duration) -> Self {
        Self { bytes: bytes.max(1), time, rows: ROWS_FIRST, stream_at: None }
    }

    /// Rows that the next chunk may have, while the stream is at this place.
    pub(super) fn rows(&mut self, stream_at: &Position) -> u64 {
        let before = self.stream_at.replace(stream_at.clone());
        let is_quiet = before.is_none_or(|before| before == *stream_at);
        let part = if is_quiet { 1 } else { PART_BESIDE_CHANGES };
        (self.rows / part).max(ROWS_MIN)
    }

    /// A chunk of so many rows and bytes took so long.
    pub(super) fn read(&mut self, rows: u64, bytes: usize, took: Duration) {
        if took > self.time {
            return self.halve();
        }
        if rows == 0 {
            return;
        }
        let row_bytes = (bytes as u64 / rows).max(1);
        let wanted = self.bytes as u64 / row_bytes;
        // No more than half as many again, so that a few small rows do not promise too much.
        let most = self.rows.saturating_add(self.rows / 2).saturating_add(1);
        self.rows = wanted.min(most).clamp(ROWS_MIN, ROWS_MAX);
    }

    /// A chunk was too large in some way.
    pub(super) fn halve(&mut self) {
        self.rows = (self.rows / 2).max(ROWS_MIN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAST: Duration = Duration::from_millis(5);

    #[test]
    fn chunks_come_to_the_bytes_that_are_aimed_at() {
        let mut pace = Pace::new(4 << 20, Duration::from_millis(500));
        for _ in 0..20 {
            let rows = pace.rows(&at(4));
            pace.read(rows, usize::try_from(rows * 200).expect("small"), FAST);
        }
        assert_eq!(pace.rows(&at(4)), (4 << 20) / 200);
        // Rows that become large are noticed at once.
        pace.read(100, 100 << 16, FAST);
        assert_eq!(pace.rows(&at(4)), 64);
        pace.read(64, 64 << 16, Duration::from_secs(1));
        assert_eq!(pace.rows(&at(4)), 32);
    }

    #[test]
    fn a_chunk_is_smaller_while_the_stream_moves() {
        let mut pace = Pace::new(1 << 20, Duration::from_millis(500));
        let rows = |pace: &mut Pace, offset| {
            let rows = pace.rows(&at(offset));
            pace.read(rows, usize::try_from(rows * 1024).expect("small"), FAST);
            rows
        };
        for _ in 0..10 {
            rows(&mut pace, 4);
        }
        assert_eq!(
            [4, 5, 6, 6, 7].map(|offset| rows(&mut pace, offset)),
            [1024, 128, 128, 1024, 128]
        );
    }

    fn at(offset: u64) -> Position {
        Position::new("binlog.000001", offset)
    }

    proptest! {
        #[test]
        fn a_chunk_has_a_row_and_grows_by_half_at_most(
            chunks in prop::collection::vec((0..1000_u64, 0..1_usize << 30, 0..2000_u64), 0..50),
        ) {
            let mut pace = Pace::new(1 << 20, Duration::from_millis(500));
            for (rows, bytes, took) in chunks {
                let before = pace.rows(&at(4));
                pace.read(rows, bytes, Duration::from_millis(took));
                let now = pace.rows(&at(4));
                prop_assert!((ROWS_MIN..=ROWS_MAX).contains(&now));
                prop_assert!(now <= before + before / 2 + 1, "{before} to {now}");
                if took > 500 {
                    prop_assert_eq!(now, (before / 2).max(1));
                }
            }
        }
    }
}
