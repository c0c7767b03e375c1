//! What binpulse says about itself: metrics, health, status, logs.
//!
//! Imports nothing of ours. Counters and gauges are handed to the parts; what is read at the time
//! of a scrape, and the status, come in as functions. It judges nothing.

pub mod bundle;
mod conclusion;
mod hidden;
pub mod http;
mod last_lines;
pub mod logs;
mod loops;
pub mod metrics;
mod page;
mod readiness;
mod repeats;
mod runbooks;
pub mod snapshot;
pub mod status;
mod table_rows;
pub mod verdict_history;
pub mod words;

pub use conclusion::{
    Aid, Command, Conclusion, ConsumerGroup, Link, Member, NextSteps, Notice, Place, StateKind,
    Station, Surroundings, duration, few, quote,
};
pub use hidden::Hidden;
pub use http::{Handler, Http, StatusSource};
pub use loops::{LoopTicker, Loops};
pub use metrics::Metrics;
pub use readiness::Readiness;
pub(crate) use runbooks::told;
pub use status::Status;
pub use table_rows::{TableRate, TableRates, TableRows};
