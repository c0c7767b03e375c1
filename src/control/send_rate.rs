//! How fast rows that were held back are sent.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rows a second, changed while they are sent.
#[derive(Debug, Default)]
pub struct SendRate(AtomicU64);

impl SendRate {
    /// So many; `None`: as fast as can be.
    pub fn set(&self, rows_per_second: Option<u64>) {
        self.0.store(rows_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// So many; `None`: as fast as can be.
    pub fn rows_per_second(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|it| *it > 0)
    }
}
