//! Messages that were refused for good, kept on the local disk until somebody looks at them.
//!
//! One file, one record a line: 8 hexadecimal digits of the CRC-32C (Castagnoli) of the JSON text,
//! a space, the JSON text, a line feed. The JSON document has everything of the message and why and
//! when it was refused; see [`Record`]. The file is only ever appended to; a record counts when
//! [`Quarantine::put`] has returned, which is after `fsync`. A last line without its line feed is
//! what a crash left of a record that never counted: opening removes it. Anything else that does
//! not match its checksum is an error.
//!
//! Calls block: use a thread for blocking work. One process at a time: the file is locked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::encode::{Attribute, DataType, Kind, LaneId, Message};

/// Bytes of a line before its JSON text.
const PREFIX_BYTES: usize = 9;

/// Why the quarantine can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading, writing or locking failed.
    #[error("quarantine {path}: cannot {action}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// A record would go over the bound.
    #[error("quarantine {path} is full: {bytes} of {limit} bytes; redrive it or raise the limit")]
    Full {
        /// The file.
        path: PathBuf,
        /// Its size, bytes.
        bytes: u64,
        /// The bound, bytes.
        limit: u64,
    },
    /// A line is not what was written.
    #[error("quarantine {path}: damaged record at byte {offset}: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the line starts.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A refused message as it is kept. Field names are the file's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was put here, microseconds since 1970 UTC.
    pub quarantined_at_us: i64,
    /// Why it was refused.
    pub error: String,
    /// The attribute `kind`.
    pub kind: String,
    /// Stable name of its lane.
    pub lane: String,
    /// Topic ARN.
    pub destination: String,
    /// Message group.
    pub group_id: Option<String>,
    /// Deduplication id.
    pub deduplication_id: Option<String>,
    /// Name, type and value of each attribute.
    pub attributes: Vec<(String, String, String)>,
    /// Rows inside.
    pub rows: u32,
    /// Number of its first row in its lane.
    pub sequence_first: u64,
    /// Size before compression, bytes.
    pub uncompressed_bytes: u32,
    /// Commit time of its first transaction, microseconds since 1970 UTC.
    pub committed_at_us: i64,
    /// Cells that were left out.
    pub omitted_cells: u32,
    /// The body.
    pub body: String,
}

impl Record {
    fn new(message: &Message, refusal: &Refusal, at: SystemTime) -> Self {
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let attribute =
            |a: &Attribute| (a.name.to_string(), a.data_type.as_str().to_owned(), a.value.clone());
        Self {
            quarantined_at_us: i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX),
            error: refusal.to_string(),
            kind: message.kind.as_str().to_owned(),
            lane: message.lane_key.to_string(),
            destination: message.destination.to_string(),
            group_id: message.group_id.clone(),
            deduplication_id: message.deduplication_id.clone(),
            attributes: message.attributes.iter().map(attribute).collect(),
            rows: message.rows,
            sequence_first: message.sequence_first,
            uncompressed_bytes: message.uncompressed_bytes,
            committed_at_us: message.committed_at_us,
            omitted_cells: message.omitted_cells,
            body: message.body.clone(),
        }
    }

    /// The message again, in `lane` and numbered `id` for this process; `None` when it has a kind
    /// or a type of attribute that this version does not know.
    pub fn into_message(self, id: u64, lane: LaneId) -> Option<Message> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let types = [DataType::String, DataType::StringArray, DataType::Number];
        let attribute = |(name, data_type, value): (String, String, String)| {
            let data_type = types.into_iter().find(|known| known.as_str() == data_type)?;
            Some(Attribute { name: name.into(), data_type, value })
        };
        Some(Message {
            id,
            lane,
            lane_key: self.lane.into(),
            kind,
            body: self.body,
            attributes: self.attributes.into_iter().map(attribute).collect::<Option<_>>()?,
            group_id: self.group_id,
            deduplication_id: self.deduplication_id,
            destination: self.destination.into(),
            rows: self.rows,
            sequence_first: self.sequence_first,
            uncompressed_bytes: self.uncompressed_bytes,
            unit: 0,
            committed_at_us: self.committed_at_us,
            omitted_cells: self.omitted_cells,
        })
    }
}

/// An open quarantine. See the head of this file.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    file: File,
    bytes: u64,
    records: u64,
    limit: u64,
}

impl Quarantine {
    /// Opens or creates the file, reads it through, and removes what a crash left at its end.
    /// `limit` bounds its size, bytes.
    pub fn open(path: &Path, limit: u64) -> Result<Self, Error> {
        let io = |action| io_error(path, action);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(io("open"))?;
        file.try_lock()
            .map_err(io::Error::from)
            .map_err(io("lock (is another process using it?)"))?;
        let mut reader = Reader::new(path)?;
        let mut records = 0;
        for record in reader.by_ref() {
            record?;
            records += 1;
        }
        let bytes = reader.offset;
        file.set_len(bytes).map_err(io("cut the torn end off"))?;
        file.sync_all().map_err(io("sync"))?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), file, bytes, records, limit })
    }

    /// Keeps a message. When this returns `Ok` it is on the disk. After an error it may be there or
    /// not, and the quarantine must not be used before it was opened again.
    pub fn put(
        &mut self,
        message: &Message,
        refusal: &Refusal,
        at: SystemTime,
    ) -> Result<(), Error> {
        let io = |action| io_error(&self.path, action);
        let record = Record::new(message, refusal, at);
        let json = serde_json::to_string(&record).map_err(io::Error::from).map_err(io("write"))?;
        let line = format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
        let length = line.len() as u64;
        if self.bytes.saturating_add(length) > self.limit {
            let (path, bytes, limit) = (self.path.clone(), self.bytes, self.limit);
            return Err(Error::Full { path, bytes, limit });
        }
        self.file.write_all(line.as_bytes()).map_err(io("write"))?;
        self.file.sync_data().map_err(io("sync"))?;
        self.bytes += length;
        self.records += 1;
        Ok(())
    }

    /// Records kept.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Size of the file, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The records of a quarantine file, in the order in which they came. Does not lock: it may read
/// while a service appends. After an error it ends.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    offset: u64,
    has_failed: bool,
}

impl Reader {
    /// Reads from the beginning.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(io_error(path, "open"))?;
        file.seek(SeekFrom::Start(0)).map_err(io_error(path, "read"))?;
        let lines = BufReader::new(file);
        Ok(Self { path: path.to_owned(), lines, offset: 0, has_failed: false })
    }

    /// Bytes of whole records read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        let mut line = Vec::new();
        let length = self.lines.read_until(b'\n', &mut line);
        let length = length.map_err(io_error(&self.path, "read"))?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let record = check(&line).map_err(|why| Error::Damaged {
            path: self.path.clone(),
            offset: self.offset,
            why,
        })?;
        self.offset += length as u64;
        Ok(Some(record))
    }
}

impl Iterator for Reader {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let record = self.read();
        self.has_failed = record.is_err();
        record.transpose()
    }
}

fn check(line: &[u8]) -> Result<Record, String> {
    let (prefix, json) = line.split_at_checked(PREFIX_BYTES).ok_or("too short")?;
    let digits = std::str::from_utf8(prefix).ok().and_then(|text| text.strip_suffix(' '));
    let written = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let found = crc32c::crc32c(json);
    if written != Some(found) {
        return Err(format!("checksum is {found:08x}"));
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let opened = File::open(folder).and_then(|folder| folder.sync_all());
    opened.map_err(io_error(folder, "sync the folder"))
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        Reader::new(path)?.collect()
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
        assert!(matches!(Quarantine::open(&path, 600), Err(Error::Io { .. })), "locked");
        let put = |quarantine: &mut Quarantine| {
            quarantine.put(&message(1, 1, 20), &refusal(), UNIX_EPOCH)
        };
        put(&mut small).expect("one fits");
        let error = put(&mut small).expect_err("two do not");
        assert!(error.to_string().contains("redrive"), "{error}");
        assert_eq!(small.records(), 1);
    }
}
