//! Where transactions begin and end.

use std::time::Instant;

use super::Flow;
use crate::change::Transaction;
use crate::checkpoint::{self, TransactionKind};
use crate::decode;
use crate::freshness::verdict::certificate;
use crate::pipeline::Error;

/// Transactions after which an ack group of delivery is closed, whatever comes: bounds what a restart
/// repeats beyond the messages that were on their way.
const ACK_GROUP_TRANSACTIONS_MAX: u64 = 256;
/// Transactions that announce more bytes begin an ack group: what came before does not wait for them.
const LARGE_TRANSACTION_BYTES: u64 = 1 << 20;

impl Flow {
    pub(super) fn begin(&mut self, transaction: &Transaction) -> Result<(), Error> {
        if transaction.length_bytes.is_some_and(|bytes| bytes > LARGE_TRANSACTION_BYTES) {
            self.close_ack_group();
        }
        let is_before = self.config.window.is_before(transaction);
        if !is_before && self.config.window.is_behind(transaction) {
            // What came before is whole without it.
            self.close_ack_group();
        }
        self.filter_as_of(transaction)?;
        let comes_again = self.passed_on.begin(transaction)?;
        if !comes_again {
            self.class = TransactionKind::Filtered;
        }
        self.is_skipped = is_before || self.config.window.is_over();
        self.newest_commit_us = transaction.committed_at_us;
        self.idle_since = None;
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        commit: &decode::Commit<'_>,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(xid) = commit.unseen_xa.filter(|_| !self.is_skipped) {
            self.unseen(commit, xid)?;
        }
        self.passed_on.end();
        self.transaction_bytes = 0;
        self.config.window.reached(commit.end);
        if let Some(surplus_rows) = &self.config.surplus_rows
            && surplus_rows.committed(self.newest_commit_us, self.packer.sequences())
        {
            self.config.window.end();
        }
        self.arrived();
        self.counts.transaction(self.class);
        let (transaction, class) = (commit.transaction, accounting_class(self.class));
        let span = self.recorder.transaction(transaction.id, &transaction.start, commit.end, class);
        self.spans.extend(span);
        self.tracker.commit(&checkpoint::Commit {
            id: commit.transaction.id,
            class: self.class,
            end: commit.end,
            resolves: commit.resolves,
            open_xa: commit.open_xa,
        });
        if self.holds_news() {
            self.serve_held(now)?;
        }
        // A heartbeat does not wait for what comes behind it.
        let is_heartbeat = matches!(self.class, TransactionKind::Heartbeat(_));
        if is_heartbeat || self.tracker.open_transactions() >= ACK_GROUP_TRANSACTIONS_MAX {
            self.close_ack_group();
        }
        Ok(())
    }
}

/// As what the certificate counts it. Saves of a checkpoint carry nothing for consumers.
fn accounting_class(class: TransactionKind) -> certificate::CountedAs {
    match class {
        TransactionKind::User => certificate::CountedAs::User,
        TransactionKind::Filtered | TransactionKind::Checkpoint => certificate::CountedAs::Filtered,
        TransactionKind::Heartbeat(number) => certificate::CountedAs::Heartbeat(number),
        TransactionKind::Lease => certificate::CountedAs::Lease,
        TransactionKind::Canary => certificate::CountedAs::Canary,
    }
}
