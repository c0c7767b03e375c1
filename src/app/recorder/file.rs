//! A history in a file beside the checkpoint's.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::journal::{self, Line, Lines};
use crate::telemetry::verdict_history::{BYTES_MAX, Change};

/// What a file may have: the changes, their checksums, and room for a version that keeps more.
const FILE_BYTES_MAX: u64 = 4 * BYTES_MAX as u64;

/// The changes that were saved, the oldest first. A file that is not there has none; one that is damaged
/// is an error, as a whole.
pub(super) fn load(path: &Path) -> io::Result<Vec<Change>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut lines = Lines::new(BufReader::new(file.take(FILE_BYTES_MAX)));
    let mut changes = Vec::new();
    while let Some(line) = lines.read()? {
        match line {
            Line::Good(text) => changes.push(serde_json::from_slice(text)?),
            damaged @ (Line::Torn | Line::Bad { .. }) => {
                let at = changes.len() + 1;
                return Err(io::Error::other(format!("line {at} is damaged: {damaged:?}")));
            }
        }
    }
    Ok(changes)
}

pub(super) fn save(path: &Path, changes: &[Change]) -> io::Result<()> {
    let mut text = String::new();
    for change in changes {
        text += &journal::line(&serde_json::to_string(change)?);
    }
    journal::replace(path, |error| error, |file| file.write_all(text.as_bytes())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        let change =
            |at_us| Change { at_us, state: format!("state {at_us}\n"), ..Change::default() };
        (0..3).map(change).collect()
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_missing_file_is_an_empty_history() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.checkpoint.history");
        assert_eq!(load(&path).expect("no file"), []);
        save(&path, &changes()).expect("saved");
        assert_eq!(load(&path).expect("loaded"), changes());
        save(&path, &changes()[1..]).expect("replaced");
        assert_eq!(load(&path).expect("loaded"), changes()[1..]);
    }

    #[test]
    fn no_damage_is_taken_for_a_history_and_none_panics() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("h");
        save(&path, &changes()).expect("saved");
        let whole = fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            fs::write(&path, &bytes).expect("written");
            assert!(load(&path).is_err(), "byte {at}");
        }
        fs::write(&path, journal::line("{\"at_us\":\"text\"}")).expect("written");
        assert!(load(&path).is_err(), "a form that is not known");
    }
}
