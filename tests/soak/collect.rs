//! The consumer: takes what the topic accepted, in the order of acceptance, and keeps each row once
//! by its number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use binpulse::encode::open;
use binpulse::encode::proto::frame::Content;
use binpulse::encode::proto::{
    self, ChangeBatch, SchemaChange, SnapshotPart, SnapshotPhase, TableSchema,
};
use prost::Message;

use crate::aws::store::Accepted;
use crate::plan::Topic;

/// Table whose rows say that the stream has got so far.
pub(crate) const MARKER: (&str, &str) = ("soak", "marker");

/// A place in the source's binary log: number of the file, offset.
pub(crate) type Place = (u64, u64);

/// A transaction as told by messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) gtid: String,
    pub(crate) place: Place,
    /// The server that told it.
    server: Arc<str>,
}

impl Origin {
    /// Whether it is the same transaction: by GTID where another server told it.
    fn is(&self, other: &Self) -> bool {
        if self.server == other.server {
            self == other
        } else {
            self.gtid == other.gtid && !self.gtid.is_empty()
        }
    }
}

/// A row as received; its image is kept as bytes, which are a fifth of the size.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) origin: Arc<Origin>,
    /// Number within its transaction.
    pub(crate) number: u64,
    pub(crate) op: i32,
    pub(crate) schema: Arc<TableSchema>,
    bytes: Box<[u8]>,
}

impl Row {
    /// Whether it is the same row, come again. Another server has other settings, so its image of a row
    /// may have more columns or fewer.
    fn is(&self, other: &Self) -> bool {
        let is_one_server = self.origin.server == other.origin.server;
        self.origin.is(&other.origin)
            && (self.number, self.op) == (other.number, other.op)
            && (!is_one_server || (&self.schema, &self.bytes) == (&other.schema, &other.bytes))
    }

    pub(crate) fn open(&self) -> proto::Row {
        proto::Row::decode(&*self.bytes).expect("it was encoded here")
    }
}

/// What came in one lane.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) rows: BTreeMap<u64, Row>,
    highest: u64,
}

/// A part of a snapshot: epoch and lane, number of the process, number of the part.
pub(crate) type PartKey = (u64, String, u32, u64);

/// Everything that came.
#[derive(Debug)]
pub(crate) struct Received {
    topic: Topic,
    /// By epoch and name.
    pub(crate) lanes: HashMap<(u64, String), Lane>,
    /// Statements by their numbers.
    pub(crate) statements: BTreeMap<u64, SchemaChange>,
    /// Parts of snapshots of the tables here.
    pub(crate) parts: BTreeMap<PartKey, SnapshotPart>,
    /// Tables that were read to their end, with the snapshots that did.
    pub(crate) copied: BTreeSet<(String, String, String)>,
    pub(crate) messages: u64,
    /// Messages that SNS took and did not pass on, for it knew them.
    pub(crate) deduplicated: u64,
    /// Rows that came again.
    pub(crate) duplicates: u64,
    /// Messages that came before one with smaller numbers (FIFO).
    pub(crate) out_of_order: u64,
    /// What must never be, in words.
    pub(crate) wrong: Vec<String>,
    marker: i64,
    schemas: HashMap<(u64, u64), Arc<TableSchema>>,
}

impl Received {
    pub(crate) fn new(topic: Topic) -> Self {
        Self {
            topic,
            lanes: HashMap::new(),
            statements: BTreeMap::new(),
            parts: BTreeMap::new(),
            copied: BTreeSet::new(),
            messages: 0,
            deduplicated: 0,
            duplicates: 0,
            out_of_order: 0,
            wrong: Vec::new(),
            marker: 0,
            schemas: HashMap::new(),
        }
    }

    /// The highest marker that came.
    pub(crate) fn marker(&self) -> i64 {
        self.marker
    }

    /// Rows received, each counted once.
    pub(crate) fn rows(&self) -> u64 {
        self.lanes.values().map(|lane| lane.rows.len() as u64).sum()
    }

    pub(crate) fn take(&mut self, accepted: &Accepted) {
        if accepted.is_duplicate {
            self.deduplicated += 1;
            return;
        }
        self.messages += 1;
        match open::content(&accepted.entry.body) {
            Ok(Content::Batch(batch)) => self.take_batch(&batch),
            Ok(Content::SchemaChange(change)) => self.take_statement(change),
            Ok(Content::SnapshotPart(part)) => self.take_part(part),
            Ok(Content::SnapshotMark(mark)) => {
                if mark.phase() == SnapshotPhase::Done {
                    self.copied.insert((mark.snapshot, mark.database, mark.table));
                }
            }
            Ok(Content::Heartbeat(_) | Content::Canary(_)) => {}
            Ok(_) => {
                self.wrong.push("a content that nobody asked for".to_owned());
            }
            Err(error) => self.wrong.push(format!("unreadable: {error}")),
        }
    }

    fn take_statement(&mut self, change: SchemaChange) {
        match self.statements.get(&change.sequence) {
            None => {
                self.statements.insert(change.sequence, change);
            }
            Some(known) if known.gtid == change.gtid && known.statement == change.statement => {
                self.duplicates += 1;
            }
            Some(known) => {
                let (old, new) = (&known.statement, &change.statement);
                self.wrong.push(format!("statement {}: {old:?} and {new:?}", change.sequence));
            }
        }
    }

    fn take_part(&mut self, part: SnapshotPart) {
        let Some(anchor) = &part.anchor else {
            self.wrong.push("a part of a snapshot without anchor".to_owned());
            return;
        };
        let key = (anchor.epoch, anchor.lane.clone(), part.attempt, part.part);
        match self.parts.get(&key) {
            None => drop(self.parts.insert(key, part)),
            Some(known) if *known == part => self.duplicates += 1,
            Some(_) => self.wrong.push(format!("two parts under one number: {key:?}")),
        }
    }

    fn take_batch(&mut self, batch: &ChangeBatch) {
        let (Some(source), Some(table)) = (&batch.source, &batch.table) else {
            self.wrong.push("a batch without source or table".to_owned());
            return;
        };
        let schema = self.schema(table);
        let server = Arc::from(source.server_uuid.as_str());
        let origins = batch.transactions.iter().map(|t| origin(t, batch, &server));
        let origins: Vec<_> = origins.collect();
        let lane = self.lanes.entry((source.epoch, batch.lane.clone())).or_default();
        if self.topic == Topic::Fifo && batch.sequence_first > lane.highest + 1 {
            self.out_of_order += 1;
        }
        for (sequence, row) in (batch.sequence_first..).zip(&batch.rows) {
            lane.highest = lane.highest.max(sequence);
            let at = usize::try_from(row.transaction).expect("32 bits");
            let Some(origin) = origins.get(at).map(Arc::clone) else {
                self.wrong.push(format!("{}: a row without transaction", batch.lane));
                continue;
            };
            let plain = proto::Row { transaction: 0, ..row.clone() };
            let row = Row {
                origin,
                number: row.row,
                op: row.op,
                schema: Arc::clone(&schema),
                bytes: plain.encode_to_vec().into(),
            };
            if (table.database.as_str(), table.table.as_str()) == MARKER {
                self.marker = self.marker.max(marker_of(&plain));
            }
            match lane.rows.get(&sequence) {
                None => {
                    lane.rows.insert(sequence, row);
                }
                Some(known) if known.is(&row) => self.duplicates += 1,
                Some(known) => self.wrong.push(format!(
                    "{} {sequence} came as {}:{} and as {}:{}, not the same",
                    batch.lane, known.origin.gtid, known.number, row.origin.gtid, row.number
                )),
            }
        }
    }

    /// One copy of each schema.
    fn schema(&mut self, table: &TableSchema) -> Arc<TableSchema> {
        let name = format!("{}.{}", table.database, table.table);
        let key = (crc32fast::hash(name.as_bytes()).into(), table.fingerprint);
        let known = self.schemas.entry(key).or_insert_with(|| Arc::new(table.clone()));
        if **known != *table {
            self.wrong.push(format!("{name}: two schemas with one fingerprint"));
        }
        Arc::clone(known)
    }
}

fn origin(transaction: &proto::Transaction, batch: &ChangeBatch, server: &Arc<str>) -> Arc<Origin> {
    let at = usize::try_from(transaction.file).expect("32 bits");
    let file = batch.files.get(at).map(String::as_str).unwrap_or_default();
    let place = (number_of(file), transaction.offset);
    Arc::new(Origin { gtid: transaction.gtid.clone(), place, server: Arc::clone(server) })
}

/// The number in a binary log's name.
pub(crate) fn number_of(file: &str) -> u64 {
    file.rsplit('.').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

fn marker_of(row: &proto::Row) -> i64 {
    let value = row.after.as_ref().and_then(|image| image.values.first());
    match value.and_then(|value| value.kind.as_ref()) {
        Some(proto::value::Kind::Integer(number)) => *number,
        _ => 0,
    }
}
