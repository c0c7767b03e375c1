//! What happened, in our own words: rows, tables, positions, identities.
//!
//! Every other part speaks in these types. This part imports nothing of ours, does no I/O and
//! keeps no time. It does not know how a binlog is laid out (`decode`), nor how a message is
//! (`encode`).

mod cell;
mod gtid;
mod gtid_set;
mod names;
mod position;
mod row;
mod table;
mod transaction;
mod version;

pub use cell::{Area, BytesKind, Cell, Slot};
pub use gtid::{Gtid, GtidError, MariaGtid, Tag, Uuid};
pub use gtid_set::{GtidSet, MariaGtidSet};
pub use names::NameCase;
pub use position::Position;
pub use row::{Change, Image, Op, RowBuffer};
pub use table::{Column, ColumnDescription, Description, LogicalType, OutboxColumns, Table};
pub use transaction::{Transaction, TransactionId};
pub use version::ServerVersion;
