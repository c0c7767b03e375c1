//! Places of files: the folder of one, and whether a file could be made there, found out by making one
//! beside it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::{PRIVATE, beside};

/// A file that could not be made.
#[derive(Debug)]
pub struct Failed {
    /// Where it was tried.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Writes so many bytes to a file beside `path` and removes it. Nobody else has that file: two that look
/// at the same time must not remove each other's.
pub fn write_beside(path: &Path, bytes: usize) -> Result<(), Failed> {
    let path = beside(path, &format!(".check-{}", std::process::id()));
    write_and_remove(&path, bytes).map_err(|source| Failed { path, source })
}

fn write_and_remove(path: &Path, bytes: usize) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(PRIVATE).open(path)?;
    let written = file.write_all(&vec![0; bytes]).and_then(|()| file.sync_all());
    fs::remove_file(path)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_leaves_nothing_and_names_the_place_where_it_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        write_beside(&folder.path().join("x"), 9).expect("there is room");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let failed = write_beside(&folder.path().join("gone").join("x"), 9).expect_err("no folder");
        assert_eq!(failed.source.kind(), io::ErrorKind::NotFound);
        assert_eq!(failed.path.parent(), Some(&*folder.path().join("gone")));
    }
}
