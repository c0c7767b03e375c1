//! GTIDs: sets as text and bytes, and the events that carry them.

use binpulse::change::{GtidSet, MariaGtidSet};

use super::events::feed;
use super::log::{self, kind};
use super::rows;

/// Sets, read as each form. What was read comes back from its own text and bytes, and obeys the
/// algebra.
pub fn gtid(input: &[u8]) -> u64 {
    let mut sets = 0;
    if let Ok(set) = GtidSet::decode(input) {
        same(&set);
        sets += 1;
    }
    let Ok(text) = std::str::from_utf8(input) else { return sets };
    let (left, right) = text.split_once('|').unwrap_or((text, ""));
    if let (Ok(left), Ok(right)) = (left.parse::<GtidSet>(), right.parse::<GtidSet>()) {
        same(&left);
        algebra(&left, &right);
        sets += 1;
    }
    if let Ok(set) = text.parse::<MariaGtidSet>() {
        assert_eq!(set.to_string().parse().as_ref(), Ok(&set));
        sets += 1;
    }
    sets
}

fn same(set: &GtidSet) {
    assert_eq!(set.to_string().parse().as_ref(), Ok(set));
    assert_eq!(format!("{set:#}").parse().as_ref(), Ok(set));
    assert_eq!(GtidSet::decode(&set.encode()).as_ref(), Ok(set));
}

fn algebra(left: &GtidSet, right: &GtidSet) {
    let mut union = left.clone();
    union.union(right);
    let both = left.intersection(right);
    assert_eq!(union.count() + both.count(), left.count() + right.count());
    assert!(left.is_subset_of(&union) && right.is_subset_of(&union));
    assert!(both.is_subset_of(left) && both.is_subset_of(right));
    assert!(left.subtract(right).is_disjoint_from(right));
    assert_eq!(left.is_disjoint_from(right), both.is_empty());
}

/// An event that names transactions: the first byte is its type (and the server's), the rest its
/// body.
pub fn event(input: &[u8]) -> u64 {
    let Some((choice, body)) = input.split_first() else { return 0 };
    let [_, begin] = log::beginning();
    let (log, kinds) = match choice & 0x80 {
        0 => (log::MYSQL, [33_u8, 34, 42, 35, 38, 2]),
        _ => (log::MARIADB, [162, 163, 33, 160, 161, 2]),
    };
    let kind_of = kinds[usize::from(choice & 0x7f) % kinds.len()];
    // A row, so that it shows whether the transaction was accepted.
    let table = [&rows::TABLE_ID[..], &rows::table_of_an_integer()].concat();
    let row = [&rows::TABLE_ID[..], &[1, 0, 2, 0, 1, 1, 0, 7]].concat();
    let events = [
        log::format_description(log),
        log::event(kind_of, body),
        begin,
        log::event(kind::TABLE_MAP, &table),
        log::event(kind::WRITE_ROWS, &row),
        log::event(kind::XID, &[1, 0, 0, 0, 0, 0, 0, 0]),
    ];
    feed(events)
}
