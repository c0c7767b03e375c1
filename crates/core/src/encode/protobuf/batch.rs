//! A batch of rows and the frame around it, from encoded images to bytes: sizes first, then one pass.

use super::wire::{
    VARINT, field_bytes, number_bytes, put_bytes, put_field, put_header, put_number, put_varint,
    tag, zigzag,
};
use crate::change::Op;
use crate::encode::lane::Lane;
use crate::encode::options::BeforeImage;
use crate::encode::rows::{GtidText, RowMark, Rows};

/// Fields of `Frame.content`.
const FRAME_BATCH: u32 = 6;
const FRAME_CANARY: u32 = 8;
const FRAME_SNAPSHOT_PART: u32 = 11;
/// Field `batch` of `Canary` and of `SnapshotPart`.
const INNER_BATCH: u32 = 4;
/// Fields of `ChangeBatch`.
const SOURCE: u32 = 1;
const TABLE: u32 = 2;
const LANE: u32 = 3;
const LANE_NUMBER: u32 = 4;
const LANE_COUNT: u32 = 5;
const SEQUENCE_FIRST: u32 = 6;
const COMMITTED_AT_BASE: u32 = 7;
const FILES: u32 = 8;
const TRANSACTIONS: u32 = 9;
const BEFORE_IMAGE: u32 = 10;
const ROWS: u32 = 11;
const SNAPSHOT_NEXT: u32 = 12;
const SNAPSHOT_ATTEMPT: u32 = 13;
/// Fields of `Transaction`.
const GTID: u32 = 1;
const COMMITTED_AT_DELTA: u32 = 2;
const FILE: u32 = 3;
const OFFSET: u32 = 4;
const TRANSACTION_ROWS: u32 = 5;
const SERVER_ID: u32 = 6;
const ORIGINAL_COMMITTED_AT_DELTA: u32 = 7;
/// Fields of `Row`.
const OP: u32 = 1;
const ROW_TRANSACTION: u32 = 2;
const ROW: u32 = 3;
const BEFORE: u32 = 4;
const AFTER: u32 = 5;

/// What stands before the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// Body of `Source`.
    pub(crate) source: &'a [u8],
    /// Body of `TableSchema`.
    pub(crate) schema: &'a [u8],
    pub(crate) lane: &'a Lane,
    pub(crate) sequence_first: u64,
    pub(crate) before_image: BeforeImage,
    /// Number that the lane's next snapshot part has, and the attempt of the newest; 0: there never was
    /// one.
    pub(crate) snapshot: (u64, u32),
    /// Whether the rows are of transactions, and not of a snapshot.
    pub(crate) has_transactions: bool,
}

/// What holds a batch of rows: the frame itself, or a message with fields before and after it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Around<'a> {
    Nothing,
    Canary(&'a [u8], &'a [u8]),
    SnapshotPart(&'a [u8], &'a [u8]),
}

/// Appends a frame that holds a batch of `rows`: as changes, or with the fields before and after
/// `batch` of what is around it.
pub(crate) fn put_rows_frame(
    out: &mut Vec<u8>,
    header: &Header<'_>,
    rows: &Rows,
    around: Around<'_>,
) {
    let (head, tail) = (head(header, rows), tail(header));
    let rows_bytes: usize = rows.marks.iter().map(|mark| field_bytes(ROWS, row_bytes(mark))).sum();
    let batch_bytes = head.len() + rows_bytes + tail.len();
    let (field, before, after) = match around {
        Around::Nothing => {
            out.reserve(batch_bytes + 32);
            put_header(out, FRAME_BATCH, batch_bytes);
            put_batch(out, &head, rows, &tail);
            return;
        }
        Around::Canary(before, after) => (FRAME_CANARY, before, after),
        Around::SnapshotPart(before, after) => (FRAME_SNAPSHOT_PART, before, after),
    };
    out.reserve(batch_bytes + 32 + before.len() + after.len());
    let bytes = before.len() + field_bytes(INNER_BATCH, batch_bytes) + after.len();
    put_header(out, field, bytes);
    out.extend_from_slice(before);
    put_header(out, INNER_BATCH, batch_bytes);
    put_batch(out, &head, rows, &tail);
    out.extend_from_slice(after);
}

fn put_batch(out: &mut Vec<u8>, head: &[u8], rows: &Rows, tail: &[u8]) {
    out.extend_from_slice(head);
    for (mark, before, after) in rows.iter() {
        put_header(out, ROWS, row_bytes(mark));
        put_varint(out, tag(OP, VARINT));
        put_varint(out, op(mark.op));
        put_number(out, ROW_TRANSACTION, mark.transaction.into());
        put_number(out, ROW, mark.row);
        if let Some(before) = before {
            put_field(out, BEFORE, before);
        }
        if let Some(after) = after {
            put_field(out, AFTER, after);
        }
    }
    out.extend_from_slice(tail);
}

/// What stands behind the rows.
fn tail(header: &Header<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let (next, attempt) = header.snapshot;
    put_number(&mut out, SNAPSHOT_NEXT, next);
    put_number(&mut out, SNAPSHOT_ATTEMPT, attempt.into());
    out
}

fn row_bytes(mark: &RowMark) -> usize {
    number_bytes(OP, op(mark.op))
        + number_bytes(ROW_TRANSACTION, mark.transaction.into())
        + number_bytes(ROW, mark.row)
        + mark.before_bytes.map_or(0, |length| field_bytes(BEFORE, length))
        + mark.after_bytes.map_or(0, |length| field_bytes(AFTER, length))
}

/// All of the batch's body but the rows.
fn head(header: &Header<'_>, rows: &Rows) -> Vec<u8> {
    let mut out = Vec::with_capacity(
        header.source.len() + header.schema.len() + 128 + rows.transactions.len() * 96,
    );
    put_field(&mut out, SOURCE, header.source);
    put_field(&mut out, TABLE, header.schema);
    put_bytes(&mut out, LANE, header.lane.key.as_bytes());
    put_number(&mut out, LANE_NUMBER, header.lane.number.into());
    put_number(&mut out, LANE_COUNT, header.lane.count.into());
    put_number(&mut out, SEQUENCE_FIRST, header.sequence_first);
    if header.has_transactions {
        let base_us = rows.transactions.first().map_or(0, |first| first.committed_at_us);
        put_number(&mut out, COMMITTED_AT_BASE, base_us.cast_unsigned());
        let files = files(rows);
        for file in &files {
            put_field(&mut out, FILES, file.as_bytes());
        }
        put_transactions(&mut out, base_us, &files, rows);
        put_number(&mut out, BEFORE_IMAGE, before_image(header.before_image));
    }
    out
}

fn put_transactions(out: &mut Vec<u8>, base_us: i64, files: &[&str], rows: &Rows) {
    let counts = rows.rows_of_transactions();
    let mut body = Vec::with_capacity(96);
    let mut gtid = GtidText::default();
    let mut file = 0_usize;
    for (entry, count) in rows.transactions.iter().zip(counts) {
        if files.get(file).is_none_or(|name| **name != *entry.start.file) {
            file = files.iter().position(|name| **name == *entry.start.file).unwrap_or_default();
        }
        body.clear();
        put_bytes(&mut body, GTID, gtid.of(&entry.id).as_bytes());
        let delta_us = entry.committed_at_us.wrapping_sub(base_us);
        put_number(&mut body, COMMITTED_AT_DELTA, zigzag(delta_us));
        put_number(&mut body, FILE, file as u64);
        put_number(&mut body, OFFSET, entry.start.offset);
        put_number(&mut body, TRANSACTION_ROWS, count.into());
        put_number(&mut body, SERVER_ID, entry.server_id.into());
        let original_us = entry.original_committed_at_us.wrapping_sub(entry.committed_at_us);
        put_number(&mut body, ORIGINAL_COMMITTED_AT_DELTA, zigzag(original_us));
        put_field(out, TRANSACTIONS, &body);
    }
}

/// The binlog files that the transactions begin in, each once, in order of appearance. Few: a batch
/// spans a rotation at most now and then.
fn files(rows: &Rows) -> Vec<&str> {
    let mut files: Vec<&str> = Vec::new();
    for entry in &rows.transactions {
        let file: &str = &entry.start.file;
        if files.last() != Some(&file) && !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

fn op(op: Op) -> u64 {
    match op {
        Op::Insert => 1,
        Op::Update => 2,
        Op::Delete => 3,
        Op::Read => 4,
    }
}

fn before_image(before_image: BeforeImage) -> u64 {
    match before_image {
        BeforeImage::Full => 1,
        BeforeImage::Changed => 2,
        BeforeImage::Key => 3,
    }
}
