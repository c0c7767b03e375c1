//! Why something that was asked of the source did not happen: one word for each family of causes, for
//! writes, probes and the stream alike. Pure.

use super::verdict::Reason;
use crate::mysql::{self, ConnectionLoss};
use crate::source::{self, Recovery, ServerErrorKind};

/// The family of causes that a failed connection or statement belongs to. Numbers are the server's
/// (MySQL manual, "Server Error Message Reference"; measured on 9.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlFailure {
    /// Not answered within the deadline. A write with lock time-outs in force is stuck in the commit
    /// (full binlog volume, semi-sync), or the server or the way to it is gone.
    TimedOut,
    /// 1290, 1836, 1792: `read_only`, `super_read_only`, a read-only transaction.
    ReadOnly,
    /// 1015 with errno 165: `innodb_read_only`, where `@@read_only` says 0.
    StorageReadOnly,
    /// 1205: a lock: global read lock, metadata lock, row lock.
    Lock,
    /// 1213: a deadlock; to be tried again.
    Deadlock,
    /// 1040, 1203, 1226: no connection is left.
    TooManyConnections,
    /// 3032: `offline_mode`.
    Offline,
    /// 1053: the server is shutting down.
    ShuttingDown,
    /// 1045, 1698, 1820, 1862, 3118: the login is refused.
    Login,
    /// 1044, 1142, 1143, 1227: a privilege is missing.
    Denied,
    /// 1049, 1054, 1146: schema, table or column is missing: `binpulse init`.
    SchemaMissing,
    /// 1021, 1114, 3675: a volume or table is full.
    DiskFull,
    /// 1317, 1927, 3024: somebody, or a limit, ended the statement.
    Interrupted,
    /// The connection could not be made, or broke.
    Connection(ConnectionLoss),
    /// Certificates, or what they vouch for; or a login that needs TLS.
    Tls,
    /// The account may write on a read-only server, so its writes would prove nothing.
    ExemptAccount,
    /// The server lacks a heartbeat that came from it: it was put back to an older state.
    Diverged,
    /// Anything else that the server says, with its number; 0 without one.
    Other(u16),
}

impl SqlFailure {
    /// The name has no address.
    pub const NO_ADDRESS: Self = Self::Connection(ConnectionLoss::NoAddress);
    /// Nobody listens, or there is no way there.
    pub const REFUSED: Self = Self::Connection(ConnectionLoss::Refused);
    /// The connection broke.
    pub const BROKEN: Self = Self::Connection(ConnectionLoss::Broken);

    /// One of each name, for label values.
    pub const ALL: [Self; 18] = [
        Self::TimedOut,
        Self::ReadOnly,
        Self::StorageReadOnly,
        Self::Lock,
        Self::Deadlock,
        Self::TooManyConnections,
        Self::Offline,
        Self::ShuttingDown,
        Self::Login,
        Self::Denied,
        Self::SchemaMissing,
        Self::DiskFull,
        Self::Interrupted,
        Self::BROKEN,
        Self::Tls,
        Self::ExemptAccount,
        Self::Diverged,
        Self::Other(0),
    ];

    /// Lower-case name, as in metrics and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::ReadOnly => "read_only",
            Self::StorageReadOnly => "storage_read_only",
            Self::Lock => "lock",
            Self::Deadlock => "deadlock",
            Self::TooManyConnections => "too_many_connections",
            Self::Offline => "offline",
            Self::ShuttingDown => "shutting_down",
            Self::Login => "login",
            Self::Denied => "denied",
            Self::SchemaMissing => "schema_missing",
            Self::DiskFull => "disk_full",
            Self::Interrupted => "interrupted",
            Self::Connection(_) => "connection",
            Self::Tls => "tls",
            Self::ExemptAccount => "exempt_account",
            Self::Diverged => "diverged",
            Self::Other(_) => "other",
        }
    }

    /// In words, for people.
    pub fn words(self) -> String {
        let text = match self {
            Self::TimedOut => "no answer in time",
            Self::ReadOnly | Self::StorageReadOnly => "the server is read-only",
            Self::Lock => "lock wait timeout (1205)",
            Self::Deadlock => "deadlock (1213)",
            Self::TooManyConnections => "too many connections (1040)",
            Self::Offline | Self::ShuttingDown => "the server is offline or shutting down",
            Self::Login => "the account is denied access",
            Self::Denied => "a privilege is missing",
            Self::SchemaMissing => "the table does not exist: run `binpulse init`",
            Self::DiskFull => "no space is left",
            Self::Interrupted => "the statement was killed",
            Self::NO_ADDRESS => "the name does not resolve",
            Self::REFUSED => "connection refused",
            Self::BROKEN => "connection broken",
            Self::Tls => "the TLS handshake failed",
            Self::ExemptAccount => "the account can write on a read-only server",
            Self::Diverged => "the server was restored to an older state",
            Self::Other(0) => "see the log for the server's error",
            Self::Other(code) => return format!("error {code}"),
        };
        text.to_owned()
    }

    /// What fixes the account with which binpulse writes, or its tables in this schema.
    pub fn remedy(self, user: &str, schema: &str) -> String {
        let user = user.replace('\'', "''");
        match self {
            Self::Denied => format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON `{schema}`.* TO '{user}'@'%'; (and if the schema \
                 is not there yet: binpulse init)"
            ),
            Self::Login => format!(
                "CREATE USER '{user}'@'%' IDENTIFIED BY <password in quotes>; or correct heartbeat.user and \
                 heartbeat.password; or, where it is the login method, ALTER USER '{user}'@'%' IDENTIFIED \
                 WITH caching_sha2_password BY <password in quotes> (MariaDB, MySQL 5.7 and older: \
                 mysql_native_password); `binpulse init --print` prints all statements"
            ),
            Self::ExemptAccount => format!(
                "set heartbeat.user to a separate account; `binpulse init --print` prints its \
                 statements; or REVOKE what is named from '{user}'@'%'"
            ),
            Self::Connection(_) | Self::TimedOut => {
                "check heartbeat.host, or the first of source.hosts, and that the server runs"
                    .to_owned()
            }
            Self::SchemaMissing => {
                "run `binpulse init`, or give the output of `binpulse init --print` to a DBA"
                    .to_owned()
            }
            Self::Tls => {
                "check source.tls, source.tls_ca and source.get_server_public_key".to_owned()
            }
            Self::ReadOnly
            | Self::StorageReadOnly
            | Self::Lock
            | Self::Deadlock
            | Self::TooManyConnections
            | Self::Offline
            | Self::ShuttingDown
            | Self::DiskFull
            | Self::Interrupted
            | Self::Diverged
            | Self::Other(_) => "fix what the server reports, then check again".to_owned(),
        }
    }

    /// The word for it in a verdict.
    pub fn reason(self) -> Reason {
        match self {
            Self::TimedOut => Reason::Timeout,
            Self::NO_ADDRESS => Reason::Dns,
            Self::REFUSED => Reason::Refused,
            Self::BROKEN => Reason::Reset,
            Self::Tls => Reason::Tls,
            Self::Login => Reason::Auth,
            Self::Denied => Reason::Denied,
            Self::TooManyConnections => Reason::TooManyConnections,
            Self::Offline | Self::ShuttingDown => Reason::Offline,
            Self::DiskFull => Reason::DiskFull,
            Self::Diverged => Reason::Diverged,
            Self::ReadOnly
            | Self::StorageReadOnly
            | Self::Lock
            | Self::Deadlock
            | Self::SchemaMissing
            | Self::Interrupted
            | Self::ExemptAccount
            | Self::Other(_) => Reason::Unknown,
        }
    }

    /// Whether the server takes no writes, by its own settings.
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::StorageReadOnly)
    }

    /// The family of a server's error number.
    pub fn of_code(code: u16) -> Self {
        match code {
            1290 | 1792 | 1836 => Self::ReadOnly,
            1015 => Self::StorageReadOnly,
            1205 => Self::Lock,
            1213 => Self::Deadlock,
            1040 | 1203 | 1226 => Self::TooManyConnections,
            3032 => Self::Offline,
            1053 => Self::ShuttingDown,
            1045 | 1698 | 1820 | 1862 | 3118 => Self::Login,
            1044 | 1142 | 1143 | 1227 => Self::Denied,
            1049 | 1054 | 1146 => Self::SchemaMissing,
            1021 | 1114 | 3675 => Self::DiskFull,
            1317 | 1927 | 3024 => Self::Interrupted,
            2002 | 2003 | 2006 | 2013 | 2055 => Self::BROKEN,
            code => Self::Other(code),
        }
    }

    /// The family of a session's error.
    pub fn of(error: &mysql::Error) -> Self {
        match error {
            mysql::Error::TimedOut { .. } => Self::TimedOut,
            mysql::Error::Server { code, .. } => Self::of_code(*code),
            mysql::Error::Connection { lost, .. } => Self::Connection(*lost),
            mysql::Error::Protocol { .. } | mysql::Error::Abandoned => Self::BROKEN,
            mysql::Error::Tls(_)
            | mysql::Error::TlsHandshake { .. }
            | mysql::Error::KeyNotAllowed { .. }
            | mysql::Error::PublicKey { .. } => Self::Tls,
            mysql::Error::LoginMethod { .. } => Self::Login,
            mysql::Error::Unexpected { .. } | mysql::Error::Places { .. } => Self::Other(0),
        }
    }
}

/// Why a dump could not begin, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamFailure {
    /// The end of the stream: EOF packet or closed socket, without an error.
    Ended,
    /// Our deadline on bytes expired, on an established dump.
    Silent,
    /// The connection, or what was asked on it before the dump; of the dump itself what has a family.
    Sql(SqlFailure),
    /// 1236: a replica with our UUID took over.
    DuplicateReplica,
    /// 1236: the logs that we need are gone.
    Purged,
    /// 1236: we have transactions that the source lacks; or another server without GTIDs.
    Diverged,
    /// We dial no more: delivery can't continue without an operator.
    Halted,
}

impl StreamFailure {
    /// Why a dump ended or could not begin.
    pub fn of(error: &source::Error) -> Self {
        use source::Error;
        match error {
            Error::Resolve { .. } => Self::Sql(SqlFailure::NO_ADDRESS),
            Error::Connect { .. } => Self::Sql(SqlFailure::REFUSED),
            Error::TimedOut { .. } => Self::Sql(SqlFailure::TimedOut),
            Error::Silent { .. } => Self::Silent,
            Error::Closed { .. } => Self::Ended,
            Error::Broken { .. } | Error::Damaged(_) | Error::Protocol { .. } => {
                Self::Sql(SqlFailure::BROKEN)
            }
            Error::TlsHandshake { .. } | Error::TlsUnavailable { .. } | Error::TlsFiles(_) => {
                Self::Sql(SqlFailure::Tls)
            }
            Error::LoginMethod { .. } | Error::KeyNotAllowed { .. } | Error::PublicKey { .. } => {
                Self::Sql(SqlFailure::Login)
            }
            Error::Refused { refusal, code, .. } => Self::of_refusal(*refusal, *code),
            Error::Sql(error) => Self::Sql(SqlFailure::of(error)),
            Error::Purged { .. } | Error::TooOld { .. } => Self::Purged,
            Error::Diverged { .. } | Error::PutBack { .. } | Error::OtherServer { .. } => {
                Self::Diverged
            }
            // Each host has its own reason. That one of them lacks our position says nothing while
            // another, which is only away, may have it.
            Error::NoHost { failures } => {
                let ends = matches!(error.recovery(), Recovery::Halt(_));
                let decides = |error: &Error| matches!(error.recovery(), Recovery::Halt(_)) == ends;
                let told = failures.iter().find(|(_, error)| decides(error)).or(failures.first());
                told.map_or(Self::Sql(SqlFailure::REFUSED), |(_, error)| Self::of(error))
            }
            Error::StartMisfit { .. } | Error::ModeChanged { .. } | Error::HostUnknown { .. } => {
                Self::Sql(SqlFailure::Other(0))
            }
        }
    }

    fn of_refusal(refusal: ServerErrorKind, code: u16) -> Self {
        match refusal {
            ServerErrorKind::Purged | ServerErrorKind::FileUnknown => Self::Purged,
            ServerErrorKind::ReplicaAhead => Self::Diverged,
            ServerErrorKind::Fenced => Self::DuplicateReplica,
            ServerErrorKind::AccessDenied
            | ServerErrorKind::AccountLocked
            | ServerErrorKind::PasswordExpired
            | ServerErrorKind::LoginMethod
            | ServerErrorKind::HostNotAllowed
            | ServerErrorKind::HostBlocked => Self::Sql(SqlFailure::Login),
            ServerErrorKind::PrivilegeMissing => Self::Sql(SqlFailure::Denied),
            ServerErrorKind::TlsDemanded => Self::Sql(SqlFailure::Tls),
            ServerErrorKind::TooManyConnections => Self::Sql(SqlFailure::TooManyConnections),
            ServerErrorKind::Offline => Self::Sql(SqlFailure::Offline),
            ServerErrorKind::ShuttingDown => Self::Sql(SqlFailure::ShuttingDown),
            ServerErrorKind::Killed => Self::Ended,
            ServerErrorKind::OffsetImpossible
            | ServerErrorKind::BinlogTruncated
            | ServerErrorKind::BinlogCorrupt
            | ServerErrorKind::EventTooLarge
            | ServerErrorKind::BinlogUnreadable
            | ServerErrorKind::GtidModeOff
            | ServerErrorKind::AnonymousTransaction
            | ServerErrorKind::GtidTransaction
            | ServerErrorKind::ChecksumNotAgreed
            | ServerErrorKind::SenderFailed
            | ServerErrorKind::BinlogOff
            | ServerErrorKind::ServerIdUnset
            | ServerErrorKind::DumpFailed
            | ServerErrorKind::Other => Self::Sql(SqlFailure::Other(code)),
        }
    }

    /// The word for it in a verdict, where there is more to say.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Ended | Self::Silent => None,
            Self::Sql(failure) => Some(failure.reason()),
            Self::DuplicateReplica => Some(Reason::DuplicateReplica),
            Self::Purged => Some(Reason::Purged),
            Self::Diverged => Some(Reason::Diverged),
            Self::Halted => Some(Reason::Halted),
        }
    }

    /// In words, for people.
    pub fn words(self) -> String {
        let text = match self {
            Self::Ended => "the server ended it",
            Self::Silent => "it was silent",
            Self::Sql(SqlFailure::Denied) => "REPLICATION SLAVE is missing (1227)",
            Self::Sql(failure) => return failure.words(),
            Self::DuplicateReplica => "another replica with the same identity connected (1236)",
            Self::Purged => "the binary log that comes next was purged (1236)",
            Self::Diverged => "the source lacks transactions that were received from it",
            Self::Halted => "delivery has halted",
        };
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mysql::HostPort;

    #[test]
    fn names_differ_and_the_documented_numbers_have_families() {
        let names: BTreeSet<_> = SqlFailure::ALL.iter().map(|failure| failure.as_str()).collect();
        assert_eq!(names.len(), SqlFailure::ALL.len());
        for code in [1290, 1836, 1205, 1040, 1142, 3024, 2013, 1015, 3032, 1053, 1213, 1146] {
            assert!(!matches!(SqlFailure::of_code(code), SqlFailure::Other(_)), "{code}");
        }
    }

    #[test]
    fn a_time_before_the_oldest_log_and_a_purged_log_are_the_same_loss() {
        let told = StreamFailure::of(&source::Error::TooOld { asked: 1, earliest: 2 });
        assert_eq!(told, StreamFailure::Purged);
    }

    #[test]
    fn a_host_without_our_position_says_nothing_while_another_is_only_away() {
        let host = || HostPort { host: "db".to_owned(), port: 3306 };
        let away = || {
            let heartbeat = std::time::Duration::from_secs(1);
            source::Error::Silent { after: 4 * heartbeat, heartbeat }
        };
        let lacking = || source::Error::OtherServer {
            position: crate::change::Position::default(),
            stored: "a".to_owned(),
            found: "b".to_owned(),
        };
        for failures in [[lacking(), away()], [away(), lacking()]] {
            let failures = failures.into_iter().map(|error| (host(), error)).collect();
            let told = StreamFailure::of(&source::Error::NoHost { failures });
            assert_eq!(told, StreamFailure::Silent);
        }
        let failures = vec![(host(), lacking()), (host(), lacking())];
        let told = StreamFailure::of(&source::Error::NoHost { failures });
        assert_eq!(told, StreamFailure::Diverged);
    }
}
