//! Whether the program's own loops still run: all that `/healthz` looks at.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::Instant as Clock;

#[derive(Debug)]
struct LoopState {
    name: &'static str,
    allowed: Duration,
    /// Time of the last tick, milliseconds after the registry was made.
    ticked_at_ms: AtomicU64,
}

/// The loops that must run, each with the longest pause between two ticks.
#[derive(Debug, Clone)]
pub struct Loops {
    origin: Clock,
    loops: Arc<Mutex<Vec<Weak<LoopState>>>>,
}

/// A loop's own end: it ticks, and is forgotten when dropped.
#[derive(Debug)]
pub struct LoopTicker {
    origin: Clock,
    state: Arc<LoopState>,
}

/// A loop that has not ticked for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckLoop {
    /// The loop's name.
    pub name: &'static str,
    /// Time since its last tick.
    pub silent_for: Duration,
    /// The longest time that it may take.
    pub allowed: Duration,
}

impl fmt::Display for StuckLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, silent_for, allowed } = self;
        write!(f, "loop `{name}` has not run for {silent_for:.1?}, allowed {allowed:.1?}")
    }
}

impl Default for Loops {
    fn default() -> Self {
        Self { origin: Clock::now(), loops: Arc::default() }
    }
}

impl Loops {
    /// Adds a loop that ticks at least every `allowed`. It counts as just ticked.
    pub fn register(&self, name: &'static str, allowed: Duration) -> LoopTicker {
        let state = LoopState { name, allowed, ticked_at_ms: AtomicU64::new(millis(self.origin)) };
        let state = Arc::new(state);
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|state| state.strong_count() > 0);
        loops.push(Arc::downgrade(&state));
        LoopTicker { origin: self.origin, state }
    }

    /// The loops that are stuck as of `now`.
    pub fn stuck(&self, now: Instant) -> Vec<StuckLoop> {
        let now = now.saturating_duration_since(self.origin.into_std());
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = |state: Arc<LoopState>| {
            let ticked = Duration::from_millis(state.ticked_at_ms.load(Ordering::Relaxed));
            let silent_for = now.saturating_sub(ticked);
            let (name, allowed) = (state.name, state.allowed);
            (silent_for > allowed).then_some(StuckLoop { name, silent_for, allowed })
        };
        loops.iter().filter_map(Weak::upgrade).filter_map(stuck).collect()
    }
}

impl LoopTicker {
    /// The loop has turned.
    pub fn tick(&self) {
        self.state.ticked_at_ms.store(millis(self.origin), Ordering::Relaxed);
    }
}

fn millis(origin: Clock) -> u64 {
    u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named_until_it_ends() {
        let loops = Loops::default();
        let reader = loops.register("reader", Duration::from_secs(5));
        let _slow = loops.register("saver", Duration::from_mins(1));
        let now = Instant::now();
        assert_eq!(loops.stuck(now), []);

        let stuck = loops.stuck(now + Duration::from_secs(10));
        assert_eq!(stuck.len(), 1);
        assert!(stuck[0].to_string().starts_with("loop `reader` has not run for 10."));

        drop(reader);
        assert_eq!(loops.stuck(now + Duration::from_secs(10)), [], "it ended, it is not stuck");
    }
}
