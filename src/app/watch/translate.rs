//! What the parts say, in the verdict's words. Pure.

use std::time::Duration;

use crate::change::Uuid;
use crate::mysql;
use crate::pulse::verdict::{
    ClockSample, Committed, ProbeFailure, SinkFailure, StreamFailure, WriteFailure,
};
use crate::pulse::{Facts, Reason};
use crate::sink::Class;
use crate::source::{self, Recovery, Refusal};

/// Why a dump ended or could not begin.
pub(in crate::app) fn stream_failure(error: &source::Error) -> StreamFailure {
    use source::Error;
    match error {
        Error::Resolve { .. } => StreamFailure::Dns,
        Error::Connect { .. } => StreamFailure::Refused,
        Error::TimedOut { .. } => StreamFailure::Timeout,
        Error::Silent { .. } => StreamFailure::Silent,
        Error::Closed { .. } => StreamFailure::Ended,
        Error::Broken { .. } | Error::Damaged(_) | Error::Protocol { .. } => StreamFailure::Reset,
        Error::TlsHandshake { .. } | Error::TlsUnavailable { .. } | Error::TlsFiles(_) => {
            StreamFailure::Tls
        }
        Error::LoginMethod { .. } | Error::KeyNotAllowed { .. } | Error::PublicKey { .. } => {
            StreamFailure::Auth
        }
        Error::Refused { refusal, code, .. } => refused(*refusal, *code),
        Error::Sql(error) => match probe_failure(error) {
            ProbeFailure::Timeout => StreamFailure::Timeout,
            ProbeFailure::Refused => StreamFailure::Refused,
            ProbeFailure::Reset => StreamFailure::Reset,
            ProbeFailure::Dns => StreamFailure::Dns,
            ProbeFailure::Tls => StreamFailure::Tls,
            ProbeFailure::Auth => StreamFailure::Auth,
            ProbeFailure::TooManyConnections => StreamFailure::TooManyConnections,
            ProbeFailure::Offline => StreamFailure::Offline,
            ProbeFailure::Other(code) => StreamFailure::Other(code),
        },
        Error::Purged { .. } | Error::TooOld { .. } => StreamFailure::Purged,
        Error::Diverged { .. } | Error::PutBack { .. } | Error::OtherServer { .. } => {
            StreamFailure::Diverged
        }
        // Each host has its own reason. That one of them lacks our position says nothing while
        // another, which is only away, may have it.
        Error::NoHost { failures } => {
            let ends = matches!(error.recovery(), Recovery::Halt(_));
            let decides = |error: &Error| matches!(error.recovery(), Recovery::Halt(_)) == ends;
            let told = failures.iter().find(|(_, error)| decides(error)).or(failures.first());
            told.map_or(StreamFailure::Refused, |(_, error)| stream_failure(error))
        }
        Error::StartMisfit { .. } | Error::ModeChanged { .. } | Error::HostUnknown { .. } => {
            StreamFailure::Other(0)
        }
    }
}

fn refused(refusal: Refusal, code: u16) -> StreamFailure {
    match refusal {
        Refusal::Purged | Refusal::FileUnknown => StreamFailure::Purged,
        Refusal::ReplicaAhead => StreamFailure::Diverged,
        Refusal::Fenced => StreamFailure::DuplicateReplica,
        Refusal::AccessDenied
        | Refusal::AccountLocked
        | Refusal::PasswordExpired
        | Refusal::LoginMethod
        | Refusal::HostNotAllowed
        | Refusal::HostBlocked => StreamFailure::Auth,
        Refusal::PrivilegeMissing => StreamFailure::Denied,
        Refusal::TlsDemanded => StreamFailure::Tls,
        Refusal::TooManyConnections => StreamFailure::TooManyConnections,
        Refusal::Offline | Refusal::ShuttingDown => StreamFailure::Offline,
        Refusal::Killed => StreamFailure::Ended,
        Refusal::OffsetImpossible
        | Refusal::BinlogTruncated
        | Refusal::BinlogCorrupt
        | Refusal::EventTooLarge
        | Refusal::BinlogUnreadable
        | Refusal::GtidModeOff
        | Refusal::AnonymousTransaction
        | Refusal::GtidTransaction
        | Refusal::ChecksumNotAgreed
        | Refusal::SenderFailed
        | Refusal::BinlogOff
        | Refusal::ServerIdUnset
        | Refusal::DumpFailed
        | Refusal::Other => StreamFailure::Other(code),
    }
}

/// Why a question was not answered.
pub(super) fn probe_failure(error: &mysql::Error) -> ProbeFailure {
    match Reason::of(error) {
        Reason::TimedOut => ProbeFailure::Timeout,
        Reason::Tls => ProbeFailure::Tls,
        Reason::Login => ProbeFailure::Auth,
        Reason::TooManyConnections => ProbeFailure::TooManyConnections,
        Reason::Offline | Reason::ShuttingDown => ProbeFailure::Offline,
        Reason::Connection => {
            let text = format!("{error:?}").to_ascii_lowercase();
            if text.contains("refused") {
                ProbeFailure::Refused
            } else if text.contains("lookup") || text.contains("resolve") {
                ProbeFailure::Dns
            } else {
                ProbeFailure::Reset
            }
        }
        Reason::ReadOnly
        | Reason::StorageReadOnly
        | Reason::Lock
        | Reason::Deadlock
        | Reason::Denied
        | Reason::SchemaMissing
        | Reason::DiskFull
        | Reason::Interrupted
        | Reason::WrongServer
        | Reason::ExemptAccount
        | Reason::Diverged
        | Reason::Other => ProbeFailure::Other(error.code().unwrap_or_default()),
    }
}

/// Why a heartbeat was not written.
pub(in crate::app) fn write_failure(reason: Reason) -> WriteFailure {
    match reason {
        Reason::TimedOut => WriteFailure::TimedOut,
        Reason::ReadOnly | Reason::StorageReadOnly => WriteFailure::ReadOnly,
        Reason::Lock => WriteFailure::LockWait,
        Reason::Deadlock => WriteFailure::Deadlock,
        Reason::TooManyConnections => WriteFailure::TooManyConnections,
        Reason::Offline | Reason::ShuttingDown => WriteFailure::Offline,
        Reason::Login => WriteFailure::Auth,
        Reason::Denied | Reason::WrongServer | Reason::ExemptAccount | Reason::Diverged => {
            WriteFailure::Denied
        }
        Reason::SchemaMissing => WriteFailure::Missing,
        Reason::DiskFull => WriteFailure::DiskFull,
        Reason::Interrupted => WriteFailure::Interrupted,
        Reason::Connection | Reason::Tls => WriteFailure::ConnectionLost,
        Reason::Other => WriteFailure::Other,
    }
}

/// Why the sink did not take a message.
pub(in crate::app) fn sink_failure(class: Class) -> SinkFailure {
    match class.as_str() {
        "throttled" => SinkFailure::Throttled,
        "timeout" | "unreachable" => SinkFailure::Timeout,
        "denied" | "credentials" => SinkFailure::Denied,
        "not_found" => SinkFailure::NotFound,
        "too_large" | "refused" => SinkFailure::TooLarge,
        _ => SinkFailure::ServerError,
    }
}

/// A server's name as a UUID; MariaDB's names are none.
pub(in crate::app) fn server_uuid(name: &str) -> Option<Uuid> {
    name.parse().ok()
}

/// What the writer's session told before a write.
pub(in crate::app) fn committed(facts: &Facts) -> Committed {
    Committed {
        server: server_uuid(&facts.server_uuid),
        read_only: Some(facts.read_only || facts.super_read_only),
        executed: None,
        purged: None,
    }
}

/// The two clocks, as one question and its answer.
pub(in crate::app) fn clock_sample(facts: &Facts) -> ClockSample {
    let now_us = chrono::Utc::now().timestamp_micros();
    let half_us = i64::try_from(facts.clock_error.min(Duration::from_mins(1)).as_micros());
    let half_us = half_us.unwrap_or_default();
    ClockSample {
        sent_us: now_us - 2 * half_us,
        source_us: now_us - half_us + facts.clock_offset_us,
        received_us: now_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::HostPort;

    #[test]
    fn a_time_before_the_oldest_log_and_a_purged_log_are_the_same_loss() {
        let told = stream_failure(&source::Error::TooOld { asked: 1, earliest: 2 });
        assert_eq!(told, StreamFailure::Purged);
    }

    #[test]
    fn a_host_without_our_position_says_nothing_while_another_is_only_away() {
        let host = || HostPort { host: "db".to_owned(), port: 3306 };
        let away = || {
            let heartbeat = Duration::from_secs(1);
            source::Error::Silent { after: 4 * heartbeat, heartbeat }
        };
        let lacking = || source::Error::OtherServer {
            position: crate::change::Position::default(),
            stored: "a".to_owned(),
            found: "b".to_owned(),
        };
        for failures in [[lacking(), away()], [away(), lacking()]] {
            let failures = failures.into_iter().map(|error| (host(), error)).collect();
            let told = stream_failure(&source::Error::NoHost { failures });
            assert_eq!(told, StreamFailure::Silent);
        }
        let failures = vec![(host(), lacking()), (host(), lacking())];
        let told = stream_failure(&source::Error::NoHost { failures });
        assert_eq!(told, StreamFailure::Diverged);
    }
}
