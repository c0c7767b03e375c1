//! What arrived, folded as it comes: counts and a checksum of each table, nothing of its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use binpulse::encode::open;
use binpulse::encode::proto::frame::Content;
use binpulse::encode::proto::value::Kind;
use binpulse::encode::proto::{Canary, ChangeBatch, Image, SchemaChange, TableSchema};

use crate::aws::store::Accepted;

/// Table whose rows say that the stream has got so far.
pub(crate) const MARKER: (&str, &str) = ("big", "marker");

/// A table's rows, as inserts less deletes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) rows: i64,
    /// Sum of the rows' CRC32s, deleted ones taken off.
    pub(crate) checksum: u64,
}

impl Sum {
    /// Adds a row of these values.
    pub(crate) fn add<V: AsRef<[u8]>>(&mut self, values: impl Iterator<Item = V>) {
        self.rows += 1;
        self.checksum = self.checksum.wrapping_add(checksum(values));
    }

    fn take_off<V: AsRef<[u8]>>(&mut self, values: impl Iterator<Item = V>) {
        self.rows -= 1;
        self.checksum = self.checksum.wrapping_sub(checksum(values));
    }
}

fn checksum<V: AsRef<[u8]>>(values: impl Iterator<Item = V>) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for value in values {
        hasher.update(value.as_ref());
        hasher.update(&[0x1f]);
    }
    u64::from(hasher.finalize())
}

/// NULL, apart from every text.
pub(crate) const NULL: &[u8] = b"\0NULL";

/// Numbers of a lane's rows.
#[derive(Debug, Default)]
struct Numbers {
    count: u64,
    highest: u64,
    /// Numbers that came before all smaller ones had: a standard topic may do that.
    ahead: BTreeSet<u64>,
}

/// Everything that came.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) tables: BTreeMap<(String, String), Sum>,
    /// The last schema of each table.
    pub(crate) schemas: BTreeMap<(String, String), TableSchema>,
    pub(crate) statements: Vec<SchemaChange>,
    pub(crate) canaries: Vec<Canary>,
    pub(crate) rows: u64,
    pub(crate) messages: u64,
    pub(crate) omitted: u64,
    /// Bodies that are pointers to objects.
    pub(crate) claims: Vec<String>,
    pub(crate) marker: i64,
    pub(crate) wrong: Vec<String>,
    lanes: BTreeMap<(u64, String), Numbers>,
}

impl Received {
    pub(crate) fn take(&mut self, accepted: &Accepted) {
        self.messages += 1;
        if accepted.entry.body.starts_with('[') {
            self.claims.push(accepted.entry.body.clone());
            return;
        }
        match open::content(&accepted.entry.body) {
            Ok(Content::Batch(batch)) => self.take_batch(&batch),
            Ok(Content::SchemaChange(change)) => self.statements.push(change),
            Ok(Content::Canary(canary)) => self.canaries.push(canary),
            Ok(Content::Heartbeat(_)) => {}
            Ok(_) => {
                self.wrong.push("a content that nobody asked for".to_owned());
            }
            Err(error) => self.wrong.push(format!("unreadable: {error}")),
        }
    }

    /// The content of an object that a message pointed to.
    pub(crate) fn take_claim(&mut self, body: &str) {
        match open::content(body) {
            Ok(Content::Batch(batch)) => self.take_batch(&batch),
            other => self.wrong.push(format!("an object that is no batch: {other:?}")),
        }
    }

    fn take_batch(&mut self, batch: &ChangeBatch) {
        let (Some(source), Some(table)) = (&batch.source, &batch.table) else {
            self.wrong.push("a batch without source or table".to_owned());
            return;
        };
        let key = (table.database.clone(), table.table.clone());
        let numbers = self.lanes.entry((source.epoch, batch.lane.clone())).or_default();
        let sum = self.tables.entry(key.clone()).or_default();
        for (number, row) in (batch.sequence_first..).zip(&batch.rows) {
            numbers.add(number, &batch.lane, &mut self.wrong);
            let images = [&row.before, &row.after];
            if images.into_iter().flatten().any(|image| image.values.len() != table.columns.len()) {
                self.wrong.push(format!("{key:?}: an image of another width than its table"));
            }
            if let Some(before) = &row.before {
                sum.take_off(texts(before));
            }
            if let Some(after) = &row.after {
                sum.add(texts(after));
                self.omitted += omitted(after);
            }
            self.rows += 1;
            let is_marker = (key.0.as_str(), key.1.as_str()) == MARKER;
            if let Some(after) = row.after.as_ref().filter(|_| is_marker)
                && let Some(Kind::Integer(number)) =
                    after.values.first().and_then(|v| v.kind.clone())
            {
                self.marker = self.marker.max(number);
            }
        }
        self.schemas.insert(key, table.clone());
    }

    /// What is wrong with what came, lanes with gaps included; nothing if nothing is.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let gaps = self.lanes.iter().filter(|(_, numbers)| numbers.count != numbers.highest);
        let gaps = gaps.map(|((_, lane), numbers)| {
            format!("{lane}: {} rows, the last has number {}", numbers.count, numbers.highest)
        });
        self.wrong.iter().cloned().chain(gaps).collect()
    }

    /// The sum of a table; that of none if nothing came.
    pub(crate) fn sum(&self, database: &str, table: &str) -> Sum {
        let key = (database.to_owned(), table.to_owned());
        self.tables.get(&key).copied().unwrap_or_default()
    }
}

impl Numbers {
    fn add(&mut self, number: u64, lane: &str, wrong: &mut Vec<String>) {
        // Numbers up to `count` have all come, and those in `ahead`.
        let is_known = number <= self.count - self.ahead.len() as u64;
        if is_known || !self.ahead.insert(number) {
            wrong.push(format!("{lane}: number {number} came twice"));
            return;
        }
        self.count += 1;
        self.highest = self.highest.max(number);
        while let Some(first) = self.ahead.first()
            && *first == self.count - self.ahead.len() as u64 + 1
        {
            self.ahead.pop_first();
        }
    }
}

fn omitted(image: &Image) -> u64 {
    let is_omitted = |kind: &Option<Kind>| matches!(kind, Some(Kind::Omitted(_)));
    image.values.iter().filter(|value| is_omitted(&value.kind)).count() as u64
}

/// An image's values as MySQL's text protocol gives them; what was left out as `omitted SIZE SHA256`.
fn texts(image: &Image) -> impl Iterator<Item = Vec<u8>> {
    image.values.iter().map(|value| match &value.kind {
        None => b"\0ABSENT".to_vec(),
        Some(Kind::Null(_)) => NULL.to_vec(),
        Some(Kind::Integer(number)) => number.to_string().into_bytes(),
        Some(Kind::Unsigned(number)) => number.to_string().into_bytes(),
        Some(Kind::Float(number)) => number.to_string().into_bytes(),
        Some(Kind::Double(number)) => number.to_string().into_bytes(),
        Some(Kind::Text(text) | Kind::Json(text) | Kind::JsonDiff(text)) => {
            text.clone().into_bytes()
        }
        Some(Kind::Bytes(bytes) | Kind::MalformedText(bytes)) => bytes.clone(),
        Some(Kind::Vector(vector)) => format!("{:?}", vector.elements).into_bytes(),
        Some(Kind::Omitted(omitted)) => {
            let mut text = format!("omitted {} ", omitted.size_bytes);
            for byte in &omitted.sha256 {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            }
            text.into_bytes()
        }
    })
}
