//! The name of a lane.

use std::sync::Arc;

use binpulse_core::encode::Lane;
use serde::{Deserialize, Serialize};

/// A lane of one epoch of one stream: its rows are numbered from 1 without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneKey {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// The stream's epoch: numbers begin anew with each.
    pub epoch: u64,
    /// The lane's key, `database.table#number`.
    pub lane: Arc<str>,
}

impl LaneKey {
    /// Whether a filter of databases and tables wants the lane.
    pub(crate) fn is_wanted(&self, wants: &dyn Fn(&str, &str) -> bool) -> bool {
        Lane::table_of(&self.lane).is_none_or(|(database, table, _)| wants(&database, &table))
    }
}

impl std::fmt::Display for LaneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.epoch, self.lane)
    }
}
