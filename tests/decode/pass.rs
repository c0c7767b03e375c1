//! Events that can't be decoded, inside transactions that stand: the rest comes out as ever.

use binpulse::change::Position;
use binpulse::decode::{Config, Decoder, Error, Unseen, kind};
use proptest::prelude::*;

use crate::fixture::{self, Fixture};

const HEADER_BYTES: usize = 19;
const TYPE_AT: usize = 4;

/// Logs with every kind of event inside a transaction.
fn fixtures() -> Vec<Fixture> {
    [
        ("rows", "mysql-9.7"),
        ("rows", "mysql-5.6"),
        ("rows", "mariadb-11.8"),
        ("payload", "mysql-9.7"),
        ("compressed_events", "mariadb-11.8"),
        ("xa", "mysql-9.7"),
        ("savepoint", "mysql-9.7"),
        ("partial_json", "mysql-9.7"),
    ]
    .map(|(quirk, server)| fixture::one(quirk, server))
    .into()
}

fn config() -> Config {
    Config { verify_checksum: false, xa_unseen: Unseen::Pass, ..Config::default() }
}

/// Reads a fixture's first file with one event replaced.
fn read(fixture: &Fixture, at: usize, bytes: &[u8]) -> (Vec<String>, Result<(), Error>) {
    let mut decoder = Decoder::new(config());
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut lines = Vec::new();
    for (number, event) in fixture::events(&fixture.files[0].1).into_iter().enumerate() {
        let event = if number == at { bytes } else { event };
        if let Err(error) = fixture::feed_passing_over(&mut decoder, event, &mut lines) {
            return (lines, Err(error));
        }
    }
    (lines, decoder.finish())
}

fn is_end(line: &str) -> bool {
    ["begin", "commit", "schema"].iter().any(|word| line.starts_with(word))
}

/// Whether `part` is what is left of `whole` when some lines are taken out.
fn is_left_of<'a>(part: impl Iterator<Item = &'a String>, whole: &'a [String]) -> bool {
    let mut whole = whole.iter();
    let mut part = part;
    part.all(|line| whole.any(|other| other == line))
}

fn carries_changes(event_type: u8) -> bool {
    matches!(
        event_type,
        kind::TABLE_MAP
            | kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
            | kind::WRITE_ROWS..=kind::DELETE_ROWS
            | kind::PARTIAL_UPDATE_ROWS
            | kind::TRANSACTION_PAYLOAD
            | kind::WRITE_ROWS_COMPRESSED_V1..=kind::DELETE_ROWS_COMPRESSED
    )
}

/// Ways to spoil an event whose header stays right.
fn spoilt(event: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |change: fn(&mut [u8])| {
        let mut bytes = event.to_vec();
        change(&mut bytes);
        bytes
    };
    vec![
        ("nonsense", changed(|bytes| bytes[HEADER_BYTES..].fill(0xff))),
        ("zeros", changed(|bytes| bytes[HEADER_BYTES..].fill(0))),
        ("a type nobody knows", changed(|bytes| bytes[TYPE_AT] = 200)),
        ("nonsense from the middle on", {
            changed(|bytes| {
                let half = HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2;
                bytes[half..].fill(0xff);
            })
        }),
    ]
}

#[test]
fn without_one_event_the_rest_of_the_log_comes_out_as_ever() {
    let mut kept = 0;
    for fixture in fixtures() {
        let (whole, end) = read(&fixture, usize::MAX, &[]);
        end.expect("a sound log");
        for (at, event) in fixture::events(&fixture.files[0].1).into_iter().enumerate() {
            if !carries_changes(event[TYPE_AT]) {
                continue;
            }
            for (how, bytes) in spoilt(event) {
                // In place of a whole transaction it could be anything.
                let is_payload = event[TYPE_AT] == kind::TRANSACTION_PAYLOAD;
                if is_payload && how == "a type nobody knows" {
                    continue;
                }
                let place = format!("{} event {at} ({how})", fixture.name);
                let (lines, end) = read(&fixture, at, &bytes);
                if let Err(error) = end {
                    panic!("{place}: {error}");
                }
                // A payload that is an XA PREPARE can't be told from one that commits.
                if !is_payload {
                    let ends: Vec<_> = lines.iter().filter(|line| is_end(line)).collect();
                    let expected: Vec<_> = whole.iter().filter(|line| is_end(line)).collect();
                    assert_eq!(ends, expected, "{place}");
                }
                let is_kept = lines.iter().any(|line| line.starts_with("kept"));
                kept += usize::from(is_kept);
                let may_do = how.starts_with("nonsense from") || how == "zeros";
                // Nobody looks at the rows of an XA transaction that is rolled back.
                assert!(is_kept || may_do || fixture.name.starts_with("xa/"), "{place}");
                // What a spoilt text of a row says is not for us to know; all else stays.
                if is_kept && !is_payload && how != "nonsense from the middle on" {
                    let rest = lines
                        .iter()
                        .filter(|line| !line.starts_with("kept") && !line.starts_with("passed"));
                    assert!(is_left_of(rest, &whole), "{place}: {lines:#?}");
                }
            }
        }
    }
    assert!(kept > 150, "{kept}");
}

#[test]
fn a_payload_that_breaks_off_is_kept_whole_and_its_transaction_ends() {
    let fixture = fixture::one("payload", "mysql-9.7");
    let (whole, _) = read(&fixture, usize::MAX, &[]);
    let events = fixture::events(&fixture.files[0].1);
    let is_payload = |event: &[u8]| event[TYPE_AT] == kind::TRANSACTION_PAYLOAD;
    let at = events.iter().position(|event| is_payload(event)).expect("a payload");
    // The end of its compressed bytes, in front of the checksum.
    let mut bytes = events[at].to_vec();
    let end = bytes.len() - 4;
    bytes[end - 3..end].fill(0x55);
    let (lines, result) = read(&fixture, at, &bytes);
    result.expect("the log goes on");
    let expected = format!("kept {end} bytes of");
    let kept: Vec<_> = lines.iter().filter(|line| line.starts_with("kept")).collect();
    assert!(kept.len() == 1 && kept[0].starts_with(&expected), "{kept:?}");
    let commits = |lines: &[String]| lines.iter().filter(|line| line.starts_with("commit")).count();
    assert_eq!(commits(&lines), commits(&whole));
}

#[test]
fn what_holds_transactions_together_is_never_passed_over() {
    let fixture = fixture::one("rows", "mysql-9.7");
    let mut refused = 0;
    for (at, event) in fixture::events(&fixture.files[0].1).into_iter().enumerate() {
        if !matches!(event[TYPE_AT], kind::GTID | kind::FORMAT_DESCRIPTION | kind::QUERY) {
            continue;
        }
        let mut bytes = event.to_vec();
        bytes[HEADER_BYTES..].fill(0xff);
        let (_, end) = read(&fixture, at, &bytes);
        assert!(end.is_err(), "event {at} of type {}", event[TYPE_AT]);
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
    // An event that nobody knows, between two transactions
    let events = fixture::events(&fixture.files[0].1);
    let gtid = events.iter().position(|event| event[TYPE_AT] == kind::GTID).expect("a GTID");
    let mut unknown = events[gtid].to_vec();
    unknown[TYPE_AT] = 200;
    assert!(read(&fixture, gtid, &unknown).1.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_passed_over_the_log_ends(
        which in 0..8_usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let fixture = &fixtures()[which];
        let events = fixture::events(&fixture.files[0].1);
        let mut events: Vec<_> = events.into_iter().map(<[u8]>::to_vec).collect();
        for (at, bit) in flips {
            let event = at.index(events.len());
            let event = &mut events[event];
            let byte = HEADER_BYTES + at.index(event.len() - HEADER_BYTES);
            event[byte] ^= 1 << bit;
        }
        let mut decoder = Decoder::new(config());
        decoder.start_at(Position::new("binlog.000001", 4));
        let mut lines = Vec::new();
        for event in &events {
            if fixture::feed_passing_over(&mut decoder, event, &mut lines).is_err() {
                break;
            }
        }
        prop_assert!(lines.len() < 10_000);
    }
}
