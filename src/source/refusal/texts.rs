//! What servers say when a binlog dump fails, and what each text means.
//!
//! Taken from the sources of MySQL 5.6 to 9.7 (`rpl_master.cc`, `rpl_binlog_sender.cc`, `binlog.cc`,
//! `binlog_reader.cc`, the messages of `share/`) and MariaDB 10.6 to 11.8 (`sql_repl.cc`,
//! `errmsg-utf8.txt`). MySQL sends them as error 1236, or as 1105 where it blames the connection or a
//! plugin; MariaDB as 1236 with few exceptions.

use super::Refusal;

/// What both servers say to a stream that another one throws out; versions continue differently.
pub(super) const SAME_ID: &str = "with the same server_";

/// Words of a text, lower case, all of which must occur; first match wins.
pub(super) const DUMP_TEXTS: &[(&[&str], Refusal)] = &[
    (&[SAME_ID], Refusal::Fenced),
    // A server that has not noticed yet that our last connection is gone.
    (&["already a running dump thread"], Refusal::SenderFailed),
    // Logs in which transactions with and without GTIDs stand.
    (&["cannot replicate anonymous transaction"], Refusal::AnonymousTransaction),
    (&["cannot replicate gtid-transaction"], Refusal::GtidTransaction),
    (&["old binary log without gtids"], Refusal::AnonymousTransaction),
    (&["gtid_mode", "instead of on"], Refusal::GtidModeOff),
    // Before `purged`: texts about divergence of MySQL 8.4 and MariaDB mention the binlogs.
    (&["more gtids than the"], Refusal::ReplicaAhead),
    (&["diverged"], Refusal::ReplicaAhead),
    (&["requested to start from gtid", "not in the master's binlog"], Refusal::ReplicaAhead),
    (&["requested slave gtid state not found in binlog"], Refusal::ReplicaAhead),
    (&["purged"], Refusal::Purged),
    (&["the binlog on the master is missing the gtid"], Refusal::Purged),
    (&["failed to load replication slave gtid state"], Refusal::SenderFailed),
    // Files and offsets.
    (&["could not find first log file"], Refusal::FileUnknown),
    (&["could not find next log"], Refusal::FileUnknown),
    (&["position < 4"], Refusal::OffsetImpossible),
    (&["position > file size"], Refusal::OffsetImpossible),
    (&["impossible position"], Refusal::OffsetImpossible),
    (&["requested incorrect position"], Refusal::OffsetImpossible),
    // The file's contents.
    (&["truncated in the middle of event"], Refusal::BinlogTruncated),
    (&["exceeded max_allowed_packet"], Refusal::EventTooLarge),
    (&["bogus data in log event"], Refusal::BinlogCorrupt),
    (&["corrupted data in log event"], Refusal::BinlogCorrupt),
    (&["found invalid", "event in binary log"], Refusal::BinlogCorrupt),
    (&["did not pass crc"], Refusal::BinlogCorrupt),
    (&["bad magic number"], Refusal::BinlogCorrupt),
    (&["find format_description_event"], Refusal::BinlogCorrupt),
    (&["find format descriptor event"], Refusal::BinlogCorrupt),
    (&["format description log event"], Refusal::BinlogCorrupt),
    (&["corrupt binlog"], Refusal::BinlogCorrupt),
    (&["corrupt gtid_log_event"], Refusal::BinlogCorrupt),
    (&["corrupt event"], Refusal::BinlogCorrupt),
    (&["duplicate gtid_list_log_event"], Refusal::BinlogCorrupt),
    (&["too small event"], Refusal::BinlogCorrupt),
    (&["binlog version not supported"], Refusal::BinlogCorrupt),
    // What keeps the server from its file: a disk, a key, a permission.
    (&["error reading log event"], Refusal::BinlogUnreadable),
    (&["could not open log file"], Refusal::BinlogUnreadable),
    (&["error reading the header"], Refusal::BinlogUnreadable),
    (&["error reading header of binary log"], Refusal::BinlogUnreadable),
    (&["failed to read the binary log index"], Refusal::BinlogUnreadable),
    (&["failed to determine binlog file name"], Refusal::BinlogUnreadable),
    (&["could not read binlog"], Refusal::BinlogUnreadable),
    (&["could not read gtid list"], Refusal::BinlogUnreadable),
    (&["error reading gtid_list_log_event"], Refusal::BinlogUnreadable),
    (&["decrypt"], Refusal::BinlogUnreadable),
    (&["encryption"], Refusal::BinlogUnreadable),
    (&["file password"], Refusal::BinlogUnreadable),
    // The server's settings.
    (&["binary log is not open"], Refusal::BinlogOff),
    (&["server_id was not set"], Refusal::ServerIdUnset),
    (&["server_id is 0"], Refusal::ServerIdUnset),
    (&["checksum that", "is configured to log"], Refusal::ChecksumNotAgreed),
    // What passes: memory, the network, a plugin.
    (&["memory"], Refusal::SenderFailed),
    (&["on my_net_write"], Refusal::SenderFailed),
    (&["on flush_net"], Refusal::SenderFailed),
    (&["found net error"], Refusal::SenderFailed),
    (&["run hook"], Refusal::SenderFailed),
    (&["hook failed"], Refusal::SenderFailed),
    (&["gtid book-keeping"], Refusal::SenderFailed),
    (&["initializing replication gtid state"], Refusal::SenderFailed),
];
