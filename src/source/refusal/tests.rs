use super::ServerErrorKind;

/// Texts as servers print them, and what is decided for each. Variable parts are made up.
const TEXTS: &[(&str, ServerErrorKind)] = &[
    // MySQL, while it looks for the start.
    ("Could not find first log file name in binary log index file", ServerErrorKind::FileUnknown),
    (
        "Could not find first log file name in binary log index file while looking for the oldest \
         binary log that contains any GTID that is not in the given gtid set",
        ServerErrorKind::FileUnknown,
    ),
    (
        "Client requested master to start replication from position < 4",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Client requested source to start replication from position < 4",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Client requested source to start replication from position > file size",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Client requested master to start replication from position > file size; the first event \
         'binlog.000002' at 1073741824",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Cannot replicate because the source purged required binary logs. Replicate the missing \
         transactions from elsewhere, or provision a new replica from backup. Consider increasing \
         the source's binary log expiration period. The GTID set sent by the replica is '', and the \
         missing transactions are '00bbe985-e52d-11f1-91a9-02fc00000001:1-5'",
        ServerErrorKind::Purged,
    ),
    (
        "Cannot replicate because the master purged required binary logs. Replicate the missing \
         transactions from elsewhere, or provision a new slave from backup. Consider increasing the \
         master's binary log expiration period.",
        ServerErrorKind::Purged,
    ),
    (
        "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master \
         has purged binary logs containing GTIDs that the slave requires.",
        ServerErrorKind::Purged,
    ),
    (
        "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may \
         indicate that the the last binary log file was truncated or lost, e.g., after a power \
         failure when sync_binlog != 1.",
        ServerErrorKind::ReplicaAhead,
    ),
    (
        "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This may \
         indicate that the end of the binary log was truncated or that the last binary log file \
         was lost",
        ServerErrorKind::ReplicaAhead,
    ),
    (
        "Found old binary log without GTIDs while looking for the oldest binary log that contains \
         any GTID that is not in the given gtid set",
        ServerErrorKind::AnonymousTransaction,
    ),
    (
        "Failed to read the binary log index file while looking for the oldest binary log that \
         contains any GTID that is not in the given gtid set",
        ServerErrorKind::BinlogUnreadable,
    ),
    (
        "Error reading header of binary log while looking for the oldest binary log that contains \
         any GTID that is not in the given gtid set",
        ServerErrorKind::BinlogUnreadable,
    ),
    // MySQL, while it streams.
    (
        "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./binlog.000004, \
         position 197.; the first event 'binlog.000002' at 711, the last event read from \
         './binlog.000004' at 197, the last byte read from './binlog.000004' at 276.",
        ServerErrorKind::AnonymousTransaction,
    ),
    (
        "Cannot replicate anonymous transaction when @@GLOBAL.GTID_MODE = ON, at file \
         ./binlog.000004, position 197.",
        ServerErrorKind::AnonymousTransaction,
    ),
    (
        "Cannot replicate GTID-transaction when @@GLOBAL.GTID_MODE = OFF, at file \
         ./binlog.000004, position 197.",
        ServerErrorKind::GtidTransaction,
    ),
    (
        "The replication sender thread cannot start in AUTO_POSITION mode: this server has \
         GTID_MODE = OFF_PERMISSIVE instead of ON.",
        ServerErrorKind::GtidModeOff,
    ),
    ("could not find next log", ServerErrorKind::FileUnknown),
    ("Could not open log file", ServerErrorKind::BinlogUnreadable),
    (
        "binlog truncated in the middle of event; consider out of disk space on source; the first \
         event 'binlog.000001' at 4",
        ServerErrorKind::BinlogTruncated,
    ),
    (
        "binlog truncated in the middle of event; consider out of disk space",
        ServerErrorKind::BinlogTruncated,
    ),
    (
        "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source; the \
         first event 'a' at 4",
        ServerErrorKind::EventTooLarge,
    ),
    (
        "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master",
        ServerErrorKind::EventTooLarge,
    ),
    ("bogus data in log event; the first event 'a' at 4", ServerErrorKind::BinlogCorrupt),
    ("corrupted data in log event", ServerErrorKind::BinlogCorrupt),
    ("event read from binlog did not pass crc check", ServerErrorKind::BinlogCorrupt),
    ("Found invalid event in binary log", ServerErrorKind::BinlogCorrupt),
    ("Found invalid Format description event in binary log", ServerErrorKind::BinlogCorrupt),
    ("Could not find format_description_event in binlog file", ServerErrorKind::BinlogCorrupt),
    (
        "Binlog has bad magic number;  It's not a binary log file that can be used by this version \
         of MySQL",
        ServerErrorKind::BinlogCorrupt,
    ),
    ("I/O error reading log event", ServerErrorKind::BinlogUnreadable),
    ("I/O error reading the header from the binary log", ServerErrorKind::BinlogUnreadable),
    ("unknown error reading log event on the master", ServerErrorKind::BinlogUnreadable),
    ("failed to decrypt the file password", ServerErrorKind::BinlogUnreadable),
    ("Unable to determine encryption header version", ServerErrorKind::BinlogUnreadable),
    ("Unsupported encryption header version", ServerErrorKind::BinlogUnreadable),
    ("memory allocation failed reading log event", ServerErrorKind::SenderFailed),
    (
        "A replica with the same server_uuid/server_id as this replica has connected to the \
         source; the first event '' at 4",
        ServerErrorKind::Fenced,
    ),
    (
        "A slave with the same server_uuid/server_id as this slave has connected to the master",
        ServerErrorKind::Fenced,
    ),
    // MySQL, settings.
    ("Binary log is not open", ServerErrorKind::BinlogOff),
    (
        "Binary log is not open and failed to open index file to retrieve next file.",
        ServerErrorKind::BinlogOff,
    ),
    ("Misconfigured source - source server_id is 0", ServerErrorKind::ServerIdUnset),
    ("Misconfigured master - master server_id is 0", ServerErrorKind::ServerIdUnset),
    ("Misconfigured master - server_id was not set", ServerErrorKind::ServerIdUnset),
    (
        "Replica can not handle replication events with the checksum that source is configured to \
         log",
        ServerErrorKind::ChecksumNotAgreed,
    ),
    (
        "Slave can not handle replication events with the checksum that master is configured to \
         log",
        ServerErrorKind::ChecksumNotAgreed,
    ),
    // MariaDB.
    (
        "Client requested master to start replication from impossible position",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Slave requested incorrect position in master binlog. Requested position 77 in file \
         'binlog.000003', but this position does not correspond to the location of any binlog \
         event.",
        ServerErrorKind::OffsetImpossible,
    ),
    (
        "Error: connecting slave requested to start from GTID 0-1-100, which is not in the \
         master's binlog",
        ServerErrorKind::ReplicaAhead,
    ),
    (
        "Error: connecting slave requested to start from GTID 0-1-100, which is not in the \
         master's binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it \
         probably means that the slave has diverged due to executing extra erroneous transactions",
        ServerErrorKind::ReplicaAhead,
    ),
    ("Requested slave GTID state not found in binlog", ServerErrorKind::ReplicaAhead),
    (
        "Requested slave GTID state not found in binlog. The slave has probably diverged due to \
         executing erroneous transactions",
        ServerErrorKind::ReplicaAhead,
    ),
    (
        "Could not find GTID state requested by slave in any binlog files. Probably the slave \
         state is too old and required binlog files have been purged.",
        ServerErrorKind::Purged,
    ),
    (
        "The binlog on the master is missing the GTID 0-1-7 requested by the slave (even though \
         both a prior and a subsequent sequence number does exist), and GTID strict mode is enabled",
        ServerErrorKind::Purged,
    ),
    (
        "Failed to load replication slave GTID state from table mysql.gtid_slave_pos",
        ServerErrorKind::SenderFailed,
    ),
    (
        "Failed to determine binlog file name while looking for GTID position in binlog",
        ServerErrorKind::BinlogUnreadable,
    ),
    (
        "Could not read format description log event while looking for GTID position in binlog",
        ServerErrorKind::BinlogCorrupt,
    ),
    (
        "Did not find format description log event while searching for old-style position in \
         binlog",
        ServerErrorKind::BinlogCorrupt,
    ),
    (
        "Duplicate format description log event found while searching for old-style position in \
         binlog",
        ServerErrorKind::BinlogCorrupt,
    ),
    (
        "Could not read GTID list event while looking for GTID position in binlog",
        ServerErrorKind::BinlogUnreadable,
    ),
    (
        "Error reading Gtid_list_log_event while searching for old-style position in binlog",
        ServerErrorKind::BinlogUnreadable,
    ),
    (
        "Could not read binlog while searching for slave start position on master",
        ServerErrorKind::BinlogUnreadable,
    ),
    ("Could not set up decryption for binlog.", ServerErrorKind::BinlogUnreadable),
    ("Could not start decryption of binlog.", ServerErrorKind::BinlogUnreadable),
    ("Could not initialize decryption of binlog.", ServerErrorKind::BinlogUnreadable),
    ("Could not decrypt binlog: encryption key error", ServerErrorKind::BinlogUnreadable),
    ("Unable to set up decryption of binlog.", ServerErrorKind::BinlogUnreadable),
    ("Event decryption failure", ServerErrorKind::BinlogUnreadable),
    (
        "Corrupt gtid_log_event found while scanning binlog to find initial slave position",
        ServerErrorKind::BinlogCorrupt,
    ),
    (
        "Found duplicate Gtid_list_log_event while scanning binlog to find slave start position",
        ServerErrorKind::BinlogCorrupt,
    ),
    ("Failed to read Gtid_log_event: corrupt binlog", ServerErrorKind::BinlogCorrupt),
    (
        "Failed to replace GTID event with backwards-compatible event: corrupt event.",
        ServerErrorKind::BinlogCorrupt,
    ),
    ("Failed to read Gtid_list_log_event: corrupt binlog", ServerErrorKind::BinlogCorrupt),
    ("Failed to find format descriptor event in start of binlog", ServerErrorKind::BinlogCorrupt),
    (
        "Failed to replace binlog checkpoint or gtid list event with dummy: too small event.",
        ServerErrorKind::BinlogCorrupt,
    ),
    (
        "Failed to replace row annotate event with dummy: too small event.",
        ServerErrorKind::BinlogCorrupt,
    ),
    ("Binlog version not supported", ServerErrorKind::BinlogCorrupt),
    (
        "Out of memory or malformed slave request when obtaining start position from GTID state",
        ServerErrorKind::SenderFailed,
    ),
    ("Out of memory while looking for GTID position in binlog", ServerErrorKind::SenderFailed),
    (
        "Internal error (out of memory?) initializing slave state while scanning binlog to find \
         start position",
        ServerErrorKind::SenderFailed,
    ),
    (
        "Internal error (out of memory?) updating slave state while scanning binlog to find start \
         position",
        ServerErrorKind::SenderFailed,
    ),
    ("Failed in internal GTID book-keeping: Out of memory", ServerErrorKind::SenderFailed),
    ("Failed initializing replication GTID state", ServerErrorKind::SenderFailed),
    (
        "Could not start dump thread for slave: 7 as it has already a running dump thread",
        ServerErrorKind::SenderFailed,
    ),
    // Both, the network and plugins.
    ("Failed on my_net_write()", ServerErrorKind::SenderFailed),
    ("failed on flush_net()", ServerErrorKind::SenderFailed),
    ("Found net error", ServerErrorKind::SenderFailed),
    ("Failed to run hook 'transmit_start'", ServerErrorKind::SenderFailed),
    ("Failed to run hook 'reserve_header'", ServerErrorKind::SenderFailed),
    ("Failed to run hook 'after_send_event'", ServerErrorKind::SenderFailed),
    ("run 'before_send_event' hook failed", ServerErrorKind::SenderFailed),
];

#[test]
fn every_text_of_a_failed_dump_has_its_decision() {
    for (text, refusal) in TEXTS {
        assert_eq!(ServerErrorKind::of(1236, text), *refusal, "{text}");
        assert_eq!(ServerErrorKind::of(1105, text), *refusal, "{text}");
    }
    assert_eq!(ServerErrorKind::of(1236, "something new"), ServerErrorKind::DumpFailed);
    assert_eq!(ServerErrorKind::of(1105, "something new"), ServerErrorKind::Other);
}

#[test]
fn no_words_are_looked_for_in_vain() {
    for (words, refusal) in super::texts::DUMP_TEXTS {
        let says = |text: &str| words.iter().all(|word| text.to_ascii_lowercase().contains(word));
        let found = TEXTS.iter().any(|(text, decided)| says(text) && decided == refusal);
        assert!(found, "{words:?}");
    }
}

#[test]
fn mariadb_tells_by_another_number_that_a_second_process_runs() {
    for text in [
        "A slave with the same server_uuid/server_id is already connected; the first event '.' at \
         4, the last event read from 'binlog.000025' at 36435182",
        "A slave with the same server_id is already connected",
    ] {
        assert_eq!(ServerErrorKind::of(4052, text), ServerErrorKind::Fenced);
    }
    assert_eq!(ServerErrorKind::of(4052, "something else of that number"), ServerErrorKind::Other);
}

#[test]
fn other_errors_are_told_apart_by_their_numbers_alone() {
    for (code, refusal) in [
        (1045, ServerErrorKind::AccessDenied),
        (1227, ServerErrorKind::PrivilegeMissing),
        (3118, ServerErrorKind::AccountLocked),
        (1862, ServerErrorKind::PasswordExpired),
        (1040, ServerErrorKind::TooManyConnections),
        (3032, ServerErrorKind::Offline),
        (1053, ServerErrorKind::ShuttingDown),
        (1130, ServerErrorKind::HostNotAllowed),
        (1064, ServerErrorKind::Other),
    ] {
        assert_eq!(ServerErrorKind::of(code, "purged"), refusal, "{code}");
    }
}

#[test]
fn each_number_has_its_meaning_and_no_other_has_one() {
    let known = [
        (1373, ServerErrorKind::FileUnknown),
        (1045, ServerErrorKind::AccessDenied),
        (1698, ServerErrorKind::AccessDenied),
        (1227, ServerErrorKind::PrivilegeMissing),
        (1142, ServerErrorKind::PrivilegeMissing),
        (1044, ServerErrorKind::PrivilegeMissing),
        (1370, ServerErrorKind::PrivilegeMissing),
        (3118, ServerErrorKind::AccountLocked),
        (4151, ServerErrorKind::AccountLocked),
        (1862, ServerErrorKind::PasswordExpired),
        (1820, ServerErrorKind::PasswordExpired),
        (3159, ServerErrorKind::TlsDemanded),
        (1251, ServerErrorKind::LoginMethod),
        (1524, ServerErrorKind::LoginMethod),
        (1130, ServerErrorKind::HostNotAllowed),
        (1129, ServerErrorKind::HostBlocked),
        (1040, ServerErrorKind::TooManyConnections),
        (1203, ServerErrorKind::TooManyConnections),
        (1226, ServerErrorKind::TooManyConnections),
        (3032, ServerErrorKind::Offline),
        (1053, ServerErrorKind::ShuttingDown),
        (1317, ServerErrorKind::Killed),
        (1927, ServerErrorKind::Killed),
        (3169, ServerErrorKind::Killed),
        (4031, ServerErrorKind::Killed),
        (1236, ServerErrorKind::DumpFailed),
    ];
    for code in 0..=u16::MAX {
        let meant = known.iter().find(|(known, _)| *known == code);
        let expected = meant.map_or(ServerErrorKind::Other, |(_, refusal)| *refusal);
        assert_eq!(ServerErrorKind::of(code, "of words that nobody knows"), expected, "{code}");
    }
}
