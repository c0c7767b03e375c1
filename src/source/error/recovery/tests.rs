use std::io;
use std::time::Duration;

use super::{Error, Halt, Recovery, Step};
use crate::binlog::EventError;
use crate::change::Position;
use crate::mysql::{self, HostPort, TlsError};
use crate::source::ServerErrorKind;

const STEPS: [Step; 8] = [
    Step::Connect,
    Step::Greeting,
    Step::TlsHandshake,
    Step::Login,
    Step::SetUp,
    Step::Register,
    Step::FirstEvent,
    Step::Stream,
];

fn host() -> HostPort {
    HostPort::new("db", 3306)
}

fn broken() -> io::Error {
    io::Error::other("broken")
}

/// One of each, and of those with a step one that tells it apart. A variant that is missing here
/// fails [`every_variant_is_in_the_table`].
fn table() -> Vec<(Error, Recovery)> {
    use Recovery::{NextHost, Retry, RetryThenHalt};
    let halt = Recovery::Halt;
    let server = |code, message: &str| {
        Error::Sql(mysql::Error::Server { code, state: String::new(), message: message.to_owned() })
    };
    let position = Position::new("b.000001", 4);
    let second = Duration::from_secs(1);
    vec![
        (Error::Resolve { host: host(), source: broken() }, NextHost),
        (Error::Connect { host: host(), source: broken() }, NextHost),
        (Error::TlsHandshake { host: host(), source: broken() }, NextHost),
        (Error::TimedOut { step: Step::Register, after: second }, NextHost),
        (Error::TimedOut { step: Step::FirstEvent, after: second }, Retry),
        (Error::Closed { step: Step::Login }, NextHost),
        (Error::Closed { step: Step::Stream }, Retry),
        (Error::Broken { step: Step::SetUp, source: broken() }, NextHost),
        (Error::Broken { step: Step::Stream, source: broken() }, Retry),
        (Error::Silent { after: second, heartbeat: second }, Retry),
        (Error::Damaged(EventError::Short { found: 3 }), RetryThenHalt(Halt::Damaged)),
        (
            Error::Protocol { step: Step::Stream, found: String::new(), expected: "an event" },
            RetryThenHalt(Halt::Damaged),
        ),
        (Error::TlsUnavailable { host: host() }, halt(Halt::Misconfigured)),
        (Error::TlsFiles(TlsError::HalfIdentity), halt(Halt::Misconfigured)),
        (Error::LoginMethod { plugin: "x".to_owned() }, halt(Halt::Misconfigured)),
        (Error::KeyNotAllowed { plugin: "x" }, halt(Halt::Misconfigured)),
        (Error::PublicKey { reason: String::new() }, halt(Halt::Misconfigured)),
        (Error::Sql(mysql::Error::Protocol { host: host(), failure: String::new() }), Retry),
        (Error::StartMisfit { found: String::new(), start: "a set" }, halt(Halt::Misconfigured)),
        (Error::ModeChanged { found: String::new() }, Retry),
        (Error::HostUnknown { index: 3 }, halt(Halt::Misconfigured)),
        (refused(ServerErrorKind::Purged, Step::FirstEvent), halt(Halt::PositionLost)),
        (server(1236, "purged"), halt(Halt::PositionLost)),
        (server(1045, "Access denied"), halt(Halt::Denied)),
        (server(1040, "Too many connections"), NextHost),
        (server(1064, "You have an error in your SQL syntax"), Retry),
        (
            Error::Sql(mysql::Error::TimedOut { step: "SELECT 1".to_owned(), after: second }),
            NextHost,
        ),
        (Error::Sql(mysql::Error::Abandoned), Retry),
        (
            Error::OtherServer { position, stored: "a".to_owned(), found: "b".to_owned() },
            halt(Halt::OtherServer),
        ),
        (Error::Purged { missing: String::new() }, halt(Halt::PositionLost)),
        (Error::TooOld { asked: 1, earliest: 2 }, halt(Halt::PositionLost)),
        (Error::Diverged { extra: String::new() }, halt(Halt::Diverged)),
        (Error::PutBack { what: String::new() }, halt(Halt::Diverged)),
        // Any host that may recover keeps the stream; else the first one's reason counts.
        (
            Error::NoHost {
                failures: vec![
                    (host(), Error::Diverged { extra: String::new() }),
                    (host(), Error::Connect { host: host(), source: broken() }),
                ],
            },
            NextHost,
        ),
        (
            Error::NoHost {
                failures: vec![
                    (host(), Error::Diverged { extra: String::new() }),
                    (host(), Error::Purged { missing: String::new() }),
                ],
            },
            halt(Halt::Diverged),
        ),
    ]
}

/// A name that is missing would be counted as `other` in the metrics.
#[test]
fn every_name_is_listed_once() {
    let kinds = ServerErrorKind::ALL;
    assert!(kinds.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    assert_eq!(kinds.len(), ServerErrorKind::Other as usize + 1, "the last one is `Other`");
    let names: Vec<_> = Error::names().collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    for (error, _) in table() {
        assert!(names.contains(&error.name()), "{} is not listed", error.name());
    }
}

fn refused(refusal: ServerErrorKind, step: Step) -> Error {
    Error::Refused { step, refusal, code: 1236, message: "words".to_owned() }
}

/// Its number in the enumeration: a new one does not compile until it is put into the table.
fn number(error: &Error) -> usize {
    match error {
        Error::Resolve { .. } => 0,
        Error::Connect { .. } => 1,
        Error::TimedOut { .. } => 2,
        Error::Silent { .. } => 3,
        Error::Closed { .. } => 4,
        Error::Broken { .. } => 5,
        Error::TlsHandshake { .. } => 6,
        Error::TlsUnavailable { .. } => 7,
        Error::TlsFiles(_) => 8,
        Error::LoginMethod { .. } => 9,
        Error::Refused { .. } => 10,
        Error::Protocol { .. } => 11,
        Error::Damaged(_) => 12,
        Error::Sql(_) => 13,
        Error::StartMisfit { .. } => 14,
        Error::OtherServer { .. } => 15,
        Error::Purged { .. } => 16,
        Error::Diverged { .. } => 17,
        Error::TooOld { .. } => 18,
        Error::NoHost { .. } => 19,
        Error::HostUnknown { .. } => 20,
        Error::PutBack { .. } => 21,
        Error::KeyNotAllowed { .. } => 22,
        Error::PublicKey { .. } => 23,
        Error::ModeChanged { .. } => 24,
    }
}

#[test]
fn every_failure_has_its_decision() {
    for (error, recovery) in table() {
        assert_eq!(error.recovery(), recovery, "{error}");
        assert!(!error.name().is_empty() && !error.remedy().is_empty(), "{error:?}");
    }
}

#[test]
fn every_variant_is_in_the_table() {
    let table = table();
    let missing: Vec<_> =
        (0..=24).filter(|n| !table.iter().any(|(error, _)| number(error) == *n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What follows from each refusal of a dump.
const REFUSALS: &[(ServerErrorKind, Recovery)] = &[
    (ServerErrorKind::Purged, Recovery::Halt(Halt::PositionLost)),
    (ServerErrorKind::FileUnknown, Recovery::Halt(Halt::PositionLost)),
    (ServerErrorKind::OffsetImpossible, Recovery::Halt(Halt::PositionLost)),
    (ServerErrorKind::ReplicaAhead, Recovery::Halt(Halt::Diverged)),
    (ServerErrorKind::Fenced, Recovery::Halt(Halt::Fenced)),
    (ServerErrorKind::BinlogTruncated, Recovery::Halt(Halt::Corrupt)),
    (ServerErrorKind::BinlogCorrupt, Recovery::Halt(Halt::Corrupt)),
    (ServerErrorKind::EventTooLarge, Recovery::Halt(Halt::Corrupt)),
    (ServerErrorKind::BinlogUnreadable, Recovery::RetryThenHalt(Halt::Corrupt)),
    (ServerErrorKind::GtidModeOff, Recovery::RetryThenHalt(Halt::GtidMode)),
    (ServerErrorKind::AnonymousTransaction, Recovery::RetryThenHalt(Halt::GtidMode)),
    (ServerErrorKind::GtidTransaction, Recovery::RetryThenHalt(Halt::GtidMode)),
    (ServerErrorKind::BinlogOff, Recovery::Halt(Halt::Misconfigured)),
    (ServerErrorKind::ServerIdUnset, Recovery::Halt(Halt::Misconfigured)),
    (ServerErrorKind::ChecksumNotAgreed, Recovery::Halt(Halt::Misconfigured)),
    (ServerErrorKind::SenderFailed, Recovery::Retry),
    (ServerErrorKind::DumpFailed, Recovery::RetryThenHalt(Halt::SourceRefused)),
    (ServerErrorKind::AccessDenied, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::PrivilegeMissing, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::AccountLocked, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::PasswordExpired, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::TlsDemanded, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::LoginMethod, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::HostNotAllowed, Recovery::Halt(Halt::Denied)),
    (ServerErrorKind::HostBlocked, Recovery::NextHost),
    (ServerErrorKind::TooManyConnections, Recovery::NextHost),
    (ServerErrorKind::Offline, Recovery::NextHost),
    (ServerErrorKind::ShuttingDown, Recovery::NextHost),
    (ServerErrorKind::Killed, Recovery::Retry),
];

#[test]
fn every_refusal_has_its_decision_at_each_step() {
    for step in STEPS {
        for (refusal, recovery) in REFUSALS {
            let error = refused(*refusal, step);
            assert_eq!(error.recovery(), *recovery, "{refusal} while {step}");
            let text = format!("{} while {step}: words (error 1236)", refusal.as_str());
            assert_eq!(error.to_string(), text);
        }
        // Whoever stands between may refuse a connection; only the server refuses a dump.
        let is_dump = matches!(step, Step::FirstEvent | Step::Stream);
        let unknown =
            if is_dump { Recovery::RetryThenHalt(Halt::SourceRefused) } else { Recovery::Retry };
        assert_eq!(refused(ServerErrorKind::Other, step).recovery(), unknown, "{step}");
    }
}

#[test]
fn interruptions_before_the_stream_flows_lead_to_the_next_host() {
    for (index, step) in STEPS.into_iter().enumerate() {
        let expected = if index < 6 { Recovery::NextHost } else { Recovery::Retry };
        for error in [
            Error::Closed { step },
            Error::TimedOut { step, after: Duration::ZERO },
            Error::Broken { step, source: broken() },
        ] {
            assert_eq!(error.recovery(), expected, "{error}");
        }
    }
}

#[test]
fn somebody_must_choose_where_the_position_or_the_log_is_in_question() {
    for (halt, expected) in [
        (Halt::PositionLost, true),
        (Halt::Diverged, true),
        (Halt::OtherServer, true),
        (Halt::Fenced, true),
        (Halt::Corrupt, true),
        (Halt::Damaged, true),
        (Halt::GtidMode, true),
        (Halt::SourceRefused, true),
        (Halt::Denied, false),
        (Halt::Misconfigured, false),
    ] {
        assert_eq!(halt.needs_operator(), expected, "{halt:?}");
    }
    assert!(refused(ServerErrorKind::AnonymousTransaction, Step::Stream).needs_operator());
    assert!(!refused(ServerErrorKind::SenderFailed, Step::Stream).needs_operator());
}

#[test]
fn what_a_failed_handshake_needs_is_told_by_the_words_of_the_tls_library() {
    for (reason, remedy) in [
        ("invalid peer certificate: UnknownIssuer", "source.tls_ca"),
        ("invalid peer certificate: certificate not valid for name \"db\"", "\"verify-ca\""),
        ("invalid peer certificate: Expired", "clock"),
        ("invalid peer certificate: certificate expired: verification time 1", "clock"),
        ("invalid peer certificate: certificate not valid yet: verification time 1", "clock"),
        ("received fatal alert: CertificateRequired", "source.tls_certificate"),
        ("received fatal alert: certificate required", "source.tls_certificate"),
        ("received fatal alert: HandshakeFailure", "TLS 1.1"),
    ] {
        let error = Error::TlsHandshake { host: host(), source: io::Error::other(reason) };
        assert!(error.remedy().contains(remedy), "{reason}: {}", error.remedy());
    }
}

#[test]
fn commit_times_are_told_as_times() {
    use crate::source::time_text;
    assert_eq!(time_text(1_700_000_000_500_000), "2023-11-14T22:13:20.500Z");
    assert_eq!(time_text(0), "1970-01-01T00:00:00Z");
    assert_eq!(time_text(i64::MAX), format!("{} us since 1970", i64::MAX));
}
