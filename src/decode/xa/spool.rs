//! Where held events lie: in memory, and beyond a bound in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::XaFault;
use crate::change::Position;

/// Opens files for what does not fit in memory.
pub trait Overflow: Send + std::fmt::Debug {
    /// A new, empty file; `None` if there is no place for one.
    fn open(&mut self) -> io::Result<Option<Box<dyn OverflowFile>>>;
}

/// One file of held events. Dropped when its transaction is decided; nothing of it may be left then.
pub trait OverflowFile: Send + std::fmt::Debug {
    /// Adds bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it off behind `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Fills `into` with the bytes from `offset` on; an error if there are fewer.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// No files: more than fits in memory is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryOnly;

impl Overflow for MemoryOnly {
    fn open(&mut self) -> io::Result<Option<Box<dyn OverflowFile>>> {
        Ok(None)
    }
}

/// Files without a name in a folder: the system removes them with the process, however that ends.
#[derive(Debug, Clone)]
pub struct TempFolder {
    folder: PathBuf,
    next: u64,
}

impl TempFolder {
    /// Files in `folder`, which must exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, next: 0 }
    }
}

impl Overflow for TempFolder {
    fn open(&mut self) -> io::Result<Option<Box<dyn OverflowFile>>> {
        loop {
            let name = format!("binpulse-held-{}-{}", std::process::id(), self.next);
            self.next += 1;
            let path = self.folder.join(name);
            match create(&path) {
                Ok(file) => {
                    std::fs::remove_file(&path)?;
                    return Ok(Some(Box::new(file)));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A new file that nobody else may read: rows are in it.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
}

impl OverflowFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.read_exact(into)
    }
}

/// Bounds of all spools together.
#[derive(Debug)]
pub(in crate::decode) struct Limits {
    /// Bytes of held events in memory.
    pub(in crate::decode) memory_bytes_max: u64,
    /// Where the rest goes.
    pub(in crate::decode) overflow: Box<dyn Overflow>,
}

/// One event's place in a spool.
#[derive(Debug, Clone, Copy)]
struct Entry {
    length: u32,
    /// Index of its file's name in [`Spool::files`].
    file: u32,
    /// Where it starts in that file.
    offset: u64,
}

/// Space that an empty spool keeps.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Bytes of an entry in front of its event.
const ENTRY_LENGTH: usize = 16;

/// Events of one transaction, in order: first those in memory, then those in the file.
#[derive(Debug, Default)]
pub(in crate::decode) struct Spool {
    memory: Vec<u8>,
    overflow: Option<Box<dyn OverflowFile>>,
    overflow_bytes: u64,
    files: Vec<Arc<str>>,
}

impl Spool {
    /// Bytes that are held in memory.
    pub(in crate::decode) fn memory_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Bytes that are held, in memory and in the file.
    pub(in crate::decode) fn length(&self) -> u64 {
        self.memory_bytes().saturating_add(self.overflow_bytes)
    }

    /// An empty one with its space, unless that is large.
    pub(in crate::decode) fn emptied(mut self) -> Self {
        self.memory.clear();
        self.memory.shrink_to(KEPT_BYTES_MAX);
        self.files.clear();
        Self { memory: self.memory, files: self.files, ..Self::default() }
    }

    /// Bytes of memory that it has, used or not.
    #[cfg(test)]
    pub(in crate::decode) fn space(&self) -> usize {
        self.memory.capacity()
    }

    /// Cuts it off at a length that it had before.
    pub(super) fn truncate(&mut self, length: u64) -> Result<(), XaFault> {
        let memory = self.memory_bytes();
        if length >= memory {
            self.overflow_bytes = length - memory;
            if let Some(file) = &mut self.overflow {
                file.truncate(self.overflow_bytes)?;
            }
        } else {
            self.memory.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            self.overflow = None;
            self.overflow_bytes = 0;
        }
        Ok(())
    }

    /// Adds one event. `in_memory` counts the bytes of all spools.
    pub(super) fn push(
        &mut self,
        event: &[u8],
        position: &Position,
        in_memory: &mut u64,
        limits: &mut Limits,
    ) -> Result<(), XaFault> {
        if self.files.last() != Some(&position.file) {
            self.files.push(Arc::clone(&position.file));
        }
        let unfit = |what| XaFault::Spool(io::Error::new(io::ErrorKind::InvalidInput, what));
        let entry = Entry {
            length: u32::try_from(event.len()).map_err(|_| unfit("event too long"))?,
            file: u32::try_from(self.files.len() - 1).map_err(|_| unfit("too many files"))?,
            offset: position.offset,
        };
        let bytes = (ENTRY_LENGTH + event.len()) as u64;
        if self.overflow.is_none() {
            let held = in_memory.saturating_add(bytes);
            if held <= limits.memory_bytes_max {
                self.memory.extend_from_slice(&entry.to_bytes());
                self.memory.extend_from_slice(event);
                *in_memory = held;
                return Ok(());
            }
            let limit = limits.memory_bytes_max;
            let file = limits.overflow.open()?.ok_or(XaFault::TooLarge { held, limit })?;
            self.overflow = Some(file);
        }
        if let Some(file) = &mut self.overflow {
            file.append(&entry.to_bytes())?;
            file.append(event)?;
            self.overflow_bytes = self.overflow_bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Reads the event at `*at` (0 is the first) into `into`, and moves `*at` behind it. Returns where
    /// the event was; `None` behind the last.
    pub(in crate::decode) fn read(
        &mut self,
        at: &mut u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Position>, XaFault> {
        if *at >= self.length() {
            return Ok(None);
        }
        let mut front = [0; ENTRY_LENGTH];
        self.copy(*at, &mut front)?;
        let entry = Entry::from_bytes(front);
        into.clear();
        let start = *at + ENTRY_LENGTH as u64;
        match self.in_memory(start, entry.length as usize) {
            Some(event) => into.extend_from_slice(event),
            None => {
                into.resize(entry.length as usize, 0);
                self.copy(start, into)?;
            }
        }
        *at += ENTRY_LENGTH as u64 + u64::from(entry.length);
        let file = self.files.get(entry.file as usize).cloned().unwrap_or_default();
        Ok(Some(Position { file, offset: entry.offset }))
    }

    /// So many bytes from a place on, if they are in memory.
    fn in_memory(&self, at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.memory.get(at..)?.get(..length)
    }

    fn copy(&mut self, at: u64, into: &mut [u8]) -> Result<(), XaFault> {
        let gone = || XaFault::Spool(io::ErrorKind::UnexpectedEof.into());
        if let Some(bytes) = self.in_memory(at, into.len()) {
            into.copy_from_slice(bytes);
            return Ok(());
        }
        let memory = self.memory_bytes();
        let offset = at.checked_sub(memory).ok_or_else(gone)?;
        match &mut self.overflow {
            Some(file) => Ok(file.read_at(offset, into)?),
            None => Err(gone()),
        }
    }
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_LENGTH] {
        let whole =
            u128::from(self.length) | u128::from(self.file) << 32 | u128::from(self.offset) << 64;
        whole.to_le_bytes()
    }

    fn from_bytes(bytes: [u8; ENTRY_LENGTH]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        let quarter = |shift: u32| u32::try_from(whole >> shift & u128::from(u32::MAX));
        Self {
            length: quarter(0).unwrap_or_default(),
            file: quarter(32).unwrap_or_default(),
            offset: u64::try_from(whole >> 64).unwrap_or_default(),
        }
    }
}
