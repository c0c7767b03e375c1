//! What the registry hands to the loop, in the order in which it was asked for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Control;
use crate::filter::{self, Version};
use crate::pack::HeldLane;

/// What the loop is to do.
#[derive(Debug)]
pub enum Order {
    /// From here on it holds these tables back too. The entry is to be saved at once.
    Hold(Control),
    /// The control's entry changed: it is to be saved at once.
    Note(Control),
    /// The control ends here.
    Release(i64),
    /// Of these lanes, rows up to these numbers were sent; those behind them committed at this time,
    /// microseconds since 1970 UTC, or later.
    Sent(Vec<(Arc<str>, u64)>, i64),
    /// Nothing more is read from here on, for at most this long.
    StopReading(Duration, oneshot::Sender<ReadingStopped>),
    /// It reads on.
    ContinueReading,
    /// All that the control holds back was sent: it ends here, if that is so, and the loop reads on. A rate
    /// stays, and holds nothing back any more.
    GoLive(i64, oneshot::Sender<bool>),
    /// From the next transaction on these filters hold, once that is saved.
    Filter(Box<FilterChange>),
}

/// Filters that are to hold.
#[derive(Debug)]
pub struct FilterChange {
    /// The filters.
    pub config: filter::Config,
    /// When they were asked for, microseconds since 1970 UTC.
    pub at_us: i64,
    /// Told when they hold, and since where.
    pub reply: oneshot::Sender<Version>,
}

/// Where the loop reads no further.
#[derive(Debug)]
pub struct ReadingStopped {
    /// All lanes of which rows are held back.
    pub lanes: Vec<HeldLane>,
}
