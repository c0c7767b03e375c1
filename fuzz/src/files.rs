//! Files that we read: checkpoint, quarantine, configuration.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use binpulse::app::Plan;
use binpulse::checkpoint::{FileStore, Store};
use binpulse::config::{self, Environment};
use binpulse::sink::quarantine::{Entry, Reader};
use tokio::runtime::Runtime;

/// Where a file is put for the code under test; in memory where the machine has such a place.
struct ControlRegistry {
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl ControlRegistry {
    fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self { folder: made.expect("a folder"), runtime: runtime.expect("a runtime") }
    }

    fn put(&self, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join("input");
        fs::write(&path, content).expect("a writable folder");
        path
    }
}

thread_local! {
    static DESK: RefCell<ControlRegistry> = RefCell::new(ControlRegistry::new());
}

/// Each line with its checksum put right, where the first byte is not `#`.
fn lines(input: &[u8]) -> Vec<u8> {
    if let Some(rest) = input.strip_prefix(b"#") {
        return rest.to_vec();
    }
    let mut file = Vec::new();
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        file.extend(format!("{:08x} ", crc32c::crc32c(line)).into_bytes());
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    file
}

/// A checkpoint file. What was read is the same when written and read again.
pub fn checkpoint(input: &[u8]) -> u64 {
    DESK.with_borrow(|registry| {
        let path = registry.put(&lines(input));
        registry.runtime.block_on(async {
            let Ok(mut store) = FileStore::open(&path, "main").await else { return 0 };
            let read = store.load().await.expect("it was opened").expect("it is not empty");
            store.begin(&read).await.expect("it can be written");
            drop(store);
            let mut store = FileStore::open(&path, "main").await.expect("we wrote it");
            assert_eq!(store.load().await.expect("it was opened").as_ref(), Some(&read));
            1
        })
    })
}

/// A quarantine file.
pub fn quarantine(input: &[u8]) -> u64 {
    DESK.with_borrow(|registry| {
        let path = registry.put(&lines(input));
        let Ok(reader) = Reader::new(&path) else { return 0 };
        let mut entries = 0;
        for entry in reader {
            entries += u64::from(entry.is_ok());
            if let Ok(Entry::Message(record)) = entry {
                drop(record.into_message(1, binpulse::encode::LaneId(0)));
            }
        }
        entries
    })
}

/// A configuration file; variables and flags behind lines that are `===`.
pub fn config(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let mut parts = text.splitn(3, "\n===\n");
    let file = parts.next().unwrap_or_default();
    let pairs = |text: &str| -> Vec<(String, String)> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let environment: Environment = pairs(parts.next().unwrap_or_default()).into_iter().collect();
    let flags = pairs(parts.next().unwrap_or_default());
    let flags: Vec<_> = flags
        .into_iter()
        .filter_map(|(key, value)| Some((config::Setting::find(&key)?.key, value)))
        .collect();
    let secret = |_: &str| Ok("0f-a-s3cret-f1le".to_owned());
    match config::load(Some(("fuzzed.toml", file)), &environment, &flags, &secret) {
        Ok(values) => {
            assert!(!format!("{values:?}").contains("0f-a-s3cret-f1le"), "no secret is shown");
            if let Err(errors) = Plan::new(&values) {
                assert!(!errors.is_empty());
                let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
                assert!(words.iter().all(|words| !words.contains("0f-a-s3cret-f1le")));
            }
            1
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            drop(errors.iter().map(ToString::to_string).collect::<Vec<_>>());
            0
        }
    }
}
