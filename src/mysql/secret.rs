//! A password.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest password that is read from a file, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Text that neither `Debug` nor `Display` shows. One that is kept in a file is read again by whoever
/// connects: a rotation needs no restart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    text: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None }
    }

    /// Hides `text`, which was read from `file`.
    pub fn in_file(text: impl Into<String>, file: PathBuf) -> Self {
        Self { text: text.into(), file: Some(file) }
    }

    /// As it is now, for one login. While its file can't be read, or is empty, it is as it was.
    #[must_use]
    pub fn now(&self) -> Self {
        let Some(file) = &self.file else { return self.clone() };
        match read(file) {
            Ok(text) if !text.is_empty() => Self::new(text),
            // A file that is just being written.
            Ok(_) => Self::new(&*self.text),
            Err(error) => {
                tracing::warn!(
                    file = %file.display(), %error,
                    "the file of a password can't be read: the password that was read at start \
                     remains in use"
                );
                Self::new(&*self.text)
            }
        }
    }

    /// The text itself, for the one who sends it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// The text in the file, without the end of its line.
fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a password"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILE_BYTES_MAX, Secret};

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret} {secret:?} {secret:#?}").contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn one_in_a_file_is_as_the_file_says_now_and_as_it_was_while_that_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let secret = Secret::in_file("before", path.clone());
        assert_eq!(secret.now().expose(), "before", "no file");
        for (content, expected) in [("after\n", "after"), ("\n", "before"), (" a b\r\n", " a b")] {
            fs::write(&path, content).expect("a file");
            assert_eq!(secret.now().expose(), expected, "{content:?}");
        }
        let long = usize::try_from(FILE_BYTES_MAX).expect("small") + 1;
        fs::write(&path, "x".repeat(long)).expect("a file");
        assert_eq!(secret.now().expose(), "before");
        fs::write(&path, [0xff, 0xfe]).expect("a file");
        assert_eq!(secret.now().expose(), "before");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        assert_eq!(secret.now().expose(), "before");
    }
}
