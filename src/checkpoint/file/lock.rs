//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::Error;
use crate::journal::{PRIVATE, beside};

/// Longest note about the owner that is read.
const OWNER_BYTES_MAX: u64 = 200;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock that belongs to the checkpoint at `path`, or says who holds it.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let beside = beside(path, ".lock");
        let io = |action| {
            let path = beside.clone();
            move |source| Error::Io { action, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(&beside)
            .map_err(io("open"))?;
        lock(path, &beside, &mut file)?;
        file.set_len(0).map_err(io("write"))?;
        file.write_all(format!("process {}\n", std::process::id()).as_bytes())
            .map_err(io("write"))?;
        Ok(Self { file })
    }
}

impl Lock {
    /// Names the locked file among all files of all machines, until the machine is started again: whoever
    /// has locked it knows that whoever had locked it before has ended. `None` where the system does not
    /// tell.
    pub(super) fn identity(&self) -> Option<String> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let facts = self.file.metadata().ok()?;
        Some(format!("{} {} {}", boot.trim(), facts.dev(), facts.ino()))
    }

    /// Whether there is a lock that could be taken; an error says why it could not be.
    pub(super) fn is_held(path: &Path) -> Result<bool, Error> {
        let beside = beside(path, ".lock");
        let mut file = match OpenOptions::new().read(true).write(true).open(&beside) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::Io { action: "open", path: beside, source }),
        };
        // Given up when the file is closed.
        lock(path, &beside, &mut file)?;
        Ok(true)
    }
}

/// Locks `file`, which is at `beside`, until it is closed; or says who holds the checkpoint at `path`.
fn lock(path: &Path, beside: &Path, file: &mut File) -> Result<(), Error> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            Error::Fenced { place: path.display().to_string(), owner: owner(file) }
        }
        TryLockError::Error(source) => {
            Error::Io { action: "lock", path: beside.to_owned(), source }
        }
    })
}

fn owner(file: &mut File) -> String {
    let mut note = String::new();
    match file.take(OWNER_BYTES_MAX).read_to_string(&mut note) {
        Ok(_) if !note.trim().is_empty() => note.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}
