//! What to do next, for each state and reason.

use std::borrow::Cow;

use super::{Reason, State};

/// What to do next. Consumers are named.
pub fn next_step(state: State, reason: Option<&Reason>, is_recovering: bool) -> Cow<'static, str> {
    match (state, reason) {
        (State::CanaryLost, Some(Reason::Consumers(names)))
            if !is_recovering && !names.is_empty() =>
        {
            Cow::Owned(format!(
                "Check the subscription of {}: is it there, its filter policy, the queue's policy and \
                 its dead letters.",
                names.join(", ")
            ))
        }
        _ => Cow::Borrowed(plain_step(state, reason, is_recovering)),
    }
}

#[expect(clippy::too_many_lines, reason = "one table of all states")]
const fn plain_step(state: State, reason: Option<&Reason>, is_recovering: bool) -> &'static str {
    if is_recovering {
        return wait(state);
    }
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

/// For what, while a state only waits for its exit.
const fn wait(state: State) -> &'static str {
    match state {
        State::SourceReadOnly | State::WritesBlocked => {
            "Wait: the database counts as well after two heartbeats in a row that commit."
        }
        State::SinkStalled => {
            "Wait: SNS counts as well after two acknowledgements, or when nothing waits."
        }
        State::CanaryLost => "Wait: delivery counts as well after two canaries that come back.",
        State::CatchingUp | State::Lagging => {
            "Wait: delivery counts as punctual when it has been less than 15 s late for 10 s."
        }
        State::SourceUnreachable
        | State::SourceHung
        | State::WrongSource
        | State::StreamDown
        | State::StreamSilent
        | State::UpstreamReplicationBroken
        | State::HeartbeatLost => {
            "Wait: this counts as over after two heartbeats that commit and come back."
        }
        State::SelfStalled
        | State::PositionLost
        | State::Starting
        | State::CheckpointStuck
        | State::Indeterminate
        | State::QuietUnproven
        | State::Live
        | State::Quiet => "Wait.",
    }
}
