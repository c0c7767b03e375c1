//! When to probe actively: on suspicion at half of any deadline, and now and then without.

use std::time::{Duration, Instant};

use super::Parameters;

/// Least time between two bursts of probes.
pub(in crate::freshness::verdict) const BURST_SPACING: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DueProbe {
    /// Probe the existing connection, probe a fresh one, and poll the state: all at the same time,
    /// each with the probe's deadline.
    pub probe: bool,
    /// Because something is suspected, and not only as a routine.
    pub on_suspicion: bool,
}

/// Why a probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// Nothing is suspected.
    None,
    /// Something is late or failed.
    Doubt,
    /// The source said at this instant what only has to be confirmed: probes for other reasons just
    /// before do not put that off. Signs are as rare as dials.
    Sign(Instant),
}

/// Remembers what was done.
#[derive(Debug, Default)]
pub struct ProbeSchedule {
    probed: Option<Instant>,
    /// The last probe on suspicion: a routine one just before a fault must not put it off.
    burst: Option<Instant>,
}

impl ProbeSchedule {
    /// What is due. A probe is on suspicion, at most once in 5 s, or when the probes' interval is
    /// over.
    pub fn due(&mut self, now: Instant, suspicion: Suspicion, parameters: &Parameters) -> DueProbe {
        let over = |last: Option<Instant>, spacing: Duration| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= spacing)
        };
        let new = match suspicion {
            Suspicion::None | Suspicion::Doubt => false,
            Suspicion::Sign(at) => self.burst.is_none_or(|last| last < at),
        };
        let suspicion = suspicion != Suspicion::None;
        let burst = suspicion && (new || over(self.burst, BURST_SPACING));
        let probe = burst || over(self.probed, parameters.probe_interval);
        if probe {
            self.probed = Some(now);
        }
        if probe && suspicion {
            self.burst = Some(now);
        }
        DueProbe { probe, on_suspicion: probe && suspicion }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_brings_a_look_at_most_every_five_seconds() {
        let (mut plan, start) = (ProbeSchedule::default(), Instant::now());
        let parameters = Parameters::default();
        let mut probes = Vec::new();
        for second in 0..40 {
            let suspicion =
                if (3..14).contains(&second) { Suspicion::Doubt } else { Suspicion::None };
            let now = start + Duration::from_secs(second);
            if plan.due(now, suspicion, &parameters).probe {
                probes.push(second);
            }
        }
        assert_eq!(probes, [0, 3, 8, 13, 28]);
    }

    #[test]
    fn what_only_has_to_be_confirmed_waits_for_no_burst_before_it_and_is_looked_at_once() {
        let (mut plan, start) = (ProbeSchedule::default(), Instant::now());
        let parameters = Parameters::default();
        let at = |second| start + Duration::from_secs(second);
        let mut probes = |second, suspicion| plan.due(at(second), suspicion, &parameters).probe;
        assert!(probes(10, Suspicion::Doubt));
        assert!(!probes(11, Suspicion::Doubt));
        assert!(probes(12, Suspicion::Sign(at(11))));
        assert!(!probes(13, Suspicion::Sign(at(11))));
        assert!(probes(17, Suspicion::Sign(at(11))));
    }
}
