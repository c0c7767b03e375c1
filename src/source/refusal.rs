//! What a server's refusal means: its numbers, and for error 1236 its words. Pure.
//!
//! Numbers are those of the MySQL manual's "Server Error Message Reference" and MariaDB's "Error
//! Codes". Error 1236 stands for every failure of a binlog dump; only its text tells them apart,
//! and the text differs between versions and between MySQL and MariaDB.

use std::fmt;

/// Why a server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
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
    /// The server is not in GTID mode, but we asked by GTID.
    GtidModeOff,
    /// The server writes no binlog.
    BinlogOff,
    /// The server has no `server_id`.
    ServerIdUnset,
    /// Another reason under error 1236.
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

impl Refusal {
    /// Classifies an ERR packet.
    pub fn of(code: u16, message: &str) -> Self {
        match code {
            1236 => Self::of_dump(message),
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

    fn of_dump(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        DUMP_TEXTS
            .iter()
            .find(|(words, _)| words.iter().all(|word| message.contains(word)))
            .map_or(Self::DumpFailed, |(_, refusal)| *refusal)
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
            Self::GtidModeOff => "gtid_mode_off",
            Self::BinlogOff => "binlog_off",
            Self::ServerIdUnset => "server_id_unset",
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
                 without sync_binlog=1, or a wrong server): point to the right server, or reset \
                 the stream with a new epoch"
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
            Self::GtidModeOff => {
                "SET GLOBAL gtid_mode = ON (stepwise, see the manual), or start from a file \
                 position"
            }
            Self::BinlogOff => "start the server with --log-bin",
            Self::ServerIdUnset => "SET PERSIST server_id = 1 (any number but 0)",
            Self::DumpFailed | Self::Other => "see the server's words and its error log",
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
            Self::HostNotAllowed => "create the account for the address that we connect from",
            Self::HostBlocked => {
                "TRUNCATE TABLE performance_schema.host_cache, then look for what keeps failing to \
                 connect"
            }
            Self::TooManyConnections => "raise max_connections, or find who holds them",
            Self::Offline => "SET GLOBAL offline_mode = OFF once maintenance is over",
            Self::ShuttingDown => "wait for the server to come back",
            Self::Killed => "nothing: the connection is dialled again",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What both servers say to a stream that another one throws out.
const SAME_ID: &str = "same server_uuid/server_id";

/// Words of error 1236, lower case, all of which must occur; first match wins.
const DUMP_TEXTS: &[(&[&str], Refusal)] = &[
    (&[SAME_ID], Refusal::Fenced),
    // Before `purged`: both MySQL 8.4's and MariaDB's texts about divergence mention the binlogs.
    (&["more gtids than the"], Refusal::ReplicaAhead),
    (&["diverged"], Refusal::ReplicaAhead),
    (&["requested to start from gtid", "not in the master's binlog"], Refusal::ReplicaAhead),
    (&["purged"], Refusal::Purged),
    (&["the binlog on the master is missing the gtid"], Refusal::Purged),
    (&["could not find first log file"], Refusal::FileUnknown),
    (&["could not find target log"], Refusal::FileUnknown),
    (&["could not open log file"], Refusal::FileUnknown),
    (&["could not find next log"], Refusal::FileUnknown),
    (&["position > file size"], Refusal::OffsetImpossible),
    (&["impossible position"], Refusal::OffsetImpossible),
    (&["truncated in the middle of event"], Refusal::BinlogTruncated),
    (&["exceeded max_allowed_packet"], Refusal::EventTooLarge),
    (&["exceeds max_allowed_packet"], Refusal::EventTooLarge),
    (&["event is too big"], Refusal::EventTooLarge),
    (&["bogus data in log event"], Refusal::BinlogCorrupt),
    (&["did not pass crc"], Refusal::BinlogCorrupt),
    (&["did not pass checksum"], Refusal::BinlogCorrupt),
    (&["error reading log event"], Refusal::BinlogCorrupt),
    (&["unknown error reading log event"], Refusal::BinlogCorrupt),
    (&["gtid_mode = off"], Refusal::GtidModeOff),
    (&["gtid_mode", "instead of on"], Refusal::GtidModeOff),
    (&["binary log is not open"], Refusal::BinlogOff),
    (&["server id was not set"], Refusal::ServerIdUnset),
    (&["server_id was not set"], Refusal::ServerIdUnset),
];

#[cfg(test)]
mod tests {
    use super::Refusal;

    /// Texts as servers of several versions print them, their variable parts shortened.
    const TEXTS: &[(&str, Refusal)] = &[
        ("Could not find first log file name in binary log index file", Refusal::FileUnknown),
        (
            "Cannot replicate because the source purged required binary logs. Replicate the \
             missing transactions from elsewhere, or provision a new replica from backup.",
            Refusal::Purged,
        ),
        (
            "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the \
             master has purged binary logs containing GTIDs that the slave requires.",
            Refusal::Purged,
        ),
        (
            "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may \
             indicate that the end of the binary log was truncated or that the last binary log \
             file was lost",
            Refusal::ReplicaAhead,
        ),
        (
            "Slave has more GTIDs than the master has, using the master's SERVER_UUID.",
            Refusal::ReplicaAhead,
        ),
        (
            "binlog truncated in the middle of event; consider out of disk space on source; the \
             first event 'binlog.000001' at 4",
            Refusal::BinlogTruncated,
        ),
        (
            "A replica with the same server_uuid/server_id as this replica has connected to the \
             source; the first event '' at 4",
            Refusal::Fenced,
        ),
        (
            "A slave with the same server_uuid/server_id as this slave has connected to the master",
            Refusal::Fenced,
        ),
        (
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source; \
             the first event 'a' at 4",
            Refusal::EventTooLarge,
        ),
        (
            "Client requested source to start replication from position > file size",
            Refusal::OffsetImpossible,
        ),
        (
            "Client requested master to start replication from impossible position",
            Refusal::OffsetImpossible,
        ),
        ("bogus data in log event; the first event 'a' at 4", Refusal::BinlogCorrupt),
        (
            "The replication sender thread cannot start in AUTO_POSITION mode: this server has \
             GTID_MODE = OFF instead of ON.",
            Refusal::GtidModeOff,
        ),
        ("Binary log is not open", Refusal::BinlogOff),
        (
            "Error: connecting slave requested to start from GTID 0-1-100, which is not in the \
             master's binlog",
            Refusal::ReplicaAhead,
        ),
        (
            "Could not find GTID state requested by slave in any binlog files. Probably the slave \
             state is too old and required binlog files have been purged.",
            Refusal::Purged,
        ),
        ("something new", Refusal::DumpFailed),
    ];

    #[test]
    fn the_causes_of_error_1236_are_told_apart_by_their_words() {
        for (text, refusal) in TEXTS {
            assert_eq!(Refusal::of(1236, text), *refusal, "{text}");
        }
    }

    #[test]
    fn mariadb_tells_by_another_number_that_a_second_process_runs() {
        let text = "A slave with the same server_uuid/server_id is already connected; the first \
                    event '.' at 4, the last event read from 'binlog.000025' at 36435182";
        assert_eq!(Refusal::of(4052, text), Refusal::Fenced);
        assert_eq!(Refusal::of(4052, "something else of that number"), Refusal::Other);
    }

    #[test]
    fn other_errors_are_told_apart_by_their_numbers_alone() {
        for (code, refusal) in [
            (1045, Refusal::AccessDenied),
            (1227, Refusal::PrivilegeMissing),
            (3118, Refusal::AccountLocked),
            (1862, Refusal::PasswordExpired),
            (1040, Refusal::TooManyConnections),
            (3032, Refusal::Offline),
            (1053, Refusal::ShuttingDown),
            (1130, Refusal::HostNotAllowed),
            (1064, Refusal::Other),
        ] {
            assert_eq!(Refusal::of(code, "purged"), refusal, "{code}");
        }
    }
}
