//! What an error of the loop means for the stream: dial again, or halt.
//!
//! Nothing but a restart of the process ends a halt ([`with_restart`]): until then `Stream::halt` explains
//! it, and delivers and saves what was on its way. With `shutdown.on_halt = exit` the process ends at once.
//! Which error means what is decided by [`decide`]; for errors of the source by `source::Error::recovery`.

use crate::change::Position;
use crate::checkpoint;
use crate::decode::{self, Fault};
use crate::pipeline::Error;
use crate::source::{Halt, Recovery};
use crate::telemetry::status::Halted;
use crate::telemetry::words::HaltReason;

/// The word for a halt that the source's part decides on.
pub(super) fn reason_of(halt: Halt) -> HaltReason {
    match halt {
        Halt::PositionLost => HaltReason::PositionLost,
        Halt::Diverged => HaltReason::Diverged,
        Halt::OtherServer => HaltReason::OtherServer,
        Halt::Fenced => HaltReason::Fenced,
        Halt::Denied => HaltReason::Denied,
        Halt::Misconfigured => HaltReason::Misconfigured,
        Halt::Corrupt => HaltReason::Corrupt,
        Halt::Damaged => HaltReason::Damaged,
        Halt::GtidMode => HaltReason::GtidMode,
        Halt::SourceRefused => HaltReason::SourceRefused,
    }
}

/// What to do after the loop ended with an error.
#[derive(Debug)]
pub(super) enum Decision {
    /// Dial again.
    Reconnect,
    /// Dial the next host.
    NextHost,
    /// Stand, and explain.
    Halt(Halted),
}

/// Decides. No wildcard: a new error must not compile until somebody has decided.
pub(super) fn decide(error: &Error) -> Decision {
    match error {
        Error::Source(source) => match source.recovery() {
            // How often is the caller's to know.
            Recovery::Retry | Recovery::RetryThenHalt(_) => Decision::Reconnect,
            Recovery::NextHost => Decision::NextHost,
            Recovery::Halt(halt) => halted(reason_of(halt), error, source.remedy()),
        },
        Error::StreamEnded => Decision::Reconnect,
        Error::Decode(decode::Error { fault: Fault::StatementBased { .. }, .. }) => halted(
            HaltReason::Undecodable,
            error,
            "its rows are not in the log: compare the table with what the consumers have; SET \
             binlog_format = ROW for the session or server that wrote it; to continue, exclude the \
             table by filter.exclude if it is not needed, or set decode.on_error = \"quarantine\", \
             which keeps the statement; then restart",
        ),
        Error::Decode(_) => halted(
            HaltReason::Undecodable,
            error,
            "examine the named event with mysqlbinlog; if the table is not needed, exclude it by \
             filter.exclude; to keep such events in the quarantine file and continue after them, \
             set decode.on_error = \"quarantine\"; then restart",
        ),
        Error::Lost(_) => halted(
            HaltReason::TransactionLost,
            error,
            "the source lost a commit (a crash with sync_binlog other than 1); tell the consumers, \
             then restart from a position of your choice with a new checkpoint",
        ),
        Error::TooLarge { .. } => halted(
            HaltReason::TooLarge,
            error,
            "raise the topic's MaximumMessageSize, set sink.oversize = \"omit\", or drop the column",
        ),
        Error::Refused { .. } => halted(
            HaltReason::Refused,
            error,
            "fix the topic, or set sink.rejected = \"quarantine\", then restart: the message is \
             sent again",
        ),
        Error::SinkEnded => {
            halted(HaltReason::SinkEnded, error, "see the log for the sink's last error")
        }
        Error::Checkpoint(checkpoint::Error::Fenced { .. }) => halted(
            HaltReason::Fenced,
            error,
            "another process has taken over this stream: stop one of the two",
        ),
        Error::Checkpoint(_) => halted(HaltReason::Checkpoint, error, "fix what the message names"),
        Error::Quarantine(_) => halted(
            HaltReason::Quarantine,
            error,
            "free space for the quarantine file, or redrive it, then restart",
        ),
        Error::Misuse(_) => halted(
            HaltReason::Bug,
            error,
            "report it with the log; a restart continues from the checkpoint",
        ),
    }
}

/// Failures at one place that end the stream when there are too many of them in a row.
#[derive(Debug, Default)]
pub(super) struct ConsecutiveFailures {
    of: Option<(Halt, Position)>,
    count: u32,
}

impl ConsecutiveFailures {
    /// Decides, with the failures before this one in mind. `place`: how far the stream has got.
    pub(super) fn decide(&mut self, error: &Error, place: &Position) -> Decision {
        if let Error::Source(source) = error
            && let Recovery::RetryThenHalt(halt) = source.recovery()
        {
            let is_same = self.of.as_ref().is_some_and(|(of, at)| *of == halt && at == place);
            self.count = if is_same { self.count + 1 } else { 1 };
            self.of = Some((halt, place.clone()));
            if self.count >= halt.tries() {
                let message = format!("{error}, {} times in a row", self.count);
                return Decision::Halt(Halted {
                    reason: reason_of(halt),
                    message,
                    remedy: source.remedy().to_owned(),
                });
            }
        }
        decide(error)
    }
}

fn halted(reason: HaltReason, error: &Error, remedy: &str) -> Decision {
    Decision::Halt(Halted { reason, message: error.to_string(), remedy: with_restart(remedy) })
}

/// Whatever ends a halt, it ends with a restart: delivery does not begin again by itself.
pub(super) fn with_restart(remedy: &str) -> String {
    if remedy.contains("restart") {
        remedy.to_owned()
    } else {
        format!("{remedy}; then restart binpulse")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, ServerErrorKind, Step};

    fn refused(refusal: ServerErrorKind) -> Error {
        let message = "the server's words".to_owned();
        source::Error::Refused { step: Step::Stream, refusal, code: 1236, message }.into()
    }

    #[test]
    fn what_fails_at_one_place_too_often_halts_in_the_servers_words() {
        let (here, there) = (Position::new("b.000001", 4), Position::new("b.000001", 400));
        for (refusal, reason, tries) in [
            (ServerErrorKind::AnonymousTransaction, HaltReason::GtidMode, 2),
            (ServerErrorKind::BinlogUnreadable, HaltReason::Corrupt, 5),
            (ServerErrorKind::DumpFailed, HaltReason::SourceRefused, 5),
        ] {
            let error = refused(refusal);
            let mut counted = ConsecutiveFailures::default();
            // What gets on between two failures does not count.
            for place in [&here, &there, &here, &there] {
                assert!(matches!(counted.decide(&error, place), Decision::Reconnect), "{refusal}");
            }
            for _ in 2..tries {
                assert!(matches!(counted.decide(&error, &there), Decision::Reconnect), "{refusal}");
                // Other failures between them say nothing about it.
                counted.decide(&Error::StreamEnded, &there);
            }
            let Decision::Halt(halted) = counted.decide(&error, &there) else {
                panic!("{refusal} goes on");
            };
            assert_eq!(halted.reason, reason);
            assert!(halted.message.contains("the server's words"), "{}", halted.message);
            assert!(!halted.remedy.is_empty());
        }
    }

    #[test]
    fn what_ends_a_halt_names_the_restart() {
        let too_large = Error::TooLarge {
            lane: "shop.orders#0".to_owned(),
            sequence: 1,
            bytes: 2,
            topic: "t".to_owned(),
        };
        for error in [too_large, Error::SinkEnded] {
            let Decision::Halt(halted) = decide(&error) else { panic!("{error}") };
            assert!(halted.remedy.contains("restart"), "{}", halted.remedy);
        }
    }
}
