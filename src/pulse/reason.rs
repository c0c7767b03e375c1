//! Why a write did not go through. Pure.

use crate::mysql;

/// The family of causes that a failed write belongs to. Numbers are the server's (MySQL manual,
/// "Server Error Message Reference"; measured on 9.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not answered within the deadline, with lock time-outs in force: stuck in the commit (full
    /// binlog volume, semi-sync), or the server or the way to it is gone.
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
    Connection,
    /// Certificates, or what they vouch for; or a login that needs TLS.
    Tls,
    /// The server is not one of those that may be written to.
    WrongServer,
    /// The account may write on a read-only server, so its writes would prove nothing.
    ExemptAccount,
    /// The server lacks a heartbeat that came from it: it was put back to an older state.
    Diverged,
    /// Anything else that the server says.
    Other,
}

impl Reason {
    /// All of them, for label values.
    pub const ALL: [Self; 19] = [
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
        Self::Connection,
        Self::Tls,
        Self::WrongServer,
        Self::ExemptAccount,
        Self::Diverged,
        Self::Other,
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
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::WrongServer => "wrong_server",
            Self::ExemptAccount => "exempt_account",
            Self::Diverged => "diverged",
            Self::Other => "other",
        }
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
            2002 | 2003 | 2006 | 2013 | 2055 => Self::Connection,
            _ => Self::Other,
        }
    }

    /// The family of a session's error.
    pub fn of(error: &mysql::Error) -> Self {
        match error {
            mysql::Error::TimedOut { .. } => Self::TimedOut,
            mysql::Error::Server { code, .. } => Self::of_code(*code),
            mysql::Error::Connection { .. }
            | mysql::Error::Protocol { .. }
            | mysql::Error::Abandoned => Self::Connection,
            mysql::Error::Tls(_)
            | mysql::Error::TlsHandshake { .. }
            | mysql::Error::KeyNotAllowed { .. }
            | mysql::Error::PublicKey { .. } => Self::Tls,
            mysql::Error::LoginMethod { .. } => Self::Login,
            mysql::Error::Unexpected { .. } | mysql::Error::Places { .. } => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_the_documented_numbers_have_families() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for code in [1290, 1836, 1205, 1040, 1142, 3024, 2013, 1015, 3032, 1053, 1213, 1146] {
            assert_ne!(Reason::of_code(code), Reason::Other, "{code}");
        }
    }
}
