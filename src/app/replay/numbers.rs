//! Which number a lane's first row had, from how many came since. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Next row number of each lane.
pub(super) type Numbers = BTreeMap<Arc<str>, u64>;

/// The log has more rows of a lane than were ever published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "since then the log has {found} rows of lane {lane}, of which {published} were published in \
     this epoch: the stream or its epoch began later, or the filters excluded more then"
)]
pub struct RowCountMismatch {
    /// The lane.
    pub lane: Arc<str>,
    /// Rows found.
    pub found: u64,
    /// Rows published.
    pub published: u64,
}

/// The number of each lane's first row in a stretch of the log, from the numbers `next` at its end and
/// from `counted`, the numbers at its end for who began each lane with 1 at its begin.
pub(super) fn firsts(next: &Numbers, counted: &Numbers) -> Result<Numbers, RowCountMismatch> {
    let mut firsts = Numbers::new();
    for (lane, after) in counted {
        let found = after.saturating_sub(1);
        let published = next.get(lane).map_or(0, |next| next.saturating_sub(1));
        if found > published {
            return Err(RowCountMismatch { lane: Arc::clone(lane), found, published });
        }
        firsts.insert(Arc::clone(lane), published - found + 1);
    }
    Ok(firsts)
}

/// How many rows of each lane were counted that were never published.
pub(super) fn surplus(next: &Numbers, counted: &Numbers) -> Numbers {
    let rows = counted.iter().map(|(lane, after)| {
        let published = next.get(lane).map_or(0, |next| next.saturating_sub(1));
        (Arc::clone(lane), after.saturating_sub(1).saturating_sub(published))
    });
    rows.filter(|(_, rows)| *rows > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(pairs: &[(&str, u64)]) -> Numbers {
        pairs.iter().map(|(lane, next)| (Arc::from(*lane), *next)).collect()
    }

    #[test]
    fn lanes_without_a_row_in_the_stretch_are_left_out_and_more_rows_than_published_are_told() {
        let next = numbers(&[("a", 10), ("b", 5)]);
        assert_eq!(firsts(&next, &numbers(&[("a", 10)])), Ok(numbers(&[("a", 1)])));
        assert_eq!(firsts(&next, &numbers(&[("b", 1)])), Ok(numbers(&[("b", 5)])));
        let beyond = |lane, found, published| {
            Err(RowCountMismatch { lane: Arc::from(lane), found, published })
        };
        assert_eq!(firsts(&next, &numbers(&[("a", 2), ("b", 6)])), beyond("b", 5, 4));
        assert_eq!(firsts(&next, &numbers(&[("c", 2)])), beyond("c", 1, 0));
        let counted = numbers(&[("a", 10), ("b", 8), ("c", 2)]);
        assert_eq!(surplus(&next, &counted), numbers(&[("b", 3), ("c", 1)]));
    }

    proptest! {
        /// Rows of a log, each in a lane; numbered from its front, and from anywhere in it.
        #[test]
        fn rows_get_the_numbers_that_they_had(
            rows in prop::collection::vec(0_u8..5, 0..200),
            begin in 0_usize..200,
            end in 0_usize..200,
        ) {
            let end = end.min(rows.len());
            let begin = begin.min(end);
            let number = |into: &mut Numbers, lane: u8| {
                let next = into.entry(lane.to_string().into()).or_insert(1);
                *next += 1;
                *next - 1
            };
            let (mut all, mut counted) = (Numbers::new(), Numbers::new());
            let first: Vec<_> = rows[..end].iter().map(|lane| number(&mut all, *lane)).collect();
            for lane in &rows[begin..end] {
                number(&mut counted, *lane);
            }
            let mut again = firsts(&all, &counted).expect("no more than were published");
            let second = rows[begin..end].iter().map(|lane| number(&mut again, *lane));
            prop_assert!(second.eq(first[begin..].iter().copied()));
        }
    }
}
