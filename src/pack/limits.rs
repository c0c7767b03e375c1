//! Tables of which only so many rows a second are sent at once: whoever writes more is told of, and holds
//! them back.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::holds::HeldTables;

/// For so long a table may have been below its rate, and make up for it at once.
const BURST: Duration = Duration::from_secs(10);

/// Tables and their rate.
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Whose limit it is.
    pub id: i64,
    /// Rows a second, of all these tables together.
    pub rows_per_second: u64,
    /// The tables.
    pub tables: HeldTables,
}

#[derive(Debug)]
struct Limit {
    rate: RateLimit,
    /// Full at the first row.
    bucket: Option<Bucket>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Limits {
    all: Vec<Limit>,
    /// Those of which more rows came.
    exceeded: Vec<i64>,
    /// Rows that were sent since it was last asked for.
    sent_rows: u64,
}

impl Limits {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// From here on these hold. What is known of those that held before stays.
    pub(super) fn set(&mut self, rates: Vec<RateLimit>) {
        let mut known = std::mem::take(&mut self.all);
        for rate in rates {
            let before = known.iter().position(|it| it.rate.id == rate.id);
            let mut bucket = before.and_then(|at| known.swap_remove(at).bucket);
            if let Some(bucket) = &mut bucket {
                bucket.set(rate.rows_per_second);
            }
            self.all.push(Limit { rate, bucket });
        }
        self.exceeded.retain(|id| self.all.iter().any(|it| it.rate.id == *id));
    }

    /// Where the limits of this table stand.
    pub(super) fn of(&self, database: &str, table: &str) -> Vec<usize> {
        let all = self.all.iter().enumerate();
        all.filter(|(_, it)| it.rate.tables.has(database, table)).map(|(at, _)| at).collect()
    }

    /// A row of a table with these limits is sent.
    pub(super) fn row(&mut self, limits: &[usize], now: Instant) {
        self.sent_rows += 1;
        for at in limits {
            let Some(limit) = self.all.get_mut(*at) else { continue };
            let rate = &limit.rate;
            let bucket =
                limit.bucket.get_or_insert_with(|| Bucket::new(rate.rows_per_second, BURST, now));
            if !bucket.take(1, now).is_zero() && !self.exceeded.contains(&rate.id) {
                self.exceeded.push(rate.id);
            }
        }
    }

    pub(super) fn take_sent_rows(&mut self) -> u64 {
        std::mem::take(&mut self.sent_rows)
    }

    #[inline]
    pub(super) fn has_exceeded(&self) -> bool {
        !self.exceeded.is_empty()
    }

    /// Whose limits were exceeded since the last call.
    pub(super) fn take_exceeded(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.exceeded)
    }
}
