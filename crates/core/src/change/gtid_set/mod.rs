//! Sets of GTIDs and their algebra. Pure.

mod intervals;
mod maria;
mod text;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Gtid, GtidError, Tag, Uuid};

pub use maria::MariaGtidSet;

/// First number that no GTID may have: sequences run from 1 to 2^63 - 2 (MySQL's `GNO_END`).
const SEQUENCE_END: u64 = i64::MAX as u64;

/// A set of MySQL GTIDs, tagged ones included.
///
/// Invariant: the ranges of one source and tag are half-open, sorted, not empty, and neither
/// overlap nor touch; no source and tag has an empty list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    ranges: BTreeMap<(Uuid, Tag), Vec<Range<u64>>>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no transaction is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of transactions in it.
    pub fn count(&self) -> u128 {
        let length = |range: &Range<u64>| u128::from(range.end - range.start);
        self.ranges.values().flatten().map(length).sum()
    }

    /// Whether any of its transactions has a tag: such a set needs a server of 8.4 or newer.
    pub fn is_tagged(&self) -> bool {
        self.ranges.keys().any(|(_, tag)| !tag.is_empty())
    }

    /// Its ranges, half-open, sorted by source, tag and number.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, Tag, &Range<u64>)> {
        self.ranges
            .iter()
            .flat_map(|((source, tag), list)| list.iter().map(|range| (*source, *tag, range)))
    }

    /// Adds one transaction; whether it was new.
    pub fn insert(&mut self, gtid: Gtid) -> bool {
        self.insert_range(gtid.source, gtid.tag, gtid.sequence..gtid.sequence.saturating_add(1))
    }

    /// Adds the transactions `range` of one source and tag; an empty range adds nothing. Whether
    /// any was new.
    pub fn insert_range(&mut self, source: Uuid, tag: Tag, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        intervals::insert(self.ranges.entry((source, tag)).or_default(), range)
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.ranges
            .get(&(gtid.source, gtid.tag))
            .is_some_and(|list| intervals::contains(list, gtid.sequence))
    }

    /// Whether all its transactions are in `other` too; so is the empty set's none.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.ranges.iter().all(|(key, list)| {
            other.ranges.get(key).is_some_and(|theirs| intervals::is_subset(list, theirs))
        })
    }

    /// Whether no transaction is in both.
    pub fn is_disjoint_from(&self, other: &Self) -> bool {
        self.ranges.iter().all(|(key, list)| {
            other.ranges.get(key).is_none_or(|theirs| intervals::is_disjoint(list, theirs))
        })
    }

    /// Adds all of `other`'s transactions.
    pub fn union(&mut self, other: &Self) {
        for (source, tag, range) in other.iter() {
            self.insert_range(source, tag, range.clone());
        }
    }

    /// The transactions of this set that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut ranges = BTreeMap::new();
        for (key, list) in &self.ranges {
            let left = match other.ranges.get(key) {
                Some(theirs) => intervals::subtract(list, theirs),
                None => list.clone(),
            };
            if !left.is_empty() {
                ranges.insert(*key, left);
            }
        }
        Self { ranges }
    }

    /// The transactions that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.subtract(&self.subtract(other))
    }
}

impl Extend<Gtid> for GtidSet {
    fn extend<T: IntoIterator<Item = Gtid>>(&mut self, gtids: T) {
        for gtid in gtids {
            self.insert(gtid);
        }
    }
}

impl FromIterator<Gtid> for GtidSet {
    fn from_iter<T: IntoIterator<Item = Gtid>>(gtids: T) -> Self {
        let mut set = Self::new();
        set.extend(gtids);
        set
    }
}
