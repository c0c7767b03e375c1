//! A verdict in words: what is so, how that is known, which hop broke, and what to do.

mod next;

use std::borrow::Cow;

use super::{Certificate, Condition, Conditions, Hop, Reason, State, Status};

pub use next::next_step;

/// The condition whose evidence a state rests on.
pub const fn deciding(state: State) -> Option<Condition> {
    match state {
        State::SelfStalled => Some(Condition::SelfRunning),
        State::PositionLost => Some(Condition::PositionHeld),
        State::Starting => Some(Condition::Begun),
        State::SourceUnreachable => Some(Condition::SqlAdmits),
        State::SourceHung => Some(Condition::SqlAnswers),
        State::WrongSource => Some(Condition::SourceMatches),
        State::StreamDown => Some(Condition::StreamConnected),
        State::StreamSilent => Some(Condition::StreamBytes),
        State::SourceReadOnly => Some(Condition::SourceWritable),
        State::WritesBlocked => Some(Condition::WritesCommit),
        State::UpstreamReplicationBroken => Some(Condition::UpstreamRuns),
        State::SinkStalled => Some(Condition::SinkMoves),
        State::HeartbeatLost => Some(Condition::HeartbeatSeen),
        State::CatchingUp | State::Lagging => Some(Condition::LagSmall),
        State::CanaryLost => Some(Condition::CanariesArrive),
        State::CheckpointStuck => Some(Condition::CheckpointAdvances),
        State::Live => Some(Condition::UserRows),
        State::Quiet | State::QuietUnproven | State::Indeterminate => None,
    }
}

/// The first broken hop. `publish_behind`: what waits, waits for SNS; `all_lost`: no consumer
/// echoes.
pub const fn hop(state: State, publish_behind: bool, all_lost: bool) -> Hop {
    match state {
        State::SourceUnreachable
        | State::SourceHung
        | State::WrongSource
        | State::SourceReadOnly
        | State::WritesBlocked
        | State::UpstreamReplicationBroken => Hop::Source,
        State::PositionLost | State::StreamDown | State::StreamSilent | State::HeartbeatLost => {
            Hop::Stream
        }
        State::SinkStalled => Hop::Publish,
        State::CatchingUp | State::Lagging if publish_behind => Hop::Publish,
        State::CatchingUp | State::Lagging => Hop::Stream,
        State::CanaryLost if all_lost => Hop::Delivery,
        State::CanaryLost => Hop::Consumers,
        State::SelfStalled
        | State::Starting
        | State::CheckpointStuck
        | State::Indeterminate
        | State::QuietUnproven
        | State::Live
        | State::Quiet => Hop::None,
    }
}

/// One sentence with its evidence.
pub fn sentence(
    state: State,
    reason: Option<&Reason>,
    is_recovering: bool,
    conditions: &Conditions,
    certificate: Option<&Certificate>,
) -> String {
    if state == State::Quiet
        && let Some(certificate) = certificate
    {
        return quiet(certificate);
    }
    let has_trend = conditions.status(Condition::LagShrinks) != Status::Unknown;
    let mut text = if state == State::Lagging && !has_trend {
        "Late, and it is not known yet whether the gap closes".to_owned()
    } else {
        headline(state, reason, is_recovering).into_owned()
    };
    if let Some(what) = reason.and_then(blame).filter(|_| !is_recovering) {
        text.push_str(", ");
        text.push_str(what);
    }
    let evidence = match deciding(state) {
        Some(condition) => Some(conditions.known(condition).because.clone()),
        None => missing(conditions).into_iter().next(),
    };
    if let Some(evidence) = evidence {
        text.push_str(": ");
        text.push_str(&evidence);
    }
    text.push('.');
    text
}

fn quiet(certificate: &Certificate) -> String {
    let Certificate { from, to, counts, .. } = certificate;
    let between = format!("between heartbeats {} and {}", from.number, to.number);
    match counts.filtered {
        0 => format!("The database is quiet: nothing was written {between}, and that is proven."),
        count => format!(
            "The database is quiet for our filters: {between} it wrote {count} transactions, all \
             left out by them, and that is proven."
        ),
    }
}

/// Whose being false is a fault or a warning, needed or not.
const TELLING: [Condition; 4] =
    [Condition::SqlAdmits, Condition::SqlAnswers, Condition::UpstreamRuns, Condition::ClockAgrees];

/// What is needed and not well, and what else there is evidence against, in words.
pub fn missing(conditions: &Conditions) -> Vec<String> {
    conditions
        .iter()
        .filter(|(condition, known)| {
            let asked = conditions.is_needed(*condition) || *condition == Condition::Accounted;
            let is_false = known.status == Status::False;
            asked && known.status != Status::True || TELLING.contains(condition) && is_false
        })
        .map(|(condition, known)| {
            format!("{} is {}: {}", condition.name(), known.status.name(), known.because)
        })
        .collect()
}

/// What is so, in a few words: the begin of [`sentence`]. Consumers are named.
pub fn headline(state: State, reason: Option<&Reason>, is_recovering: bool) -> Cow<'static, str> {
    match (state, reason) {
        (State::CanaryLost, Some(Reason::Consumers(names))) if !names.is_empty() => {
            let names = names.join(", ");
            Cow::Owned(if is_recovering {
                format!("SNS delivers messages to {names} again")
            } else {
                format!("SNS takes messages that do not reach {names}")
            })
        }
        _ => Cow::Borrowed(plain_headline(state, is_recovering)),
    }
}

const fn plain_headline(state: State, is_recovering: bool) -> &'static str {
    match state {
        _ if is_recovering => recovery(state),
        State::SelfStalled => {
            "binpulse itself stood still and judges nobody until it has looked anew"
        }
        State::PositionLost => "The stream can't go on from where it was",
        State::Starting => "Starting",
        State::SourceUnreachable => "The database can't be reached",
        State::SourceHung => "The database hangs",
        State::WrongSource => "The stream comes from the wrong server",
        State::StreamDown => "The database works, but the replication connection does not",
        State::StreamSilent => "The database works, but the replication connection is silent",
        State::SourceReadOnly => "The database is read-only",
        State::WritesBlocked => "Writes to the database are blocked",
        State::UpstreamReplicationBroken => "The source is a replica that no longer replicates",
        State::SinkStalled => "SNS takes no messages",
        State::HeartbeatLost => "A committed row did not come through the binary log",
        State::CatchingUp => "Late, and catching up",
        State::Lagging => "Late, and not catching up",
        State::CanaryLost => "SNS takes messages that do not arrive",
        State::CheckpointStuck => "Progress is not being saved",
        State::Indeterminate => "It can't be said whether the database is quiet or out",
        State::QuietUnproven => {
            "Nothing is wrong, but without heartbeat rows silence can't be proven"
        }
        State::Live => "Rows flow",
        State::Quiet => "The database is quiet",
    }
}

/// What is so again, while a state only waits for its exit.
const fn recovery(state: State) -> &'static str {
    match state {
        State::SourceUnreachable => "The database can be reached again",
        State::SourceHung => "The database answers again",
        State::WrongSource => "The stream comes from the right server again",
        State::StreamDown => "The replication connection works again",
        State::StreamSilent => "The replication connection brings data again",
        State::SourceReadOnly => "The database takes writes again",
        State::WritesBlocked => "Writes to the database commit again",
        State::UpstreamReplicationBroken => "The source replicates again",
        State::SinkStalled => "SNS takes messages again",
        State::HeartbeatLost => "Committed rows come through the binary log again",
        State::CatchingUp | State::Lagging => "Caught up",
        State::CanaryLost => "SNS delivers messages again",
        State::CheckpointStuck => "Progress is being saved again",
        // These are left as soon as their evidence is.
        State::SelfStalled
        | State::PositionLost
        | State::Starting
        | State::Indeterminate
        | State::QuietUnproven
        | State::Live
        | State::Quiet => plain_headline(state, false),
    }
}

const fn blame(reason: &Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Semisync => "waiting for a semi-sync replica's acknowledgement",
        Reason::GlobalReadLock => "by a global read lock",
        Reason::MetadataLock => "by a metadata lock",
        Reason::RowLock => "by a row lock",
        Reason::DiskFull => "by a full disk",
        Reason::Throttled => "it asks to slow down",
        Reason::ServerError => "it answers with server errors",
        Reason::Timeout => "no answer comes in time",
        Reason::Denied => "permission is denied",
        Reason::NotFound => "the topic does not exist",
        Reason::TooLarge => "messages are too large for it",
        Reason::Dns => "its name does not resolve",
        Reason::Tls => "the TLS handshake fails",
        Reason::Auth => "the account is not admitted",
        Reason::Refused => "the connection is refused",
        Reason::Reset => "connections break",
        Reason::TooManyConnections => "max_connections is reached",
        Reason::Offline => "the server is offline or shutting down",
        Reason::Halted => "since delivery has halted",
        Reason::DuplicateReplica => "another replica uses our identity",
        Reason::Purged => "binary logs were purged",
        Reason::Diverged => "its history is another one",
        Reason::EchoUnreadable(_) => "since an echo queue can't be read",
        Reason::Unknown | Reason::Consumers(_) | Reason::Empty | Reason::FilteredOnly => {
            return None;
        }
    })
}

/// The alert of a state, whose runbook says more.
pub const fn alert(state: State, reason: Option<&Reason>) -> Option<&'static str> {
    Some(match state {
        State::PositionLost => "BinpulsePositionLost",
        State::SourceUnreachable | State::SourceHung | State::UpstreamReplicationBroken => {
            "BinpulseSourceDown"
        }
        State::WrongSource => "BinpulseWrongSource",
        State::StreamDown if matches!(reason, Some(Reason::Halted)) => "BinpulseHalted",
        State::StreamDown | State::StreamSilent | State::HeartbeatLost => "BinpulseStreamStalled",
        State::SourceReadOnly | State::WritesBlocked => "BinpulseSourceWritesBlocked",
        State::SinkStalled => "BinpulseSinkStalled",
        State::CatchingUp => "BinpulseCatchUpTooLong",
        State::Lagging => "BinpulseLagging",
        State::CanaryLost => "BinpulseCanaryLost",
        State::CheckpointStuck => "BinpulseCheckpointStuck",
        State::Indeterminate if matches!(reason, Some(Reason::EchoUnreadable(_))) => {
            "BinpulseEchoUnreadable"
        }
        State::SelfStalled | State::Starting | State::Indeterminate => "BinpulseFreshnessUnknown",
        State::QuietUnproven | State::Live | State::Quiet => return None,
    })
}
