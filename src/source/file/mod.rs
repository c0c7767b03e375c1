//! Binlog files from disk or standard input: the same raw events as from a server.
//!
//! A file is four bytes of magic, then events one behind the other. Offsets are counted by adding
//! up lengths, in 64 bits: the events' own have 32. Memory is bounded by the largest event, and
//! grows with what was read, not with what a length field claims.

mod error;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

pub use error::Error;

use crate::binlog::{Algorithm, BYTES_MAX, Checksum, Header, kind};

/// First bytes of a binlog file.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
/// First bytes of a file that MySQL encrypted (`binlog_encryption=ON`).
const MAGIC_ENCRYPTED: [u8; 4] = [0xfd, b'b', b'i', b'n'];
/// Read buffer, and the step in which it grows.
const BUFFER_BYTES: usize = 256 * 1024;

/// One binlog file, or several on one input one behind the other.
#[derive(Debug)]
pub struct FileReader<R> {
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
    event_bytes_max: u64,
}

impl FileReader<File> {
    /// Opens a file by its path.
    #[cfg(feature = "testing")]
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::open(file, &name),
            Err(source) => Err(Error::Io { file: name, offset: 0, source }),
        }
    }
}

impl<R: Read> FileReader<R> {
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
            event_bytes_max: BYTES_MAX,
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

    /// Refuses events of more bytes: each is held as a whole.
    #[must_use]
    pub fn limited(self, event_bytes_max: u64) -> Self {
        Self { event_bytes_max, ..self }
    }

    /// Name as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the event handed out last starts.
    #[cfg(feature = "testing")]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the next event starts.
    #[cfg(feature = "testing")]
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
        // As much of it as there is was read by the look for another file.
        let header = self.rest();
        if header.is_empty() {
            return Ok(None);
        }
        let Some(Header { event_type, length: stated, .. }) = Header::parse(header) else {
            return Err(self.truncated(Header::LENGTH));
        };
        let is_possible = (Header::LENGTH as u64..=BYTES_MAX).contains(&u64::from(stated));
        let Some(length) = usize::try_from(stated).ok().filter(|_| is_possible) else {
            return Err(self.bad_length(stated));
        };
        if u64::from(stated) > self.event_bytes_max {
            let (file, offset, limit) = (self.file.clone(), self.offset, self.event_bytes_max);
            return Err(Error::TooLarge { file, offset, found: stated, limit });
        }
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
        if event_type == kind::START_ENCRYPTION {
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
        self.fill(MAGIC.len() + Header::LENGTH)?;
        let rest = self.rest();
        Ok(rest.starts_with(&MAGIC) && rest.get(8) == Some(&kind::FORMAT_DESCRIPTION))
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
        // A large event was handed out, and filled the buffer to its end.
        if self.start == self.end && self.buffer.len() > BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
            self.start = 0;
            self.end = 0;
        }
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
mod tests;
