//! The tracker against a model: a source whose binlog is read, cut, and read again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{numbered, place};
use super::{Commit, Tracker, TransactionKind};
use crate::change::{Gtid, Position, Tag, TransactionId, Uuid};
use crate::checkpoint::{Checkpoint, Place};

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
    /// The number of each lane's next row, and whether rows were numbered since the tracker was told.
    next: BTreeMap<u32, (u64, bool)>,
    /// Batches that are open, by lane: the ack group of the first row, and the rows.
    open: BTreeMap<u32, (u64, Vec<Row>)>,
    flying: Vec<(u64, Vec<Row>)>,
    published: Vec<Row>,
}

const LANES: u32 = 3;

/// Identity of the transaction of entry `number` - 1. Numbers follow one another across sources and
/// tags, so that a run of them that looked at the numbers alone would name others.
fn named(number: u64) -> Gtid {
    let source = Uuid([if number % 7 < 4 { 7 } else { 8 }; 16]);
    let tag = if number % 5 < 3 { Tag::default() } else { Tag::new(b"app").expect("a tag") };
    Gtid { source, tag, sequence: number }
}

fn gtid(number: u64) -> TransactionId {
    TransactionId::Gtid(named(number))
}

impl<'a> Run<'a> {
    fn new(binlog: &'a [Entry], choices: &'a [u8], saved: Checkpoint) -> Self {
        let tracker = Tracker::new(&saved);
        let restored = |lane| saved.lanes.get(format!("d.t#{lane}").as_str()).copied().unwrap_or(1);
        let next = (0..LANES).map(|lane| (lane, (restored(lane), false))).collect();
        let choices = choices.iter().cycle();
        let (open, flying, published) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { binlog, choices, tracker, saved, next, open, flying, published }
    }

    fn choose(&mut self, among: usize) -> usize {
        usize::from(*self.choices.next().expect("a cycle")) % among
    }

    /// Continues from what was saved, up to entry `stop`, by GTID or by position.
    fn read(&mut self, by_gtid: bool, stop: usize) {
        let resume = self.saved.resume.position.offset;
        let settled = self.saved.settled.position.offset;
        let delivered = self.saved.gtid_set.clone();
        let mut prepared: BTreeMap<u8, (usize, Vec<u32>)> = BTreeMap::new();
        for index in 0..stop {
            let (start, end) = (index as u64 * 100, index as u64 * 100 + 100);
            let (id, own) = (gtid(index as u64 + 1), named(index as u64 + 1));
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
            let (next, moved) = self.next.get_mut(lane).expect("a lane");
            let number = *next;
            (*next, *moved) = (number + 1, true);
            let ack_group = self.tracker.ack_group();
            let (_, rows) = self.open.entry(*lane).or_insert_with(|| {
                self.tracker.opened(ack_group).expect("the open ack group");
                (ack_group, Vec::new())
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
        let (end, class) = (place(end), TransactionKind::User);
        self.tracker.commit(&Commit { id, class, end: &end, resolves, open_xa });
    }

    /// As the loop does it: between two transactions, after telling which lanes moved.
    fn close(&mut self) {
        for (lane, (next, moved)) in &mut self.next {
            if std::mem::take(moved) {
                numbered(&mut self.tracker, *lane, *next);
            }
        }
        self.tracker.close_ack_group();
    }

    fn deliver_some(&mut self) {
        if self.choose(2) == 0 {
            self.close();
        }
        if self.choose(3) == 0 {
            self.flying.extend(std::mem::take(&mut self.open).into_values());
        }
        while !self.flying.is_empty() && self.choose(3) > 0 {
            let at = self.choose(self.flying.len());
            let (ack_group, rows) = self.flying.swap_remove(at);
            self.published.extend(rows);
            self.tracker.settled(ack_group).expect("it was on its way");
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
        self.close();
        self.flying.extend(std::mem::take(&mut self.open).into_values());
        for (ack_group, rows) in std::mem::take(&mut self.flying) {
            self.published.extend(rows);
            self.tracker.settled(ack_group).expect("it was on its way");
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
        let delivered = |index: usize| run.saved.gtid_set.contains(&named(index as u64 + 1));
        for (index, entry) in binlog.iter().enumerate().filter(|(index, _)| delivered(*index)) {
            let (Entry::Plain(lanes) | Entry::Prepare { lanes, .. }) = entry else { continue };
            for row in 0..lanes.len() {
                prop_assert!(published.contains(&(index, row)), "row {row} of {index} was not sent");
            }
        }
    }
}
