//! A server's binary log: files of transactions, and what is sent of them.

use std::collections::VecDeque;
use std::sync::Arc;

use binpulse::change::{Gtid, GtidSet};

use crate::value::{Definition, Row, put_length};

const GTID: u8 = 33;
const QUERY: u8 = 2;
const TABLE_MAP: u8 = 19;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const DELETE_ROWS: u8 = 32;
const XID: u8 = 16;
const ROTATE: u8 = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const PREVIOUS_GTIDS: u8 = 35;
const HEARTBEAT: u8 = 27;

/// Offset of a file's first event.
pub(crate) const FIRST: u64 = 4;

/// A changed row: what it was, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) table: Arc<Definition>,
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
}

/// A transaction in a log.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) gtid: Gtid,
    /// Counts all of the server.
    pub(crate) ordinal: u64,
    pub(crate) start: u64,
    /// When the client committed it, microseconds since 1970 UTC, and on which server.
    pub(crate) original_us: i64,
    pub(crate) server_id: u32,
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) changes: Vec<Change>,
}

/// A file of the log.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) number: u64,
    pub(crate) before: GtidSet,
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) end: u64,
    /// When it was begun, seconds since 1970 UTC.
    begun: u32,
    preamble: Vec<Vec<u8>>,
}

impl File {
    pub(crate) fn name(&self) -> String {
        format!("binlog.{:06}", self.number)
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) files: VecDeque<File>,
    server_id: u32,
    next_ordinal: u64,
}

/// An event: header, body, checksum. `end` 0: it stands in no file.
fn event(kind: u8, seconds: u32, server_id: u32, end: u64, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(19 + body.len() + 4).expect("short");
    let end = u32::try_from(end).expect("files are small");
    let mut event = seconds.to_le_bytes().to_vec();
    event.push(kind);
    event.extend(server_id.to_le_bytes());
    event.extend(length.to_le_bytes());
    event.extend(end.to_le_bytes());
    event.extend(flags.to_le_bytes());
    event.extend(body);
    let sum = crc32fast::hash(&event);
    event.extend(sum.to_le_bytes());
    event
}

const ARTIFICIAL: u16 = 0x20;

impl Log {
    pub(crate) fn new(server_id: u32, at_us: i64) -> Self {
        Self::with_past(server_id, GtidSet::new(), at_us)
    }

    /// One that begins behind these transactions.
    pub(crate) fn with_past(server_id: u32, before: GtidSet, at_us: i64) -> Self {
        let mut log = Self { files: VecDeque::new(), server_id, next_ordinal: 1 };
        log.open(1, before, at_us);
        log
    }

    fn open(&mut self, number: u64, before: GtidSet, at_us: i64) {
        let (groups, preamble, begun) = (Vec::new(), Vec::new(), seconds(at_us));
        let mut file = File { number, before, groups, end: FIRST, begun, preamble };
        for (kind, body) in
            [(FORMAT_DESCRIPTION, description()), (PREVIOUS_GTIDS, file.before.encode())]
        {
            file.end += 19 + body.len() as u64 + 4;
            file.preamble.push(event(kind, begun, self.server_id, file.end, 0, &body));
        }
        self.files.push_back(file);
    }

    pub(crate) fn current(&self) -> &File {
        self.files.back().expect("a log has a file")
    }

    /// Closes the file, and begins the next.
    pub(crate) fn rotate(&mut self, at_us: i64) {
        let current = self.current();
        let mut held = current.before.clone();
        for group in &current.groups {
            held.insert(group.gtid);
        }
        let next = current.number + 1;
        self.open(next, held, at_us);
    }

    /// Removes the oldest file, unless it is the only one; what was in it.
    pub(crate) fn purge_oldest(&mut self) -> Option<File> {
        if self.files.len() < 2 { None } else { self.files.pop_front() }
    }

    /// Drops what was not yet durable.
    pub(crate) fn truncate(&mut self, ordinal_max: u64) {
        for file in &mut self.files {
            file.groups.retain(|group| group.ordinal <= ordinal_max);
        }
        self.next_ordinal = ordinal_max + 1;
        if let Some(file) = self.files.back_mut() {
            let last = file.groups.last();
            let events = |events: &[Vec<u8>]| events.iter().map(|it| it.len() as u64).sum::<u64>();
            file.end = match last {
                Some(group) => group.start + events(&group.events),
                None => FIRST + events(&file.preamble),
            };
        }
    }

    /// Writes a transaction.
    pub(crate) fn append(
        &mut self,
        gtid: Gtid,
        changes: Vec<Change>,
        (at_us, original_us): (i64, i64),
        server_id: u32,
    ) -> Arc<Group> {
        let seconds = seconds(at_us);
        let start = self.current().end;
        let mut bodies = vec![(GTID, Vec::new()), (QUERY, begin())];
        for change in &changes {
            let table = &change.table;
            bodies.push((TABLE_MAP, table.table_map()));
            let kind = match (&change.before, &change.after) {
                (None, _) => WRITE_ROWS,
                (Some(_), Some(_)) => UPDATE_ROWS,
                (Some(_), None) => DELETE_ROWS,
            };
            let mut body = table.id.to_le_bytes()[..6].to_vec();
            // The statement ends here.
            body.extend([1, 0, 2, 0]);
            put_length(table.columns.len(), &mut body);
            let images = [&change.before, &change.after].into_iter().flatten();
            for _ in images.clone() {
                body.extend(table.present());
            }
            for image in images {
                body.extend(table.image(image));
            }
            bodies.push((kind, body));
        }
        bodies.push((XID, self.next_ordinal.to_le_bytes().to_vec()));
        let length = |body: &[u8]| 19 + body.len() as u64 + 4;
        let rest: u64 = bodies.iter().skip(1).map(|(_, body)| length(body)).sum();
        bodies[0].1 = announcement(&gtid, at_us, original_us, rest);
        let mut end = start;
        let mut events = Vec::new();
        for (kind, body) in bodies {
            end += length(&body);
            events.push(event(kind, seconds, server_id, end, 0, &body));
        }
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        let group = Group { gtid, ordinal, start, original_us, server_id, events, changes };
        let group = Arc::new(group);
        let file = self.files.back_mut().expect("a log has a file");
        file.end = end;
        file.groups.push(Arc::clone(&group));
        group
    }

    /// The events that begin a dump of a file: which one it is, and its format.
    pub(crate) fn head(&self, file: &File, from: u64) -> Vec<Vec<u8>> {
        let mut body = from.to_le_bytes().to_vec();
        body.extend(file.name().as_bytes());
        let mut events = vec![event(ROTATE, 0, self.server_id, 0, ARTIFICIAL, &body)];
        if from == FIRST {
            events.extend(file.preamble.iter().cloned());
        } else {
            let body = description();
            events.push(event(FORMAT_DESCRIPTION, file.begun, self.server_id, 0, 0, &body));
        }
        events
    }

    /// The last event of a closed file.
    pub(crate) fn tail(&self, file: &File, next: &File) -> Vec<u8> {
        let mut body = FIRST.to_le_bytes().to_vec();
        body.extend(next.name().as_bytes());
        event(ROTATE, 0, self.server_id, file.end + 19 + body.len() as u64 + 4, 0, &body)
    }

    /// What is sent when there is nothing to send.
    pub(crate) fn heartbeat(&self, file: &File, at: u64) -> Vec<u8> {
        event(HEARTBEAT, 0, self.server_id, at, 0, file.name().as_bytes())
    }
}

fn seconds(us: i64) -> u32 {
    u32::try_from(us / 1_000_000).expect("of this age")
}

fn description() -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend(b"8.4.3");
    body.resize(52, 0);
    body.extend([0, 0, 0, 0, 19]);
    body.extend([13; 40]);
    body.push(1);
    body
}

fn begin() -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.push(0);
    body.extend(b"BEGIN");
    body
}

/// The body of a GTID event of MySQL 8.
fn announcement(gtid: &Gtid, at_us: i64, original_us: i64, rest: u64) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(gtid.source.0);
    body.extend(gtid.sequence.to_le_bytes());
    body.push(2);
    body.extend([0; 16]);
    let micros = |us: i64| u64::try_from(us).expect("of this age");
    body.extend(&(micros(at_us) | 1 << 55).to_le_bytes()[..7]);
    body.extend(&micros(original_us).to_le_bytes()[..7]);
    // The length counts this event too: its own number has always nine bytes here.
    let own = 19 + body.len() as u64 + 9 + 4 + 4;
    body.push(0xfe);
    body.extend((rest + own).to_le_bytes());
    body.extend(80_403_u32.to_le_bytes());
    body
}
