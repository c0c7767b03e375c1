//! Messages that were refused for good, and row events that could not be decoded, kept on the local
//! disk until somebody looks at them.
//!
//! One file, one record a line as [`journal`] has them. The text is a JSON document
//! that has everything of the message and why and when it was refused; see [`Entry`]. The service only ever appends; a record counts when
//! [`Quarantine::put`] has returned, which is after `fsync`. A last line without its line feed is
//! what a crash left of a record that never counted: opening removes it. Anything else that does
//! not match its checksum is an error.
//!
//! The file is readable by its owner alone, since it holds rows: those of an event that could not be
//! decoded with all their columns, also masked ones.
//!
//! Calls block: use a thread for blocking work. One process at a time: the file is locked.

mod entry;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use entry::{Entry, Record, Undecoded};

use super::MessageRejected;
use crate::encode::Message;
use crate::journal::{self, Line, Lines};

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
    /// A write failed before, so that the file may end within a record.
    #[error("quarantine {path}: a write failed before; repair the disk and start again")]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error(
        "quarantine {path} is in use by another process, most likely `binpulse run`: stop that \
         first (it continues from its checkpoint when it is started again), or list the messages \
         with `binpulse redrive --dry-run`"
    )]
    InUse {
        /// The file.
        path: PathBuf,
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

/// An open quarantine. See the head of this file.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    file: File,
    bytes: u64,
    records: u64,
    limit: u64,
    /// A write failed: the file may end within a record.
    is_broken: bool,
}

impl Quarantine {
    /// Opens or creates the file, reads it through, and removes what a crash left at its end.
    /// `limit` bounds its size, bytes.
    pub fn open(path: &Path, limit: u64) -> Result<Self, Error> {
        let io = |action| io_error(path, action);
        let file = lock(path)?;
        let mut reader = Reader::new(path)?;
        let mut records = 0;
        for record in reader.by_ref() {
            record?;
            records += 1;
        }
        let bytes = reader.offset();
        file.set_len(bytes).map_err(io("truncate the incomplete last record"))?;
        file.sync_all().map_err(io("sync"))?;
        journal::sync_folder(path).map_err(io("sync the folder of"))?;
        Ok(Self { path: path.to_owned(), file, bytes, records, limit, is_broken: false })
    }

    /// What [`Quarantine::open`] would be refused with now, without changing anything.
    pub fn rehearse(path: &Path) -> Result<(), Error> {
        let io = |action| io_error(path, action);
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let written = journal::write_beside(path, 0);
                return written.map_err(|failed| io("create")(failed.source));
            }
            Err(error) => return Err(io("open")(error)),
        };
        take(path, &file)?;
        Reader::new(path)?.try_for_each(|record| record.map(drop))
    }

    /// Keeps a message. When this returns `Ok` it is on the disk. After an error it may be there or
    /// not, and the quarantine takes no more before it was opened again.
    pub fn put(
        &mut self,
        message: &Message,
        refusal: &MessageRejected,
        at: SystemTime,
    ) -> Result<(), Error> {
        self.append(&Entry::Message(Record::new(message, refusal, at)))
    }

    /// The same for a row event.
    pub fn put_undecoded(&mut self, event: Undecoded) -> Result<(), Error> {
        self.append(&Entry::Undecoded(event))
    }

    fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::Broken { path: self.path.clone() });
        }
        let line = line(entry).map_err(io_error(&self.path, "write"))?;
        let length = line.len() as u64;
        if self.bytes.saturating_add(length) > self.limit {
            let (path, bytes, limit) = (self.path.clone(), self.bytes, self.limit);
            return Err(Error::Full { path, bytes, limit });
        }
        self.is_broken = true;
        let written = journal::append(&mut self.file, self.bytes, line.as_bytes());
        written.map_err(io_error(&self.path, "write"))?;
        self.is_broken = false;
        self.bytes += length;
        self.records += 1;
        Ok(())
    }

    /// Leaves only the entries for whose number, counted from 0 in the file's order, `is_kept` holds.
    /// When this returns the others are gone for good; a crash before leaves all of them.
    pub fn retain(&mut self, mut is_kept: impl FnMut(u64) -> bool) -> Result<(), Error> {
        let (mut bytes, mut records) = (0, 0);
        let failed = |action| {
            let path = self.path.clone();
            move |source| Error::Io { path: path.clone(), action, source }
        };
        let file = journal::replace(&self.path, failed("replace"), |file| {
            for (number, entry) in (0..).zip(Reader::new(&self.path)?) {
                let entry = entry?;
                if is_kept(number) {
                    let line = line(&entry).map_err(failed("write"))?;
                    file.write_all(line.as_bytes()).map_err(failed("write"))?;
                    bytes += line.len() as u64;
                    records += 1;
                }
            }
            // Before it has the name: nobody else is to find it free.
            file.try_lock().map_err(io::Error::from).map_err(failed("lock"))
        })?;
        (self.file, self.bytes, self.records) = (file, bytes, records);
        Ok(())
    }

    /// Records kept.
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// Locks the file until it is closed.
fn take(path: &Path, file: &File) -> Result<(), Error> {
    let metadata = file.metadata().map_err(io_error(path, "read the metadata of"))?;
    // Reading a pipe would never end.
    if !metadata.is_file() {
        let found = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(io_error(path, "use")(found));
    }
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::InUse { path: path.to_owned() },
        TryLockError::Error(error) => io_error(path, "lock")(error),
    })
}

/// Locks the file of this path. Whoever held it may have put another in its place meanwhile.
fn lock(path: &Path) -> Result<File, Error> {
    let io = |action| io_error(path, action);
    loop {
        let file = private().read(true).append(true).open(path).map_err(io("open"))?;
        take(path, &file)?;
        let locked = file.metadata().map_err(io("read the metadata of"))?;
        let named = std::fs::metadata(path).map_err(io("read the metadata of"))?;
        if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

/// How files are made here.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

fn line(entry: &Entry) -> io::Result<String> {
    Ok(journal::line(&serde_json::to_string(entry)?))
}

/// The entries of a quarantine file, in the order in which they came. Does not lock: it may read
/// while a service appends. After an error it ends.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    has_failed: bool,
}

impl Reader {
    /// Reads from the beginning.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let lines = Lines::new(BufReader::new(file));
        Ok(Self { path: path.to_owned(), lines, has_failed: false })
    }

    /// Bytes of whole records read so far.
    pub fn offset(&self) -> u64 {
        self.lines.offset()
    }

    fn read(&mut self) -> Result<Option<Entry>, Error> {
        let offset = self.lines.offset();
        let why = match self.lines.read().map_err(io_error(&self.path, "read"))? {
            None | Some(Line::Torn) => return Ok(None),
            Some(Line::Good(text)) => match serde_json::from_slice(text) {
                Ok(entry) => return Ok(Some(entry)),
                Err(error) => error.to_string(),
            },
            Some(Line::Bad { why, .. }) => why,
        };
        Err(Error::Damaged { path: self.path.clone(), offset, why })
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let record = self.read();
        self.has_failed = record.is_err();
        record.transpose()
    }
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, action, source }
}

#[cfg(test)]
mod tests;
