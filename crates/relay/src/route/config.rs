//! What a route is told to do.

use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Waits;
use binpulse_core::change::{Cell, Change, Op};
use binpulse_core::encode::formats::FormatOptions;
use binpulse_core::encode::opened::OpenedRows;

use crate::lanes::{Order, Share};
use crate::open;
use crate::target::retry::Retry;

/// A route.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name: what its state belongs to.
    pub name: String,
    /// This process, told apart from others with the same route.
    pub owner: String,
    /// What keeps its order.
    pub order: Order,
    /// Rows in one request, at most.
    pub rows_max: usize,
    /// Bytes of rows in one request, about; a larger row goes alone.
    pub request_bytes_max: usize,
    /// Requests at once.
    pub concurrency: usize,
    /// How long missing rows are waited for.
    pub waits: Waits,
    /// What happens then.
    pub gap: GapPolicy,
    /// How often a request is tried.
    pub retry: Retry,
    /// Messages that are received and not finished, bytes in memory, about.
    pub buffer_bytes: usize,
    /// Rows of these messages.
    pub buffer_rows: usize,
    /// Long polls at once.
    pub pollers: usize,
    /// How long a message is hidden from others; extended while it is held.
    pub visibility: Duration,
    /// Whether the queue is subscribed to snapshots, so that rows wait for parts in front of them.
    pub has_snapshots: bool,
    /// Whether canaries are delivered to a receiver.
    pub sends_canaries: bool,
    /// The format of requests.
    pub format: FormatOptions,
    /// Which rows are delivered.
    pub filter: Filter,
    /// Whether no other process can share its state: then another reader of the queue is an error.
    pub is_alone: bool,
    /// Which part of these is delivered; the others are written and counted.
    pub share: Share,
    /// Bounds of what is opened.
    pub open: open::Limits,
}

/// What to do about rows that do not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapPolicy {
    /// Ask the streamer to publish them again; after three requests, halt the lane.
    Heal,
    /// Deliver nothing more of the lane until an operator decides.
    Halt,
    /// Go on without them, counted and logged.
    Declare,
}

/// Whether the rows of a table, told by its database and name, are delivered.
pub type TableFilter = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Which rows are delivered.
#[derive(Clone)]
pub struct Filter {
    /// Whether a table is.
    pub table: TableFilter,
    /// Ops that are.
    pub ops: Vec<Op>,
    /// Updates that change nothing but columns of these names are not.
    pub unless_only: Vec<String>,
}

impl Filter {
    /// Whether a row of a table that is delivered is, too.
    pub(super) fn wants(&self, rows: &OpenedRows, change: &Change<'_>) -> bool {
        self.ops.contains(&change.op)
            && (self.unless_only.is_empty() || self.changes_others(rows, change))
    }

    /// Whether it changes a column that counts. Where the images do not tell, it does.
    fn changes_others(&self, rows: &OpenedRows, change: &Change<'_>) -> bool {
        let (Some(before), Some(after)) = (&change.before, &change.after) else { return true };
        let is_complete = after.cells().all(|cell| cell != Cell::Absent);
        let same_if_absent = is_complete && rows.has_changed_only();
        let counts =
            |name: &str| !self.unless_only.iter().any(|ignored| ignored.eq_ignore_ascii_case(name));
        rows.table().columns.iter().enumerate().any(|(ordinal, column)| {
            let differs = match (before.cell(ordinal), after.cell(ordinal)) {
                (_, Cell::Absent) => false,
                (Cell::Absent, _) => !same_if_absent,
                (before, after) => before != after,
            };
            differs && counts(&column.name)
        })
    }

    /// All rows.
    pub fn all() -> Self {
        Self {
            table: Arc::new(|_, _| true),
            ops: vec![Op::Insert, Op::Update, Op::Delete, Op::Read],
            unless_only: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("ops", &self.ops).finish_non_exhaustive()
    }
}
