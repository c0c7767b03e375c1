//! What opening a checkpoint would meet, found out without taking it from whoever has it and without
//! leaving anything behind.

use std::fs::OpenOptions;
use std::path::Path;

use super::lock::Lock;
use super::log::Log;
use super::{Checkpoint, Error};
use crate::journal;

/// Room that a new checkpoint needs at least, bytes: a block.
const ROOM_BYTES: usize = 4096;

/// The checkpoint as opening would find it, or why opening would be refused.
pub(super) fn rehearse(path: &Path, stream: String) -> Result<Option<Checkpoint>, Error> {
    let was_locked_before = Lock::is_held(path)?;
    let checkpoint = Log::peek(path.to_owned(), stream)?;
    if checkpoint.is_some() {
        let opened = OpenOptions::new().write(true).open(path);
        let refused = |source| Error::Io { action: "open", path: path.to_owned(), source };
        opened.map_err(refused)?;
    }
    let needed = if checkpoint.is_some() { 0 } else { ROOM_BYTES };
    if needed > 0 || !was_locked_before {
        journal::write_beside(path, needed).map_err(|journal::Failed { path, source }| {
            Error::Io { action: "write", path, source }
        })?;
    }
    Ok(checkpoint)
}
