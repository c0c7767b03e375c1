//! Algebra of sorted lists of half-open ranges that neither overlap nor touch.

use std::ops::Range;

/// Adds `range`, which is not empty; whether any number of it was new.
///
/// A number next to the last range, by far the most frequent case, costs no search.
pub(super) fn insert(list: &mut Vec<Range<u64>>, range: Range<u64>) -> bool {
    if let Some(last) = list.last_mut()
        && last.end == range.start
    {
        last.end = range.end;
        return true;
    }
    // Ranges from `first` up to `after` overlap or touch the new one and melt into it.
    let first = list.partition_point(|other| other.end < range.start);
    let after = list.partition_point(|other| other.start <= range.end);
    let Some(met) = list.get(first..after).filter(|met| !met.is_empty()) else {
        list.insert(first, range);
        return true;
    };
    let (low, high) = met.iter().fold((range.start, range.end), |(low, high), other| {
        (low.min(other.start), high.max(other.end))
    });
    if met.len() == 1 && met.first().is_some_and(|only| *only == (low..high)) {
        return false;
    }
    list.splice(first..after, std::iter::once(low..high));
    true
}

/// Whether `number` is in one of the ranges.
pub(super) fn contains(list: &[Range<u64>], number: u64) -> bool {
    let after = list.partition_point(|range| range.start <= number);
    list.get(..after).and_then(<[_]>::last).is_some_and(|range| number < range.end)
}

/// Whether each range lies within one of `other`'s.
pub(super) fn is_subset(list: &[Range<u64>], other: &[Range<u64>]) -> bool {
    list.iter().all(|range| {
        let after = other.partition_point(|theirs| theirs.start <= range.start);
        other.get(..after).and_then(<[_]>::last).is_some_and(|theirs| range.end <= theirs.end)
    })
}

/// Whether no number is in both.
pub(super) fn is_disjoint(list: &[Range<u64>], other: &[Range<u64>]) -> bool {
    list.iter().all(|range| {
        let next = other.partition_point(|theirs| theirs.end <= range.start);
        other.get(next).is_none_or(|theirs| range.end <= theirs.start)
    })
}

/// What is left of `list` without the numbers in `other`.
pub(super) fn subtract(list: &[Range<u64>], other: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::with_capacity(list.len());
    for range in list {
        let mut start = range.start;
        let next = other.partition_point(|theirs| theirs.end <= range.start);
        for theirs in other.iter().skip(next).take_while(|theirs| theirs.start < range.end) {
            if start < theirs.start {
                left.push(start..theirs.start);
            }
            start = theirs.end;
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}
