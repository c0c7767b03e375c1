//! What a replica connection shows of its life: three numbers, readable from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::platform;

/// Counters of one stream, kept across redials. Clones share them.
///
/// They say that bytes arrive, not that somebody writes: the server's heartbeats count too.
#[derive(Debug, Clone)]
pub struct Liveness(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    /// Instants are stored as their distance from here.
    base: Instant,
    bytes: AtomicU64,
    /// Nanoseconds after `base`, plus one; 0 is never.
    last_byte: AtomicU64,
    armed: AtomicBool,
    connected: AtomicBool,
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}

impl Liveness {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self(Arc::new(Counters {
            base: platform::now(),
            bytes: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            connected: AtomicBool::new(false),
        }))
    }

    /// Bytes received on replica connections so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// When the last byte came; `None` before the first.
    pub fn last_byte(&self) -> Option<Instant> {
        let stored = self.0.last_byte.load(Ordering::Acquire);
        let after = Duration::from_nanos(stored.checked_sub(1)?);
        self.0.base.checked_add(after)
    }

    /// Whether a read waits for bytes right now. Silence counts only then: while the reader is held
    /// up by what comes behind it, the server has no chance to be heard.
    pub fn is_armed(&self) -> bool {
        self.0.armed.load(Ordering::Acquire)
    }

    /// Whether a stream is open: from its first event to its end.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    pub(super) fn received(&self, bytes: usize, now: Instant) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let after = now.saturating_duration_since(self.0.base).as_nanos();
        let stored = u64::try_from(after).unwrap_or(u64::MAX - 1).saturating_add(1);
        self.0.last_byte.store(stored, Ordering::Release);
    }

    pub(super) fn arm(&self) -> Armed<'_> {
        self.0.armed.store(true, Ordering::Release);
        Armed(self)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Release);
    }
}

/// A read is outstanding for as long as this lives, also when the read is given up.
#[derive(Debug)]
pub(super) struct Armed<'a>(&'a Liveness);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.0.armed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Liveness;

    #[test]
    fn the_last_byte_is_as_old_as_it_was_when_it_came() {
        let liveness = Liveness::new();
        assert_eq!(liveness.last_byte(), None);
        let now = Instant::now() + Duration::from_secs(5);
        liveness.received(10, now);
        liveness.received(20, now);
        assert_eq!(liveness.bytes(), 30);
        assert_eq!(liveness.last_byte(), Some(now));
    }

    #[test]
    fn a_read_that_is_given_up_disarms() {
        let liveness = Liveness::new();
        let armed = liveness.arm();
        assert!(liveness.clone().is_armed());
        drop(armed);
        assert!(!liveness.is_armed());
    }
}
