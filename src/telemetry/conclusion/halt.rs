//! A halt is known at once, and outranks whatever the verdict has seen of it so far.

use super::text::{ended, sentence};
use crate::telemetry::status::{Halted, Verdict};

/// Halts of the stream that lie at the sink.
const AT_SINK: [&str; 4] = ["too_large", "refused", "sink_ended", "quarantine"];

/// The hop at which a halt with this reason lies.
pub(super) fn hop(reason: &str) -> &'static str {
    if AT_SINK.contains(&reason) { "publish" } else { "stream" }
}

impl Verdict {
    /// Says why delivery has halted, and what ends that, instead of what follows from it.
    pub(super) fn tell_halt(&mut self, halted: &Halted) {
        // The position's own words say more exactly what is to be done than those of its halt.
        if self.state != "position_lost" {
            "Delivery has halted and does not continue by itself".clone_into(&mut self.headline);
            self.runbook = Some("/runbooks/BinpulseHalted".to_owned());
            self.next_step = sentence(&halted.remedy);
        } else if !self.next_step.contains("restart") {
            self.next_step += " Then restart binpulse.";
        }
        self.sentence =
            format!("{} ({}): {}", self.headline, halted.reason, ended(&halted.message));
        "outage".clone_into(&mut self.grade);
        if self.hop == "none" || self.reason.as_deref() == Some("halted") {
            hop(&halted.reason).clone_into(&mut self.hop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: &str, reason: Option<&str>, hop: &str, halt: &str) -> Verdict {
        let mut verdict = Verdict {
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            hop: hop.to_owned(),
            grade: "healthy".to_owned(),
            headline: "The stream can't go on".to_owned(),
            next_step: "Find a server.".to_owned(),
            ..Verdict::default()
        };
        verdict.tell_halt(&Halted {
            reason: halt.to_owned(),
            message: "shop.orders, column 3: of type 245".to_owned(),
            remedy: "look at the event; then restart binpulse".to_owned(),
        });
        verdict
    }

    #[test]
    fn a_halt_is_told_with_its_reason_and_its_end_whatever_the_verdict_has_seen() {
        for (state, reason) in [("quiet", Some("empty")), ("stream_down", Some("halted"))] {
            let verdict = told(state, reason, "none", "undecodable");
            assert_eq!(
                verdict.sentence,
                "Delivery has halted and does not continue by itself (undecodable): shop.orders, \
                 column 3: of type 245."
            );
            assert_eq!(verdict.next_step, "Look at the event; then restart binpulse.");
            assert_eq!((verdict.grade.as_str(), verdict.hop.as_str()), ("outage", "stream"));
        }
        assert_eq!(told("quiet", None, "none", "too_large").hop, "publish");
        assert_eq!(told("source_hung", Some("timeout"), "source", "too_large").hop, "source");
    }

    #[test]
    fn a_lost_position_keeps_its_own_advice() {
        let verdict = told("position_lost", Some("purged"), "stream", "position_lost");
        assert!(verdict.sentence.starts_with("The stream can't go on (position_lost): "));
        assert_eq!(verdict.next_step, "Find a server. Then restart binpulse.");
    }
}
