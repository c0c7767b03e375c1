//! What is known of a row that is written.

use std::io::Write as _;
use std::sync::Arc;

use super::write::{put_escaped, put_unsigned};
use crate::change::{Change, Position, Table, Transaction, TransactionId};
use crate::encode::origin::Origin;

/// A row and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct RowContext<'a> {
    /// The stream.
    pub origin: &'a Origin,
    /// The row's table.
    pub table: &'a Arc<Table>,
    /// Its transaction.
    pub transaction: &'a Transaction,
    /// The row.
    pub change: &'a Change<'a>,
    /// Its number, where rows are numbered.
    pub number: Option<RowNumber<'a>>,
    /// The event that it is in. `None`: the formats name the transaction's start and the row's number
    /// within the transaction instead.
    pub event: Option<EventPlace<'a>>,
    /// Its place among the rows of its transaction.
    pub order: Option<Order>,
    /// The id of the transaction in the storage engine, from its XID event.
    pub xid: Option<u64>,
    /// The thread that wrote it.
    pub thread_id: Option<u32>,
    /// The statement that wrote it.
    pub query: Option<&'a str>,
    /// When it is handled, microseconds since 1970 UTC. `None`: the time of its commit stands instead,
    /// so that the same row always gives the same bytes.
    pub processed_at_us: Option<i64>,
    /// W3C trace context of its transaction.
    pub traceparent: Option<&'a str>,
}

impl<'a> RowContext<'a> {
    /// A row of which nothing more is known.
    pub fn new(
        origin: &'a Origin,
        table: &'a Arc<Table>,
        transaction: &'a Transaction,
        change: &'a Change<'a>,
    ) -> Self {
        Self {
            origin,
            table,
            transaction,
            change,
            number: None,
            event: None,
            order: None,
            xid: None,
            thread_id: None,
            query: None,
            processed_at_us: None,
            traceparent: None,
        }
    }

    /// Where it is in the log, as exactly as known.
    pub(super) fn position(&self) -> (&'a Position, u64) {
        match self.event {
            Some(EventPlace { position, row }) => (position, row),
            None => (&self.transaction.start, self.change.row),
        }
    }
}

/// A row's number in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowNumber<'a> {
    /// The lane's stable name, `shop.orders#0`.
    pub lane: &'a str,
    /// The number; of a row of a snapshot, its number among the rows of the lane's snapshot parts.
    pub number: u64,
    /// Id and attempt of the snapshot, for a row of one.
    pub snapshot: Option<(&'a str, u32)>,
}

/// The event that a row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace<'a> {
    /// Where the event begins.
    pub position: &'a Position,
    /// The row's number in the event, from 0.
    pub row: u64,
}

/// A row's place among the rows of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its number among all rows of the transaction, from 1.
    pub total: u64,
    /// Its number among those of its table, from 1.
    pub table: u64,
    /// Whether it is the transaction's last; `None` when not known.
    pub is_last: Option<bool>,
}

/// Appends an id that this row has, and no other row of its stream; the same whenever it is written: by
/// its number where it has one, else by its transaction and its number there. Text without quotes,
/// escaped for a JSON string.
pub fn put_row_id(context: &RowContext<'_>, out: &mut Vec<u8>) {
    match context.number {
        Some(RowNumber { lane, number, snapshot: None }) => {
            put_unsigned(out, context.origin.epoch);
            out.push(b'/');
            put_escaped(out, lane);
            out.push(b'/');
            put_unsigned(out, number);
        }
        Some(RowNumber { lane, number, snapshot: Some((snapshot, attempt)) }) => {
            put_escaped(out, snapshot);
            out.push(b'/');
            put_escaped(out, lane);
            out.push(b'/');
            put_unsigned(out, attempt.into());
            out.push(b'/');
            put_unsigned(out, number);
        }
        None => {
            let written = match &context.transaction.id {
                TransactionId::Gtid(gtid) => write!(out, "{gtid}"),
                TransactionId::Maria(gtid) => write!(out, "{gtid}"),
                TransactionId::Anonymous => {
                    let start = &context.transaction.start;
                    put_escaped(out, &start.file);
                    write!(out, ":{}", start.offset)
                }
            };
            // Writing to a Vec cannot fail.
            written.unwrap_or_default();
            out.push(b'/');
            put_unsigned(out, context.change.row);
        }
    }
}
