//! A private folder that goes away with its owner.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::Error;

/// Attempts to find a name that is not taken.
const ATTEMPTS_MAX: u32 = 100;

/// A new folder under the system's temporary one, for its owner's eyes only; removed when dropped.
///
/// Its path is short: a socket's path may have 107 bytes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder.
    pub fn create() -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let base = std::env::temp_dir();
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let salt = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.subsec_nanos() % 0xffff);
            let name = format!("binpulse-{}-{number}-{salt:x}", std::process::id());
            let path = base.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    last = Some(error);
                }
                Err(error) => return Err(Error::File { path, source: error }),
            }
        }
        let source = last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into());
        Err(Error::File { path: base, source })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it belongs to root, hence whether we are root.
    pub fn is_of_root(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| metadata.uid() == 0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the folder");
        }
    }
}

/// Copies a folder with all that is in it; `to` must not be there yet.
pub(super) fn copy_all(from: &Path, to: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(to).map_err(Error::file(to))?;
    for entry in std::fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::file(&source))?.is_dir() {
            copy_all(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(Error::file(&source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_away_with_its_owner() {
        let folder = Folder::create().expect("a folder");
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "x").expect("write");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn two_folders_never_share_a_path() {
        let (one, two) = (Folder::create().expect("one"), Folder::create().expect("two"));
        assert_ne!(one.path(), two.path());
    }
}
