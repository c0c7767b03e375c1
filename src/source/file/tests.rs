use std::io::Read;

use proptest::prelude::*;

use super::{BUFFER_BYTES, Error, FileReader, MAGIC};
use crate::binlog::tests::{description, event};

fn file(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &description("8.0.31", 1, 0)].concat();
    for body in bodies {
        bytes.extend(event(30, body, 0, true));
    }
    bytes
}

fn read(bytes: impl Read) -> Result<Vec<(u64, usize)>, Error> {
    let mut captured = FileReader::open(bytes, "test.000001")?;
    let mut events = Vec::new();
    assert_eq!((captured.file(), captured.next_offset()), ("test.000001", 4));
    while let Some(event) = captured.next()? {
        let length = event.len();
        assert_eq!(captured.next_offset(), captured.offset() + length as u64);
        events.push((captured.offset(), length));
    }
    Ok(events)
}

/// Gives one byte at a time, as a pipe may.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        let count = space.len().min(1);
        self.0.read(&mut space[..count])
    }
}

#[test]
fn events_come_with_their_offsets() {
    let bytes = file(&[vec![1; 10], vec![2; 600_000], vec![3; 1]]);
    let events = read(bytes.as_slice()).expect("a whole file");
    let first = description("8.0.31", 1, 0).len();
    let mut offset = 4 + first as u64;
    let mut expected = vec![(4, first)];
    for length in [33, 600_023, 24] {
        expected.push((offset, length));
        offset += length as u64;
    }
    assert_eq!(events, expected);
    let small = file(&[vec![1; 10], vec![], vec![3; 1]]);
    assert_eq!(read(Drip(&small)).expect("whole"), read(small.as_slice()).expect("whole"));
}

#[test]
fn the_space_of_a_large_event_is_given_back_behind_it() {
    let bytes = file(&[vec![1; 10], vec![2; 5 * BUFFER_BYTES], vec![3; 1], vec![4; 1]]);
    let mut captured = FileReader::open(bytes.as_slice(), "test.000001").expect("a file");
    let mut lengths = Vec::new();
    while let Some(event) = captured.next().expect("whole") {
        let length = event.len();
        // A vector that grows may take twice what it needs.
        assert!(captured.buffer.capacity() <= 2 * length.max(BUFFER_BYTES), "{length}");
        lengths.push(length);
    }
    assert_eq!(lengths[1..], [33, 5 * BUFFER_BYTES + 23, 24, 24]);
}

#[test]
fn several_files_on_one_input_are_read_one_after_the_other() {
    let one = file(&[vec![1; 10]]);
    let two = [one.clone(), one.clone()].concat();
    let events = read(one.as_slice()).expect("one file");
    assert_eq!(read(two.as_slice()).expect("two files"), [events.clone(), events].concat());
}

#[test]
fn a_file_cut_anywhere_but_between_events_is_an_error_with_its_place() {
    let bytes = file(&[vec![1; 10], vec![2; 20]]);
    let whole = read(bytes.as_slice()).expect("a whole file");
    let ends: Vec<_> =
        whole.iter().map(|(at, length)| usize::try_from(*at).expect("small") + length).collect();
    for cut in 0..bytes.len() {
        match read(&bytes[..cut]) {
            Ok(_) => assert!(cut == 4 || ends.contains(&cut), "{cut}"),
            Err(Error::Truncated { offset, found, expected, .. }) => {
                assert!(found < expected, "{cut}");
                assert_eq!(usize::try_from(offset).expect("small") + found, cut);
            }
            Err(Error::NotBinlog { .. }) => assert!(cut < 4),
            Err(other) => panic!("{cut}: {other}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = file(&[vec![1; 10]]);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            // The in-use flag of the description is not summed up.
            let in_use = at == 4 + 17 && bit == 0;
            assert_eq!(read(bad.as_slice()).is_ok(), in_use, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn an_encrypted_file_is_named_as_such() {
    let error = read(&b"\xfdbin\x01\x01"[..]).expect_err("encrypted");
    assert!(matches!(error, Error::Encrypted { offset: 0, .. }), "{error}");
    let mut maria = [&MAGIC[..], &description("10.11.18-MariaDB", 1, 0)].concat();
    maria.extend(event(164, &[0; 17], 0, true));
    assert!(matches!(read(maria.as_slice()), Err(Error::Encrypted { .. })));
}

#[test]
fn a_claimed_length_does_not_take_memory() {
    let mut bytes = file(&[]);
    let mut lying = event(30, &[], 0, false);
    lying[9..13].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    bytes.extend(&lying);
    let mut captured = FileReader::open(bytes.as_slice(), "test").expect("a file");
    captured.next().expect("the description");
    assert!(matches!(captured.next(), Err(Error::Truncated { found: 19, .. })));
    assert!(captured.buffer.len() <= 2 * super::BUFFER_BYTES);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), magic: bool,
    ) {
        let head: &[u8] = if magic { &MAGIC } else { &[] };
        let _ignored = read([head, &bytes].concat().as_slice());
    }
}

/// Fails with this kind of error where `true` stands, else gives a few bytes.
struct Faulty<'a>(&'a [u8], Vec<(usize, std::io::ErrorKind)>);

impl Read for Faulty<'_> {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        match self.1.first() {
            Some((0, kind)) => {
                let kind = *kind;
                self.1.remove(0);
                Err(kind.into())
            }
            first => {
                let room = first.map_or(usize::MAX, |(bytes, _)| *bytes).min(space.len());
                let count = self.0.read(&mut space[..room])?;
                for (bytes, _) in &mut self.1 {
                    *bytes -= count;
                }
                Ok(count)
            }
        }
    }
}

#[test]
fn an_interruption_is_none_and_a_failure_is_told_with_its_place() {
    let bytes = file(&[vec![1; 10], vec![2; 300_000], vec![3; 20]]);
    let whole = read(bytes.as_slice()).expect("a whole file");
    for at in [0, 2, 4, 50, 200, 1000, bytes.len() - 1] {
        let interrupted = Faulty(&bytes, vec![(at, std::io::ErrorKind::Interrupted)]);
        assert_eq!(read(interrupted).expect("a whole file"), whole, "{at}");
        let failed = Faulty(&bytes, vec![(at, std::io::ErrorKind::BrokenPipe)]);
        let error = read(failed).expect_err("a failure");
        let Error::Io { offset, .. } = error else { panic!("{error}") };
        assert_eq!(offset, at as u64, "{at}");
    }
}

#[test]
fn each_file_on_one_input_has_its_own_checksums() {
    let plain = [&MAGIC[..], &description("8.0.31", 0, 0), &event(30, &[1; 9], 0, false)].concat();
    let summed = file(&[vec![1; 10]]);
    for files in [[&plain, &summed], [&summed, &plain]] {
        let both = files.map(Vec::as_slice).concat();
        let events = read(both.as_slice()).expect("both are whole");
        assert_eq!(events.len(), 4);
        assert_eq!((events[0].0, events[2].0), (4, 4));
    }
}
