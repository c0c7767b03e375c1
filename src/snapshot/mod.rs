//! Snapshots: the rows that are already in the tables, read in chunks beside the stream.
//!
//! A chunk is one SELECT over a range of the primary key, in a consistent view, in a transaction of
//! less than a second. It is exact at one place of the log, E:
//!
//! 1. The loop *arms* the table: from S on it notes the key of each row of the table that goes by.
//! 2. The reader waits until everything up to S is visible on its server, opens the view, reads, and
//!    then asks the source where its log ends: that place is E. What a view shows was written to the
//!    log before it became visible, so everything that the chunk contains lies before E.
//! 3. When the loop has come to E, it takes the chunk: rows whose key went by between S and E are left
//!    out (the stream brought something newer), the others are as they stand at E. They leave as
//!    snapshot parts behind all rows before E and in front of all rows behind it.
//! 4. How far the snapshot has got is saved with the checkpoint that covers these parts.
//!
//! Needs no locks, no writes and no assumption about the order of commits or replication lag.
//!
//! Rows of a table without a key can't be told apart, so nothing can be left out of a chunk. If an
//! operator allows it, such a table is one chunk, and is locked against writes from before its view is
//! opened until the loop has the chunk. Then all its rows up to E are in the chunk, and none behind E.

mod ask;
mod begin;
mod config;
mod control;
mod layout;
#[cfg(test)]
mod model;
mod pace;
mod progress;
mod query;
mod reader;
mod replaced;
mod show;
mod throttle;
mod values;
mod window;
mod worker;

pub use ask::{Ask, Chunk, ChunkPart, Opened, Order, Taken};
pub use begin::{EVERYTHING, unseen};
pub use config::Config;
pub use control::{AUDIENCE, Command, Request, SnapshotHandle, is_audience};
pub use layout::{Layout, RejectedKey, Unreadable};
#[cfg(test)]
pub(crate) use progress::Bound;
pub use progress::{Progress, TableProgress, UnreadableEntry};
pub use query::{BadKey, Range};
pub use reader::{Armed, Lock, Read, ReadError, Reader, log_end};
pub use throttle::Limits;
pub use values::ChunkRows;
pub use window::{Target, Window, Windows};
pub use worker::{RESTARTS_MAX, ROWS_MOVED, Worker};
