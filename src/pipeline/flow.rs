//! What follows from each step of the decoder: filter, recognise, pack, count. No I/O, no waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::counts::Counts;
use super::notices::{Delivered, Notices, Row};
use super::progress::Progress;
use super::{Error, Progress as Reached};
use crate::change::{Change, GtidSet, Position, Table, Transaction};
use crate::checkpoint::{self, Class, Tracker};
use crate::decode::{self, Rows, Statement, Step, kind};
use crate::encode::Draft;
use crate::filter::{Filter, Redaction, Route, Space};
use crate::pack::Packer;
use crate::pulse::verdict::ledger::{self, Recorder, Span};
use crate::pulse::{CanaryRow, Phase, Recogniser, Seen};
use crate::source::Start;
use crate::telemetry::Metrics;

/// What decides how rows are treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowConfig {
    /// Whether statements are published.
    pub schema_changes: bool,
    /// Transactions that committed earlier are passed over: the start was a point in time,
    /// microseconds since 1970 UTC.
    pub skip_until_us: Option<i64>,
    /// The stream begins at the front of a file on a server with GTIDs: what lies before is told by
    /// the file.
    pub begins_by_position: bool,
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
    /// What stands between two heartbeats.
    recorder: Recorder,
    /// Of heartbeats that went by, with what stood before each.
    spans: Vec<Span>,
    /// Whether the server said that it is idle, since the last transaction.
    is_idle: bool,
    /// When it last did.
    idle_at: Option<Instant>,
    /// Bytes read of the transaction that is going by.
    transaction_bytes: u64,
    /// Canaries whose drafts were made, in order.
    canaries: VecDeque<(u64, Phase)>,
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
            recorder: Recorder::new(),
            spans: Vec::new(),
            is_idle: false,
            idle_at: None,
            transaction_bytes: 0,
            canaries: VecDeque::new(),
            counts: Counts::default(),
            class: Class::Filtered,
            is_passed_over: false,
            delivered_until,
            newest_commit_us: 0,
        }
    }

    /// Whether the columns of a table must have names: its rows are published.
    pub(super) fn wants(&self, database: &str, table: &str) -> bool {
        !self.recogniser.is_own_database(database) && self.filter.wants(database, table)
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
                self.note_passed(&step, now);
                let open_xa = (resume != position).then_some(resume);
                self.tracker.reached(position, open_xa);
                Ok(())
            }
        }
    }

    /// What the ledger must know of steps that carry no row.
    fn note_passed(&mut self, step: &Step<'_>, now: Instant) {
        match step {
            Step::Idle { .. } => {
                self.is_idle = !self.progress.is_inside();
                self.idle_at = Some(now);
            }
            Step::Rotate { position, .. } => self.recorder.rotated(position),
            Step::Passed { position, prepared, .. } => {
                let before = &self.tracker.committed_place().position;
                self.recorder.passed(before, position);
                if let Some(id) = prepared {
                    self.recorder.prepared(*id);
                }
            }
            Step::Begin(_) | Step::Rows(_) | Step::Schema(_) | Step::Commit(_) => {}
        }
    }

    fn begin(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.progress.begin(transaction)?;
        self.class = Class::Filtered;
        let is_too_old =
            self.config.skip_until_us.is_some_and(|until| transaction.committed_at_us < until);
        self.is_passed_over = is_too_old || self.delivered_until.is_some();
        self.newest_commit_us = transaction.committed_at_us;
        self.is_idle = false;
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
                    self.own_row(transaction, table, &change)?;
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
    ) -> Result<(), Error> {
        let seen = self.recogniser.recognise(table, change).unwrap_or(Seen::Own);
        match &seen {
            Seen::Heartbeat(row) => self.class = Class::Heartbeat(row.number),
            Seen::Canary(canary) => {
                self.class = Class::Canary;
                let unit = self.tracker.unit();
                let row = Row { unit, transaction, table, change };
                self.canary(canary, &row)?;
            }
            Seen::Own => {
                self.class = Class::Checkpoint;
                return Ok(());
            }
        }
        self.seen.push(seen);
        Ok(())
    }

    fn canary(&mut self, canary: &CanaryRow, row: &Row<'_>) -> Result<(), Error> {
        let delivered = Delivered {
            gtid_set: self.tracker.settled_gtids().to_string(),
            position: self.tracker.settled_place().position.clone(),
            lanes: self.tracker.take_moved_lanes(Notices::LANES_MAX),
        };
        let draft = self.notices.canary(canary, row, delivered, self.packer.sequences());
        if let Some(draft) = draft {
            self.drafts.push(draft);
            self.canaries.push_back((canary.number, canary.phase));
            self.tracker.opened(row.unit)?;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>) -> Result<(), Error> {
        if self.is_passed_over || !self.config.schema_changes || is_of_accounts(statement.bytes) {
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
        self.transaction_bytes = 0;
        self.counts.transaction(self.class);
        let (transaction, class) = (commit.transaction, ledger_class(self.class));
        let span = self.recorder.transaction(transaction.id, &transaction.start, commit.end, class);
        self.spans.extend(span);
        self.tracker.commit(&checkpoint::Commit {
            id: commit.transaction.id,
            class: self.class,
            end: commit.end,
            resolves: commit.resolves,
            open_xa: commit.open_xa,
        });
        if self.delivered_until.as_ref().is_some_and(|until| is_reached(until, commit.end)) {
            self.delivered_until = None;
        }
        if self.tracker.open_transactions() >= UNIT_TRANSACTIONS_MAX {
            self.seal_unit();
        }
    }

    /// An event came.
    #[inline]
    pub(super) fn event(&mut self, event: &[u8]) {
        let event_type = event.get(EVENT_TYPE_AT).copied().unwrap_or_default();
        self.counts.event(event_type);
        if self.progress.is_inside() {
            self.transaction_bytes += event.len() as u64;
        }
        if event_type == kind::PREVIOUS_GTIDS && self.config.begins_by_position {
            self.previous_gtids(event);
        }
    }

    /// What the first file of a stream that was begun by file and offset says lies before it. Those
    /// of later files hold what has gone by itself.
    #[cold]
    fn previous_gtids(&mut self, event: &[u8]) {
        self.config.begins_by_position = false;
        let body = event.get(HEADER_BYTES..).unwrap_or_default();
        let bare = body.len().checked_sub(CHECKSUM_BYTES).and_then(|end| body.get(..end));
        let sets = [bare, Some(body)].into_iter().flatten();
        if let Some(set) = sets.into_iter().find_map(|body| GtidSet::decode(body).ok()) {
            self.tracker.assume(&set);
        }
    }

    /// Nothing more is at hand.
    pub(super) fn idle(&mut self, now: Instant) {
        self.packer.flush_idle(now, &mut self.drafts);
        self.seal_unit();
    }

    /// When [`Flow::flush_due`] must be called; `None` while nothing waits.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.packer.due()
    }

    /// Rows that have waited long enough become drafts.
    pub(super) fn flush_due(&mut self, now: Instant) {
        self.packer.flush_due(now, &mut self.drafts);
        self.seal_unit();
    }

    /// All rows become drafts.
    pub(super) fn flush_all(&mut self) {
        self.packer.flush_all(&mut self.drafts);
        self.seal_unit();
    }

    /// Between two transactions: what went by so far can become delivered by itself.
    fn seal_unit(&mut self) {
        if self.progress.is_inside() {
            return;
        }
        for (lane, key, next) in self.packer.sequences().take_moved() {
            self.tracker.numbered(lane.0, &key, next);
        }
        self.tracker.seal_unit();
    }

    /// A dump begins there.
    pub(super) fn stream_began(&mut self, start: &Start) {
        match start {
            Start::Gtid(set) => self.recorder.started(Some(set), None),
            Start::Maria(_) => {}
            Start::Position(position) => self.recorder.started(None, Some(position)),
        }
    }

    /// Heartbeats that went by since the last call, with what stood before each.
    pub(super) fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    /// The stream broke, maybe inside a transaction.
    pub(super) fn stream_broke(&mut self) {
        self.progress.broke();
    }

    /// From here on places speak of this server.
    pub(super) fn moved_to(&mut self, server: &str) {
        self.tracker.moved_to(server);
        self.notices.moved_to(server);
    }

    pub(super) fn has_drafts(&self) -> bool {
        !self.drafts.is_empty()
    }

    pub(super) fn take_drafts(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts)
    }

    /// Heartbeats and canaries that went by since the last call.
    pub(super) fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// The oldest canary whose draft was made and not asked for yet.
    pub(super) fn pop_canary(&mut self) -> Option<(u64, Phase)> {
        self.canaries.pop_front()
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub(super) fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    pub(super) fn packer_mut(&mut self) -> &mut Packer {
        &mut self.packer
    }

    /// How far everything has got.
    pub(super) fn progress(&mut self) -> Reached {
        Reached {
            read: self.tracker.committed_place().position.clone(),
            delivered: self.tracker.settled_place().position.clone(),
            gtid_set: self.tracker.settled_gtids().to_string(),
            newest_commit_us: self.newest_commit_us,
            idle_at: self.idle_at,
            transaction_bytes: self.transaction_bytes,
            is_idle: self.is_idle && self.tracker.units_on_their_way() == 0,
            lanes: self.packer.lanes(),
        }
    }

    pub(super) fn tell(&mut self, metrics: &Metrics) {
        self.counts.tell(metrics);
    }
}

/// Transactions after which a unit of delivery is closed, whatever comes: bounds what a restart
/// repeats beyond the messages that were on their way.
const UNIT_TRANSACTIONS_MAX: u64 = 256;
/// Offset of the type code in an event's header (MySQL internals, "Binlog Event Header").
const EVENT_TYPE_AT: usize = 4;
/// Length of an event's header.
const HEADER_BYTES: usize = 19;
/// Length of an event's checksum, where it has one.
const CHECKSUM_BYTES: usize = 4;

/// Whether a statement is about accounts: those carry password hashes, and are no schema change.
/// Servers log them in their own words, without comments in front.
fn is_of_accounts(statement: &[u8]) -> bool {
    let words = statement
        .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .filter(|word| !word.is_empty());
    let words: Vec<String> =
        words.take(4).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["GRANT" | "REVOKE", ..] | ["SET", "PASSWORD" | "DEFAULT" | "ROLE", ..] => true,
        ["CREATE" | "ALTER" | "DROP" | "RENAME", object, rest @ ..] => {
            let is_account = |word: &str| matches!(word, "USER" | "ROLE");
            is_account(object) || *object == "OR" && rest.iter().any(|word| is_account(word))
        }
        _ => false,
    }
}

/// The same transaction in the ledger's words. Saves of a checkpoint carry nothing for consumers.
fn ledger_class(class: Class) -> ledger::Class {
    match class {
        Class::User => ledger::Class::User,
        Class::Filtered | Class::Checkpoint => ledger::Class::Filtered,
        Class::Heartbeat(number) => ledger::Class::Heartbeat(number),
        Class::Canary => ledger::Class::Canary,
    }
}

/// Whether `position`, later in the same log, is at `until` or beyond.
fn is_reached(until: &Position, position: &Position) -> bool {
    let number = |file: &str| file.rsplit_once('.').and_then(|(_, n)| n.parse::<u64>().ok());
    (number(&until.file), until.offset) <= (number(&position.file), position.offset)
}

#[cfg(test)]
mod tests {
    use super::is_of_accounts;

    #[test]
    fn statements_with_password_hashes_are_known_for_what_they_are() {
        for statement in [
            "CREATE USER 'a'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$...'",
            "create or replace user a identified by password '*AB'",
            "ALTER USER IF EXISTS a IDENTIFIED WITH mysql_native_password AS '*AB'",
            "GRANT SELECT ON *.* TO a IDENTIFIED BY PASSWORD '*AB'",
            "SET PASSWORD FOR a = '*AB'",
            "DROP ROLE r",
            "REVOKE ALL ON *.* FROM a",
        ] {
            assert!(is_of_accounts(statement.as_bytes()), "{statement}");
        }
        for statement in [
            "CREATE TABLE user (id INT)",
            "ALTER TABLE users ADD password TEXT",
            "CREATE OR REPLACE VIEW user_roles AS SELECT 1",
            "DROP DATABASE d",
            "",
        ] {
            assert!(!is_of_accounts(statement.as_bytes()), "{statement}");
        }
    }
}
