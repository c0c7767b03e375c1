//! The transaction that is being read.

use std::sync::Arc;

use super::gtid::Announcement;
use crate::binlog::Header;
use crate::change::{Position, Transaction, TransactionId};

/// How far into a transaction we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Between transactions.
    #[default]
    Outside,
    /// Its GTID is known, and not yet what it is: rows, a statement, or XA.
    Announced,
    /// Begun; ends by XID, COMMIT or ROLLBACK.
    Open,
    /// Between XA START and XA PREPARE: its events are held.
    Holding,
}

/// The transaction that is being read, or was read last. Its space is used again.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) phase: Phase,
    pub(super) transaction: Transaction,
    /// Whether a ROLLBACK may stand in it. Without a GTID event nobody says that it can't.
    pub(super) may_be_undone: bool,
    /// Its statement changes nothing, by its GTID event.
    pub(super) statement_is_void: bool,
    /// Rows that were decoded.
    pub(super) rows: u64,
    /// Its rows events, decoded or not.
    pub(super) rows_events: u64,
    /// See [`Commit::unseen_xa`](super::Commit::unseen_xa).
    pub(super) unseen_xa: Option<String>,
    /// See [`Commit::resolves`](super::Commit::resolves).
    pub(super) resolves: Vec<TransactionId>,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            phase: Phase::Outside,
            transaction: Transaction {
                id: TransactionId::Anonymous,
                start: Position::default(),
                committed_at_us: 0,
                original_committed_at_us: 0,
                server_id: 0,
                length_bytes: None,
            },
            may_be_undone: false,
            statement_is_void: false,
            rows: 0,
            rows_events: 0,
            unseen_xa: None,
            resolves: Vec::new(),
        }
    }
}

impl Current {
    /// A transaction starts with the event of this header, at `start`. `announcement`: what its GTID
    /// event says, if it has one.
    pub(super) fn start(
        &mut self,
        header: &Header,
        start: &Position,
        announcement: Option<&Announcement>,
    ) {
        let seconds_us = i64::from(header.timestamp) * 1_000_000;
        let committed = announcement.and_then(|told| told.committed_at_us).unwrap_or(seconds_us);
        let original = announcement.and_then(|told| told.original_committed_at_us);
        let transaction = &mut self.transaction;
        transaction.id = announcement.map_or(TransactionId::Anonymous, |told| told.id);
        if transaction.start.file != start.file {
            transaction.start.file = Arc::clone(&start.file);
        }
        transaction.start.offset = start.offset;
        transaction.committed_at_us = committed;
        transaction.original_committed_at_us = original.unwrap_or(committed);
        transaction.server_id = header.server_id;
        transaction.length_bytes = announcement.and_then(|told| told.length_bytes);
        self.may_be_undone = announcement.is_none_or(|told| told.may_be_undone);
        self.statement_is_void = announcement.is_some_and(|told| told.statement_is_void);
        self.phase = Phase::Announced;
        self.rows = 0;
        self.rows_events = 0;
        self.unseen_xa = None;
        self.resolves.clear();
    }
}
