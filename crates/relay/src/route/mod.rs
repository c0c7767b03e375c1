//! From a queue to one target: what a route does with each message.
//!
//! [`run`] delivers to a receiver of requests, [`run_copy`] applies rows to a copy in SQL. Both share how
//! messages are read and held, how gaps are found and asked for, and how they show themselves.

mod config;
mod copy;
mod delivery;
mod documents;
mod gaps;
mod halt;
mod lane;
mod limits;
mod marks;
mod messages;
mod outbox;
mod parking;
mod poll;
mod receiver;
mod sharing;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod verified;

pub use config::{Config, Filter, GapPolicy, TableFilter};
pub use copy::{CopyParts, run_copy};
pub use documents::Documents;
pub use gaps::{Heal, HealError, Missing, MissingParts};
pub use halt::Halt;
pub use poll::Fetch;
pub use receiver::{Parts, run};
pub use status::{LaneStatus, ParkedCommand, Status, View};
pub use store::{LaneStore, MemoryStore};
pub use verified::DifferingRange;
