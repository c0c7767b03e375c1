//! Rows of a message, as the changes that they were made of: what formats and copies work on.
//!
//! [`open`](super::open) gives the contract's own types; [`OpenedRows`] checks once that they fit
//! together, and then yields one [`Change`] after the other over a buffer that is used again.

use std::sync::Arc;

use super::proto::{self, value};
use crate::change::{
    Area, BytesKind, Change, Column, Gtid, Image, LogicalType, MariaGtid, Op, Position, RowBuffer,
    Slot, Table, Tag, Transaction, TransactionId,
};

/// A batch that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a batch of lane {lane:?}: found {found}, expected {expected}")]
pub struct Inconsistent {
    /// The lane that it names.
    pub lane: String,
    /// What was found.
    pub found: String,
    /// What a batch has there.
    pub expected: &'static str,
}

/// Rows of one message.
#[derive(Debug, Clone)]
pub struct OpenedRows {
    source: proto::Source,
    table: Arc<Table>,
    lane: Arc<str>,
    lane_count: u32,
    first: u64,
    snapshot: (u64, u32),
    has_changed_only: bool,
    transactions: Vec<Transaction>,
    rows: Vec<(Op, proto::Row)>,
    bytes: usize,
}

impl OpenedRows {
    /// Checks a batch. `known` are tables that were opened before: one with the batch's fingerprint is
    /// taken instead of the schema in the batch.
    pub fn new(
        batch: proto::ChangeBatch,
        known: impl FnOnce(u64) -> Option<Arc<Table>>,
    ) -> Result<Self, Inconsistent> {
        let lane = batch.lane;
        let wrong = |found: &str, expected| Inconsistent {
            lane: lane.chars().take(80).collect(),
            found: found.to_owned(),
            expected,
        };
        let source = batch.source.ok_or_else(|| wrong("no source", "a source"))?;
        let schema = batch.table.ok_or_else(|| wrong("no table", "a table's schema"))?;
        let same = |table: &Arc<Table>| {
            *table.database == *schema.database
                && *table.name == *schema.table
                && table.columns.len() == schema.columns.len()
        };
        let table = match known(schema.fingerprint).filter(same) {
            Some(table) => table,
            None => Arc::new(table(schema).map_err(|expected| wrong("another type", expected))?),
        };
        let before_image = proto::BeforeImage::try_from(batch.before_image)
            .map_err(|_| wrong("an unknown kind of before image", "full, changed or key"))?;
        let files: Vec<Arc<str>> = batch.files.into_iter().map(Arc::from).collect();
        let transactions: Vec<_> = batch
            .transactions
            .into_iter()
            .map(|entry| transaction(&entry, batch.committed_at_base_us, &files))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a file or GTID that is none", "transactions with a place"))?;
        let rows =
            checked_rows(batch.rows, source.snapshot, table.columns.len(), transactions.len());
        let rows = rows.map_err(|(found, expected)| wrong(found, expected))?;
        if batch.sequence_first.checked_add(rows.len() as u64).is_none() {
            return Err(wrong("numbers beyond 2^64", "the number of the first row"));
        }
        Ok(Self {
            source,
            table,
            lane: lane.into(),
            lane_count: batch.lane_count,
            first: batch.sequence_first,
            snapshot: (batch.snapshot_next, batch.snapshot_attempt),
            has_changed_only: before_image == proto::BeforeImage::Changed,
            transactions,
            bytes: rows.iter().map(|(_, row)| memory_bytes(row)).sum(),
            rows,
        })
    }

    /// Where the rows come from.
    pub fn source(&self) -> &proto::Source {
        &self.source
    }

    /// Their table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Their lane's key.
    pub fn lane(&self) -> &Arc<str> {
        &self.lane
    }

    /// How many lanes the table has.
    pub fn lane_count(&self) -> u32 {
        self.lane_count
    }

    /// Number of the first row; 0 for rows of a snapshot.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether before images have the key and the columns that differ, and no others: what is not in a
    /// before image is the same in a complete after image.
    pub fn has_changed_only(&self) -> bool {
        self.has_changed_only
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row: only in a snapshot.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes that the rows take in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// The snapshot part that stands next behind these rows, and its attempt; see `ChangeBatch`.
    pub fn snapshot(&self) -> (u64, u32) {
        self.snapshot
    }

    /// The transaction of row `index`; `None` for rows of a snapshot, and beyond the last row.
    pub fn transaction(&self, index: usize) -> Option<&Transaction> {
        let (_, row) = self.rows.get(index)?;
        self.transactions.get(row.transaction as usize)
    }

    /// Row `index`, over `buffer`; `None` beyond the last.
    pub fn change<'a>(&self, index: usize, buffer: &'a mut RowBuffer) -> Option<Change<'a>> {
        let (op, row) = self.rows.get(index)?;
        buffer.clear();
        let RowBuffer { before, after, scratch } = buffer;
        for (image, slots) in [(&row.before, &mut *before), (&row.after, &mut *after)] {
            if let Some(image) = image {
                slots.extend(image.values.iter().map(|value| slot(value, scratch)));
                slots.resize(self.table.columns.len(), Slot::Absent);
            }
        }
        let (before, after, scratch) = (&buffer.before, &buffer.after, &buffer.scratch);
        let image =
            |is_there: bool, slots: &'a [Slot]| is_there.then(|| Image::new(slots, &[], scratch));
        Some(Change {
            op: *op,
            row: row.row,
            before: image(row.before.is_some(), before),
            after: image(row.after.is_some(), after),
        })
    }

    /// An image that stands alone, such as the bound of a chunk: slots and the bytes that they point to.
    pub fn image<'a>(image: &proto::Image, buffer: &'a mut RowBuffer) -> Image<'a> {
        buffer.clear();
        let RowBuffer { after, scratch, .. } = buffer;
        after.extend(image.values.iter().map(|value| slot(value, scratch)));
        Image::new(&buffer.after, &[], &buffer.scratch)
    }
}

/// Bytes that a row takes in memory, about.
fn memory_bytes(row: &proto::Row) -> usize {
    let values = |image: &Option<proto::Image>| -> usize {
        let values = image.iter().flat_map(|image| &image.values);
        let bytes = |value: &proto::Value| match &value.kind {
            Some(
                value::Kind::Text(text) | value::Kind::Json(text) | value::Kind::JsonDiff(text),
            ) => text.len(),
            Some(value::Kind::Bytes(bytes) | value::Kind::MalformedText(bytes)) => bytes.len(),
            Some(value::Kind::Vector(vector)) => vector.elements.len() * 4,
            Some(
                value::Kind::Null(_)
                | value::Kind::Integer(_)
                | value::Kind::Unsigned(_)
                | value::Kind::Float(_)
                | value::Kind::Double(_)
                | value::Kind::Omitted(_),
            )
            | None => 0,
        };
        values.map(|value| bytes(value) + size_of::<proto::Value>()).sum()
    };
    size_of::<(Op, proto::Row)>() + values(&row.before) + values(&row.after)
}

/// The rows with their ops; or what was found, and what is expected.
fn checked_rows(
    rows: Vec<proto::Row>,
    is_snapshot: bool,
    columns: usize,
    transactions: usize,
) -> Result<Vec<(Op, proto::Row)>, (&'static str, &'static str)> {
    let fits = |image: &Option<proto::Image>| {
        image.as_ref().is_none_or(|image| image.values.len() <= columns)
    };
    let checked = rows.into_iter().map(|row| {
        let Some(op) = op(&row) else {
            return Err(("a row whose images do not fit its op", "the images that the op has"));
        };
        if (op == Op::Read) != is_snapshot {
            return Err(("rows of a snapshot among changes, or the reverse", "one kind of rows"));
        }
        if !is_snapshot && row.transaction as usize >= transactions {
            return Err(("a row of a transaction that is not there", "its transaction"));
        }
        if !fits(&row.before) || !fits(&row.after) {
            return Err(("more values than columns", "at most one value for each column"));
        }
        Ok((op, row))
    });
    checked.collect()
}

fn op(row: &proto::Row) -> Option<Op> {
    let op = match row.op() {
        proto::Op::Insert => Op::Insert,
        proto::Op::Update => Op::Update,
        proto::Op::Delete => Op::Delete,
        proto::Op::Read => Op::Read,
        proto::Op::Unspecified => return None,
    };
    let wanted = (matches!(op, Op::Update | Op::Delete), op != Op::Delete);
    ((row.before.is_some(), row.after.is_some()) == wanted).then_some(op)
}

fn slot(value: &proto::Value, scratch: &mut Vec<u8>) -> Slot {
    let mut span = |kind, bytes: &[u8]| {
        let start = scratch.len();
        scratch.extend_from_slice(bytes);
        // A content is smaller than 4 GiB by far.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Slot::Span { kind, area: Area::Scratch, start: place(start), end: place(scratch.len()) }
    };
    match &value.kind {
        None => Slot::Absent,
        Some(value::Kind::Null(_)) => Slot::Null,
        Some(value::Kind::Integer(value)) => Slot::Int(*value),
        Some(value::Kind::Unsigned(value)) => Slot::UInt(*value),
        Some(value::Kind::Float(value)) => Slot::Float(*value),
        Some(value::Kind::Double(value)) => Slot::Double(*value),
        Some(value::Kind::Text(text)) => span(BytesKind::Text, text.as_bytes()),
        Some(value::Kind::Bytes(bytes)) => span(BytesKind::Bytes, bytes),
        Some(value::Kind::MalformedText(bytes)) => span(BytesKind::Malformed, bytes),
        Some(value::Kind::Json(text)) => span(BytesKind::Json, text.as_bytes()),
        Some(value::Kind::JsonDiff(text)) => span(BytesKind::JsonDiff, text.as_bytes()),
        Some(value::Kind::Vector(vector)) => {
            let bytes: Vec<u8> =
                vector.elements.iter().flat_map(|element| element.to_le_bytes()).collect();
            span(BytesKind::Vector, &bytes)
        }
        Some(value::Kind::Omitted(omitted)) => {
            let mut bytes = omitted.size_bytes.to_le_bytes().to_vec();
            bytes.extend_from_slice(&omitted.sha256);
            span(BytesKind::Omitted, &bytes)
        }
    }
}

fn transaction(
    entry: &proto::Transaction,
    committed_at_base_us: i64,
    files: &[Arc<str>],
) -> Option<Transaction> {
    let committed_at_us = committed_at_base_us.wrapping_add(entry.committed_at_delta_us);
    Some(Transaction {
        id: transaction_id(&entry.gtid)?,
        start: Position { file: Arc::clone(files.get(entry.file as usize)?), offset: entry.offset },
        committed_at_us,
        original_committed_at_us: committed_at_us
            .wrapping_add(entry.original_committed_at_delta_us),
        server_id: entry.server_id,
        length_bytes: None,
    })
}

/// The inverse of [`TransactionId::text`]; `None` for what is none.
fn transaction_id(text: &str) -> Option<TransactionId> {
    if text.is_empty() {
        return Some(TransactionId::Anonymous);
    }
    if let Some((source, rest)) = text.split_once(':') {
        let (tag, sequence) = rest.split_once(':').unwrap_or(("", rest));
        return Some(TransactionId::Gtid(Gtid {
            source: source.parse().ok()?,
            tag: Tag::new(tag.as_bytes()).ok()?,
            sequence: sequence.parse().ok()?,
        }));
    }
    let mut parts = text.split('-');
    let (domain, server, sequence) = (parts.next()?, parts.next()?, parts.next()?);
    let id = MariaGtid {
        domain: domain.parse().ok()?,
        server: server.parse().ok()?,
        sequence: sequence.parse().ok()?,
    };
    parts.next().is_none().then_some(TransactionId::Maria(id))
}

/// A table as its message describes it.
fn table(schema: proto::TableSchema) -> Result<Table, &'static str> {
    let columns = schema.columns.into_iter().map(column).collect::<Option<Vec<_>>>();
    let columns = columns.ok_or("columns with a known logical type")?;
    let primary_key: Vec<usize> = schema.primary_key.iter().map(|at| *at as usize).collect();
    if primary_key.iter().any(|ordinal| *ordinal >= columns.len()) {
        return Err("a primary key of columns that are there");
    }
    Ok(Table {
        database: schema.database.into(),
        name: schema.table.into(),
        columns,
        primary_key,
        named: schema.columns_named,
        fingerprint: schema.fingerprint,
        outbox: None,
    })
}

fn column(column: proto::Column) -> Option<Column> {
    let logical_type = match column.logical_type() {
        proto::LogicalType::Unspecified => return None,
        proto::LogicalType::Integer => LogicalType::Integer,
        proto::LogicalType::Float => LogicalType::Float,
        proto::LogicalType::Double => LogicalType::Double,
        proto::LogicalType::Decimal => LogicalType::Decimal,
        proto::LogicalType::Bit => LogicalType::Bit,
        proto::LogicalType::Year => LogicalType::Year,
        proto::LogicalType::Date => LogicalType::Date,
        proto::LogicalType::Time => LogicalType::Time,
        proto::LogicalType::Datetime => LogicalType::Datetime,
        proto::LogicalType::Timestamp => LogicalType::Timestamp,
        proto::LogicalType::Text => LogicalType::Text,
        proto::LogicalType::Binary => LogicalType::Binary,
        proto::LogicalType::Enum => LogicalType::Enum,
        proto::LogicalType::Set => LogicalType::Set,
        proto::LogicalType::Json => LogicalType::Json,
        proto::LogicalType::Geometry => LogicalType::Geometry,
        proto::LogicalType::Vector => LogicalType::Vector,
    };
    Some(Column {
        name: column.name,
        logical_type,
        mysql_type: column.mysql_type,
        nullable: column.nullable,
        unsigned: column.unsigned,
        collation: u16::try_from(column.collation).unwrap_or_default(),
        charset: CHARSETS
            .iter()
            .find(|known| **known == column.charset)
            .copied()
            .unwrap_or_default(),
        members: column.members,
        visible: !column.invisible,
    })
}

/// Names of MySQL's and MariaDB's character sets.
const CHARSETS: [&str; 42] = [
    "armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850",
    "cp852", "cp866", "cp932", "dec8", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "geostd8",
    "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7",
    "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32",
    "utf8", "utf8mb3", "utf8mb4",
];

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect is one case")]
mod tests;
