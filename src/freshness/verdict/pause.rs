//! Whether we ourselves were frozen: then nobody else is evaluated until we have looked again.
//!
//! A stopped process shows as a gap between ticks of the monotonic clock, a suspended machine as
//! the boot clock running ahead of the monotonic one, a virtual machine that was paused without
//! being told, or a stepped clock, as the real clock jumping against the monotonic one.

use std::time::{Duration, Instant};

use super::Parameters;
use crate::freshness::Clocks;

/// Difference between clocks that is no drift: NTP slews at most 0.5 ms per second.
const STEP_LIMIT: Duration = Duration::from_secs(1);

/// What a tick showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// We ran.
    None,
    /// We were frozen for about that long.
    Frozen(Duration),
    /// The real clock was stepped: deadlines start anew, but the verdict stays.
    Stepped,
}

/// Watches our own ticks.
#[derive(Debug, Default)]
pub struct PauseWatch {
    last: Option<(Instant, Clocks)>,
    runtime: Option<Instant>,
    /// How often we were frozen, for metrics.
    pub count: u64,
}

impl PauseWatch {
    /// Has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tick of the verdict loop.
    pub fn tick(&mut self, at: Instant, clocks: Clocks, parameters: &Parameters) -> Pause {
        let Some((last_at, last)) = self.last.replace((at, clocks)) else { return Pause::None };
        let monotonic = at.saturating_duration_since(last_at);
        let suspended = clocks.boot.saturating_sub(last.boot).saturating_sub(monotonic);
        if monotonic > parameters.pause_limit() || suspended > STEP_LIMIT {
            self.count += 1;
            return Pause::Frozen(monotonic + suspended);
        }
        // Signed: the real clock may go backwards.
        let ahead = clocks.real.saturating_sub(last.real).saturating_sub(monotonic);
        let behind = (last.real + monotonic).saturating_sub(clocks.real);
        if ahead.max(behind) > STEP_LIMIT { Pause::Stepped } else { Pause::None }
    }

    /// A tick of the tasks' runtime. How long it stood still, if it did.
    pub fn runtime_tick(&mut self, at: Instant, parameters: &Parameters) -> Pause {
        let stood = self.runtime.replace(at).map(|last| at.saturating_duration_since(last));
        match stood {
            Some(stood) if stood > parameters.pause_limit() => {
                self.count += 1;
                Pause::Frozen(stood)
            }
            Some(_) | None => Pause::None,
        }
    }

    /// Whether the tasks' runtime does not move now. Never, if it does not report.
    pub fn runtime_stands(&self, now: Instant, parameters: &Parameters) -> Option<Duration> {
        let stands = now.saturating_duration_since(self.runtime?);
        (stands > parameters.pause_limit()).then_some(stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot_s: u64, real_s: u64) -> Clocks {
        Clocks { boot: Duration::from_secs(boot_s), real: Duration::from_secs(real_s) }
    }

    /// Ticks once, then again after the given seconds of each clock.
    fn second_tick(monotonic_s: u64, boot_s: u64, real_s: u64) -> Pause {
        let (parameters, start) = (Parameters::default(), Instant::now());
        let mut watch = PauseWatch::new();
        assert_eq!(watch.tick(start, clocks(1_000, 10_000), &parameters), Pause::None);
        let later = start + Duration::from_secs(monotonic_s);
        watch.tick(later, clocks(1_000 + boot_s, real_s), &parameters)
    }

    #[test]
    fn each_clock_tells_its_own_kind_of_pause() {
        assert_eq!(second_tick(1, 1, 10_001), Pause::None);
        assert_eq!(second_tick(3, 3, 10_003), Pause::None);
        assert_eq!(second_tick(60, 60, 10_060), Pause::Frozen(Duration::from_mins(1)));
        assert_eq!(second_tick(1, 61, 10_061), Pause::Frozen(Duration::from_secs(61)));
        assert_eq!(second_tick(1, 1, 10_301), Pause::Stepped);
        assert_eq!(second_tick(1, 1, 9_701), Pause::Stepped);
    }

    #[test]
    fn a_runtime_that_never_reports_is_not_judged() {
        let (parameters, start) = (Parameters::default(), Instant::now());
        let mut watch = PauseWatch::new();
        assert_eq!(watch.runtime_stands(start, &parameters), None);
        assert_eq!(watch.runtime_tick(start, &parameters), Pause::None);
        assert!(watch.runtime_stands(start + Duration::from_secs(4), &parameters).is_some());
    }
}
