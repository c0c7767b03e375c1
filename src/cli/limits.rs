//! The limits that the process runs under: what would end it without a word is told, or made an error.

use std::io::ErrorKind;

use super::Exit;
use super::style::say;
use crate::shutdown::take_file_size_signal;

/// Open files without which not even a start can be told from a failure: the runtime's own, the
/// listener, a few connections and files.
const OPEN_FILES_MIN: u64 = 64;

/// Makes writes beyond a file-size limit fail, and refuses a limit on open files that is too low to
/// work under.
pub(super) fn prepare() -> Result<(), Exit> {
    enough_open_files()?;
    if let Err(error) = take_file_size_signal() {
        say!("binpulse: can't handle the signal of the file-size limit (SIGXFSZ): {error}");
    }
    Ok(())
}

/// Before anything else is opened: much of what opens files can't do without.
fn enough_open_files() -> Result<(), Exit> {
    let found = match std::fs::read_to_string("/proc/self/limits") {
        Ok(limits) => open_files(&limits),
        // Not Linux.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // Too few to read a file.
        Err(_) => Some(0),
    };
    match found {
        Some(found) if found < OPEN_FILES_MIN => {
            say!(
                "binpulse: too few open files are allowed, expected at least {OPEN_FILES_MIN}: raise \
                 the limit (ulimit -n 1024, LimitNOFILE=1024)"
            );
            Err(Exit::Unavailable)
        }
        Some(_) | None => Ok(()),
    }
}

/// The soft limit on open files; `None`: there is none, or it is not told.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::open_files;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             127000               127000               processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files(&limits.replace("1024  ", "unlimited ")), None);
        assert_eq!(open_files(""), None);
    }
}
