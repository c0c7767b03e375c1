//! What servers say when a binlog dump fails, and what each text means.
//!
//! Taken from the sources of MySQL 5.6 to 9.7 (`rpl_master.cc`, `rpl_binlog_sender.cc`, `binlog.cc`,
//! `binlog_reader.cc`, the messages of `share/`) and MariaDB 10.6 to 11.8 (`sql_repl.cc`,
//! `errmsg-utf8.txt`). MySQL sends them as error 1236, or as 1105 where it blames the connection or a
//! plugin; MariaDB as 1236 with few exceptions.

use super::ServerErrorKind;

/// What both servers say to a stream that another one throws out; versions continue differently.
pub(super) const SAME_ID: &str = "with the same server_";

/// Words of a text, lower case, all of which must occur; first match wins.
pub(super) const DUMP_TEXTS: &[(&[&str], ServerErrorKind)] = &[
    (&[SAME_ID], ServerErrorKind::Fenced),
    // A server that has not noticed yet that our last connection is gone.
    (&["already a running dump thread"], ServerErrorKind::SenderFailed),
    // Logs in which transactions with and without GTIDs stand.
    (&["cannot replicate anonymous transaction"], ServerErrorKind::AnonymousTransaction),
    (&["cannot replicate gtid-transaction"], ServerErrorKind::GtidTransaction),
    (&["old binary log without gtids"], ServerErrorKind::AnonymousTransaction),
    (&["gtid_mode", "instead of on"], ServerErrorKind::GtidModeOff),
    // Before `purged`: texts about divergence of MySQL 8.4 and MariaDB mention the binlogs.
    (&["more gtids than the"], ServerErrorKind::ReplicaAhead),
    (&["diverged"], ServerErrorKind::ReplicaAhead),
    (
        &["requested to start from gtid", "not in the master's binlog"],
        ServerErrorKind::ReplicaAhead,
    ),
    (&["requested slave gtid state not found in binlog"], ServerErrorKind::ReplicaAhead),
    (&["purged"], ServerErrorKind::Purged),
    (&["the binlog on the master is missing the gtid"], ServerErrorKind::Purged),
    (&["failed to load replication slave gtid state"], ServerErrorKind::SenderFailed),
    // Files and offsets.
    (&["could not find first log file"], ServerErrorKind::FileUnknown),
    (&["could not find next log"], ServerErrorKind::FileUnknown),
    (&["position < 4"], ServerErrorKind::OffsetImpossible),
    (&["position > file size"], ServerErrorKind::OffsetImpossible),
    (&["impossible position"], ServerErrorKind::OffsetImpossible),
    (&["requested incorrect position"], ServerErrorKind::OffsetImpossible),
    // The file's contents.
    (&["truncated in the middle of event"], ServerErrorKind::BinlogTruncated),
    (&["exceeded max_allowed_packet"], ServerErrorKind::EventTooLarge),
    (&["bogus data in log event"], ServerErrorKind::BinlogCorrupt),
    (&["corrupted data in log event"], ServerErrorKind::BinlogCorrupt),
    (&["found invalid", "event in binary log"], ServerErrorKind::BinlogCorrupt),
    (&["did not pass crc"], ServerErrorKind::BinlogCorrupt),
    (&["bad magic number"], ServerErrorKind::BinlogCorrupt),
    (&["find format_description_event"], ServerErrorKind::BinlogCorrupt),
    (&["find format descriptor event"], ServerErrorKind::BinlogCorrupt),
    (&["format description log event"], ServerErrorKind::BinlogCorrupt),
    (&["corrupt binlog"], ServerErrorKind::BinlogCorrupt),
    (&["corrupt gtid_log_event"], ServerErrorKind::BinlogCorrupt),
    (&["corrupt event"], ServerErrorKind::BinlogCorrupt),
    (&["duplicate gtid_list_log_event"], ServerErrorKind::BinlogCorrupt),
    (&["too small event"], ServerErrorKind::BinlogCorrupt),
    (&["binlog version not supported"], ServerErrorKind::BinlogCorrupt),
    // What keeps the server from its file: a disk, a key, a permission.
    (&["error reading log event"], ServerErrorKind::BinlogUnreadable),
    (&["could not open log file"], ServerErrorKind::BinlogUnreadable),
    (&["error reading the header"], ServerErrorKind::BinlogUnreadable),
    (&["error reading header of binary log"], ServerErrorKind::BinlogUnreadable),
    (&["failed to read the binary log index"], ServerErrorKind::BinlogUnreadable),
    (&["failed to determine binlog file name"], ServerErrorKind::BinlogUnreadable),
    (&["could not read binlog"], ServerErrorKind::BinlogUnreadable),
    (&["could not read gtid list"], ServerErrorKind::BinlogUnreadable),
    (&["error reading gtid_list_log_event"], ServerErrorKind::BinlogUnreadable),
    (&["decrypt"], ServerErrorKind::BinlogUnreadable),
    (&["encryption"], ServerErrorKind::BinlogUnreadable),
    (&["file password"], ServerErrorKind::BinlogUnreadable),
    // The server's settings.
    (&["binary log is not open"], ServerErrorKind::BinlogOff),
    (&["server_id was not set"], ServerErrorKind::ServerIdUnset),
    (&["server_id is 0"], ServerErrorKind::ServerIdUnset),
    (&["checksum that", "is configured to log"], ServerErrorKind::ChecksumNotAgreed),
    // What passes: memory, the network, a plugin.
    (&["memory"], ServerErrorKind::SenderFailed),
    (&["on my_net_write"], ServerErrorKind::SenderFailed),
    (&["on flush_net"], ServerErrorKind::SenderFailed),
    (&["found net error"], ServerErrorKind::SenderFailed),
    (&["run hook"], ServerErrorKind::SenderFailed),
    (&["hook failed"], ServerErrorKind::SenderFailed),
    (&["gtid book-keeping"], ServerErrorKind::SenderFailed),
    (&["initializing replication gtid state"], ServerErrorKind::SenderFailed),
];
