//! The file itself: reading it, appending to it, writing it again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tracing::warn;

use super::lock::Lock;
use super::record;
use super::{Checkpoint, Delta, Error};
use crate::journal::{self, Line, Lines};

/// The file is written again when its deltas have more bytes than this ...
const DELTA_BYTES_MIN: u64 = 256 * 1024;

/// ... and more than this many times the bytes of its first line, so that the cost of writing all
/// lanes is spread over many saves.
const DELTA_BYTES_PER_BASE: u64 = 4;

/// Largest file that is read. Compaction keeps files far smaller; a file beyond is none of ours.
const FILE_BYTES_MAX: u64 = 4 << 30;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    stream: String,
    checkpoint: Option<Checkpoint>,
    /// Open for writing; `None` before there is a file, or when it must be written again.
    file: Option<File>,
    /// Bytes of the first line.
    base_bytes: u64,
    /// Bytes up to which every line is whole. What lies beyond is the rest of a failed write.
    good_bytes: u64,
    /// Size at which compaction is tried next.
    compact_at_bytes: u64,
    /// `None` where the file is only looked at.
    lock: Option<Lock>,
}

impl Log {
    pub(super) fn open(path: PathBuf, stream: String) -> Result<Self, Error> {
        let lock = Lock::take(&path)?;
        let mut log = Self::new(path, stream, Some(lock));
        if let Some(bytes) = log.read_bytes()? {
            log.replay(&bytes)?;
            let file = OpenOptions::new().write(true).open(&log.path);
            log.file = Some(file.map_err(|source| log.io("open", source))?);
        }
        log.plan_compaction();
        Ok(log)
    }

    /// The checkpoint in a file that another process may be writing to: each of its records is there
    /// whole or not at all, and the file is replaced in one step.
    pub(super) fn peek(path: PathBuf, stream: String) -> Result<Option<Checkpoint>, Error> {
        let mut log = Self::new(path, stream, None);
        let Some(bytes) = log.read_bytes()? else { return Ok(None) };
        log.replay(&bytes)?;
        Ok(log.checkpoint)
    }

    fn new(path: PathBuf, stream: String, lock: Option<Lock>) -> Self {
        Self {
            path,
            stream,
            checkpoint: None,
            file: None,
            base_bytes: 0,
            good_bytes: 0,
            compact_at_bytes: 0,
            lock,
        }
    }

    /// Names the lock that is held.
    pub(super) fn lock_identity(&self) -> Option<String> {
        self.lock.as_ref()?.identity()
    }

    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    pub(super) fn begin(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        self.rewrite(&checkpoint)?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    pub(super) fn save(&mut self, delta: &Delta) -> Result<(), Error> {
        if self.checkpoint.is_none() {
            return Err(Error::NotBegun { place: self.path.display().to_string() });
        }
        // The memory follows the file, never the other way round.
        if self.append(delta)? {
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.apply(delta);
            }
            self.compact();
        } else if let Some(mut checkpoint) = self.checkpoint.clone() {
            checkpoint.apply(delta);
            self.begin(checkpoint)?;
        }
        Ok(())
    }

    /// Writes the file again when it has grown too long. What was saved is saved, so a failure is
    /// only put off: a disk too full for a second copy may have room for many more lines.
    fn compact(&mut self) {
        if self.good_bytes <= self.compact_at_bytes {
            return;
        }
        let Some(checkpoint) = self.checkpoint.take() else { return };
        if let Err(error) = self.rewrite(&checkpoint) {
            warn!(%error, "the checkpoint file could not be compacted, trying again later");
            self.compact_at_bytes = self.good_bytes.saturating_mul(2);
        }
        self.checkpoint = Some(checkpoint);
    }

    fn read_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let found = format!("{} bytes that are not a checkpoint", metadata.len());
                return Err(self.corrupt(0, found));
            }
            Ok(metadata) if !metadata.is_file() => {
                let found = io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
                return Err(self.io("read", found));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", source)),
        }
        fs::read(&self.path).map(Some).map_err(|source| self.io("read", source))
    }

    fn replay(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut lines = Lines::new(bytes);
        loop {
            let offset = lines.offset();
            let read = lines.read().map_err(|source| self.io("read", source))?;
            let (found, is_last) = match read {
                None => break,
                Some(Line::Good(text)) => {
                    self.replay_record(offset, text)?;
                    self.good_bytes = lines.offset();
                    if self.base_bytes == 0 {
                        self.base_bytes = self.good_bytes;
                    }
                    continue;
                }
                Some(Line::Torn) => ("the file ends inside a record".to_owned(), true),
                Some(Line::Bad { why, is_last }) => (why, is_last),
            };
            // Renaming puts the first line in place whole; only a later one can be cut short.
            if !is_last || offset == 0 {
                return Err(self.corrupt(offset, found));
            }
            if self.lock.is_some() {
                warn!(
                    path = %self.path.display(), offset, found,
                    "the checkpoint's last record was cut short by a crash and is ignored"
                );
            }
            break;
        }
        if self.checkpoint.is_none() {
            return Err(self.corrupt(0, "the file is empty".to_owned()));
        }
        Ok(())
    }

    fn replay_record(&mut self, offset: u64, text: &[u8]) -> Result<(), Error> {
        if self.checkpoint.is_some() {
            let delta = record::read_delta(text).map_err(|found| self.corrupt(offset, found))?;
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.apply(&delta);
            }
            return Ok(());
        }
        let format: record::FormatOnly = serde_json::from_slice(text)
            .map_err(|error| self.corrupt(offset, format!("not a checkpoint: {error}")))?;
        if format.binpulse_checkpoint > record::FORMAT {
            return Err(Error::Format {
                place: self.path.display().to_string(),
                found: format.binpulse_checkpoint,
                known: record::FORMAT,
            });
        }
        let base = record::read_base(text).map_err(|found| self.corrupt(offset, found))?;
        if base.stream != self.stream {
            return Err(Error::OtherStream {
                place: self.path.display().to_string(),
                found: base.stream,
                wanted: self.stream.clone(),
            });
        }
        self.checkpoint = Some(base);
        Ok(())
    }

    /// Adds a line and syncs it. `false`: the file is gone or another, and must be written again.
    fn append(&mut self, delta: &Delta) -> Result<bool, Error> {
        if !self.is_in_place() {
            return Ok(false);
        }
        let line = record::write_delta(delta).map_err(|error| self.io("encode", error.into()))?;
        let good_bytes = self.good_bytes;
        let Some(file) = &mut self.file else { return Ok(false) };
        let written = journal::append(file, good_bytes, &line);
        written.map_err(|source| self.io("write to", source))?;
        self.good_bytes += line.len() as u64;
        Ok(true)
    }

    /// Whether the open file is still the one that the path names. Somebody may have removed it, or
    /// put a copy in its place; writing on would be lost with the next restart.
    fn is_in_place(&self) -> bool {
        let Some(open) = self.file.as_ref().and_then(|file| file.metadata().ok()) else {
            return false;
        };
        let named = fs::metadata(&self.path);
        let same = named.is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
        if !same {
            warn!(
                path = %self.path.display(),
                "the checkpoint file was removed or replaced; writing it again"
            );
        }
        same
    }

    fn rewrite(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let line =
            record::write_base(checkpoint).map_err(|error| self.io("encode", error.into()))?;
        let failed = |source| self.io("write", source);
        let file =
            journal::replace(&self.path, failed, |file| file.write_all(&line).map_err(failed))?;
        self.file = Some(file);
        self.base_bytes = line.len() as u64;
        self.good_bytes = self.base_bytes;
        self.plan_compaction();
        Ok(())
    }

    fn plan_compaction(&mut self) {
        let deltas = self.base_bytes.saturating_mul(DELTA_BYTES_PER_BASE).max(DELTA_BYTES_MIN);
        self.compact_at_bytes = self.base_bytes.saturating_add(deltas);
    }

    fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }

    fn corrupt(&self, offset: u64, found: String) -> Error {
        Error::Corrupt { path: self.path.clone(), offset, found }
    }
}
