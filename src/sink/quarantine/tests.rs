use std::time::UNIX_EPOCH;

use super::*;
use crate::encode::LaneId;
use crate::sink::sns::fixture::message;

const LIMIT: u64 = 1 << 20;

fn refusal() -> MessageRejected {
    MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "topic".to_owned() }
}

fn filled(path: &Path, records: u64) -> Quarantine {
    let mut quarantine = Quarantine::open(path, LIMIT).expect("it opens");
    for id in 0..records {
        let kept = quarantine.put(&message(id, 1, 20), &refusal(), UNIX_EPOCH);
        kept.expect("there is room");
    }
    quarantine
}

fn read(path: &Path) -> Result<Vec<Record>, Error> {
    let message = |entry| match entry {
        Entry::Message(record) => record,
        Entry::Undecoded(event) => panic!("no message: {event:?}"),
    };
    Reader::new(path)?.map(|entry| entry.map(message)).collect()
}

#[test]
fn what_was_put_in_comes_out_the_same_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    drop(filled(&path, 3));
    let again = filled(&path, 1);
    assert_eq!((again.records(), again.bytes), (4, path.metadata().expect("there").len()));
    let records = read(&path).expect("whole");
    assert_eq!(records.len(), 4);
    let mut expected = message(2, 1, 20);
    (expected.id, expected.ack_group) = (7, 0);
    assert_eq!(records[2].clone().into_message(7, LaneId(1)), Some(expected));
    assert!(records[2].error.contains("over the limit"), "{}", records[2].error);
}

#[test]
fn a_torn_end_is_cut_off_wherever_the_crash_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    drop(filled(&path, 2));
    let whole = std::fs::read(&path).expect("it is there");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("two lines") + 1;
    for length in first..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("writable");
        let quarantine = Quarantine::open(&path, LIMIT).expect("it opens");
        assert_eq!((quarantine.records(), quarantine.bytes), (1, first as u64));
    }
}

#[test]
fn a_flipped_bit_is_an_error_that_names_the_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    drop(filled(&path, 3));
    let whole = std::fs::read(&path).expect("it is there");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("lines") + 1;
    for at in first..first * 2 - 1 {
        let mut damaged = whole.clone();
        damaged[at] ^= 2;
        std::fs::write(&path, &damaged).expect("writable");
        let error = read(&path).expect_err("damaged");
        let Error::Damaged { offset, .. } = error else { panic!("{error:?}") };
        assert_eq!(offset, first as u64);
        assert!(Quarantine::open(&path, LIMIT).is_err());
    }
}

#[test]
fn it_is_bounded_and_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut small = Quarantine::open(&path, 600).expect("it opens");
    assert!(matches!(Quarantine::open(&path, 600), Err(Error::InUse { .. })), "locked");
    let put =
        |quarantine: &mut Quarantine| quarantine.put(&message(1, 1, 20), &refusal(), UNIX_EPOCH);
    put(&mut small).expect("one fits");
    let error = put(&mut small).expect_err("two do not");
    assert!(error.to_string().contains("redrive"), "{error}");
    assert_eq!(small.records(), 1);
}

fn undecoded() -> Undecoded {
    Undecoded {
        quarantined_at_us: 1,
        error: "column".to_owned(),
        gtid: None,
        transaction: "binlog.000001:4".to_owned(),
        position: "binlog.000001:200".to_owned(),
        database: "shop".to_owned(),
        table: "t".to_owned(),
        committed_at_us: 2,
        event: "AAAA".to_owned(),
    }
}

#[test]
fn what_is_removed_is_gone_and_the_rest_stays_in_order_and_locked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut quarantine = filled(&path, 4);
    quarantine.put_undecoded(undecoded()).expect("there is room");
    quarantine.retain(|number| number % 2 == 0).expect("it can be written");
    assert_eq!(
        (quarantine.records(), quarantine.bytes),
        (3, path.metadata().expect("there").len())
    );
    assert!(matches!(Quarantine::open(&path, LIMIT), Err(Error::InUse { .. })), "still locked");
    quarantine.put(&message(9, 1, 20), &refusal(), UNIX_EPOCH).expect("it goes on");
    drop(quarantine);
    assert_eq!(Quarantine::open(&path, LIMIT).expect("whole").records(), 4);
    let entries: Vec<_> =
        Reader::new(&path).expect("there").collect::<Result<_, _>>().expect("whole");
    let number = |entry: &Entry| match entry {
        Entry::Message(record) => record.sequence_first,
        Entry::Undecoded(event) => {
            assert_eq!(*event, undecoded());
            99
        }
    };
    assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), [0, 2, 99, 9]);
}

#[test]
fn what_an_interrupted_removal_left_beside_does_not_get_into_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut quarantine = filled(&path, 3);
    std::fs::write(folder.path().join("quarantine.new"), vec![b'x'; 10_000]).expect("writable");
    quarantine.retain(|number| number != 1).expect("it can be written");
    let records = read(&path).expect("whole");
    assert_eq!(records.iter().map(|it| it.sequence_first).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_rehearsal_finds_what_opening_would_be_refused_with_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    Quarantine::rehearse(&path).expect("it could be made");
    assert_eq!(folder.path().read_dir().expect("there").count(), 0);
    let nowhere = folder.path().join("gone").join("quarantine");
    assert!(matches!(Quarantine::rehearse(&nowhere), Err(Error::Io { .. })));
    assert!(matches!(Quarantine::rehearse(folder.path()), Err(Error::Io { .. })));
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        let error = Quarantine::rehearse(&pipe).expect_err("reading it would never end");
        assert!(matches!(error, Error::Io { action: "use", .. }), "{error}");
        assert!(matches!(Quarantine::open(&pipe, LIMIT), Err(Error::Io { action: "use", .. })));
    }

    let quarantine = filled(&path, 2);
    assert!(matches!(Quarantine::rehearse(&path), Err(Error::InUse { .. })));
    drop(quarantine);
    let before = std::fs::read(&path).expect("it is there");
    Quarantine::rehearse(&path).expect("it could be opened");
    assert_eq!(std::fs::read(&path).expect("it is there"), before);
    // A torn end is what a crash leaves; a wrong record is not.
    std::fs::write(&path, &before[..before.len() - 3]).expect("writable");
    Quarantine::rehearse(&path).expect("it could be opened");
    std::fs::write(&path, [b"x", &before[1..]].concat()).expect("writable");
    assert!(matches!(Quarantine::rehearse(&path), Err(Error::Damaged { offset: 0, .. })));
}

#[test]
fn the_bound_is_kept_to_the_byte_and_a_reader_ends_with_its_first_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let one = filled(&path, 1).bytes;
    for (limit, fits) in [(2 * one, true), (2 * one - 1, false)] {
        let path = folder.path().join(format!("{limit}"));
        let mut quarantine = Quarantine::open(&path, limit).expect("it opens");
        for id in 0..2 {
            let put = quarantine.put(&message(id, 1, 20), &refusal(), UNIX_EPOCH);
            assert_eq!(put.is_ok(), id == 0 || fits, "{id} of {limit}");
        }
    }
    let line = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, [&line[..], b"damaged\n", &line].concat()).expect("writable");
    let mut reader = Reader::new(&path).expect("it is there");
    assert!(matches!(reader.next(), Some(Ok(_))));
    assert_eq!(reader.offset(), line.len() as u64);
    assert!(matches!(reader.next(), Some(Err(Error::Damaged { .. }))));
    assert!(reader.next().is_none());
    assert_eq!(reader.offset(), line.len() as u64);
}

#[test]
fn others_may_not_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut quarantine = filled(&path, 1);
    let mode = || path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    quarantine.retain(|_| true).expect("it can be written");
    assert_eq!(mode(), 0o600);
}

#[test]
fn after_a_failed_write_nothing_is_appended_to_what_may_be_torn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut quarantine = filled(&path, 1);
    quarantine.file = File::open(&path).expect("to read only, so that writing fails");
    assert!(matches!(quarantine.put_undecoded(undecoded()), Err(Error::Io { .. })));
    quarantine.file = OpenOptions::new().append(true).open(&path).expect("to write again");
    assert!(matches!(quarantine.put_undecoded(undecoded()), Err(Error::Broken { .. })));
    assert_eq!(read(&path).expect("whole").len(), 1);
}
