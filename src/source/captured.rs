//! Binlog files from disk or standard input: the same raw events as from a server.
//!
//! A file is four bytes of magic, then events one behind the other. Offsets are counted by adding
//! up lengths, in 64 bits: the events' own have 32. Memory is bounded by the largest event, and
//! grows with what was read, not with what a length field claims.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::checksum::{Algorithm, Checksum, EventError, FORMAT_DESCRIPTION, HEADER_BYTES};

/// First bytes of a binlog file.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
/// First bytes of a file that MySQL encrypted (`binlog_encryption=ON`).
const MAGIC_ENCRYPTED: [u8; 4] = [0xfd, b'b', b'i', b'n'];
/// MariaDB's event that says that what follows is encrypted.
const START_ENCRYPTION: u8 = 164;
/// Largest event: 1 GiB of `max_allowed_packet` and headers.
const EVENT_BYTES_MAX: usize = (1 << 30) + (1 << 20);
/// Read buffer, and the step in which it grows.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is no binlog, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be opened or read.
    #[error("{file}: at offset {offset}: {source}")]
    Io {
        /// Name as given.
        file: String,
        /// Bytes read before.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// It does not start as a binlog.
    #[error("{file}: not a binlog file: found {found}, expected the bytes fe 62 69 6e")]
    NotBinlog {
        /// Name as given.
        file: String,
        /// Its first bytes.
        found: String,
    },
    /// It is encrypted.
    #[error(
        "{file}: at offset {offset}: the file is encrypted by the server; read it through the \
         server instead, or with mysqlbinlog --read-from-remote-server --raw"
    )]
    Encrypted {
        /// Name as given.
        file: String,
        /// Where encryption starts.
        offset: u64,
    },
    /// It ends in the middle of an event.
    #[error(
        "{file}: at offset {offset}: the file ends in the middle of an event: found {found} bytes, \
         expected {expected}"
    )]
    Truncated {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Bytes there.
        found: usize,
        /// Bytes that the event should have; of its header, if not even that is there.
        expected: usize,
    },
    /// An event says that it has an impossible length.
    #[error(
        "{file}: at offset {offset}: found an event of {found} bytes, expected {HEADER_BYTES} to \
         {EVENT_BYTES_MAX}"
    )]
    Length {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Its length according to its header.
        found: u32,
    },
    /// It does not start with a description of its format.
    #[error(
        "{file}: at offset {offset}: found an event of type {found}, expected a format description \
         (type {FORMAT_DESCRIPTION}) at the front of the file"
    )]
    NoDescription {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Its type.
        found: u8,
    },
    /// An event's bytes are not those that were written.
    #[error("{file}: at offset {offset}: {source}")]
    Damaged {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// What is wrong.
        source: EventError,
    },
}

/// One binlog file, or several on one input one behind the other.
#[derive(Debug)]
pub struct Captured<R> {
    input: R,
    file: String,
    /// Invariant: `start <= end <= buffer.len()`; the bytes between are read and not handed out.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Start of the event handed out last, and of the one behind it.
    offset: u64,
    next_offset: u64,
    checksum: Checksum,
}

impl Captured<File> {
    /// Opens a file by its path.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::open(file, &name),
            Err(source) => Err(Error::Io { file: name, offset: 0, source }),
        }
    }
}

/// Opens each path in turn; what went wrong with one does not end the iteration.
pub fn open_paths<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
) -> impl Iterator<Item = Result<Captured<File>, Error>> {
    paths.into_iter().map(|path| Captured::open_path(path.as_ref()))
}

impl<R: Read> Captured<R> {
    /// Reads and checks the magic. `file` names the input in errors.
    pub fn open(input: R, file: &str) -> Result<Self, Error> {
        let mut captured = Self {
            input,
            file: file.to_owned(),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            offset: 0,
            next_offset: 0,
            checksum: Checksum::new(),
        };
        captured.fill(MAGIC.len())?;
        match captured.rest().first_chunk() {
            Some(&MAGIC) => captured.skip_magic(),
            Some(&MAGIC_ENCRYPTED) => {
                return Err(Error::Encrypted { file: captured.file, offset: 0 });
            }
            Some(_) | None => {
                let head = captured.rest();
                let found = match head.get(..4).unwrap_or(head) {
                    [] => "an empty file".to_owned(),
                    bytes => format!("{bytes:02x?}"),
                };
                return Err(Error::NotBinlog { file: captured.file, found });
            }
        }
        Ok(captured)
    }

    /// Name as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the event handed out last starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the next event starts.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The next event: header, body, and a checksum if the format description says so; length and
    /// checksum are verified. `None` at the end of the input.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        let Some(range) = self.advance()? else { return Ok(None) };
        Ok(self.buffer.get(range))
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>, Error> {
        if self.at_another_file()? {
            self.checksum = Checksum::new();
            self.skip_magic();
        }
        self.offset = self.next_offset;
        self.fill(HEADER_BYTES)?;
        let header = self.rest();
        if header.is_empty() {
            return Ok(None);
        }
        let Some(&[_, _, _, _, event_type, _, _, _, _, a, b, c, d, ..]) =
            header.first_chunk::<HEADER_BYTES>()
        else {
            return Err(self.truncated(HEADER_BYTES));
        };
        let stated = u32::from_le_bytes([a, b, c, d]);
        let length = match usize::try_from(stated) {
            Ok(length) if (HEADER_BYTES..=EVENT_BYTES_MAX).contains(&length) => length,
            Ok(_) | Err(_) => return Err(self.bad_length(stated)),
        };
        self.fill(length)?;
        let Some(event) = self.rest().get(..length) else { return Err(self.truncated(length)) };
        let mut checksum = self.checksum.clone();
        if let Err(source) = checksum.verify(event) {
            return Err(Error::Damaged { file: self.file.clone(), offset: self.offset, source });
        }
        if checksum.algorithm() == Algorithm::Unknown {
            let (file, offset) = (self.file.clone(), self.offset);
            return Err(Error::NoDescription { file, offset, found: event_type });
        }
        self.checksum = checksum;
        if event_type == START_ENCRYPTION {
            return Err(Error::Encrypted { file: self.file.clone(), offset: self.offset });
        }
        let range = self.start..self.start + length;
        self.start = range.end;
        self.next_offset += u64::from(stated);
        Ok(Some(range))
    }

    /// Whether another file starts here, as in `cat binlog.000001 binlog.000002`. The magic could
    /// be an event's time in 2028, but a format description does not follow then.
    fn at_another_file(&mut self) -> Result<bool, Error> {
        self.fill(MAGIC.len() + HEADER_BYTES)?;
        let rest = self.rest();
        Ok(rest.starts_with(&MAGIC) && rest.get(8) == Some(&FORMAT_DESCRIPTION))
    }

    fn skip_magic(&mut self) {
        self.start += MAGIC.len();
        self.offset = MAGIC.len() as u64;
        self.next_offset = self.offset;
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until so many bytes are there, or the input ends.
    fn fill(&mut self, needed: usize) -> Result<(), Error> {
        while self.end - self.start < needed {
            if self.start + needed > self.buffer.len() && self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.buffer.len() {
                let grown = self.buffer.len().saturating_mul(2).min(needed.max(BUFFER_BYTES));
                self.buffer.resize(grown, 0);
            }
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(space) {
                Ok(0) => return Ok(()),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.next_offset + (self.end - self.start) as u64;
                    return Err(Error::Io { file: self.file.clone(), offset, source });
                }
            }
        }
        if self.start == self.end && self.buffer.len() > BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
            self.start = 0;
            self.end = 0;
        }
        Ok(())
    }

    fn truncated(&self, expected: usize) -> Error {
        let found = self.end - self.start;
        Error::Truncated { file: self.file.clone(), offset: self.offset, found, expected }
    }

    fn bad_length(&self, found: u32) -> Error {
        Error::Length { file: self.file.clone(), offset: self.offset, found }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::super::checksum::tests::{description, event};
    use super::{Captured, Error, MAGIC};

    fn file(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &description("8.0.31", 1, 0)].concat();
        for body in bodies {
            bytes.extend(event(30, body, 0, true));
        }
        bytes
    }

    fn read(bytes: impl Read) -> Result<Vec<(u64, usize)>, Error> {
        let mut captured = Captured::open(bytes, "test.000001")?;
        let mut events = Vec::new();
        while let Some(event) = captured.next()? {
            let length = event.len();
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
        let ends: Vec<_> = whole
            .iter()
            .map(|(at, length)| usize::try_from(*at).expect("small") + length)
            .collect();
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
        let mut captured = Captured::open(bytes.as_slice(), "test").expect("a file");
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
            let _unjudged = read([head, &bytes].concat().as_slice());
        }
    }
}
