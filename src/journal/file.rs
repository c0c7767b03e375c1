//! The file below the lines: appended to, or put in place as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of files that nobody else reads.
pub const PRIVATE: u32 = 0o600;

/// Writes `bytes` at `offset`, cutting off what lies beyond, and waits until they are on the disk.
/// After an error the same may be tried again.
pub fn append(file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.set_len(offset)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Puts what `write` writes at `path`, in one step that survives a crash. What was there stays if
/// anything fails. Returns the new file, open for writing.
pub fn replace<E>(
    path: &Path,
    failed: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<File, E> {
    let new = beside(path, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(PRIVATE);
    let mut file = options.open(&new).map_err(&failed)?;
    write(&mut file)?;
    let placed = file.sync_all().and_then(|()| fs::rename(&new, path));
    placed.and_then(|()| sync_folder(path)).map_err(failed)?;
    Ok(file)
}

/// Makes the name of a new file durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path)).and_then(|folder| folder.sync_all())
}

/// The file of the same name with `suffix` behind it, in the same folder.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a file of this path is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_takes_the_place_of_what_a_failed_write_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut file =
            replace(&path, |error| error, |file| file.write_all(b"one\ntw")).expect("room");
        append(&mut file, 4, b"three\n").expect("room");
        append(&mut file, 10, b"4\n").expect("room");
        assert_eq!(fs::read(&path).expect("there"), b"one\nthree\n4\n");
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "old").expect("room");
        let failed = replace(
            &path,
            |error| error,
            |file| {
                file.write_all(b"new")?;
                Err(io::Error::other("no more"))
            },
        );
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("there"), b"old");
        replace(&path, |error| error, |file| file.write_all(b"new")).expect("room");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert!(!beside(&path, ".new").exists());
    }

    #[test]
    fn the_folder_of_a_bare_name_is_the_one_at_hand() {
        for (path, folder) in [("a/b", "a"), ("/a", "/"), ("a", "."), ("./a", ".")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
