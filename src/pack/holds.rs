//! Rows that are numbered and not sent: an operator holds their table back.
//!
//! Of each lane the range that is held back is known by its first number; it ends before the lane's next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::Transaction;
use crate::encode::Lane;

/// Whether a table is meant, by database and table.
type TableTest = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Which tables are held back; by default none.
#[derive(Clone, Default)]
pub struct HeldTables(Option<Arc<TableTest>>);

impl HeldTables {
    /// Those of which `holds` says so.
    pub fn new(holds: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(holds)))
    }

    /// These, and those of which `holds` says so.
    #[must_use]
    pub fn and(self, holds: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(move |database, table| self.has(database, table) || holds(database, table))
    }

    /// Whether the table is held back.
    pub fn has(&self, database: &str, table: &str) -> bool {
        self.0.as_ref().is_some_and(|holds| holds(database, table))
    }

    /// Whether no table can be.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for HeldTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "none" } else { "some" })
    }
}

/// Rows of a lane that are held back: from `first` to the lane's newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRange {
    /// Database of the table.
    pub database: Arc<str>,
    /// Name of the table.
    pub table: Arc<str>,
    /// Number of the lane among the table's.
    pub number: u32,
    /// Number of the first row.
    pub first: u64,
    /// When its transaction committed, microseconds since 1970 UTC.
    pub since_us: i64,
    /// GTID of its transaction; empty for an anonymous one.
    pub gtid: String,
}

/// A lane, the rows of it that are held back, and the number behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLane {
    /// The lane.
    pub lane: Lane,
    /// Where the range begins.
    pub range: HeldRange,
    /// Number behind the last row.
    pub next: u64,
}

impl HeldLane {
    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.next.saturating_sub(self.range.first)
    }

    /// Whether consumers know the numbers of the lane: messages of an outbox table have none.
    pub fn has_numbers(&self) -> bool {
        Lane::table_of(&self.lane.key).is_some()
    }
}

/// The ranges by the keys of their lanes.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) tables: HeldTables,
    pub(super) ranges: BTreeMap<Arc<str>, HeldRange>,
    /// Lanes whose range began since it was last asked for.
    pub(super) begun: Vec<Arc<str>>,
    /// Rows that were held back since it was last asked for.
    pub(super) rows: u64,
}

impl Holds {
    /// From here on these tables are held back. The ranges of the others end.
    pub(super) fn hold(&mut self, tables: HeldTables) -> Vec<(Arc<str>, HeldRange)> {
        let mut released = Vec::new();
        self.ranges.retain(|key, range| {
            let is_held = tables.has(&range.database, &range.table);
            if !is_held {
                released.push((Arc::clone(key), range.clone()));
            }
            is_held
        });
        self.begun.retain(|key| self.ranges.contains_key(key));
        self.tables = tables;
        released
    }

    /// A range begins with this row, unless it has begun.
    pub(super) fn row(
        &mut self,
        lane: &Lane,
        (database, table): (&Arc<str>, &Arc<str>),
        first: u64,
        transaction: &Transaction,
    ) {
        self.rows += 1;
        if self.ranges.contains_key(&lane.key) {
            return;
        }
        let range = HeldRange {
            database: Arc::clone(database),
            table: Arc::clone(table),
            number: lane.number,
            first,
            since_us: transaction.committed_at_us,
            gtid: transaction.id.text().unwrap_or_default(),
        };
        self.ranges.insert(Arc::clone(&lane.key), range);
        self.begun.push(Arc::clone(&lane.key));
    }
}
