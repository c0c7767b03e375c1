//! Events of a log made by hand: what captured logs can't hold, heartbeats and canaries among them.

use crate::change::GtidSet;
use crate::decode::kind;

/// A row of a table of two texts: its key, and what it says.
pub(super) type Pair<'a> = (&'a str, &'a str);

/// A log as it grows.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) events: Vec<Vec<u8>>,
    /// Where the last event ends.
    pub(super) end: u32,
    transactions: u64,
}

pub(super) const SOURCE: [u8; 16] = [7; 16];

impl Made {
    /// A file that begins.
    pub(super) fn new() -> Self {
        let mut made = Self { end: 4, ..Self::default() };
        let mut body = 4_u16.to_le_bytes().to_vec();
        let mut version = b"8.0.36".to_vec();
        version.resize(50, 0);
        body.extend(version);
        body.extend([0; 4]);
        body.push(19);
        let mut lengths = [0; 41];
        lengths[1] = 13;
        body.extend(lengths);
        // No checksums.
        body.extend([0, 0, 0, 0, 0]);
        made.event(kind::FORMAT_DESCRIPTION, &body);
        // It has one itself all the same.
        if let Some((content, sum)) = made.events[0].split_last_chunk_mut() {
            *sum = crc32fast::hash(content).to_le_bytes();
        }
        made
    }

    fn event(&mut self, event_type: u8, body: &[u8]) {
        let length = u32::try_from(19 + body.len()).expect("short");
        self.end += length;
        let mut event = 1_700_000_000_u32.to_le_bytes().to_vec();
        event.push(event_type);
        event.extend(1_u32.to_le_bytes());
        event.extend(length.to_le_bytes());
        event.extend(self.end.to_le_bytes());
        event.extend([0, 0]);
        event.extend(body);
        self.events.push(event);
    }

    /// Transactions so far.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Commit time of a transaction, microseconds since 1970 UTC.
    pub(super) fn committed_at_us(number: u64) -> i64 {
        1_700_000_000_000_000 + i64::try_from(number).expect("small")
    }

    /// A transaction's GTID, which says how long the transaction is.
    pub(super) fn gtid(&mut self, length: u16) {
        self.transactions += 1;
        let mut body = vec![1];
        body.extend(SOURCE);
        body.extend(self.transactions.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        body.extend(&Self::committed_at_us(self.transactions).to_le_bytes()[..7]);
        body.push(0xfd);
        // In KiB, so that a small number is a large transaction.
        body.extend(&(u32::from(length) * 1024).to_le_bytes()[..3]);
        body.extend(&80_036_u32.to_le_bytes());
        self.event(kind::GTID, &body);
    }

    pub(super) fn query(&mut self, statement: &str) {
        let mut body = vec![0; 13];
        body[8] = 1;
        body.extend(b"d\0");
        body.extend(statement.as_bytes());
        self.event(kind::QUERY, &body);
    }

    /// What lies before this file.
    pub(super) fn previous_gtids(&mut self, set: &GtidSet) {
        self.event(kind::PREVIOUS_GTIDS, &set.encode());
    }

    pub(super) fn begin(&mut self) {
        self.gtid(1);
        self.query("BEGIN");
    }

    pub(super) fn commit(&mut self) {
        self.event(kind::XID, &[0; 8]);
    }

    /// A statement that is a transaction.
    pub(super) fn statement(&mut self, statement: &str) {
        self.gtid(1);
        self.query(statement);
    }

    /// The server has nothing more.
    pub(super) fn idle(&mut self) {
        let length = u32::try_from(19 + 9).expect("short");
        let mut event = vec![0, 0, 0, 0, kind::HEARTBEAT];
        event.extend(1_u32.to_le_bytes());
        event.extend(length.to_le_bytes());
        event.extend(self.end.to_le_bytes());
        event.extend([0, 0]);
        event.extend(b"log.00001");
        self.events.push(event);
    }

    /// Rows of `d`.`table`: of text columns `a`, the key, and `b`.
    pub(super) fn inserts(&mut self, table: &str, rows: &[Pair<'_>]) {
        self.map("d", table, &[("a", true), ("b", true)]);
        self.rows(kind::WRITE_ROWS, 2, &rows.iter().map(|(a, b)| pair(a, b)).collect::<Vec<_>>());
    }

    pub(super) fn deletes(&mut self, table: &str, rows: &[Pair<'_>]) {
        self.map("d", table, &[("a", true), ("b", true)]);
        self.rows(kind::DELETE_ROWS, 2, &rows.iter().map(|(a, b)| pair(a, b)).collect::<Vec<_>>());
    }

    pub(super) fn update(&mut self, table: &str, before: Pair<'_>, after: Pair<'_>) {
        self.map("d", table, &[("a", true), ("b", true)]);
        let image = [pair(before.0, before.1), pair(after.0, after.1)].concat();
        self.rows(kind::UPDATE_ROWS, 2, &[image]);
    }

    /// An update of which the log has nothing but the key.
    pub(super) fn moves(&mut self, table: &str, from: &str, to: &str) {
        self.map("d", table, &[("a", true), ("b", true)]);
        let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 1, 1];
        for key in [from, to] {
            body.push(0);
            text(key, &mut body);
        }
        self.event(kind::UPDATE_ROWS, &body);
    }

    /// An update of which the log has the key, and what is new.
    pub(super) fn update_in_part(&mut self, table: &str, key: &str, b: &str) {
        self.map("d", table, &[("a", true), ("b", true)]);
        let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 1, 2];
        for value in [key, b] {
            body.push(0);
            text(value, &mut body);
        }
        self.event(kind::UPDATE_ROWS, &body);
    }

    /// A heartbeat of this stream, or another.
    pub(super) fn heartbeat(&mut self, stream: &str, number: u64) {
        let columns = [
            ("stream", true),
            ("n", false),
            ("instance", true),
            ("written_at_us", false),
            ("server_uuid", true),
        ];
        self.map("binpulse", "heartbeat", &columns);
        let mut row = vec![0];
        text(stream, &mut row);
        row.extend(number.to_le_bytes());
        text("instance", &mut row);
        row.extend(5_u64.to_le_bytes());
        text("server", &mut row);
        self.rows(kind::WRITE_ROWS, 5, &[row]);
    }

    /// A canary of this stream.
    pub(super) fn canary(&mut self, number: u64) {
        let columns = [
            ("stream", true),
            ("n", false),
            ("instance", true),
            ("phase", true),
            ("written_at_us", false),
        ];
        self.map("binpulse", "canary", &columns);
        let mut row = vec![0];
        text("s", &mut row);
        row.extend(number.to_le_bytes());
        text("instance", &mut row);
        text("insert", &mut row);
        row.extend(6_u64.to_le_bytes());
        self.rows(kind::WRITE_ROWS, 5, &[row]);
    }

    /// Columns by name, and whether each is a text; else it is an unsigned number.
    fn map(&mut self, database: &str, table: &str, columns: &[(&str, bool)]) {
        let count = u8::try_from(columns.len()).expect("few");
        let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0];
        for name in [database, table] {
            text(name, &mut body);
            body.push(0);
        }
        body.push(count);
        // VARCHAR(200) or BIGINT.
        body.extend(columns.iter().map(|(_, is_text)| if *is_text { 15 } else { 8 }));
        let texts = columns.iter().filter(|(_, is_text)| *is_text).count();
        body.push(u8::try_from(2 * texts).expect("few"));
        body.extend([200, 0].repeat(texts));
        body.push(0xff);
        // Numbers without a sign; utf8mb4; names; the first is the key.
        if texts < columns.len() {
            body.extend([1, 1, 0xff]);
        }
        body.extend([2, 1, 255 - 210]);
        let mut names = Vec::new();
        for (name, _) in columns {
            text(name, &mut names);
        }
        body.extend([4, u8::try_from(names.len()).expect("short")]);
        body.extend(names);
        body.extend([8, 1, 0]);
        self.event(kind::TABLE_MAP, &body);
    }

    fn rows(&mut self, event_type: u8, columns: u8, images: &[Vec<u8>]) {
        let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, columns];
        body.push((1 << columns) - 1);
        if event_type == kind::UPDATE_ROWS {
            body.push((1 << columns) - 1);
        }
        body.extend(images.concat());
        self.event(event_type, &body);
    }
}

fn pair(a: &str, b: &str) -> Vec<u8> {
    let mut image = vec![0];
    text(a, &mut image);
    text(b, &mut image);
    image
}

fn text(text: &str, into: &mut Vec<u8>) {
    into.push(u8::try_from(text.len()).expect("short"));
    into.extend(text.as_bytes());
}
