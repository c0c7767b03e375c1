use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Class, Commit, Misuse, Tracker};
use crate::change::{Gtid, MariaGtid, Position, Tag, TransactionId, Uuid};
use crate::checkpoint::{Checkpoint, Delta, Place};

fn gtid(sequence: u64) -> TransactionId {
    TransactionId::Gtid(Gtid { source: Uuid([7; 16]), tag: Tag::default(), sequence })
}

fn place(offset: u64) -> Position {
    Position::new("binlog.000001", offset)
}

fn commit(tracker: &mut Tracker, sequence: u64, class: Class) {
    let end = place(sequence * 100);
    tracker.commit(&Commit { id: gtid(sequence), class, end: &end, resolves: &[], open_xa: None });
}

fn lane(tracker: &mut Tracker, lane: u32) -> u64 {
    tracker.name_lane(lane, &Arc::from(format!("d.t#{lane}")))
}

#[test]
fn a_unit_waits_for_its_messages_and_for_all_earlier_units() {
    // Given two units with a message each, the second with a filtered transaction as well
    let mut tracker = Tracker::new(&Checkpoint::default());
    lane(&mut tracker, 0);
    tracker.rows(0, 3).expect("a lane");
    tracker.opened(0).expect("the open unit");
    commit(&mut tracker, 1, Class::User);
    assert!(tracker.seal_unit());
    tracker.rows(0, 2).expect("a lane");
    tracker.opened(1).expect("the open unit");
    commit(&mut tracker, 2, Class::User);
    commit(&mut tracker, 3, Class::Filtered);
    assert!(tracker.seal_unit());

    // When the second settles first, then nothing is delivered yet
    assert_eq!(tracker.settled(1), Ok(false));
    assert_eq!(tracker.take_delta(0), None);

    // When the first settles too, then everything is
    assert_eq!(tracker.settled(0), Ok(true));
    let delta = tracker.take_delta(9).expect("something was delivered");
    assert_eq!(delta.gtids.to_string(), "07070707-0707-0707-0707-070707070707:1-3");
    assert_eq!(delta.settled.position, place(300));
    assert_eq!(delta.lanes, BTreeMap::from([(Arc::from("d.t#0"), 6)]));
    assert_eq!((delta.transactions, delta.taken_at_us), (3, 9));
    assert_eq!(tracker.take_delta(10), None, "a delta holds only what is new");
}

#[test]
fn filtered_transactions_heartbeats_and_idle_positions_advance_the_checkpoint() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, Class::Filtered);
    commit(&mut tracker, 2, Class::Heartbeat(41));
    assert!(tracker.seal_unit());
    let delta = tracker.take_delta(0).expect("a filtered-only stream advances");
    assert_eq!((delta.settled.position, delta.heartbeat), (place(200), Some(41)));
    assert_eq!(tracker.settled_heartbeat(), Some(41));

    tracker.reached(&place(250), None);
    assert!(tracker.seal_unit());
    assert_eq!(tracker.take_delta(0).map(|delta| delta.settled.position), Some(place(250)));

    tracker.reached(&place(250), None);
    assert!(!tracker.seal_unit(), "standing still is no news");
}

#[test]
fn saves_in_the_source_database_do_not_cause_further_saves() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, Class::Checkpoint);
    assert!(tracker.seal_unit());
    assert_eq!(tracker.take_delta(0), None);

    commit(&mut tracker, 2, Class::Filtered);
    assert!(tracker.seal_unit());
    let delta = tracker.take_delta(0).expect("now there is a reason");
    assert!(delta.gtids.to_string().ends_with(":1-2"), "and the save before comes along");
}

#[test]
fn a_unit_is_not_sealed_inside_a_transaction() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    assert!(!tracker.seal_unit(), "nothing happened yet");
    lane(&mut tracker, 0);
    commit(&mut tracker, 1, Class::User);
    tracker.rows(0, 1).expect("a lane");
    assert!(!tracker.seal_unit());
    commit(&mut tracker, 2, Class::User);
    assert!(tracker.seal_unit());
}

#[test]
fn reports_that_cannot_be_are_refused() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    assert_eq!(tracker.settled(0), Err(Misuse::NotOutstanding { unit: 0 }));
    assert_eq!(tracker.settled(5), Err(Misuse::NotOutstanding { unit: 5 }));
    assert_eq!(tracker.rows(3, 1), Err(Misuse::UnnamedLane { lane: 3 }));
    commit(&mut tracker, 1, Class::User);
    tracker.seal_unit();
    assert_eq!(tracker.opened(0), Err(Misuse::NotOutstanding { unit: 0 }), "delivered already");
}

#[test]
fn lanes_that_moved_are_told_once_and_in_portions() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    for number in 0..3 {
        lane(&mut tracker, number);
        tracker.rows(number, 4).expect("a lane");
    }
    commit(&mut tracker, 1, Class::User);
    tracker.seal_unit();
    let first = tracker.take_moved_lanes(2);
    assert_eq!(first.lanes, [("d.t#0".into(), 5), ("d.t#1".into(), 5)]);
    assert!(first.truncated);
    let second = tracker.take_moved_lanes(2);
    assert_eq!((second.lanes.len(), second.truncated), (1, false));
    assert_eq!(tracker.take_moved_lanes(2).lanes, []);
}

#[test]
fn a_failover_is_saved_with_the_first_place_on_the_new_server() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, Class::User);
    tracker.seal_unit();
    tracker.moved_to("another");
    commit(&mut tracker, 2, Class::User);
    tracker.seal_unit();
    let mut saved = Checkpoint { server_uuid: "first".into(), ..Checkpoint::default() };
    saved.apply(&tracker.take_delta(0).expect("two transactions"));
    assert_eq!(saved.server_uuid, "another");
}

#[test]
fn mariadbs_position_stays_before_an_open_xa_transaction() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    let mut commit = |sequence, open_xa: Option<u64>| {
        let id = TransactionId::Maria(MariaGtid { domain: 0, server: 1, sequence });
        let (end, open_xa) = (place(sequence * 100), open_xa.map(place));
        let open_xa = open_xa.as_ref();
        tracker.commit(&Commit { id, class: Class::User, end: &end, resolves: &[], open_xa });
        tracker.seal_unit();
        tracker.take_delta(0).expect("a transaction")
    };
    assert_eq!(commit(1, None).resume.maria.to_string(), "0-1-1");
    // An XA transaction is prepared at 150, as number 2.
    let held = commit(3, Some(150));
    assert_eq!(
        (held.resume.maria.to_string().as_str(), held.resume.position),
        ("0-1-1", place(150))
    );
    assert_eq!(
        (held.settled.maria.to_string().as_str(), held.settled.position),
        ("0-1-3", place(300))
    );
    let decided = commit(4, None);
    assert_eq!(decided.resume, decided.settled);
}

/// What the source's binlog holds, one entry an offset step of 100.
#[derive(Debug, Clone)]
enum Entry {
    /// Rows by lane, in order.
    Plain(Vec<u32>),
    Prepare {
        xid: u8,
        lanes: Vec<u32>,
    },
    Decide {
        xid: u8,
    },
    Idle,
}

/// One published row: (number of its transaction's entry, row) identifies it, (lane, number) names it.
type Row = ((usize, usize), (u32, u64));

/// Reads `binlog` as a decoder and a packer do, publishing in an order that `choices` dictates.
struct Run<'a> {
    binlog: &'a [Entry],
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    tracker: Tracker,
    saved: Checkpoint,
    /// Batches that are open, by lane: the unit of the first row, and the rows.
    open: BTreeMap<u32, (u64, Vec<Row>)>,
    flying: Vec<(u64, Vec<Row>)>,
    published: Vec<Row>,
}

const LANES: u32 = 3;

impl<'a> Run<'a> {
    fn new(binlog: &'a [Entry], choices: &'a [u8], saved: Checkpoint) -> Self {
        let mut tracker = Tracker::new(&saved);
        for number in 0..LANES {
            lane(&mut tracker, number);
        }
        let choices = choices.iter().cycle();
        let (open, flying, published) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { binlog, choices, tracker, saved, open, flying, published }
    }

    fn choose(&mut self, among: usize) -> usize {
        usize::from(*self.choices.next().expect("a cycle")) % among
    }

    /// Goes on from what was saved, up to entry `stop`, by GTID or by position.
    fn read(&mut self, by_gtid: bool, stop: usize) {
        let resume = self.saved.resume.position.offset;
        let settled = self.saved.settled.position.offset;
        let delivered = self.saved.gtid_set.clone();
        let mut prepared: BTreeMap<u8, (usize, Vec<u32>)> = BTreeMap::new();
        for index in 0..stop {
            let (start, end) = (index as u64 * 100, index as u64 * 100 + 100);
            let id = gtid(index as u64 + 1);
            let TransactionId::Gtid(own) = id else { unreachable!("made above") };
            if if by_gtid { delivered.contains(&own) } else { start < resume } {
                continue;
            }
            let skip = !by_gtid && end <= settled;
            let open_xa = |prepared: &BTreeMap<u8, (usize, Vec<u32>)>| {
                prepared.values().map(|(index, _)| *index as u64 * 100).min().map(place)
            };
            match &self.binlog[index] {
                Entry::Prepare { xid, lanes } => {
                    prepared.insert(*xid, (index, lanes.clone()));
                }
                Entry::Plain(lanes) if !skip => {
                    self.transaction(index, lanes);
                    self.commit(id, &[], end, open_xa(&prepared).as_ref());
                }
                Entry::Decide { xid } => {
                    let kept = prepared.remove(xid);
                    if !skip {
                        let (first, lanes) = kept.expect("what is not yet delivered was kept");
                        self.transaction(first, &lanes);
                        let open_xa = open_xa(&prepared);
                        self.commit(id, &[gtid(first as u64 + 1)], end, open_xa.as_ref());
                    }
                }
                Entry::Idle if end > settled => {
                    self.tracker.reached(&place(end), open_xa(&prepared).as_ref());
                }
                Entry::Plain(_) | Entry::Idle => {}
            }
            self.deliver_some();
        }
    }

    fn transaction(&mut self, index: usize, lanes: &[u32]) {
        for (row, lane) in lanes.iter().enumerate() {
            let number = self.tracker.rows(*lane, 1).expect("a lane");
            let unit = self.tracker.unit();
            let (_, rows) = self.open.entry(*lane).or_insert_with(|| {
                self.tracker.opened(unit).expect("the open unit");
                (unit, Vec::new())
            });
            rows.push(((index, row), (*lane, number)));
            if self.choose(3) == 0 {
                self.flying.extend(self.open.remove(lane));
            }
        }
    }

    fn commit(
        &mut self,
        id: TransactionId,
        resolves: &[TransactionId],
        end: u64,
        open_xa: Option<&Position>,
    ) {
        let (end, class) = (place(end), Class::User);
        self.tracker.commit(&Commit { id, class, end: &end, resolves, open_xa });
    }

    fn deliver_some(&mut self) {
        if self.choose(2) == 0 {
            self.tracker.seal_unit();
        }
        if self.choose(3) == 0 {
            self.flying.extend(std::mem::take(&mut self.open).into_values());
        }
        while !self.flying.is_empty() && self.choose(3) > 0 {
            let at = self.choose(self.flying.len());
            let (unit, rows) = self.flying.swap_remove(at);
            self.published.extend(rows);
            self.tracker.settled(unit).expect("it was on its way");
        }
        if self.choose(2) == 0 {
            self.save();
        }
    }

    fn save(&mut self) {
        if let Some(delta) = self.tracker.take_delta(0) {
            self.saved.apply(&delta);
        }
    }

    fn finish(&mut self) {
        self.tracker.seal_unit();
        self.flying.extend(std::mem::take(&mut self.open).into_values());
        for (unit, rows) in std::mem::take(&mut self.flying) {
            self.published.extend(rows);
            self.tracker.settled(unit).expect("it was on its way");
        }
        self.save();
    }
}

fn binlog() -> impl Strategy<Value = Vec<Entry>> {
    let lanes = proptest::collection::vec(0..LANES, 0..4);
    proptest::collection::vec((0_u8..6, lanes), 1..25).prop_map(|steps| {
        let mut undecided = Vec::new();
        let mut entries: Vec<_> = steps
            .into_iter()
            .enumerate()
            .map(|(index, (kind, lanes))| match kind {
                0 => {
                    let xid = u8::try_from(index).expect("few entries");
                    undecided.push(xid);
                    Entry::Prepare { xid, lanes }
                }
                1 if !undecided.is_empty() => {
                    let oldest_or_newest = if lanes.len() > 1 { 0 } else { undecided.len() - 1 };
                    Entry::Decide { xid: undecided.remove(oldest_or_newest) }
                }
                2 => Entry::Idle,
                _ => Entry::Plain(lanes),
            })
            .collect();
        entries.extend(undecided.into_iter().map(|xid| Entry::Decide { xid }));
        entries
    })
}

proptest! {
    #[test]
    fn cut_anywhere_and_resumed_equals_never_having_stopped(
        binlog in binlog(),
        choices in proptest::collection::vec(any::<u8>(), 1..60),
        cuts in proptest::collection::vec(0_usize..30, 0..4),
        by_gtid in any::<bool>(),
    ) {
        let begin = Checkpoint {
            settled: Place { position: place(0), ..Place::default() },
            resume: Place { position: place(0), ..Place::default() },
            ..Checkpoint::default()
        };

        // Given what one run without a stop publishes
        let mut whole = Run::new(&binlog, &choices, begin.clone());
        whole.read(by_gtid, binlog.len());
        whole.finish();
        let expected: BTreeSet<Row> = whole.published.iter().copied().collect();
        prop_assert_eq!(expected.len(), whole.published.len(), "one run publishes no row twice");

        // When runs are killed at any entry, each going on from what the one before had saved
        let mut saved = begin;
        let mut published = BTreeSet::new();
        for cut in cuts {
            let mut run = Run::new(&binlog, &choices, saved);
            run.read(by_gtid, cut.min(binlog.len()));
            published.extend(run.published);
            saved = run.saved;
        }
        let mut last = Run::new(&binlog, &choices, saved);
        last.read(by_gtid, binlog.len());
        last.finish();
        published.extend(last.published.iter().copied());

        // Then together they published each row, and each under one number only
        prop_assert_eq!(published, expected);
        prop_assert_eq!(&last.saved.lanes, &whole.saved.lanes);
        if by_gtid {
            prop_assert_eq!(&last.saved.gtid_set, &whole.saved.gtid_set);
        }
        prop_assert_eq!(&last.saved.settled, &whole.saved.settled);
    }

    #[test]
    fn the_saved_prefix_never_passes_a_message_on_its_way(
        binlog in binlog(),
        choices in proptest::collection::vec(any::<u8>(), 1..60),
        stop in 0_usize..30,
    ) {
        let mut run = Run::new(&binlog, &choices, Checkpoint::default());
        run.read(true, stop.min(binlog.len()));
        run.save();
        let published: BTreeSet<_> = run.published.iter().map(|(row, _)| *row).collect();
        let delivered = |index: usize| {
            let TransactionId::Gtid(id) = gtid(index as u64 + 1) else { unreachable!() };
            run.saved.gtid_set.contains(&id)
        };
        for (index, entry) in binlog.iter().enumerate().filter(|(index, _)| delivered(*index)) {
            let (Entry::Plain(lanes) | Entry::Prepare { lanes, .. }) = entry else { continue };
            for row in 0..lanes.len() {
                prop_assert!(published.contains(&(index, row)), "row {row} of {index} was not sent");
            }
        }
    }
}

#[test]
fn merged_deltas_say_what_they_say_one_after_the_other() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    lane(&mut tracker, 0);
    let (mut one_by_one, mut merged) = (Checkpoint::default(), Delta::default());
    for sequence in 1..=5 {
        tracker.rows(0, sequence).expect("a lane");
        commit(&mut tracker, sequence, Class::Heartbeat(sequence));
        tracker.seal_unit();
        let delta = tracker.take_delta(7).expect("a transaction");
        one_by_one.apply(&delta);
        merged.merge(delta);
    }
    let mut at_once = Checkpoint::default();
    at_once.apply(&merged);
    assert_eq!(at_once, one_by_one);
    assert_eq!((merged.heartbeat, merged.transactions), (Some(5), 5));
}
