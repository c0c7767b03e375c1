//! What opening a checkpoint would meet, found out without taking it from whoever has it and without
//! leaving anything behind.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::lock::{Lock, PRIVATE, beside};
use super::log::Log;
use super::{Checkpoint, Error};

/// Room that a new checkpoint needs at least, bytes: a block.
const ROOM_BYTES: usize = 4096;

/// The checkpoint as opening would find it, or why opening would be refused.
pub(super) fn rehearse(path: &Path, stream: String) -> Result<Option<Checkpoint>, Error> {
    let was_locked_before = Lock::look(path)?;
    let checkpoint = Log::peek(path.to_owned(), stream)?;
    if checkpoint.is_some() {
        let opened = OpenOptions::new().write(true).open(path);
        let refused = |source| Error::Io { action: "open", path: path.to_owned(), source };
        opened.map_err(refused)?;
    }
    let needed = if checkpoint.is_some() { 0 } else { ROOM_BYTES };
    if needed > 0 || !was_locked_before {
        // Two that look at the same time must not remove each other's.
        let trial = beside(path, &format!(".check-{}", std::process::id()));
        let written = try_out(&trial, needed);
        written.map_err(|source| Error::Io { action: "write", path: trial, source })?;
    }
    Ok(checkpoint)
}

/// Writes a file of so many bytes and removes it.
fn try_out(path: &Path, bytes: usize) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(PRIVATE).open(path)?;
    let written = file.write_all(&vec![0; bytes]).and_then(|()| file.sync_all());
    fs::remove_file(path)?;
    written
}
