//! A verdict in words: what is so, how that is known, which hop broke, and what to do.

use super::{Certificate, Condition, Conditions, Hop, Reason, State};

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
    conditions: &Conditions,
    certificate: Option<&Certificate>,
) -> String {
    if state == State::Quiet
        && let Some(certificate) = certificate
    {
        return quiet(certificate);
    }
    let mut text = headline(state).to_owned();
    if let Some(what) = reason.and_then(blame) {
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
            let is_false = known.status == super::Status::False;
            asked && known.status != super::Status::True || TELLING.contains(condition) && is_false
        })
        .map(|(condition, known)| {
            format!("{} is {}: {}", condition.name(), known.status.name(), known.because)
        })
        .collect()
}

/// What is so, in a few words: the begin of [`sentence`].
pub const fn headline(state: State) -> &'static str {
    match state {
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
        State::SourceReadOnly => "The database takes no writes",
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

/// What to do next.
pub const fn next_step(state: State, reason: Option<&Reason>) -> &'static str {
    match (state, reason) {
        (State::SelfStalled, _) => {
            "Look at this machine: CPU throttling, memory pressure, a suspended virtual machine."
        }
        (State::PositionLost, Some(Reason::Purged)) => {
            "Put a server that still has the logs first in source.hosts. If none has: rows are lost, \
             tell the consumers, and start anew as the runbook says."
        }
        (State::PositionLost, _) => {
            "Find out whether the source was restored or replaced. Start anew, as the runbook says, \
             only when the consumers know that history changed."
        }
        (State::Starting, _) => {
            "Wait: within a minute a heartbeat has come back, or what is in its way is told here."
        }
        (State::SourceUnreachable, Some(Reason::Auth)) => {
            "Check the account: password, lock, expiry. `binpulse check` names the statement."
        }
        (State::SourceUnreachable, Some(Reason::TooManyConnections)) => {
            "Raise max_connections, or find who holds the connections."
        }
        (State::SourceUnreachable, Some(Reason::Dns | Reason::Tls)) => {
            "Check the host name, DNS and certificates."
        }
        (State::SourceUnreachable, _) => "Check that mysqld runs and that its port can be reached.",
        (State::SourceHung, _) => {
            "Check the database's machine and the network to it: packets vanish, or mysqld stands."
        }
        (State::WrongSource, _) => {
            "A failover moved the address: let the stream dial again, and fence the old primary."
        }
        (State::StreamDown, Some(Reason::Denied)) => {
            "GRANT REPLICATION SLAVE to the stream's account."
        }
        (State::StreamDown, Some(Reason::Auth)) => {
            "Check the replication account: password, lock, expiry. `binpulse check` names the \
             statement."
        }
        (State::StreamDown, Some(Reason::Halted)) => {
            "Delivery has halted: `halted` in /status names the reason and what mends it; then restart."
        }
        (State::StreamDown, Some(Reason::DuplicateReplica)) => {
            "Find the second streamer that uses this stream's replica UUID, and stop one."
        }
        (State::StreamDown, _) => "Look in the server's log for who ends the dump thread.",
        (State::StreamSilent, _) => {
            "It is being dialled again; if that recurs, look for a firewall that drops idle flows."
        }
        (State::SourceReadOnly, _) => {
            "Find out whether a failover is under way; else SET GLOBAL read_only = OFF."
        }
        (State::WritesBlocked, Some(Reason::Semisync)) => {
            "Bring the semi-sync replica back, or lower rpl_semi_sync_source_timeout."
        }
        (State::WritesBlocked, Some(Reason::GlobalReadLock)) => {
            "Find the session that holds FLUSH TABLES WITH READ LOCK: a backup, most likely."
        }
        (State::WritesBlocked, Some(Reason::MetadataLock)) => {
            "Find the holder in performance_schema.metadata_locks."
        }
        (State::WritesBlocked, Some(Reason::RowLock)) => {
            "Find the holder in performance_schema.data_locks."
        }
        (State::WritesBlocked, Some(Reason::DiskFull)) => {
            "Free space for the binary log; writes resume within 60 s. Do not KILL the waiting \
             statements: that aborts the server."
        }
        (State::WritesBlocked, _) => {
            "Look at SHOW PROCESSLIST for what the writers wait for. Do not KILL them."
        }
        (State::UpstreamReplicationBroken, _) => {
            "Find the error by SHOW REPLICA STATUS on the source, mend it, and START REPLICA there."
        }
        (State::SinkStalled, Some(Reason::Denied)) => "Check the IAM policy, the key, credentials.",
        (State::SinkStalled, Some(Reason::NotFound)) => "Check the topic's ARN and region.",
        (State::SinkStalled, Some(Reason::Throttled)) => {
            "Ask for a higher SNS quota, or pack more."
        }
        (State::SinkStalled, Some(Reason::TooLarge)) => {
            "Raise the topic's MaximumMessageSize, or choose another oversize policy."
        }
        (State::SinkStalled, _) => "Check the endpoint, the network to it, and AWS's status page.",
        (State::HeartbeatLost, _) => {
            "Look for binlog-ignore-db, binlog-do-db or sql_log_bin=0 on the heartbeat schema."
        }
        (State::CatchingUp, _) => "Wait; look at the rate if it takes long.",
        (State::Lagging, _) => "Compare the rate of commits with that of publishing; see quotas.",
        (State::CanaryLost, _) => {
            "Check the subscription, its filter policy, the queue's policy and its dead letters."
        }
        (State::CheckpointStuck, _) => "Check the checkpoint's store: disk, permissions, fencing.",
        (State::Indeterminate, Some(Reason::EchoUnreadable(_))) => {
            "Check the queue's URL in canary.echo, the network to SQS, and that sqs:ReceiveMessage and \
             sqs:DeleteMessage are allowed on it; `binpulse check` tries both."
        }
        (State::Indeterminate, _) => "See which evidence is missing below, and why.",
        (State::QuietUnproven, _) => "Allow heartbeat rows if silence is to be proven.",
        (State::Live | State::Quiet, _) => "Nothing.",
    }
}
