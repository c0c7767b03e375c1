//! Two documents, and the first range of rows in which they differ.

use super::digests::{LaneDocument, STEPS, ShadowDocument};

/// How much later than a row another may have been committed that stands before it in the log: commit
/// times are set by the clock, before the order is.
const ORDER_SLACK_US: i64 = 10_000_000;

/// What came of comparing all lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Each lane by its key.
    pub lanes: Vec<(String, LaneResult)>,
}

/// What came of comparing a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneResult {
    /// Nothing differs in the rows of which both have digests, from the first number to the last.
    Equal(u64, u64),
    /// The first rows that differ, from the first number to the last: one row, or 64, or 4,096.
    Differs(u64, u64),
    /// The live process published rows from this number on that the shadow does not have.
    Missing(u64),
    /// The shadow has rows from this number on that the live process did not publish.
    Surplus(u64),
    /// There are no rows yet of which both have digests.
    NotYet,
    /// One of the two documents can't be read.
    Unreadable,
}

/// What the whole comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Each lane that has rows of both is equal, and at least one has.
    Equal,
    /// At least one lane differs.
    Differs,
    /// There is nothing to compare, or the numbers can't be compared.
    Unknown,
}

impl Comparison {
    /// Of all lanes together.
    pub fn outcome(&self) -> Outcome {
        let any = |wanted: fn(&LaneResult) -> bool| self.lanes.iter().any(|(_, it)| wanted(it));
        if any(|it| {
            matches!(it, LaneResult::Differs(..) | LaneResult::Missing(_) | LaneResult::Surplus(_))
        }) {
            Outcome::Differs
        } else if any(|it| *it == LaneResult::Unreadable)
            || !any(|it| matches!(it, LaneResult::Equal(..)))
        {
            Outcome::Unknown
        } else {
            Outcome::Equal
        }
    }
}

/// Compares each lane. `Err` says why the documents can't be compared at all.
pub fn compare(live: &ShadowDocument, shadow: &ShadowDocument) -> Result<Comparison, String> {
    for (what, of_live, of_shadow) in
        [("stream", &live.stream, &shadow.stream), ("message.format", &live.format, &shadow.format)]
    {
        if of_live != of_shadow {
            return Err(format!(
                "{what} is `{of_live}` of the live process and `{of_shadow}` of the shadow: rows can \
                 only be compared where it is the same"
            ));
        }
    }
    if live.rows > 0 && shadow.rows > 0 && live.epoch != shadow.epoch {
        return Err(format!(
            "the live process numbers rows in epoch {}, the shadow in {}: remove the shadow's \
             checkpoint and start it again, so that it begins where the live process is",
            live.epoch, shadow.epoch
        ));
    }
    let keys: std::collections::BTreeSet<_> =
        live.lanes.keys().chain(shadow.lanes.keys()).collect();
    let none = LaneDocument::default();
    let lanes = keys.into_iter().map(|key| {
        let of = |document: &ShadowDocument| document.lanes.get(key).unwrap_or(&none).clone();
        (key.clone(), lane(live, &of(live), shadow, &of(shadow)))
    });
    Ok(Comparison { lanes: lanes.collect() })
}

fn lane(
    live: &ShadowDocument,
    of_live: &LaneDocument,
    shadow: &ShadowDocument,
    of_shadow: &LaneDocument,
) -> LaneResult {
    let Some(ranges) = ranges(of_live, of_shadow) else { return LaneResult::Unreadable };
    if let Some((first, last)) = first_difference(&ranges) {
        return LaneResult::Differs(first, last);
    }
    if lacks(shadow, of_shadow, of_live) {
        return LaneResult::Missing(of_shadow.next.max(1));
    }
    if lacks(live, of_live, of_shadow) {
        return LaneResult::Surplus(of_live.next.max(1));
    }
    let first = ranges.iter().flatten().map(|range| range.first).min();
    let last = ranges.iter().flatten().map(|range| range.last).max();
    first.zip(last).map_or(LaneResult::NotYet, |(first, last)| LaneResult::Equal(first, last))
}

/// Whether a process that has read on is without rows of the other.
fn lacks(process: &ShadowDocument, own: &LaneDocument, other: &LaneDocument) -> bool {
    // With lanes left out it may have had them. Rows from before it began are none of its.
    process.rows_left_out == 0
        && other.next > own.next.max(1)
        && other.upto_us > process.from_us.saturating_add(ORDER_SLACK_US)
        && other.upto_us < process.upto_us.saturating_sub(ORDER_SLACK_US)
}

/// Rows of which both have the digest of one step.
struct Range {
    first: u64,
    last: u64,
    is_equal: bool,
}

/// The ranges of each step. `None`: a document can't be read.
fn ranges(one: &LaneDocument, other: &LaneDocument) -> Option<[Vec<Range>; STEPS.len()]> {
    let mut steps = [const { Vec::new() }; STEPS.len()];
    for (step, (into, size)) in steps.iter_mut().zip(STEPS).enumerate() {
        let ((first, ours), (others_first, theirs)) = (one.step(step)?, other.step(step)?);
        let (skip, others_skip) =
            (others_first.saturating_sub(first), first.saturating_sub(others_first));
        let at = |skip: u64| usize::try_from(skip / size).unwrap_or(usize::MAX);
        let pairs = ours.iter().skip(at(skip)).zip(theirs.iter().skip(at(others_skip)));
        into.extend(pairs.zip(0_u64..).map(|((ours, theirs), index)| {
            let first = first.max(others_first) + index * size;
            Range { first, last: first + (size - 1), is_equal: ours == theirs }
        }));
    }
    Some(steps)
}

/// The first rows that differ, as few as the digests tell.
fn first_difference(steps: &[Vec<Range>]) -> Option<(u64, u64)> {
    let differing = |step: &'_ &Vec<Range>| {
        step.iter().find(|range| !range.is_equal).map(|range| (range.first, range.last))
    };
    let (first, mut last) = steps.iter().filter_map(|step| differing(&step)).min()?;
    let mut first = first;
    // What a finer step tells of the range.
    for step in steps.iter().rev() {
        let within =
            step.iter().find(|range| !range.is_equal && range.first >= first && range.last <= last);
        if let Some(range) = within {
            (first, last) = (range.first, range.last);
        }
    }
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::digests::tests::document;
    use super::*;

    fn only(live: &ShadowDocument, shadow: &ShadowDocument) -> LaneResult {
        let compared = compare(live, shadow).expect("one stream");
        assert_eq!(compared.lanes.len(), 1);
        compared.lanes[0].1
    }

    #[test]
    fn equal_rows_are_equal_wherever_each_began() {
        let live = document(&[("a", 1..=9_000)], &[]);
        let shadow = document(&[("a", 4_000..=8_990)], &[]);
        assert_eq!(only(&live, &shadow), LaneResult::Equal(4_033, 8_990));
        assert_eq!(compare(&live, &shadow).expect("one stream").outcome(), Outcome::Equal);
    }

    #[test]
    fn without_rows_in_common_nothing_is_said_to_be_equal() {
        let live = document(&[("a", 1..=100)], &[]);
        let far = document(&[("a", 5_000..=5_063)], &[]);
        assert_eq!(only(&live, &far), LaneResult::NotYet);
        assert_eq!(compare(&live, &far).expect("one stream").outcome(), Outcome::Unknown);
        let none = document(&[], &[]);
        assert_eq!(compare(&none, &none).expect("one stream").outcome(), Outcome::Unknown);
    }

    #[test]
    fn a_lane_that_the_shadow_passed_without_a_row_is_missing() {
        let mut live = document(&[("a", 1..=100), ("b", 1..=10)], &[]);
        let mut shadow = document(&[("a", 1..=100)], &[]);
        let result = |live: &ShadowDocument, shadow: &ShadowDocument| {
            let compared = compare(live, shadow).expect("one stream");
            compared.lanes.into_iter().find(|(key, _)| key == "b").expect("lane b").1
        };
        assert_eq!(result(&live, &shadow), LaneResult::NotYet, "it may come yet");
        let second = 1_000_000;
        live.lanes.get_mut("b").expect("lane b").upto_us = 20 * second;
        shadow.upto_us = 31 * second;
        assert_eq!(result(&live, &shadow), LaneResult::Missing(1));
        shadow.from_us = 10 * second;
        assert_eq!(result(&live, &shadow), LaneResult::NotYet, "it began later");
        shadow.from_us = 0;
        shadow.rows_left_out = 1;
        assert_eq!(result(&live, &shadow), LaneResult::NotYet, "it may have been left out");
        shadow.rows_left_out = 0;
        assert_eq!(compare(&live, &shadow).expect("one").outcome(), Outcome::Differs);
        assert_eq!(
            compare(&shadow, &live).expect("one").lanes[1].1,
            LaneResult::Surplus(1),
            "the other way round"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let (one, mut other) = (document(&[("a", 1..=9)], &[]), document(&[("a", 1..=9)], &[]));
        other.epoch += 1;
        assert!(compare(&one, &other).expect_err("two epochs").contains("epoch 7"));
        other.epoch -= 1;
        other.format = "json".to_owned();
        assert!(compare(&one, &other).expect_err("two formats").contains("message.format"));
        other.format.clone_from(&one.format);
        other.lanes.get_mut("a").expect("lane a").rows.push('x');
        assert_eq!(only(&one, &other), LaneResult::Unreadable);
        assert_eq!(compare(&one, &other).expect("one").outcome(), Outcome::Unknown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_row_that_differs_is_found_as_long_as_its_digests_are_kept(
            rows in 1..20_000_u64, back in 0..20_000_u64, began in 1..200_u64, lag in 0..300_u64,
        ) {
            let row = rows.saturating_sub(back).max(1);
            let live = document(&[("a", 1..=rows)], &[]);
            let last = rows.saturating_sub(lag);
            let shadow = document(&[("a", began..=last)], &[("a", row)]);
            let found = only(&live, &shadow);
            // Blocks that began before the shadow did are not whole.
            let is_known = row > began.div_ceil(64) * 64 && row <= last / 64 * 64
                && row > (last / 64).saturating_sub(100) * 64;
            if let LaneResult::Differs(first, last) = found {
                prop_assert!((first..=last).contains(&row));
            } else {
                prop_assert!(!is_known, "{row}: {found:?}");
            }
        }
    }
}
