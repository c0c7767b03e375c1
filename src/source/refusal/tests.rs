use super::Refusal;

/// Texts as servers print them, and what is decided for each. Variable parts are made up.
const TEXTS: &[(&str, Refusal)] = &[
    // MySQL, while it looks for the start.
    ("Could not find first log file name in binary log index file", Refusal::FileUnknown),
    (
        "Could not find first log file name in binary log index file while looking for the oldest \
         binary log that contains any GTID that is not in the given gtid set",
        Refusal::FileUnknown,
    ),
    ("Client requested master to start replication from position < 4", Refusal::OffsetImpossible),
    ("Client requested source to start replication from position < 4", Refusal::OffsetImpossible),
    (
        "Client requested source to start replication from position > file size",
        Refusal::OffsetImpossible,
    ),
    (
        "Client requested master to start replication from position > file size; the first event \
         'binlog.000002' at 1073741824",
        Refusal::OffsetImpossible,
    ),
    (
        "Cannot replicate because the source purged required binary logs. Replicate the missing \
         transactions from elsewhere, or provision a new replica from backup. Consider increasing \
         the source's binary log expiration period. The GTID set sent by the replica is '', and the \
         missing transactions are '00bbe985-e52d-11f1-91a9-02fc00000001:1-5'",
        Refusal::Purged,
    ),
    (
        "Cannot replicate because the master purged required binary logs. Replicate the missing \
         transactions from elsewhere, or provision a new slave from backup. Consider increasing the \
         master's binary log expiration period.",
        Refusal::Purged,
    ),
    (
        "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master \
         has purged binary logs containing GTIDs that the slave requires.",
        Refusal::Purged,
    ),
    (
        "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may \
         indicate that the the last binary log file was truncated or lost, e.g., after a power \
         failure when sync_binlog != 1.",
        Refusal::ReplicaAhead,
    ),
    (
        "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This may \
         indicate that the end of the binary log was truncated or that the last binary log file \
         was lost",
        Refusal::ReplicaAhead,
    ),
    (
        "Found old binary log without GTIDs while looking for the oldest binary log that contains \
         any GTID that is not in the given gtid set",
        Refusal::AnonymousTransaction,
    ),
    (
        "Failed to read the binary log index file while looking for the oldest binary log that \
         contains any GTID that is not in the given gtid set",
        Refusal::BinlogUnreadable,
    ),
    (
        "Error reading header of binary log while looking for the oldest binary log that contains \
         any GTID that is not in the given gtid set",
        Refusal::BinlogUnreadable,
    ),
    // MySQL, while it streams.
    (
        "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./binlog.000004, \
         position 197.; the first event 'binlog.000002' at 711, the last event read from \
         './binlog.000004' at 197, the last byte read from './binlog.000004' at 276.",
        Refusal::AnonymousTransaction,
    ),
    (
        "Cannot replicate anonymous transaction when @@GLOBAL.GTID_MODE = ON, at file \
         ./binlog.000004, position 197.",
        Refusal::AnonymousTransaction,
    ),
    (
        "Cannot replicate GTID-transaction when @@GLOBAL.GTID_MODE = OFF, at file \
         ./binlog.000004, position 197.",
        Refusal::GtidTransaction,
    ),
    (
        "The replication sender thread cannot start in AUTO_POSITION mode: this server has \
         GTID_MODE = OFF_PERMISSIVE instead of ON.",
        Refusal::GtidModeOff,
    ),
    ("could not find next log", Refusal::FileUnknown),
    ("Could not open log file", Refusal::BinlogUnreadable),
    (
        "binlog truncated in the middle of event; consider out of disk space on source; the first \
         event 'binlog.000001' at 4",
        Refusal::BinlogTruncated,
    ),
    (
        "binlog truncated in the middle of event; consider out of disk space",
        Refusal::BinlogTruncated,
    ),
    (
        "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source; the \
         first event 'a' at 4",
        Refusal::EventTooLarge,
    ),
    (
        "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master",
        Refusal::EventTooLarge,
    ),
    ("bogus data in log event; the first event 'a' at 4", Refusal::BinlogCorrupt),
    ("corrupted data in log event", Refusal::BinlogCorrupt),
    ("event read from binlog did not pass crc check", Refusal::BinlogCorrupt),
    ("Found invalid event in binary log", Refusal::BinlogCorrupt),
    ("Found invalid Format description event in binary log", Refusal::BinlogCorrupt),
    ("Could not find format_description_event in binlog file", Refusal::BinlogCorrupt),
    (
        "Binlog has bad magic number;  It's not a binary log file that can be used by this version \
         of MySQL",
        Refusal::BinlogCorrupt,
    ),
    ("I/O error reading log event", Refusal::BinlogUnreadable),
    ("I/O error reading the header from the binary log", Refusal::BinlogUnreadable),
    ("unknown error reading log event on the master", Refusal::BinlogUnreadable),
    ("failed to decrypt the file password", Refusal::BinlogUnreadable),
    ("Unable to determine encryption header version", Refusal::BinlogUnreadable),
    ("Unsupported encryption header version", Refusal::BinlogUnreadable),
    ("memory allocation failed reading log event", Refusal::SenderFailed),
    (
        "A replica with the same server_uuid/server_id as this replica has connected to the \
         source; the first event '' at 4",
        Refusal::Fenced,
    ),
    (
        "A slave with the same server_uuid/server_id as this slave has connected to the master",
        Refusal::Fenced,
    ),
    // MySQL, settings.
    ("Binary log is not open", Refusal::BinlogOff),
    (
        "Binary log is not open and failed to open index file to retrieve next file.",
        Refusal::BinlogOff,
    ),
    ("Misconfigured source - source server_id is 0", Refusal::ServerIdUnset),
    ("Misconfigured master - master server_id is 0", Refusal::ServerIdUnset),
    ("Misconfigured master - server_id was not set", Refusal::ServerIdUnset),
    (
        "Replica can not handle replication events with the checksum that source is configured to \
         log",
        Refusal::ChecksumNotAgreed,
    ),
    (
        "Slave can not handle replication events with the checksum that master is configured to \
         log",
        Refusal::ChecksumNotAgreed,
    ),
    // MariaDB.
    (
        "Client requested master to start replication from impossible position",
        Refusal::OffsetImpossible,
    ),
    (
        "Slave requested incorrect position in master binlog. Requested position 77 in file \
         'binlog.000003', but this position does not correspond to the location of any binlog \
         event.",
        Refusal::OffsetImpossible,
    ),
    (
        "Error: connecting slave requested to start from GTID 0-1-100, which is not in the \
         master's binlog",
        Refusal::ReplicaAhead,
    ),
    (
        "Error: connecting slave requested to start from GTID 0-1-100, which is not in the \
         master's binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it \
         probably means that the slave has diverged due to executing extra erroneous transactions",
        Refusal::ReplicaAhead,
    ),
    ("Requested slave GTID state not found in binlog", Refusal::ReplicaAhead),
    (
        "Requested slave GTID state not found in binlog. The slave has probably diverged due to \
         executing erroneous transactions",
        Refusal::ReplicaAhead,
    ),
    (
        "Could not find GTID state requested by slave in any binlog files. Probably the slave \
         state is too old and required binlog files have been purged.",
        Refusal::Purged,
    ),
    (
        "The binlog on the master is missing the GTID 0-1-7 requested by the slave (even though \
         both a prior and a subsequent sequence number does exist), and GTID strict mode is enabled",
        Refusal::Purged,
    ),
    (
        "Failed to load replication slave GTID state from table mysql.gtid_slave_pos",
        Refusal::SenderFailed,
    ),
    (
        "Failed to determine binlog file name while looking for GTID position in binlog",
        Refusal::BinlogUnreadable,
    ),
    (
        "Could not read format description log event while looking for GTID position in binlog",
        Refusal::BinlogCorrupt,
    ),
    (
        "Did not find format description log event while searching for old-style position in \
         binlog",
        Refusal::BinlogCorrupt,
    ),
    (
        "Duplicate format description log event found while searching for old-style position in \
         binlog",
        Refusal::BinlogCorrupt,
    ),
    (
        "Could not read GTID list event while looking for GTID position in binlog",
        Refusal::BinlogUnreadable,
    ),
    (
        "Error reading Gtid_list_log_event while searching for old-style position in binlog",
        Refusal::BinlogUnreadable,
    ),
    (
        "Could not read binlog while searching for slave start position on master",
        Refusal::BinlogUnreadable,
    ),
    ("Could not set up decryption for binlog.", Refusal::BinlogUnreadable),
    ("Could not start decryption of binlog.", Refusal::BinlogUnreadable),
    ("Could not initialize decryption of binlog.", Refusal::BinlogUnreadable),
    ("Could not decrypt binlog: encryption key error", Refusal::BinlogUnreadable),
    ("Unable to set up decryption of binlog.", Refusal::BinlogUnreadable),
    ("Event decryption failure", Refusal::BinlogUnreadable),
    (
        "Corrupt gtid_log_event found while scanning binlog to find initial slave position",
        Refusal::BinlogCorrupt,
    ),
    (
        "Found duplicate Gtid_list_log_event while scanning binlog to find slave start position",
        Refusal::BinlogCorrupt,
    ),
    ("Failed to read Gtid_log_event: corrupt binlog", Refusal::BinlogCorrupt),
    (
        "Failed to replace GTID event with backwards-compatible event: corrupt event.",
        Refusal::BinlogCorrupt,
    ),
    ("Failed to read Gtid_list_log_event: corrupt binlog", Refusal::BinlogCorrupt),
    ("Failed to find format descriptor event in start of binlog", Refusal::BinlogCorrupt),
    (
        "Failed to replace binlog checkpoint or gtid list event with dummy: too small event.",
        Refusal::BinlogCorrupt,
    ),
    ("Failed to replace row annotate event with dummy: too small event.", Refusal::BinlogCorrupt),
    ("Binlog version not supported", Refusal::BinlogCorrupt),
    (
        "Out of memory or malformed slave request when obtaining start position from GTID state",
        Refusal::SenderFailed,
    ),
    ("Out of memory while looking for GTID position in binlog", Refusal::SenderFailed),
    (
        "Internal error (out of memory?) initializing slave state while scanning binlog to find \
         start position",
        Refusal::SenderFailed,
    ),
    (
        "Internal error (out of memory?) updating slave state while scanning binlog to find start \
         position",
        Refusal::SenderFailed,
    ),
    ("Failed in internal GTID book-keeping: Out of memory", Refusal::SenderFailed),
    ("Failed initializing replication GTID state", Refusal::SenderFailed),
    (
        "Could not start dump thread for slave: 7 as it has already a running dump thread",
        Refusal::SenderFailed,
    ),
    // Both, the network and plugins.
    ("Failed on my_net_write()", Refusal::SenderFailed),
    ("failed on flush_net()", Refusal::SenderFailed),
    ("Found net error", Refusal::SenderFailed),
    ("Failed to run hook 'transmit_start'", Refusal::SenderFailed),
    ("Failed to run hook 'reserve_header'", Refusal::SenderFailed),
    ("Failed to run hook 'after_send_event'", Refusal::SenderFailed),
    ("run 'before_send_event' hook failed", Refusal::SenderFailed),
];

#[test]
fn every_text_of_a_failed_dump_has_its_decision() {
    for (text, refusal) in TEXTS {
        assert_eq!(Refusal::of(1236, text), *refusal, "{text}");
        assert_eq!(Refusal::of(1105, text), *refusal, "{text}");
    }
    assert_eq!(Refusal::of(1236, "something new"), Refusal::DumpFailed);
    assert_eq!(Refusal::of(1105, "something new"), Refusal::Other);
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
        assert_eq!(Refusal::of(4052, text), Refusal::Fenced);
    }
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

#[test]
fn each_number_has_its_meaning_and_no_other_has_one() {
    let known = [
        (1373, Refusal::FileUnknown),
        (1045, Refusal::AccessDenied),
        (1698, Refusal::AccessDenied),
        (1227, Refusal::PrivilegeMissing),
        (1142, Refusal::PrivilegeMissing),
        (1044, Refusal::PrivilegeMissing),
        (1370, Refusal::PrivilegeMissing),
        (3118, Refusal::AccountLocked),
        (4151, Refusal::AccountLocked),
        (1862, Refusal::PasswordExpired),
        (1820, Refusal::PasswordExpired),
        (3159, Refusal::TlsDemanded),
        (1251, Refusal::LoginMethod),
        (1524, Refusal::LoginMethod),
        (1130, Refusal::HostNotAllowed),
        (1129, Refusal::HostBlocked),
        (1040, Refusal::TooManyConnections),
        (1203, Refusal::TooManyConnections),
        (1226, Refusal::TooManyConnections),
        (3032, Refusal::Offline),
        (1053, Refusal::ShuttingDown),
        (1317, Refusal::Killed),
        (1927, Refusal::Killed),
        (3169, Refusal::Killed),
        (4031, Refusal::Killed),
        (1236, Refusal::DumpFailed),
    ];
    for code in 0..=u16::MAX {
        let meant = known.iter().find(|(known, _)| *known == code);
        let expected = meant.map_or(Refusal::Other, |(_, refusal)| *refusal);
        assert_eq!(Refusal::of(code, "of words that nobody knows"), expected, "{code}");
    }
}
