//! Rows as they are gathered: encoded images back to back, and what is known of each row.

use std::fmt::Write;

use crate::change::{Gtid, Op, Position, Tag, Transaction, TransactionId, Uuid};

/// Which operations are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpSet(u8);

impl OpSet {
    /// Adds an operation.
    pub fn insert(&mut self, op: Op) {
        self.0 |= Self::bit(op);
    }

    /// Whether the operation is inside.
    pub fn contains(self, op: Op) -> bool {
        self.0 & Self::bit(op) != 0
    }

    /// Those inside: insert, update, delete, read.
    pub fn iter(self) -> impl Iterator<Item = Op> {
        [Op::Insert, Op::Update, Op::Delete, Op::Read]
            .into_iter()
            .filter(move |op| self.contains(*op))
    }

    fn bit(op: Op) -> u8 {
        match op {
            Op::Insert => 1,
            Op::Update => 2,
            Op::Delete => 4,
            Op::Read => 8,
        }
    }
}

/// What is known of one row; its images lie in [`Rows::images`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowMark {
    /// Number within its transaction.
    pub(crate) row: u64,
    /// Length of the before image's bytes.
    pub(crate) before_bytes: Option<usize>,
    /// Length of the after image's bytes, which follow those of the before image.
    pub(crate) after_bytes: Option<usize>,
    /// Index into [`Rows::transactions`].
    pub(crate) transaction: u32,
    /// What happened.
    pub(crate) op: Op,
}

impl RowMark {
    /// Bytes of both images.
    pub(crate) fn image_bytes(&self) -> usize {
        self.before_bytes.unwrap_or(0) + self.after_bytes.unwrap_or(0)
    }
}

/// A transaction that rows refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: TransactionId,
    pub(crate) start: Position,
    pub(crate) committed_at_us: i64,
    pub(crate) original_committed_at_us: i64,
    pub(crate) server_id: u32,
    /// Unit of delivery of the transaction.
    pub(crate) ack_group: u64,
}

impl Entry {
    fn of(ack_group: u64, transaction: &Transaction) -> Self {
        Self {
            id: transaction.id,
            start: transaction.start.clone(),
            committed_at_us: transaction.committed_at_us,
            original_committed_at_us: transaction.original_committed_at_us,
            server_id: transaction.server_id,
            ack_group,
        }
    }

    fn is(&self, ack_group: u64, transaction: &Transaction) -> bool {
        self.ack_group == ack_group && self.start == transaction.start && self.id == transaction.id
    }
}

/// GTIDs as their `Display` has them, without the formatting machinery, and without writing again what
/// does not change from one to the next: of single-row transactions, one GTID goes with every row.
#[derive(Debug, Default)]
pub(crate) struct GtidText {
    text: String,
    /// Whose source and tag stand at the front of `text`, and how long they are.
    front: Option<(Uuid, Tag, usize)>,
}

impl GtidText {
    /// The text; empty for an anonymous transaction.
    pub(crate) fn of(&mut self, id: &TransactionId) -> &str {
        match id {
            TransactionId::Gtid(gtid) => self.put(gtid),
            TransactionId::Maria(gtid) => {
                self.clear();
                write!(self.text, "{gtid}").expect("writing to a String cannot fail");
            }
            TransactionId::Anonymous => self.clear(),
        }
        &self.text
    }

    fn put(&mut self, gtid: &Gtid) {
        match self.front {
            Some((source, tag, bytes)) if source == gtid.source && tag == gtid.tag => {
                self.text.truncate(bytes);
            }
            _ => {
                self.clear();
                self.text.push_str(gtid.source.text(&mut [0; 36]));
                if !gtid.tag.is_empty() {
                    self.text.push(':');
                    self.text.push_str(gtid.tag.as_str());
                }
                self.text.push(':');
                self.front = Some((gtid.source, gtid.tag, self.text.len()));
            }
        }
        self.text.push_str(itoa::Buffer::new().format(gtid.sequence));
    }

    fn clear(&mut self) {
        self.text.clear();
        self.front = None;
    }
}

/// Rows of one table and lane in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rows {
    /// Bodies of the images, of each row before and after.
    pub(crate) images: Vec<u8>,
    pub(crate) marks: Vec<RowMark>,
    /// In order of their first row. Rows refer to them in ascending order.
    pub(crate) transactions: Vec<Entry>,
    pub(crate) ops: OpSet,
    /// Cells left out by the oversize ladder.
    pub(crate) omitted_cells: u32,
}

impl Rows {
    /// The index of the transaction, which is that of the last row or a new one.
    #[inline]
    pub(crate) fn transaction(&mut self, ack_group: u64, transaction: &Transaction) -> u32 {
        if !self.transactions.last().is_some_and(|last| last.is(ack_group, transaction)) {
            self.transactions.push(Entry::of(ack_group, transaction));
        }
        // One entry is 120 bytes: memory ends long before the index does.
        u32::try_from(self.transactions.len() - 1).unwrap_or(u32::MAX)
    }

    /// The bytes of each row's images, before and after.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RowMark, Option<&[u8]>, Option<&[u8]>)> {
        let mut rest = self.images.as_slice();
        self.marks.iter().map(move |mark| {
            let before = mark.before_bytes.map(|length| take(&mut rest, length));
            let after = mark.after_bytes.map(|length| take(&mut rest, length));
            (mark, before, after)
        })
    }

    /// How many rows there are of each transaction.
    pub(crate) fn rows_of_transactions(&self) -> Vec<u32> {
        let mut counts = vec![0_u32; self.transactions.len()];
        for mark in &self.marks {
            if let Some(count) = counts.get_mut(mark.transaction as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// Removes the rows from `at` (1 to less than their number) and returns them.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let bytes = self.marks.iter().take(at).map(RowMark::image_bytes).sum();
        let images = self.images.split_off(bytes);
        let mut marks = self.marks.split_off(at);
        let first = marks.first().map_or(0, |mark| mark.transaction);
        let last = self.marks.last().map_or(0, |mark| mark.transaction);
        let transactions = self.transactions.get(first as usize..).unwrap_or_default().to_vec();
        self.transactions.truncate(last as usize + 1);
        for mark in &mut marks {
            mark.transaction -= first;
        }
        self.ops = ops_of(&self.marks);
        Self { ops: ops_of(&marks), images, marks, transactions, omitted_cells: 0 }
    }

    /// The index that halves the bytes best; `None` with fewer than two rows.
    pub(crate) fn middle(&self) -> Option<usize> {
        let half = self.images.len() / 2;
        let mut bytes = 0;
        let at = self.marks.iter().position(|mark| {
            bytes += mark.image_bytes();
            bytes > half
        });
        let last = self.marks.len().checked_sub(1).filter(|last| *last > 0)?;
        Some(at.unwrap_or(last).clamp(1, last))
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    *rest = after;
    taken
}

fn ops_of(marks: &[RowMark]) -> OpSet {
    let mut ops = OpSet::default();
    for mark in marks {
        ops.insert(mark.op);
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::MariaGtid;

    #[test]
    fn a_gtid_reads_as_it_prints_whichever_was_before_it() {
        let gtid = |source: u8, tag: &[u8], sequence| {
            let tag = Tag::new(tag).expect("a tag");
            TransactionId::Gtid(Gtid { source: Uuid([source; 16]), tag, sequence })
        };
        let mut text = GtidText::default();
        for id in [
            gtid(1, b"", 9),
            gtid(1, b"", 10),
            gtid(1, b"red", 10),
            gtid(2, b"red", 123_456_789),
            gtid(2, b"red", 1),
            TransactionId::Anonymous,
            gtid(2, b"red", 1),
            TransactionId::Maria(MariaGtid { domain: 0, server: 1, sequence: 7 }),
            gtid(2, b"", 2),
        ] {
            assert_eq!(text.of(&id), id.text().unwrap_or_default());
        }
    }
}
