use std::time::UNIX_EPOCH;

use super::*;
use crate::encode::LaneId;
use crate::sink::sns::fixture::message;

const LIMIT: u64 = 1 << 20;

fn refusal() -> Refusal {
    Refusal::TooLarge { bytes: 9, limit: 5, destination: "topic".to_owned() }
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
    assert_eq!((again.records(), again.bytes()), (4, path.metadata().expect("there").len()));
    let records = read(&path).expect("whole");
    assert_eq!(records.len(), 4);
    let mut expected = message(2, 1, 20);
    (expected.id, expected.unit) = (7, 0);
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
        assert_eq!((quarantine.records(), quarantine.bytes()), (1, first as u64));
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
        (quarantine.records(), quarantine.bytes()),
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
