//! What a server's refusal means: its numbers, and for error 1236 its words. Pure.
//!
//! Numbers are those of the MySQL manual's "Server Error Message Reference" and MariaDB's "Error
//! Codes". Error 1236 stands for every failure of a binlog dump; only its text tells them apart,
//! and the text differs between versions and between MySQL and MariaDB ([`texts`]).

mod texts;

use std::fmt;

use texts::{DUMP_TEXTS, SAME_ID};

/// Why a server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerErrorKind {
    /// The binlog files with what we still need were purged.
    Purged,
    /// The binlog file of our position does not exist there.
    FileUnknown,
    /// No event starts at our offset in that file.
    OffsetImpossible,
    /// We have transactions that the server has not: it was restored from an older backup, lost
    /// its tail in a crash, or is another server.
    ReplicaAhead,
    /// Another connection with our replica UUID (or server id) came and threw this one out.
    Fenced,
    /// The server's binlog file ends in the middle of an event.
    BinlogTruncated,
    /// The server's binlog file holds bytes that are no event.
    BinlogCorrupt,
    /// An event is larger than the server may send.
    EventTooLarge,
    /// The server's disk, keys or permissions keep it from its binlog.
    BinlogUnreadable,
    /// The server is not in GTID mode, but we asked by GTID.
    GtidModeOff,
    /// A transaction without a GTID comes next, which a server with `gtid_mode = ON` does not send.
    AnonymousTransaction,
    /// A transaction with a GTID comes next, which a server with `gtid_mode = OFF` does not send.
    GtidTransaction,
    /// The server writes no binlog.
    BinlogOff,
    /// The server has no `server_id`.
    ServerIdUnset,
    /// The server logs checksums, and does not know that we asked for them.
    ChecksumNotAgreed,
    /// The server's side of the stream failed: memory, network, or a plugin of it.
    SenderFailed,
    /// Error 1236 with a text that is not known.
    DumpFailed,
    /// Wrong user, password or host (1045, 1698).
    AccessDenied,
    /// The account lacks a privilege (1227, 1142, 1044).
    PrivilegeMissing,
    /// The account is locked (3118, 4151).
    AccountLocked,
    /// The password has expired (1862, 1820).
    PasswordExpired,
    /// The account may only log in over TLS (3159).
    TlsDemanded,
    /// The server knows no login method in common with us (1251, 1524).
    LoginMethod,
    /// Our address may not connect at all (1130).
    HostNotAllowed,
    /// Our address is blocked after too many failed connects (1129).
    HostBlocked,
    /// No connection is free (1040, 1203, 1226).
    TooManyConnections,
    /// The server is in offline mode (3032).
    Offline,
    /// The server is shutting down (1053).
    ShuttingDown,
    /// Somebody killed our connection or statement (1317, 1927, 3169, 4031).
    Killed,
    /// Anything else: the number and the server's words say more.
    Other,
}

impl ServerErrorKind {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 30] = [
        Self::Purged,
        Self::FileUnknown,
        Self::OffsetImpossible,
        Self::ReplicaAhead,
        Self::Fenced,
        Self::BinlogTruncated,
        Self::BinlogCorrupt,
        Self::EventTooLarge,
        Self::BinlogUnreadable,
        Self::GtidModeOff,
        Self::AnonymousTransaction,
        Self::GtidTransaction,
        Self::BinlogOff,
        Self::ServerIdUnset,
        Self::ChecksumNotAgreed,
        Self::SenderFailed,
        Self::DumpFailed,
        Self::AccessDenied,
        Self::PrivilegeMissing,
        Self::AccountLocked,
        Self::PasswordExpired,
        Self::TlsDemanded,
        Self::LoginMethod,
        Self::HostNotAllowed,
        Self::HostBlocked,
        Self::TooManyConnections,
        Self::Offline,
        Self::ShuttingDown,
        Self::Killed,
        Self::Other,
    ];

    /// Classifies an ERR packet.
    pub fn of(code: u16, message: &str) -> Self {
        match code {
            1236 => Self::of_dump(message).unwrap_or(Self::DumpFailed),
            // MySQL's unknown error: a dump's failure among others.
            1105 => Self::of_dump(message).unwrap_or(Self::Other),
            1373 => Self::FileUnknown,
            1045 | 1698 => Self::AccessDenied,
            1227 | 1142 | 1044 | 1370 => Self::PrivilegeMissing,
            3118 | 4151 => Self::AccountLocked,
            1862 | 1820 => Self::PasswordExpired,
            3159 => Self::TlsDemanded,
            1251 | 1524 => Self::LoginMethod,
            1130 => Self::HostNotAllowed,
            1129 => Self::HostBlocked,
            1040 | 1203 | 1226 => Self::TooManyConnections,
            3032 => Self::Offline,
            1053 => Self::ShuttingDown,
            1317 | 1927 | 3169 | 4031 => Self::Killed,
            // MariaDB tells a stream with an error of its own that another has its server id.
            4052 if message.contains(SAME_ID) => Self::Fenced,
            _ => Self::Other,
        }
    }

    fn of_dump(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        DUMP_TEXTS
            .iter()
            .find(|(words, _)| words.iter().all(|word| message.contains(word)))
            .map(|(_, refusal)| *refusal)
    }

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purged => "purged",
            Self::FileUnknown => "binlog_file_unknown",
            Self::OffsetImpossible => "binlog_offset_impossible",
            Self::ReplicaAhead => "diverged",
            Self::Fenced => "fenced",
            Self::BinlogTruncated => "binlog_truncated",
            Self::BinlogCorrupt => "binlog_corrupt",
            Self::EventTooLarge => "event_too_large",
            Self::BinlogUnreadable => "binlog_unreadable",
            Self::GtidModeOff => "gtid_mode_off",
            Self::AnonymousTransaction => "anonymous_transaction",
            Self::GtidTransaction => "gtid_transaction",
            Self::BinlogOff => "binlog_off",
            Self::ServerIdUnset => "server_id_unset",
            Self::ChecksumNotAgreed => "checksum_not_agreed",
            Self::SenderFailed => "sender_failed",
            Self::DumpFailed => "dump_failed",
            Self::AccessDenied => "access_denied",
            Self::PrivilegeMissing => "privilege_missing",
            Self::AccountLocked => "account_locked",
            Self::PasswordExpired => "password_expired",
            Self::TlsDemanded => "tls_demanded",
            Self::LoginMethod => "login_method",
            Self::HostNotAllowed => "host_not_allowed",
            Self::HostBlocked => "host_blocked",
            Self::TooManyConnections => "too_many_connections",
            Self::Offline => "offline",
            Self::ShuttingDown => "shutting_down",
            Self::Killed => "killed",
            Self::Other => "refused",
        }
    }

    /// What the operator can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Purged | Self::FileUnknown => {
                "changes were lost for this stream: take a new snapshot of the tables, then start \
                 with a new epoch from `now` or `earliest`, and keep binlogs longer \
                 (binlog_expire_logs_seconds)"
            }
            Self::OffsetImpossible => {
                "the stored position does not belong to this server's files: find out which server \
                 it came from; else start with a new epoch"
            }
            Self::ReplicaAhead => {
                "the server lost transactions that were already published (restored backup, crash \
                 without sync_binlog=1, or a wrong server): point to the right server, or start \
                 with a new epoch"
            }
            Self::Fenced => {
                "another process reads with the same replica UUID: stop one of the two, or give \
                 each stream its own name"
            }
            Self::BinlogTruncated => {
                "a binlog file on the server ends early, often after a full disk: FLUSH BINARY \
                 LOGS there, and check with mysqlbinlog; rows in the cut event may be lost"
            }
            Self::BinlogCorrupt => {
                "check the file on the server with mysqlbinlog --verify-binlog-checksum; fail over \
                 to a server with a good copy"
            }
            Self::EventTooLarge => "SET GLOBAL max_allowed_packet = 1073741824 on the source",
            Self::BinlogUnreadable => {
                "see the server's error log: its disk, the keyring of an encrypted binlog, or the \
                 permissions of the file"
            }
            Self::GtidModeOff => {
                "leave gtid_mode unchanged until the stream is connected again: it continues by \
                 file and offset"
            }
            Self::AnonymousTransaction => {
                "SET GLOBAL gtid_mode = ON_PERMISSIVE on the source and restart: binpulse \
                 continues by file and offset; once it has caught up, SET GLOBAL gtid_mode = ON. \
                 From another server than the checkpoint's this does not help: start with a new \
                 epoch there"
            }
            Self::GtidTransaction => {
                "SET GLOBAL gtid_mode = OFF_PERMISSIVE on the source and restart; once binpulse has \
                 caught up, SET GLOBAL gtid_mode = OFF"
            }
            Self::ChecksumNotAgreed => {
                "connect to the server itself: a proxy between loses session variables"
            }
            Self::SenderFailed => "none if it is transient; otherwise see the server's error log",
            Self::BinlogOff => "start the server with --log-bin",
            Self::ServerIdUnset => "SET PERSIST server_id = 1 (any number but 0)",
            Self::DumpFailed | Self::Other => "see the server's message and its error log",
            Self::AccessDenied => "check user, password, and the host part of the account",
            Self::PrivilegeMissing => {
                "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* to the account; `binpulse \
                 check` prints the statements"
            }
            Self::AccountLocked => "ALTER USER ... ACCOUNT UNLOCK",
            Self::PasswordExpired => "ALTER USER ... IDENTIFIED BY a new password",
            Self::TlsDemanded => "the account requires TLS: set the TLS mode to required or above",
            Self::LoginMethod => {
                "check the user name: MySQL asks for a method at random where there is no such \
                 account; else ALTER USER ... IDENTIFIED WITH caching_sha2_password BY ... (MariaDB, \
                 MySQL 5.7 and older: mysql_native_password)"
            }
            Self::HostNotAllowed => "create the account for binpulse's address",
            Self::HostBlocked => {
                "TRUNCATE TABLE performance_schema.host_cache, then look for what keeps failing to \
                 connect"
            }
            Self::TooManyConnections => "raise max_connections, or find out what uses them",
            Self::Offline => "SET GLOBAL offline_mode = OFF once maintenance is over",
            Self::ShuttingDown => "wait for the server to come back",
            Self::Killed => "none: binpulse reconnects by itself",
        }
    }
}

impl fmt::Display for ServerErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
