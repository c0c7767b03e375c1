//! What the reader of a snapshot asks of the loop, and what it is answered.

use std::sync::Arc;

use tokio::sync::oneshot::Sender;

use super::progress::Progress;
use super::reader::Armed;
use super::values::ChunkRows;
use super::window::Target;
use crate::change::Position;
use crate::telemetry::snapshot::ChunkDiscard;

/// A question or an order. The loop comes to it between two transactions.
#[derive(Debug)]
pub enum Ask {
    /// A snapshot begins, or a saved one continues.
    Begin {
        /// What it is. It is saved from here on.
        progress: Box<Progress>,
        /// Nothing was read yet: no saved one.
        is_new: bool,
    },
    /// It is paused, resumed or stopped by an operator.
    Order(Order),
    /// A table is about to be read.
    Start {
        /// Its number.
        table: usize,
    },
    /// A window opens.
    Open {
        /// What is read.
        target: Arc<Target>,
        /// Everything that has gone by.
        reply: Sender<Opened>,
    },
    /// A window closes, and nothing was read.
    Drop {
        /// Its number.
        window: u64,
    },
    /// A chunk was read.
    Take {
        /// It.
        chunk: Box<Chunk>,
        /// What became of it, once the loop has come to its place.
        reply: Sender<Result<Taken, ChunkDiscard>>,
    },
    /// Waits until everything up to an ack group was accepted by its topic.
    Settled {
        /// Number of the group.
        ack_group: u64,
        /// Told then.
        reply: Sender<()>,
    },
    /// A table is done, or given up.
    End {
        /// Its number.
        table: usize,
        /// Why it was given up; `None`: it is done.
        reason: Option<String>,
    },
    /// A table is read from its beginning once more.
    Restart {
        /// Its number.
        table: usize,
    },
    /// Rows of a table moved to other keys, and the log does not tell what else is in them.
    Moved {
        /// Its number.
        table: usize,
    },
    /// How far the snapshot has got.
    Look {
        /// `None`: there is none.
        reply: Sender<Option<Box<Progress>>>,
    },
}

/// What an operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing more is read until it is resumed.
    Pause,
    /// It continues.
    Resume,
    /// Tables that are not done are given up.
    Stop,
}

/// A window is open.
#[derive(Debug)]
pub struct Opened {
    /// Its number.
    pub window: u64,
    /// Everything that has gone by: the view must show it.
    pub armed: Armed,
    /// Statements that went by since the process began. When it rose, tables may have been altered.
    pub statements: u64,
}

/// A chunk that was read.
#[derive(Debug)]
pub struct Chunk {
    /// Number of the table.
    pub table: usize,
    /// Number of the window that was open meanwhile.
    pub window: u64,
    /// What was read.
    pub target: Arc<Target>,
    /// The rows.
    pub rows: ChunkRows,
    /// What it is a chunk of.
    pub part: ChunkPart,
    /// What the rows are ordered by, see [`Layout::order`](super::Layout::order).
    pub order: Arc<str>,
    /// Whether keys rise in that order.
    pub is_ascending: bool,
    /// The server whose log ends at `upto`.
    pub server: String,
    /// Where the log ended after the view was opened: everything that the chunk contains lies before.
    pub upto: Position,
    /// When it was read, microseconds since 1970 UTC.
    pub read_at_us: i64,
}

/// Which rows of the table a chunk has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkPart {
    /// Those behind this key, SQL; `None`: from the first on.
    After(Option<String>),
    /// Those with these keys, which are read again.
    Again(Vec<String>),
    /// All, of a table without a key that nobody could write to while it was read.
    Locked,
}

/// What became of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Ack group of its messages.
    pub ack_group: u64,
    /// Rows that leave.
    pub rows: u64,
    /// Rows that were left out for a newer state.
    pub superseded: u64,
    /// Keys that are to be read again.
    pub again: Vec<String>,
}
