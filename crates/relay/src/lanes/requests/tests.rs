use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn limits(order: Order, rows_max: usize) -> Limits {
    Limits { order, rows_max, bytes_max: 1_000 }
}

fn row(number: u64, keys: [u64; 2], is_wanted: bool) -> Row<u64> {
    let content = is_wanted.then_some(number);
    Row { place: Place::Change(number), keys, bytes: 90, content }
}

fn number(place: Place) -> u64 {
    place_number(place)
}

/// A crash leaves what was saved: rows come again, all that are not dealt with.
#[derive(Debug, Clone)]
enum Step {
    Release,
    Take,
    Deliver(Index),
    Park(Index),
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Release),
        6 => Just(Step::Take),
        6 => any::<Index>().prop_map(Step::Deliver),
        1 => any::<Index>().prop_map(Step::Park),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Each row is sent until it is delivered, those of a key in their order and never two requests at a
    /// time, a request that was begun has the same rows after a crash, and in the end all is dealt with.
    #[test]
    fn every_row_is_sent_in_the_order_of_its_key_and_in_the_same_request_after_a_crash(
        keys in prop::collection::vec((0_u64..4, 0_u64..4, prop::bool::weighted(0.8)), 1..24),
        steps in prop::collection::vec(any_step(), 0..120),
        order in prop_oneof![Just(Order::Lane), Just(Order::Key), Just(Order::None)],
        rows_max in 1_usize..5,
    ) {
        let limits = limits(order, rows_max);
        let rows: Vec<_> = (1_u64..).zip(&keys)
            .map(|(n, (a, b, is_wanted))| row(n, [*a, *b], *is_wanted)).collect();
        let mut requests = Requests::new(&LaneRecord::default(), limits);
        let (mut released, mut sent) = (0, BTreeSet::new());
        let mut under_way: Vec<Run<u64>> = Vec::new();
        let mut boundaries: BTreeMap<u64, u64> = BTreeMap::new();
        let mut requests_of: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut finished: BTreeSet<u64> = BTreeSet::new();
        let mut parked: BTreeSet<u64> = BTreeSet::new();
        // At the end, everything is released, taken and delivered.
        let mut all = steps;
        all.extend((0..rows.len()).map(|_| Step::Release));
        for _ in 0..rows.len() * 2 {
            all.extend([Step::Take, Step::Deliver(any_index())]);
        }
        for step in all {
            match step {
                Step::Release => {
                    if let Some(row) = rows.get(released) {
                        requests.release(row.clone());
                        released += 1;
                    }
                }
                Step::Take => {
                    let Some(run) = requests.take() else { continue };
                    let (first, last) = (number(run.first), run.last);
                    prop_assert_eq!(*boundaries.entry(first).or_insert(last), last, "the same rows");
                    for n in &run.rows {
                        let key = |n: u64| &rows[n as usize - 1].keys;
                        let shares = |other: &u64| match order {
                            Order::Lane => true,
                            Order::Key => key(*other).iter().any(|k| key(*n).contains(k)),
                            Order::None => false,
                        };
                        // No row before it that it must not overtake is unfinished outside of this request.
                        let is_free = (1..*n).filter(|other| rows[*other as usize - 1].content.is_some())
                            .filter(shares).all(|other| finished.contains(&other) || run.rows.contains(&other));
                        prop_assert!(is_free, "{} overtakes", n);
                        let follows = order == Order::Key && key(*n).iter().any(|key| parked.contains(key));
                        prop_assert_eq!(follows, run.is_behind);
                    }
                    prop_assert!(run.rows.len() <= rows_max);
                    for n in first..=last {
                        let before = *requests_of.entry(n).or_insert((first, last));
                        prop_assert_eq!(before, (first, last), "row {} in another request", n);
                    }
                    sent.extend(run.rows.iter().copied());
                    under_way.push(run);
                }
                Step::Deliver(index) if !under_way.is_empty() => {
                    let run = under_way.remove(index.index(under_way.len()));
                    finished.extend(&run.rows);
                    requests.delivered(run.number);
                }
                Step::Park(index) if !under_way.is_empty() => {
                    let run = under_way.remove(index.index(under_way.len()));
                    finished.extend(&run.rows);
                    if order == Order::Key {
                        parked.extend(run.rows.iter().flat_map(|n| rows[*n as usize - 1].keys));
                    }
                    requests.parked(run.number);
                }
                Step::Deliver(_) | Step::Park(_) => {}
                Step::Crash => {
                    let record = requests.record();
                    requests = Requests::new(&record, limits);
                    under_way.clear();
                    // They come again one by one.
                    released = 0;
                }
            }
        }
        let wanted: BTreeSet<u64> = rows.iter().filter_map(|row| row.content).collect();
        prop_assert_eq!(&sent, &wanted);
        prop_assert_eq!(finished, wanted);
        prop_assert_eq!(requests.waiting(), (0, 0));
        let record = requests.record();
        prop_assert_eq!((record.next, record.done, record.sending), (rows.len() as u64 + 1, vec![], vec![]));
        prop_assert!(requests.busy.is_empty() && requests.behind.is_empty());
    }
}

fn any_index() -> Index {
    // The first of all.
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    any::<Index>().new_tree(&mut runner).expect("an index").current()
}

#[test]
fn a_request_is_bounded_in_rows_and_bytes_but_a_large_row_goes_alone() {
    let mut requests = Requests::new(&LaneRecord::default(), limits(Order::None, 100));
    for n in 1..=30 {
        requests.release(row(n, [n, n], true));
    }
    requests.release(Row { bytes: 5_000, ..row(31, [31, 31], true) });
    let sizes: Vec<_> = std::iter::from_fn(|| requests.take()).map(|run| run.rows.len()).collect();
    assert_eq!(sizes, [11, 11, 8, 1]);
}

#[test]
fn parts_of_snapshots_have_numbers_of_their_own() {
    let mut requests = Requests::new(&LaneRecord::default(), limits(Order::Lane, 10));
    let read =
        |attempt, number| Row { place: Place::Read(attempt, number), ..row(1, [1, 1], true) };
    requests.release(read(1, 1));
    requests.release(read(1, 2));
    requests.release(row(7, [1, 1], true));
    let run = requests.take().expect("the part");
    assert_eq!((run.first, run.last, run.rows.len()), (Place::Read(1, 1), 2, 2));
    assert!(requests.take().is_none(), "one of the lane at a time");
    requests.delivered(run.number);
    assert!(requests.is_read(1, 1, 2) && !requests.is_read(1, 3, 3));
    assert_eq!(requests.take().map(|run| run.first), Some(Place::Change(7)));
    requests.part_absent(1, 3, 3);
    assert_eq!((requests.record().part_attempt, requests.record().part_next), (1, 4));
    // An attempt that begins anew.
    requests.release(read(2, 3));
    assert!(requests.is_read(1, 9, 9) && !requests.is_read(2, 3, 3));
}

#[test]
fn parts_that_do_not_come_count_as_dealt_with_and_those_in_front_of_them_are_waited_for() {
    let mut requests = Requests::new(&LaneRecord::default(), limits(Order::Lane, 10));
    let read =
        |attempt, number| Row { place: Place::Read(attempt, number), ..row(1, [1, 1], true) };
    let saved = |requests: &mut Requests<u64>| {
        let record = requests.changed().expect("it is to be saved");
        (record.part_attempt, record.part_next)
    };
    requests.parts_absent(1, 1, 5);
    assert_eq!(saved(&mut requests), (1, 5), "none was known");
    requests.release(read(1, 5));
    let run = requests.take().expect("the part");
    requests.parts_absent(1, 6, 9);
    assert_eq!(saved(&mut requests), (1, 5), "the part in front of them is under way");
    assert!(requests.is_read(1, 6, 8) && !requests.is_read(1, 5, 5) && !requests.is_read(1, 9, 9));
    requests.delivered(run.number);
    assert_eq!(saved(&mut requests), (1, 9));
    requests.parts_absent(3, 9, 12);
    assert_eq!(saved(&mut requests), (3, 12));
}
