//! Sets of GTIDs and their algebra. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Gtid, GtidError, MariaGtid, Tag, Uuid};

/// A set of MySQL GTIDs, tagged ones included.
///
/// Invariant: the ranges of one source and tag are half-open, sorted, not empty, and neither
/// overlap nor touch; no source and tag has an empty list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    ranges: BTreeMap<(Uuid, Tag), Vec<Range<u64>>>,
}

impl GtidSet {
    /// Adds one transaction; whether it was new.
    pub fn insert(&mut self, gtid: Gtid) -> bool {
        let _ = gtid;
        todo!()
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        let _ = gtid;
        todo!()
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = (f, &self.ranges);
        todo!()
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let _ = text;
        todo!()
    }
}

/// A MariaDB GTID position: the last transaction of each domain, `0-1-100,1-2-50`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaGtidSet {
    domains: BTreeMap<u32, MariaGtid>,
}

impl MariaGtidSet {
    /// Advances the transaction's domain to it.
    pub fn advance(&mut self, gtid: MariaGtid) {
        self.domains.insert(gtid.domain, gtid);
    }
}
