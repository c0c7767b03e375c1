//! What follows from each step of the decoder: filter, recognise, pack, count. No I/O, no waiting.

mod changed;
mod filters;
mod held;
mod marked;
mod outbox;
mod previous_gtids;
mod quarantine;
mod rows;
mod snapshot;
mod surplus_rows;
mod transaction;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::control_messages::ControlMessages;
use super::counts::Counts;
use super::duplicate_skipper::DuplicateSkipper;
use super::finalizing::Note;
use super::passed_on::PassedOn;
use crate::change::{NameCase, Position};
use crate::checkpoint::{Misuse, Tracker, TransactionKind};
use crate::control::SendRate;
use crate::decode::Step;
use crate::encode::{EncodedBatch, Kind};
use crate::filter::{Filter, MaskBuffer, Uncovered};
use crate::freshness::Progress;
use crate::freshness::verdict::certificate::{Recorder, Span};
use crate::freshness::{CanaryStep, Nonces, Recogniser, Seen};
use crate::pack::Packer;
use crate::sink::quarantine::Undecoded;
use crate::source::Start;
use crate::telemetry::Metrics;
pub use changed::Indirect;
use changed::Objects;
use filters::Filters;
use held::Held;
use snapshot::Snapshots;
pub use surplus_rows::SurplusRows;
pub use window::Window;

/// What decides how rows are treated.
#[derive(Debug, Clone, Default)]
pub struct FlowConfig {
    /// Whether statements are published.
    pub schema_changes: bool,
    /// Transactions outside are skipped.
    pub window: Window,
    /// What becomes of heartbeats and canaries.
    pub own_rows: OwnRows,
    /// The stream begins at the front of a file: which transactions with GTIDs lie before is told
    /// there.
    pub begins_by_position: bool,
    /// Events of a transaction that can't be decoded are quarantined; else they end the stream.
    pub puts_undecoded_aside: bool,
    /// What canaries carry so that their echo is known; `None`: nothing, nobody awaits them.
    pub nonces: Option<Nonces>,
    /// Rows to be gone by before the stretch ends.
    pub surplus_rows: Option<Arc<SurplusRows>>,
    /// Keys that are kept while chunks of a snapshot are read.
    pub snapshot_keys_max: usize,
    /// How fast rows are sent, of those that were held back.
    pub pace: Option<Arc<SendRate>>,
}

/// What becomes of heartbeats and canaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnRows {
    /// They are told, and canaries published.
    #[default]
    Told,
    /// They are left out: they told of another time.
    LeftOut,
}

/// Everything between the decoder and the finalizing thread.
///
/// Invariant: for each encoded batch in `batches`, and for each open batch of the packer, the tracker
/// counts one message on its way.
pub struct Flow {
    config: FlowConfig,
    filter: Filter,
    filters: Filters,
    recogniser: Recogniser,
    control_messages: ControlMessages,
    packer: Packer,
    tracker: Tracker,
    passed_on: PassedOn,
    space: MaskBuffer,
    /// Ready to be finalized, in order.
    batches: Vec<EncodedBatch>,
    /// Heartbeats and canaries that went by.
    seen: Vec<Seen>,
    /// What stands between two heartbeats.
    recorder: Recorder,
    /// Of heartbeats that went by, with what stood before each.
    spans: Vec<Span>,
    /// When the server said that it is idle, if that was after the last transaction.
    idle_since: Option<Instant>,
    /// When it last said so.
    idle_at: Option<Instant>,
    /// Bytes read of the transaction that is going by.
    transaction_bytes: u64,
    /// Canaries whose encoded batches were made, in order.
    canaries: VecDeque<CanaryStep>,
    counts: Counts,
    /// Whose the open transaction is, as far as its rows told.
    class: TransactionKind,
    /// The open transaction is outside of the window.
    is_skipped: bool,
    /// What comes again although it was passed on.
    duplicates: Option<DuplicateSkipper>,
    /// Offsets known so far are those of a server before this one.
    is_other_server: bool,
    /// The ack group of the first place on this server, if there was one before.
    first_here: Option<u64>,
    /// The first table of those whose columns the log does not name, of late, and whose rows were
    /// published all the same.
    unnamed: Option<Arc<str>>,
    /// Views, and tables with triggers.
    objects: Objects,
    /// Row events that could not be decoded.
    undecoded: Vec<Undecoded>,
    /// Some of them could not be quarantined.
    is_unkept: bool,
    /// Commit time of the newest transaction, microseconds since 1970 UTC.
    newest_commit_us: i64,
    snapshots: Snapshots,
    held: Held,
}

impl Flow {
    /// Continues from where `tracker` stands.
    pub fn new(
        config: FlowConfig,
        filter: Filter,
        recogniser: Recogniser,
        control_messages: ControlMessages,
        packer: Packer,
        tracker: Tracker,
    ) -> Self {
        let snapshots = Snapshots::new(config.snapshot_keys_max, packer.lanes_of_table());
        Self {
            snapshots,
            held: Held::at(config.pace.clone()),
            config,
            filter,
            filters: Filters::default(),
            recogniser,
            control_messages,
            packer,
            tracker,
            passed_on: PassedOn::default(),
            space: MaskBuffer::default(),
            batches: Vec::new(),
            seen: Vec::new(),
            recorder: Recorder::new(),
            spans: Vec::new(),
            idle_since: None,
            idle_at: None,
            transaction_bytes: 0,
            canaries: VecDeque::new(),
            counts: Counts::default(),
            class: TransactionKind::Filtered,
            is_skipped: false,
            duplicates: None,
            is_other_server: false,
            first_here: None,
            unnamed: None,
            objects: Objects::default(),
            undecoded: Vec::new(),
            is_unkept: false,
            newest_commit_us: 0,
        }
    }

    /// Whether the columns of a table must have names: its rows are published.
    pub(super) fn wants(&self, database: &str, table: &str) -> bool {
        !self.recogniser.is_own_database(database) && self.filter.wants(database, table)
    }

    /// Takes one step of the decoder.
    pub fn step(&mut self, step: Step<'_>, now: Instant) -> Result<(), Error> {
        self.take_step(step, now)?;
        if self.snapshots.waits() { self.serve_snapshot(now) } else { Ok(()) }
    }

    fn take_step(&mut self, step: Step<'_>, now: Instant) -> Result<(), Error> {
        if let Some(duplicates) = &mut self.duplicates {
            if duplicates.takes(&step) {
                return Ok(());
            }
            self.duplicates = None;
        }
        match step {
            Step::Begin(transaction) => self.begin(transaction),
            Step::Rows(rows) => {
                self.rows(rows, now)?;
                self.keep_pace(now);
                Ok(())
            }
            Step::Schema(statement) => self.statement(&statement),
            Step::Changed(statement) => self.changed(&statement),
            Step::Commit(commit) => self.commit(&commit, now),
            Step::Idle { position, resume }
            | Step::Rotate { position, resume }
            | Step::Passed { position, resume, .. } => {
                self.note_passed(&step, now);
                // Inside a transaction there is no place to continue from.
                if self.passed_on.is_inside() {
                    return Ok(());
                }
                self.config.window.reached(position);
                self.arrived();
                let open_xa = (resume != position).then_some(resume);
                self.tracker.reached(position, open_xa);
                Ok(())
            }
        }
    }

    /// A place on the server that is streamed from is known.
    fn arrived(&mut self) {
        if std::mem::take(&mut self.is_other_server) {
            self.first_here = Some(self.tracker.ack_group());
        }
    }

    /// Where a restart would continue, if that is a place on the server that is streamed from.
    fn needed(&self) -> Position {
        let is_settled = |ack_group| self.tracker.is_settled(ack_group);
        if self.is_other_server || !self.first_here.is_none_or(is_settled) {
            return Position::default();
        }
        self.tracker.resume_place().position.clone()
    }

    /// What the tracker and the certificate must know of steps that carry no row.
    fn note_passed(&mut self, step: &Step<'_>, now: Instant) {
        match step {
            Step::Idle { .. } => {
                self.idle_since = (!self.passed_on.is_inside()).then_some(now);
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
            // The recorder is told of transactions where they begin and end.
            Step::Begin(_)
            | Step::Rows(_)
            | Step::Schema(_)
            | Step::Changed(_)
            | Step::Commit(_) => {}
        }
    }

    /// An event came.
    #[inline]
    pub fn event(&mut self, event: &[u8]) {
        let event_type = event.get(EVENT_TYPE_AT).copied().unwrap_or_default();
        self.counts.event(event_type);
        if self.passed_on.is_inside() {
            self.transaction_bytes += event.len() as u64;
        }
        if self.config.begins_by_position {
            self.begin_of_file(event_type, event);
        }
    }

    /// Whether the window's end has gone by.
    pub(super) fn is_over(&self) -> bool {
        self.config.window.is_over()
    }

    /// Nothing more is at hand.
    pub(super) fn idle(&mut self, now: Instant) {
        self.packer.flush_idle(now, &mut self.batches);
        self.close_ack_group();
    }

    /// When [`Flow::flush_due`] must be called; `None` while nothing waits.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.packer.due()
    }

    /// Rows that have waited long enough become encoded batches.
    pub(super) fn flush_due(&mut self, now: Instant) {
        self.packer.flush_due(now, &mut self.batches);
        self.close_ack_group();
    }

    /// All rows become encoded batches.
    pub(super) fn flush_all(&mut self) {
        self.packer.flush_all(&mut self.batches);
        self.close_ack_group();
    }

    /// Between two transactions: what went by so far can become delivered by itself. Not so while
    /// something of it waits to be quarantined: it would count as delivered, and be nowhere.
    fn close_ack_group(&mut self) {
        if self.passed_on.is_inside() || self.is_unkept || !self.undecoded.is_empty() {
            return;
        }
        for (lane, key, next) in self.packer.sequences().take_moved() {
            self.tracker.numbered(lane.0, &key, next);
        }
        self.tracker.close_ack_group();
    }

    /// A dump begins there.
    pub(super) fn stream_began(&mut self, start: &Start) {
        self.duplicates = DuplicateSkipper::new(start, &self.tracker, self.is_other_server);
        match (start, &self.duplicates) {
            (Start::Gtid(set) | Start::GtidFrom { set, .. }, _) => {
                self.recorder.started(Some(set), None);
            }
            (Start::Maria(_), _) => self.recorder.sought(),
            (Start::Position(_), Some(duplicates)) => {
                self.recorder.started(None, Some(duplicates.until()));
            }
            (Start::Position(position), None) => self.recorder.started(None, Some(position)),
        }
    }

    /// Heartbeats that went by since the last call, with what stood before each.
    pub(super) fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    /// The stream broke, maybe inside a transaction.
    pub(super) fn stream_broke(&mut self) {
        self.passed_on.broke();
    }

    /// From here on places speak of this server.
    pub(super) fn moved_to(&mut self, server: &str) {
        self.is_other_server |= self.tracker.server() != server;
        self.tracker.moved_to(server);
        self.control_messages.moved_to(server);
    }

    /// From here on names are compared as this server does.
    pub(crate) fn compare_names(&mut self, case: NameCase) {
        self.compare_held_names(case);
        self.filter.compare_names(case);
        self.recogniser.compare_names(case);
    }

    pub(super) fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Rows and control messages that are ready to be finalized, in order.
    pub fn take_batches(&mut self) -> Vec<EncodedBatch> {
        std::mem::take(&mut self.batches)
    }

    /// Row events that could not be decoded, since the last call: to be quarantined durably before
    /// anything else is told of.
    pub(super) fn take_undecoded(&mut self) -> Vec<Undecoded> {
        std::mem::take(&mut self.undecoded)
    }

    /// What was taken by [`Flow::take_undecoded`] could not be quarantined: nothing that went by since
    /// may ever count as delivered.
    pub(super) fn not_put_aside(&mut self) {
        self.is_unkept = true;
    }

    /// Heartbeats and canaries that went by since the last call.
    pub(super) fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// An encoded batch became messages: each of them is on its way. The canary that it carries.
    pub(super) fn finalized(&mut self, note: &Note) -> Result<Option<CanaryStep>, Misuse> {
        for ack_group in &note.extra_ack_groups {
            self.tracker.opened(*ack_group)?;
        }
        self.packer.observe_finalized(note.lane, note.content_bytes, note.body_bytes);
        Ok(if note.kind == Kind::Canary { self.canaries.pop_front() } else { None })
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// How far everything has got, to be told of what was delivered.
    pub fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    pub(super) fn packer_mut(&mut self) -> &mut Packer {
        &mut self.packer
    }

    /// Commit time of the newest transaction that went by, microseconds since 1970 UTC.
    pub(super) fn newest_commit_us(&self) -> i64 {
        self.newest_commit_us
    }

    /// How far everything has got.
    pub(super) fn progress(&mut self) -> Progress {
        Progress {
            read: self.tracker.committed_place().position.clone(),
            delivered: self.tracker.settled_place().position.clone(),
            needed: self.needed(),
            gtid_set: self.tracker.settled_gtids().to_string(),
            newest_commit_us: self.newest_commit_us,
            idle_at: self.idle_at,
            transaction_bytes: self.transaction_bytes,
            is_idle: self.idle_since.is_some() && self.tracker.ack_groups_in_flight() == 0,
            lanes: self.packer.lanes(),
            unnamed: self.unnamed.clone(),
        }
    }

    pub(super) fn tell(&mut self, metrics: &Metrics) {
        self.counts.unordered(self.packer.unordered());
        self.counts.tell(metrics);
        metrics.suppressed_rows_total.inc_by(self.packer.take_held_rows());
        self.filter.take_matches(|setting, pattern, matches| {
            let labels = [setting, pattern.as_str()];
            metrics.filter_pattern_events_total.with_label_values(&labels).inc_by(matches);
        });
        for Uncovered { table, key, pattern } in self.filter.take_uncovered() {
            tracing::warn!(
                table,
                setting = key,
                pattern,
                "the table was altered, and the pattern matches none of its columns any more: if a column \
                 was renamed, it is published now; name it in the filters, then reload"
            );
        }
    }
}

/// Offset of the type code in an event's header (MySQL internals, "Binlog Event Header").
const EVENT_TYPE_AT: usize = 4;
