//! A halt is known at once, and outranks whatever the verdict has seen of it so far.

use super::text::{ended, sentence};
use super::{Aid, StateKind};
use crate::telemetry::status::{Halted, Verdict};
use crate::telemetry::words::{Grade, HaltReason, Hop};

/// Halts of the stream that lie at the sink.
const AT_SINK: [HaltReason; 4] =
    [HaltReason::TooLarge, HaltReason::Refused, HaltReason::SinkEnded, HaltReason::Quarantine];

/// The hop at which a halt with this reason lies.
pub(super) fn hop(reason: HaltReason) -> Hop {
    if AT_SINK.contains(&reason) { Hop::Publish } else { Hop::Stream }
}

impl Verdict {
    /// Says why delivery has halted, and what ends that, instead of what follows from it.
    pub(super) fn tell_halt(&mut self, halted: &Halted) {
        // The position's own words say more exactly what is to be done than those of its halt.
        if self.kind != StateKind::PositionLost {
            "Delivery has halted and does not continue by itself".clone_into(&mut self.headline);
            self.runbook = Some("/runbooks/BinpulseHalted".to_owned());
            self.next_step = sentence(&halted.remedy);
            self.aids = if hop(halted.reason) == Hop::Publish { &[Aid::Topic] } else { &[] };
        } else if !self.next_step.contains("restart") {
            self.next_step += " Then restart binpulse.";
        }
        self.sentence =
            format!("{} ({}): {}", self.headline, halted.reason.name(), ended(&halted.message));
        self.grade = Grade::Outage;
        if self.hop == Hop::None || self.reason.as_deref() == Some("halted") {
            self.hop = hop(halted.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: &str, reason: Option<&str>, hop: Hop, halt: HaltReason) -> Verdict {
        let mut verdict = Verdict {
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            hop,
            kind: match state {
                "position_lost" => StateKind::PositionLost,
                _ => StateKind::Usual,
            },
            grade: Grade::Healthy,
            headline: "The stream can't go on".to_owned(),
            next_step: "Find a server.".to_owned(),
            ..Verdict::default()
        };
        verdict.tell_halt(&Halted {
            reason: halt,
            message: "shop.orders, column 3: of type 245".to_owned(),
            remedy: "look at the event; then restart binpulse".to_owned(),
        });
        verdict
    }

    #[test]
    fn a_halt_is_told_with_its_reason_and_its_end_whatever_the_verdict_has_seen() {
        for (state, reason) in [("quiet", Some("empty")), ("stream_down", Some("halted"))] {
            let verdict = told(state, reason, Hop::None, HaltReason::Undecodable);
            assert_eq!(
                verdict.sentence,
                "Delivery has halted and does not continue by itself (undecodable): shop.orders, \
                 column 3: of type 245."
            );
            assert_eq!(verdict.next_step, "Look at the event; then restart binpulse.");
            assert_eq!((verdict.grade, verdict.hop), (Grade::Outage, Hop::Stream));
        }
        assert_eq!(told("quiet", None, Hop::None, HaltReason::TooLarge).hop, Hop::Publish);
        assert_eq!(
            told("source_hung", Some("timeout"), Hop::Source, HaltReason::TooLarge).hop,
            Hop::Source
        );
    }

    #[test]
    fn a_lost_position_keeps_its_own_advice() {
        let verdict = told("position_lost", Some("purged"), Hop::Stream, HaltReason::PositionLost);
        assert!(verdict.sentence.starts_with("The stream can't go on (position_lost): "));
        assert_eq!(verdict.next_step, "Find a server. Then restart binpulse.");
    }
}
