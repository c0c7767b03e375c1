//! The wall clock, and chance.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 as seconds.
pub(crate) fn seconds(at_us: i64) -> f64 {
    Duration::from_micros(u64::try_from(at_us).unwrap_or_default()).as_secs_f64()
}

pub(crate) fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Evenly distributed over all of `u64`, for pauses.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
