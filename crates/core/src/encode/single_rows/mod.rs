//! Messages of one row each, in another program's format: batches taken apart, and each row written
//! from its image.

use std::sync::Arc;

use super::encoded_batch::{Content, EncodedBatch, Purpose};
use super::formats::{FormatOptions, Formatter, RowContext, RowNumber, key_change};
use super::options::Format;
use super::origin::Origin;
use super::protobuf::read_image;
use super::rows::{Entry, OpSet, RowMark, Rows};
use crate::change::{Change, Image, Op, RowBuffer, Table, Transaction};

/// Writes rows of batches as documents of a format. Keeps its buffers: one for each thread.
#[derive(Debug)]
pub(super) struct RowDocuments {
    formatter: Formatter,
    before: RowBuffer,
    after: RowBuffer,
}

impl RowDocuments {
    pub(super) fn new(options: FormatOptions) -> Self {
        let formatter = Formatter::new(options);
        Self { formatter, before: RowBuffer::default(), after: RowBuffer::default() }
    }

    /// Cells so far that the format could not hold as they are.
    pub(super) fn lossy_cells(&self) -> u64 {
        self.formatter.lossy_cells()
    }

    /// Whether the batch's rows leave as documents of the format. Other messages, and parts of a snapshot
    /// without rows, leave in binpulse's own form.
    pub(super) fn takes(batch: &EncodedBatch) -> bool {
        let Content::Rows { schema, rows, purpose, .. } = batch.content() else { return false };
        let has_rows = schema.format() == Format::Protobuf && !rows.marks.is_empty();
        has_rows && !matches!(purpose, Purpose::Canary(_))
    }

    /// The batch as batches of one row, in order. An update that changes the key becomes two where the
    /// format has it so.
    pub(super) fn single_rows(&mut self, batch: &EncodedBatch) -> Vec<EncodedBatch> {
        let Content::Rows { schema, before_image, rows, purpose } = batch.content() else {
            return Vec::new();
        };
        let purpose = match purpose {
            Purpose::Snapshot(part) => {
                let mut part = part.clone();
                // Of the part as a whole.
                (part.touched, part.key_after, part.key_upto) = (Vec::new(), None, None);
                Purpose::Snapshot(part)
            }
            Purpose::Changes { .. } | Purpose::Canary(_) => purpose.clone(),
        };
        let mut singles = Vec::with_capacity(rows.marks.len());
        for (number, (mark, before, after)) in (batch.sequence_first()..).zip(rows.iter()) {
            let Some(entry) = rows.transactions.get(mark.transaction as usize) else { continue };
            let mut put = |op, before: Option<&[u8]>, after: Option<&[u8]>| {
                let content = Content::Rows {
                    schema: Arc::clone(schema),
                    before_image: *before_image,
                    rows: single(op, mark, entry, before, after),
                    purpose: purpose.clone(),
                };
                singles.push(EncodedBatch::new(batch.lane().clone(), number, content));
            };
            if self.becomes_two(schema.table(), mark, before, after) {
                put(Op::Delete, before, None);
                put(Op::Insert, None, after);
            } else {
                put(mark.op, before, after);
            }
        }
        singles
    }

    fn becomes_two(
        &mut self,
        table: &Table,
        mark: &RowMark,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> bool {
        if mark.op != Op::Update || !self.formatter.splits_key_changes() {
            return false;
        }
        let change = self.change(mark, before, after);
        key_change(table, &change).is_some()
    }

    /// Appends the document of a batch's only row.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, batch: &EncodedBatch, origin: &Origin) {
        let Content::Rows { schema, rows, purpose, .. } = batch.content() else { return };
        let Some((mark, before, after)) = rows.iter().next() else { return };
        let Some(entry) = rows.transactions.get(mark.transaction as usize) else { return };
        let transaction = Transaction {
            id: entry.id,
            start: entry.start.clone(),
            committed_at_us: entry.committed_at_us,
            original_committed_at_us: entry.original_committed_at_us,
            server_id: entry.server_id,
            length_bytes: None,
        };
        let snapshot = match purpose {
            Purpose::Snapshot(part) => Some((&*part.snapshot, part.attempt)),
            Purpose::Changes { .. } | Purpose::Canary(_) => None,
        };
        let Self { formatter, before: before_buffer, after: after_buffer } = self;
        let change = change(mark, read(before, before_buffer), read(after, after_buffer));
        let mut context = RowContext::new(origin, schema.table(), &transaction, &change);
        let (lane, number) = (&*batch.lane().key, batch.sequence_first());
        context.number = Some(RowNumber { lane, number, snapshot });
        formatter.row(&context, out);
    }

    fn change<'a>(
        &'a mut self,
        mark: &RowMark,
        before: Option<&'a [u8]>,
        after: Option<&'a [u8]>,
    ) -> Change<'a> {
        change(mark, read(before, &mut self.before), read(after, &mut self.after))
    }
}

fn change<'a>(mark: &RowMark, before: Option<Image<'a>>, after: Option<Image<'a>>) -> Change<'a> {
    Change { op: mark.op, row: mark.row, before, after }
}

fn read<'a>(body: Option<&'a [u8]>, buffer: &'a mut RowBuffer) -> Option<Image<'a>> {
    let body = body?;
    buffer.clear();
    read_image(body, &mut buffer.after, &mut buffer.scratch);
    Some(Image::new(&buffer.after, body, &buffer.scratch))
}

fn single(
    op: Op,
    mark: &RowMark,
    entry: &Entry,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Rows {
    let mark = RowMark {
        row: mark.row,
        before_bytes: before.map(<[u8]>::len),
        after_bytes: after.map(<[u8]>::len),
        transaction: 0,
        op,
    };
    let mut ops = OpSet::default();
    ops.insert(op);
    Rows {
        images: [before.unwrap_or_default(), after.unwrap_or_default()].concat(),
        marks: vec![mark],
        transactions: vec![entry.clone()],
        ops,
        omitted_cells: 0,
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;
