//! Events that no fixture has, made by hand.

use super::*;

pub(super) fn event(event_type: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    event_at(event_type, flags, 0, body)
}

fn event_at(event_type: u8, flags: u16, end: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(Header::LENGTH + body.len()).expect("short");
    let mut event = 1_700_000_000_u32.to_le_bytes().to_vec();
    event.push(event_type);
    event.extend(1_u32.to_le_bytes());
    event.extend(length.to_le_bytes());
    event.extend(end.to_le_bytes());
    event.extend(flags.to_le_bytes());
    event.extend(body);
    event
}

/// A format description of a server without checksums.
pub(super) fn format() -> Vec<u8> {
    let mut body = 4_u16.to_le_bytes().to_vec();
    let mut version = b"5.5.60-log".to_vec();
    version.resize(50, 0);
    body.extend(version);
    body.extend([0; 4]);
    body.push(19);
    let mut lengths = [0; 27];
    lengths[1] = 13;
    body.extend(lengths);
    event(kind::FORMAT_DESCRIPTION, 0, &body)
}

pub(super) fn query(statement: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body[8] = 1;
    body.extend(b"d\0");
    body.extend(statement.as_bytes());
    event(kind::QUERY, 0, &body)
}

/// A transaction of rows and nothing else, by its GTID event.
pub(super) fn begin(decoder: &mut Decoder) {
    for event in [event(kind::ANONYMOUS_GTID, 0, &[0; 25]), query("BEGIN")] {
        steps(decoder, &event).expect("a start");
    }
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Config::default());
    decoder.start_at(Position::new("log.000001", 4));
    steps(&mut decoder, &format()).expect("a format description");
    decoder
}

/// Names of the steps.
fn steps(decoder: &mut Decoder, event: &[u8]) -> Result<Vec<String>, Error> {
    let mut steps = decoder.feed(event)?;
    let mut names = Vec::new();
    while let Some(step) = steps.next()? {
        names.push(match step {
            Step::Begin(_) => "begin".into(),
            Step::Rows(_) => "rows".into(),
            Step::Schema(statement) => format!("schema {}", statement.text()),
            Step::Changed(statement) => format!("changed {}", statement.text()),
            Step::Commit(_) => "commit".into(),
            Step::Idle { position, resume } => format!("idle {position} {resume}"),
            Step::Rotate { position, .. } => format!("rotate {position}"),
            Step::Passed { event_type, .. } => format!("passed {event_type}"),
        });
    }
    Ok(names)
}

fn fault(decoder: &mut Decoder, event: &[u8]) -> Fault {
    steps(decoder, event).expect_err("refused").fault
}

#[test]
fn an_event_that_is_not_known_stops_unless_it_is_marked_as_ignorable() {
    let mut decoder = decoder();
    assert_eq!(steps(&mut decoder, &event(99, 0x80, b"x")).expect("ignored"), ["passed 99"]);
    assert!(matches!(fault(&mut decoder, &event(99, 0, b"x")), Fault::UnknownEvent(99)));
}

#[test]
fn events_that_say_that_something_is_missing_are_refused() {
    let of = |event_type, body: &[u8]| fault(&mut decoder(), &event(event_type, 0, body));
    assert!(matches!(of(kind::INCIDENT, &[1, 0, 0]), Fault::Incident { code: 1 }));
    assert!(matches!(
        fault(&mut decoder(), &event_at(kind::START_ENCRYPTION, 0, 140, &[1])),
        Fault::Encrypted { scheme: 1 }
    ));
    assert!(matches!(of(kind::NEW_LOAD, &[0; 8]), Fault::LoadData));
    assert!(matches!(of(kind::WRITE_ROWS_V0, &[0; 8]), Fault::UnknownEvent(20)));
}

#[test]
fn nothing_but_what_a_dump_makes_up_comes_before_a_format_description() {
    let mut decoder = Decoder::new(Config::default());
    let rotate = [&200_u64.to_le_bytes()[..], b"log.000007"].concat();
    let rotate = event(kind::ROTATE, 0x20, &rotate);
    assert_eq!(steps(&mut decoder, &rotate).expect("a place"), ["rotate log.000007:200"]);
    let length = u32::try_from(rotate.len() + 4).expect("short");
    let summed = [&rotate[..9], &length.to_le_bytes(), &rotate[13..]].concat();
    let summed = [&summed[..], &crc32fast::hash(&summed).to_le_bytes()].concat();
    assert_eq!(steps(&mut decoder, &summed).expect("the same"), ["passed 4"]);
    assert!(matches!(fault(&mut decoder, &query("BEGIN")), Fault::NoFormat));
}

#[test]
fn headers_of_another_length_are_refused() {
    let mut decoder = Decoder::new(Config::default());
    decoder.start_at(Position::new("log.000001", 4));
    let mut long = format();
    long[Header::LENGTH + 56] = 20;
    let found = fault(&mut decoder, &long);
    assert!(found.to_string().contains("length of event headers"), "{found}");
}

#[test]
fn checksums_are_verified_unless_somebody_else_does() {
    use crate::binlog::tests::{description, event};
    for (verify_checksum, is_noticed) in [(None, true), (Some(true), true), (Some(false), false)] {
        let config = Config::default();
        let verify_checksum = verify_checksum.unwrap_or(config.verify_checksum);
        let mut decoder = Decoder::new(Config { verify_checksum, ..config });
        decoder.start_at(Position::new("log.000001", 4));
        steps(&mut decoder, &description("8.0.31", 1, 0)).expect("a format description");
        let mut damaged = event(kind::IGNORABLE, b"note", 0, true);
        damaged[20] ^= 1;
        let found = steps(&mut decoder, &damaged);
        assert_eq!(found.is_err(), is_noticed, "{found:?}");
    }
}

#[test]
fn a_transaction_whose_length_is_not_told_is_one() {
    let mut decoder = decoder();
    // Flags, source, number, clock, and the commit time, as MySQL 8.0.1 wrote it.
    let mut body = vec![1; 1 + 16 + 8];
    body.push(2);
    body.extend([0; 16]);
    body.extend([1, 0, 0, 0, 0, 0, 0]);
    steps(&mut decoder, &event(kind::ANONYMOUS_GTID, 0, &body)).expect("a start");
    assert_eq!(steps(&mut decoder, &query("BEGIN")).expect("a start"), ["begin"]);
}

#[test]
fn statements_outside_transactions_commit_themselves() {
    let mut decoder = decoder();
    let found = steps(&mut decoder, &query("CREATE TABLE t (a INT)")).expect("DDL");
    assert_eq!(found, ["begin", "schema CREATE TABLE t (a INT)", "commit"]);
    begin(&mut decoder);
    assert_eq!(steps(&mut decoder, &query("DROP TABLE t")).expect("DDL"), ["schema DROP TABLE t"]);
    assert!(decoder.in_transaction());
    assert!(decoder.finish().is_err());
    assert_eq!(steps(&mut decoder, &event(kind::XID, 0, &[0; 8])).expect("an end"), ["commit"]);
    assert!(decoder.finish().is_ok());
    assert!(matches!(fault(&mut decoder, &event(kind::XID, 0, &[0; 8])), Fault::Order { .. }));
}

#[test]
fn a_file_that_ends_inside_a_transaction_is_refused() {
    let mut decoder = decoder();
    steps(&mut decoder, &query("BEGIN")).expect("a start");
    let rotate = [&4_u64.to_le_bytes()[..], b"log.000002"].concat();
    assert!(matches!(fault(&mut decoder, &event(kind::ROTATE, 0, &rotate)), Fault::Order { .. }));
}

#[test]
fn heartbeats_tell_where_the_server_reads() {
    let mut decoder = decoder();
    decoder.place.set(Position::new("log.000001", 0x1_0000_0100));
    let first = event_at(kind::HEARTBEAT, 0, 0x200, b"log.000001");
    let place = "log.000001:4294967808";
    assert_eq!(steps(&mut decoder, &first).expect("alive"), [format!("idle {place} {place}")]);
    let mut body = vec![1, 10];
    body.extend(b"log.000002");
    body.extend([2, 9, 254, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    let second = event(kind::HEARTBEAT_V2, 0, &body);
    let place = "log.000002:8589934592";
    assert_eq!(steps(&mut decoder, &second).expect("alive"), [format!("idle {place} {place}")]);
}

#[test]
fn inside_a_transaction_the_place_to_resume_is_its_start() {
    let mut decoder = decoder();
    decoder.place.set(Position::new("log.000001", 1000));
    let begin = query("BEGIN");
    let end = 1000 + u32::try_from(begin.len()).expect("short");
    let begin = [&begin[..13], &end.to_le_bytes(), &begin[17..]].concat();
    steps(&mut decoder, &begin).expect("a start");
    assert_eq!(decoder.position().offset, u64::from(end));
    assert_eq!(decoder.resume().offset, 1000);
}

#[test]
fn steps_that_were_not_taken_are_an_error() {
    let mut decoder = decoder();
    assert!(decoder.feed(&query("BEGIN")).is_ok());
    assert!(matches!(fault(&mut decoder, &query("COMMIT")), Fault::Misuse));
}

#[test]
fn rows_of_a_table_that_is_not_mapped_in_their_statement_are_refused() {
    let mut decoder = decoder();
    begin(&mut decoder);
    let rows = [&[5, 0, 0, 0, 0, 0, 1, 0][..], &[1, 1, 0, 7]].concat();
    let rows = event(kind::WRITE_ROWS_V1, 0, &rows);
    assert!(matches!(fault(&mut decoder, &rows), Fault::NotMapped { table_id: 5 }));
}

pub(super) fn table_map(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("short");
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, length];
    body.extend(name.as_bytes());
    // One column, TINY, no metadata, nullable.
    body.extend([0, 1, 1, 0, 1]);
    event(kind::TABLE_MAP, 0, &body)
}

pub(super) fn insert(values: &[u8], flags: u8) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, flags, 0, 1, 1];
    body.extend(values.iter().flat_map(|value| [0, *value]));
    event(kind::WRITE_ROWS_V1, 0, &body)
}

/// A compressed payload that holds these events.
fn payload(events: &[u8]) -> Vec<u8> {
    let zipped = zstd::encode_all(events, 3).expect("zstd");
    let size = u8::try_from(zipped.len()).expect("short");
    let mut body = vec![1, 3, 252, size, 0, 2, 1, 0, 3, 3, 252];
    body.extend(u16::try_from(events.len()).expect("short").to_le_bytes());
    body.push(0);
    body.extend(zipped);
    event(kind::TRANSACTION_PAYLOAD, 0, &body)
}

#[test]
fn a_payload_holds_a_transaction_and_no_other_payload() {
    let announced = || {
        let mut decoder = decoder();
        steps(&mut decoder, &event(kind::ANONYMOUS_GTID, 0, &[0; 25])).expect("a start");
        decoder
    };
    let inside = [query("BEGIN"), event(kind::XID, 0, &[0; 8])].concat();
    let found = steps(&mut announced(), &payload(&inside)).expect("a transaction");
    assert_eq!(found, ["begin", "commit"]);
    let nested = fault(&mut announced(), &payload(&[query("BEGIN"), payload(&inside)].concat()));
    assert!(nested.to_string().contains("a compressed payload inside another"), "{nested}");
    // One that can't be read begins the transaction that was announced, so that it can be told of.
    let mut decoder = announced();
    let damaged = event(kind::TRANSACTION_PAYLOAD, 0, &[9; 9]);
    let mut steps = decoder.feed(&damaged).expect("it may be passed over");
    assert!(matches!(steps.next(), Ok(Some(Step::Begin(_)))));
    let error = steps.next().expect_err("it can't be read");
    assert!(steps.pass_over(&error).is_some());
    assert!(matches!(steps.next(), Ok(Some(Step::Commit(_)))));
    assert!(matches!(steps.next(), Ok(None)));
}

#[test]
fn a_table_id_that_comes_to_mean_another_table_is_noticed() {
    let mut decoder = decoder();
    begin(&mut decoder);
    let mut names = Vec::new();
    for name in ["one", "two", "two", "one"] {
        assert!(steps(&mut decoder, &table_map(name)).expect("a map").is_empty());
        let insert = insert(&[7], 1);
        let mut steps = decoder.feed(&insert).expect("rows");
        let Some(Step::Rows(rows)) = steps.next().expect("rows") else { panic!("no rows") };
        names.push(rows.table().name.to_string());
        assert!(steps.next().expect("the end").is_none());
    }
    assert_eq!(names, ["one", "two", "two", "one"]);
}

#[test]
fn rows_are_counted_over_their_whole_transaction() {
    let mut decoder = decoder();
    for _ in 0..2 {
        begin(&mut decoder);
        let mut numbers = Vec::new();
        for values in [&[1, 2][..], &[3]] {
            steps(&mut decoder, &table_map("t")).expect("a map");
            let insert = insert(values, 1);
            let mut steps = decoder.feed(&insert).expect("rows");
            while let Some(step) = steps.next().expect("a step") {
                if let Step::Rows(mut rows) = step {
                    while let Some(change) = rows.next().expect("a row") {
                        numbers.push(change.row);
                    }
                }
            }
        }
        assert_eq!(numbers, [0, 1, 2]);
        steps(&mut decoder, &query("COMMIT")).expect("an end");
    }
}

#[test]
fn rows_come_out_at_the_commit_where_no_gtid_event_says_that_it_will_come() {
    for (end, expected) in [("COMMIT", &["rows", "commit"][..]), ("ROLLBACK", &["commit"])] {
        let mut decoder = decoder();
        assert_eq!(steps(&mut decoder, &query("BEGIN")).expect("a start"), ["begin"]);
        assert!(steps(&mut decoder, &table_map("t")).expect("a map").is_empty());
        assert!(steps(&mut decoder, &insert(&[1], 1)).expect("rows").is_empty());
        assert_eq!(steps(&mut decoder, &query(end)).expect("an end"), expected);
    }
}

#[test]
fn a_rollback_behind_rows_is_refused_where_the_gtid_event_excludes_it() {
    for rollback in ["ROLLBACK", "ROLLBACK TO `s`"] {
        let mut decoder = decoder();
        begin(&mut decoder);
        steps(&mut decoder, &query("SAVEPOINT `s`")).expect("a savepoint");
        steps(&mut decoder, &table_map("t")).expect("a map");
        steps(&mut decoder, &insert(&[1], 1)).expect("rows");
        assert!(matches!(fault(&mut decoder, &query(rollback)), Fault::Order { .. }));
    }
    let mut decoder = decoder();
    begin(&mut decoder);
    assert_eq!(steps(&mut decoder, &query("ROLLBACK")).expect("an end"), ["commit"]);
}

#[test]
fn space_of_held_events_is_used_again_and_given_back_where_it_is_much() {
    let mut decoder = decoder();
    for rows in [1, 100_000, 1] {
        steps(&mut decoder, &query("BEGIN")).expect("a start");
        for _ in 0..rows {
            steps(&mut decoder, &insert(&[1], 0)).expect("held");
        }
        steps(&mut decoder, &query("ROLLBACK")).expect("an end");
        assert!((1..=1 << 20).contains(&decoder.spare.spool.space()));
    }
}

#[test]
fn a_row_without_any_column_in_the_log_is_one_row() {
    let mut decoder = decoder();
    begin(&mut decoder);
    steps(&mut decoder, &table_map("t")).expect("a map");
    let bare = event(kind::WRITE_ROWS_V1, 0, &[5, 0, 0, 0, 0, 0, 1, 0, 1, 0]);
    let mut steps = decoder.feed(&bare).expect("rows");
    let Some(Step::Rows(mut rows)) = steps.next().expect("rows") else { panic!("no rows") };
    assert!(rows.next().expect("a row").is_some());
    assert!(rows.next().expect("the end").is_none());
}

#[test]
fn a_decoder_can_be_moved_to_another_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let mut decoder = decoder();
    assert_send(&decoder);
    let event = query("BEGIN");
    assert_send(&decoder.feed(&event).expect("a start"));
}

/// A GTID event of MariaDB's.
fn maria_gtid(flags: u8, rest: &[u8]) -> Vec<u8> {
    let front = [&7_u64.to_le_bytes()[..], &3_u32.to_le_bytes(), &[flags]].concat();
    event(kind::MARIA_GTID, 0, &[&front, rest].concat())
}

#[test]
fn the_flags_of_mariadbs_gtids_tell_how_a_transaction_begins() {
    let xid = [1, 0, 0, 0, 1, 0, b'a'];
    let commit_id = [0; 8];
    // Standalone, with a commit id, prepared, completed: whether it opens, whether it starts XA
    for (flags, rest, opens, starts_xa) in [
        (0, vec![0; 6], true, false),
        (1, vec![0; 6], false, false),
        (2, commit_id.to_vec(), true, false),
        (64, xid.to_vec(), false, true),
        (66, [&commit_id[..], &xid].concat(), false, true),
        (128, xid.to_vec(), false, false),
    ] {
        let mut decoder = decoder();
        let found = steps(&mut decoder, &maria_gtid(flags, &rest)).expect("a start");
        assert_eq!(found == ["begin"], opens, "{flags}: {found:?}");
        assert_eq!(decoder.current.phase == Phase::Holding, starts_xa, "{flags}");
        assert_eq!(decoder.current.phase == Phase::Announced, !opens && !starts_xa, "{flags}");
    }
}

#[test]
fn prepared_transactions_are_counted_until_they_are_decided() {
    let mut decoder = decoder();
    let start = |xid: &str| query(&format!("XA START {xid}"));
    for (count, xid) in (1..).zip(["X'61',X'',1", "X'62',X'',1"]) {
        steps(&mut decoder, &start(xid)).expect("a start");
        steps(&mut decoder, &query(&format!("XA END {xid}"))).expect("an end");
        steps(&mut decoder, &query(&format!("XA PREPARE {xid}"))).expect("it is prepared");
        assert_eq!(decoder.prepared_xa(), count);
        assert!(!decoder.in_transaction() && decoder.open_xa().is_some());
    }
    let found = steps(&mut decoder, &query("XA ROLLBACK X'61',X'',1")).expect("decided");
    assert_eq!((found, decoder.prepared_xa()), (vec!["begin".into(), "commit".into()], 1));
    let found = steps(&mut decoder, &query("XA COMMIT X'62',X'',1")).expect("decided");
    assert_eq!((found, decoder.prepared_xa()), (vec!["begin".into(), "commit".into()], 0));
    assert!(decoder.open_xa().is_none());
    let unseen = fault(&mut decoder, &query("XA COMMIT X'63',X'',1"));
    assert!(matches!(unseen, Fault::Xa(XaFault::Unseen { .. })), "{unseen}");
}

#[test]
fn an_unseen_rollback_undoes_nothing_and_an_unseen_commit_may_be_let_pass() {
    let config = Config { xa_unseen: Unseen::Halt, ..Config::default() };
    let mut decoder = Decoder::new(config);
    decoder.start_at(Position::new("log.000001", 4));
    steps(&mut decoder, &format()).expect("a format description");
    let found = steps(&mut decoder, &query("XA ROLLBACK X'61',X'',1")).expect("let pass");
    assert_eq!(found, ["begin", "commit"]);
}

#[test]
fn a_dump_may_tell_of_an_encryption_that_it_undid() {
    let mut decoder = decoder();
    let told = event(kind::START_ENCRYPTION, 0x20, &[1; 17]);
    assert_eq!(steps(&mut decoder, &told).expect("told"), ["passed 164"]);
}

#[test]
fn a_table_map_ends_with_its_statement_and_with_its_transaction() {
    for flags in [1, 0] {
        let mut decoder = decoder();
        begin(&mut decoder);
        steps(&mut decoder, &table_map("t")).expect("a map");
        assert_eq!(steps(&mut decoder, &insert(&[1], flags)).expect("rows"), ["rows"]);
        if flags == 0 {
            assert_eq!(steps(&mut decoder, &insert(&[1], 0)).expect("rows"), ["rows"]);
            steps(&mut decoder, &event(kind::XID, 0, &[0; 8])).expect("a commit");
            begin(&mut decoder);
        }
        let found = fault(&mut decoder, &insert(&[1], 1));
        assert!(matches!(found, Fault::NotMapped { .. }), "{flags}: {found}");
    }
}

#[test]
fn a_format_description_is_refused_inside_a_transaction_and_none_is_kept_over_a_start() {
    let mut open = decoder();
    begin(&mut open);
    assert!(matches!(fault(&mut open, &format()), Fault::Order { .. }));
    let mut decoder = decoder();
    decoder.start_at(Position::new("log.000002", 4));
    assert!(matches!(fault(&mut decoder, &query("BEGIN")), Fault::NoFormat));
}
