//! When to look actively: on suspicion at half of any deadline, and now and then without.

use std::time::{Duration, Instant};

use super::Parameters;

/// Least time between two bursts of looks.
pub(in crate::freshness::verdict) const BURST_SPACING: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Probe the existing connection, probe a fresh one, and poll the state: all at the same time,
    /// each with the probe's deadline.
    pub look: bool,
    /// Because something is suspected, and not only as a routine.
    pub on_suspicion: bool,
}

/// Why somebody is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// Nothing is suspected.
    None,
    /// Something is late or failed.
    Doubt,
    /// The source said at this instant what only has to be confirmed: looks for other reasons just
    /// before do not put that off. Signs are as rare as dials.
    Sign(Instant),
}

/// Remembers what was done.
#[derive(Debug, Default)]
pub struct LookPlan {
    looked: Option<Instant>,
    /// The last look on suspicion: a routine one just before a fault must not put it off.
    burst: Option<Instant>,
}

impl LookPlan {
    /// What is due. A look is on suspicion, at most once in 5 s, or when the probes' interval is
    /// over.
    pub fn due(&mut self, now: Instant, suspicion: Suspicion, parameters: &Parameters) -> Plan {
        let over = |last: Option<Instant>, spacing: Duration| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= spacing)
        };
        let new = match suspicion {
            Suspicion::None | Suspicion::Doubt => false,
            Suspicion::Sign(at) => self.burst.is_none_or(|last| last < at),
        };
        let suspicion = suspicion != Suspicion::None;
        let burst = suspicion && (new || over(self.burst, BURST_SPACING));
        let look = burst || over(self.looked, parameters.probe_interval);
        if look {
            self.looked = Some(now);
        }
        if look && suspicion {
            self.burst = Some(now);
        }
        Plan { look, on_suspicion: look && suspicion }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_brings_a_look_at_most_every_five_seconds() {
        let (mut plan, start) = (LookPlan::default(), Instant::now());
        let parameters = Parameters::default();
        let mut looks = Vec::new();
        for second in 0..40 {
            let suspicion =
                if (3..14).contains(&second) { Suspicion::Doubt } else { Suspicion::None };
            let now = start + Duration::from_secs(second);
            if plan.due(now, suspicion, &parameters).look {
                looks.push(second);
            }
        }
        assert_eq!(looks, [0, 3, 8, 13, 28]);
    }

    #[test]
    fn what_only_has_to_be_confirmed_waits_for_no_burst_before_it_and_is_looked_at_once() {
        let (mut plan, start) = (LookPlan::default(), Instant::now());
        let parameters = Parameters::default();
        let at = |second| start + Duration::from_secs(second);
        let mut looks = |second, suspicion| plan.due(at(second), suspicion, &parameters).look;
        assert!(looks(10, Suspicion::Doubt));
        assert!(!looks(11, Suspicion::Doubt));
        assert!(looks(12, Suspicion::Sign(at(11))));
        assert!(!looks(13, Suspicion::Sign(at(11))));
        assert!(looks(17, Suspicion::Sign(at(11))));
    }
}
