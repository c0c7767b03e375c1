//! A captured log, and a server that dumps it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::change::{Position, TransactionId};
use crate::decode::{Config, Decoder, Step, Unseen, kind};
use crate::source::Start;

/// Offset of a file's first event.
const FIRST: u64 = 4;

/// An event of a file.
#[derive(Debug, Clone)]
struct Logged {
    start: Position,
    bytes: Vec<u8>,
    /// Start of the GTID event that it belongs to.
    group: Option<Position>,
}

/// A server's binary log.
#[derive(Debug, Clone)]
pub(super) struct Log {
    events: Vec<Logged>,
    ids: HashMap<Position, TransactionId>,
}

pub(super) fn decoder() -> Decoder {
    Decoder::new(Config { verify_checksum: false, xa_unseen: Unseen::Pass, ..Config::default() })
}

fn is_gtid(event_type: u8) -> bool {
    [kind::GTID, kind::GTID_TAGGED, kind::ANONYMOUS_GTID, kind::MARIA_GTID].contains(&event_type)
}

impl Log {
    /// The fixture of a quirk on a server. `strips_gtids`: as a server without GTIDs logs the same.
    pub(super) fn load(fixture: &str, strips_gtids: bool) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let entries = fs::read_dir(&folder).expect("a fixture");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.file_stem().is_some_and(|stem| stem == "binlog"));
        paths.sort();
        let mut log = Self { events: Vec::new(), ids: HashMap::new() };
        for path in paths {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            log.add_file(&name, &fs::read(&path).expect("a file"), strips_gtids);
        }
        log.name_groups();
        log
    }

    fn add_file(&mut self, name: &str, file: &[u8], strips_gtids: bool) {
        let (mut at, mut group) = (4, None);
        while at < file.len() {
            let length = u32::from_le_bytes(file[at + 9..at + 13].try_into().expect("4 bytes"));
            let bytes = file[at..at + length as usize].to_vec();
            let start = Position::new(name, at as u64);
            at += bytes.len();
            if is_gtid(bytes[4]) {
                if strips_gtids {
                    continue;
                }
                group = Some(start.clone());
            }
            if [kind::ROTATE, kind::STOP, kind::FORMAT_DESCRIPTION].contains(&bytes[4]) {
                group = None;
            }
            self.events.push(Logged { start, bytes, group: group.clone() });
        }
    }

    fn name_groups(&mut self) {
        let mut decoder = decoder();
        let mut ids = HashMap::new();
        for event in &self.events {
            if event.start.offset == FIRST {
                decoder.follow_at(event.start.clone());
            }
            let mut steps = decoder.feed(&event.bytes).expect("whole");
            while let Some(step) = steps.next().expect("whole") {
                let id = match step {
                    Step::Begin(transaction) => Some(transaction.id),
                    Step::Passed { prepared, .. } => prepared,
                    Step::Rows(_)
                    | Step::Schema(_)
                    | Step::Changed(_)
                    | Step::Commit(_)
                    | Step::Idle { .. }
                    | Step::Rotate { .. } => None,
                };
                if let (Some(id), Some(group)) = (id, &event.group) {
                    ids.insert(group.clone(), id);
                }
            }
        }
        self.ids = ids;
    }

    /// Where a dump of everything begins.
    pub(super) fn front(&self) -> Position {
        self.events.first().expect("events").start.clone()
    }

    /// What a server sends that is asked to begin there; with each event where it starts, if that
    /// is the front of a file.
    pub(super) fn dump(&self, start: &Start) -> Vec<(Option<Position>, Vec<u8>)> {
        let mut dump = Vec::new();
        let from = match start {
            Start::Position(position) => position.clone(),
            Start::GtidFrom { from, .. } => from.clone(),
            Start::Gtid(_) | Start::Maria(_) => self.front(),
        };
        let first = self.events.iter().position(|event| event.start.file == from.file);
        let first = first.expect("the file is there");
        dump.push((None, rotation(&from)));
        for (index, event) in self.events.iter().enumerate().skip(first) {
            let is_format = event.bytes[4] == kind::FORMAT_DESCRIPTION;
            if event.start.file == from.file && event.start.offset < from.offset && !is_format {
                continue;
            }
            let id = event.group.as_ref().and_then(|group| self.ids.get(group));
            let is_known = match (start, id) {
                (
                    Start::Gtid(had) | Start::GtidFrom { set: had, .. },
                    Some(TransactionId::Gtid(gtid)),
                ) => had.contains(gtid),
                (Start::Maria(had), Some(TransactionId::Maria(gtid))) => had.contains(gtid),
                _ => false,
            };
            if !is_known {
                let front =
                    (index > first && event.start.offset == FIRST).then(|| event.start.clone());
                dump.push((front, event.bytes.clone()));
            }
        }
        dump
    }
}

/// The event that a server makes up in front of a dump: which file it is.
fn rotation(to: &Position) -> Vec<u8> {
    let length = u32::try_from(19 + 8 + to.file.len()).expect("short");
    let mut event = vec![0, 0, 0, 0, kind::ROTATE, 1, 0, 0, 0];
    event.extend(length.to_le_bytes());
    event.extend([0, 0, 0, 0, 0x20, 0]);
    event.extend(to.offset.to_le_bytes());
    event.extend(to.file.as_bytes());
    event
}
