//! What follows from each step of the decoder: filter, recognise, pack, count. No I/O, no waiting.

use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::counts::Counts;
use super::notices::Notices;
use super::progress::Progress;
use crate::change::{Change, Position, Table, Transaction};
use crate::checkpoint::{self, Class, Tracker};
use crate::decode::{self, Rows, Statement, Step};
use crate::encode::Draft;
use crate::filter::{Filter, Redaction, Route, Space};
use crate::pack::Packer;
use crate::pulse::{Recogniser, Seen};

/// What decides how rows are treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowConfig {
    /// Whether statements are published.
    pub schema_changes: bool,
    /// Transactions that committed earlier are passed over: the start was a point in time,
    /// microseconds since 1970 UTC.
    pub skip_until_us: Option<i64>,
}

/// Everything between the decoder and the sealing thread.
///
/// Invariant: for each draft in `drafts`, and for each open batch of the packer, the tracker counts
/// one message on its way.
pub struct Flow {
    config: FlowConfig,
    filter: Filter,
    recogniser: Recogniser,
    notices: Notices,
    packer: Packer,
    tracker: Tracker,
    progress: Progress,
    space: Space,
    /// Ready to be sealed, in order.
    drafts: Vec<Draft>,
    /// Heartbeats and canaries that went by.
    seen: Vec<Seen>,
    counts: Counts,
    /// Whose the open transaction is, as far as its rows told.
    class: Class,
    /// The open transaction is delivered already, or older than the start.
    is_passed_over: bool,
    /// Transactions that end here or before are delivered: a re-read for an open XA transaction.
    delivered_until: Option<Position>,
    /// Commit time of the newest transaction, microseconds since 1970 UTC.
    newest_commit_us: i64,
}

impl Flow {
    /// Goes on from where `tracker` stands.
    pub fn new(
        config: FlowConfig,
        filter: Filter,
        recogniser: Recogniser,
        notices: Notices,
        packer: Packer,
        tracker: Tracker,
        delivered_until: Option<Position>,
    ) -> Self {
        Self {
            config,
            filter,
            recogniser,
            notices,
            packer,
            tracker,
            progress: Progress::default(),
            space: Space::default(),
            drafts: Vec::new(),
            seen: Vec::new(),
            counts: Counts::default(),
            class: Class::Filtered,
            is_passed_over: false,
            delivered_until,
            newest_commit_us: 0,
        }
    }

    /// Takes one step of the decoder.
    pub(super) fn step(&mut self, step: Step<'_>, now: Instant) -> Result<(), Error> {
        match step {
            Step::Begin(transaction) => self.begin(transaction),
            Step::Rows(rows) => self.rows(rows, now),
            Step::Schema(statement) => self.statement(&statement),
            Step::Commit(commit) => {
                self.commit(&commit);
                Ok(())
            }
            Step::Idle { position, resume }
            | Step::Rotate { position, resume }
            | Step::Passed { position, resume, .. } => {
                let open_xa = (resume != position).then_some(resume);
                self.tracker.reached(position, open_xa);
                Ok(())
            }
        }
    }

    fn begin(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.progress.begin(transaction)?;
        self.class = Class::Filtered;
        let is_too_old =
            self.config.skip_until_us.is_some_and(|until| transaction.committed_at_us < until);
        self.is_passed_over = is_too_old || self.delivered_until.is_some();
        self.newest_commit_us = transaction.committed_at_us;
        Ok(())
    }

    fn rows(&mut self, mut rows: Rows<'_>, now: Instant) -> Result<(), Error> {
        if self.is_passed_over {
            return Ok(());
        }
        let (table, transaction) = (rows.table(), rows.transaction());
        if self.recogniser.is_own(table) {
            while let Some(change) = rows.next()? {
                if self.progress.is_new(change.row) {
                    self.own_row(transaction, table, &change, now)?;
                }
            }
            return Ok(());
        }
        match self.filter.route(table).clone() {
            Route::Skip => {}
            Route::Publish => {
                while let Some(change) = rows.next()? {
                    if self.progress.is_new(change.row) {
                        self.publish(now, transaction, table, &change)?;
                    }
                }
            }
            Route::Redact(redaction) => {
                while let Some(change) = rows.next()? {
                    if self.progress.is_new(change.row) {
                        self.publish_redacted(now, transaction, &redaction, &change)?;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn publish(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        self.class = Class::User;
        let unit = self.tracker.unit();
        let before = self.packer.open_batches() + self.drafts.len();
        self.packer.push(now, unit, transaction, table, change, &mut self.drafts);
        // A batch that was opened and a draft that was made of it are one message: whatever their
        // sum grew by are batches that begin with this row.
        for _ in before..self.packer.open_batches() + self.drafts.len() {
            self.tracker.opened(unit)?;
        }
        Ok(())
    }

    fn publish_redacted(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        redaction: &Redaction,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let mut space = std::mem::take(&mut self.space);
        let seen = redaction.apply(change, &mut space);
        let published = self.publish(now, transaction, &redaction.table, &seen);
        self.space = space;
        published
    }

    /// A row of a table of our own: never published as a change.
    fn own_row(
        &mut self,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(seen) = self.recogniser.recognise(table, change, now) else {
            self.class = Class::Checkpoint;
            return Ok(());
        };
        match &seen {
            Seen::Heartbeat(row) => self.class = Class::Heartbeat(row.number),
            Seen::Canary(row) => {
                self.class = Class::Canary;
                let unit = self.tracker.unit();
                let watermark = self.tracker.take_moved_lanes(Notices::LANES_MAX);
                let draft = self.notices.canary(
                    row,
                    table,
                    transaction,
                    change,
                    unit,
                    watermark,
                    self.packer.sequences(),
                );
                if let Some(draft) = draft {
                    self.drafts.push(draft);
                    self.tracker.opened(unit)?;
                }
            }
        }
        self.seen.push(seen);
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>) -> Result<(), Error> {
        if self.is_passed_over || !self.config.schema_changes {
            return Ok(());
        }
        // Rows before it leave before it.
        self.packer.flush_all(&mut self.drafts);
        let unit = self.tracker.unit();
        self.drafts.push(self.notices.statement(statement, unit, self.packer.sequences()));
        self.tracker.opened(unit)?;
        self.class = Class::User;
        Ok(())
    }

    fn commit(&mut self, commit: &decode::Commit<'_>) {
        self.progress.end();
        self.counts.transaction(self.class);
        self.tracker.commit(&checkpoint::Commit {
            id: commit.transaction.id,
            class: self.class,
            end: commit.end,
            resolves: commit.resolves,
            open_xa: commit.open_xa,
        });
        if self.delivered_until.as_ref() == Some(commit.end) {
            self.delivered_until = None;
        }
        if self.tracker.open_transactions() >= UNIT_TRANSACTIONS_MAX {
            self.seal_unit();
        }
    }

    /// Between two transactions: what went by so far can become delivered by itself.
    pub(super) fn seal_unit(&mut self) {
        if self.progress.is_inside() {
            return;
        }
        for (lane, key, next) in self.packer.sequences().take_moved() {
            self.tracker.numbered(lane, &key, next);
        }
        self.tracker.seal_unit();
    }
}

/// Transactions after which a unit of delivery is closed, whatever comes: bounds what a restart
/// repeats beyond the messages that were on their way.
const UNIT_TRANSACTIONS_MAX: u64 = 256;
