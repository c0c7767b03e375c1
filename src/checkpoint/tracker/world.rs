//! The tracker against a plain record of all that it was told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{numbered, place};
use super::{Commit, Misuse, Tracker, TransactionKind};
use crate::change::{Gtid, GtidSet, Position, Tag, TransactionId, Uuid};
use crate::checkpoint::{Checkpoint, Place};

/// What a tracker may be told.
#[derive(Debug, Clone)]
enum Step {
    Commit { class: u8, holds: bool },
    Idle { moves: bool, holds: bool },
    Opened(u64),
    Settled(u64),
    Numbered(u32),
    Moved(u8),
    Close,
    Save,
    Lanes(usize),
    Assume(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..5_u8, prop::bool::weighted(0.2)).prop_map(|(class, holds)| Step::Commit { class, holds }),
        2 => (any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(moves, holds)| Step::Idle { moves, holds }),
        4 => (0..3_u64).prop_map(Step::Opened),
        5 => (0..6_u64).prop_map(Step::Settled),
        4 => (0..4_u32).prop_map(Step::Numbered),
        1 => (0..3_u8).prop_map(Step::Moved),
        4 => Just(Step::Close),
        2 => Just(Step::Save),
        1 => (0..4_usize).prop_map(Step::Lanes),
        1 => (0..50_u64).prop_map(Step::Assume),
    ];
    prop::collection::vec(step, 1..80)
}

/// One ack group, as it was told.
#[derive(Debug, Clone, Default)]
struct AckGroup {
    outstanding: u64,
    gtids: BTreeSet<u64>,
    /// In the order in which they moved.
    moved: Vec<u32>,
    lanes: BTreeMap<u32, u64>,
    heartbeat: Option<u64>,
    /// Of any class, and without saves of a checkpoint.
    transactions: (u64, u64),
    is_changed: bool,
    is_worth_saving: bool,
    server: Option<String>,
    /// Where all of it ends, and where a resume would begin, once it is closed.
    ends: Option<(Place, Place)>,
}

#[derive(Debug)]
struct Record {
    ack_groups: Vec<AckGroup>,
    committed: Place,
    held: Option<Place>,
    assumed: BTreeSet<u64>,
    /// Ack groups, and what was assumed, that are in a delta.
    saved_units: usize,
    unsaved_assumed: BTreeSet<u64>,
    lanes: BTreeMap<u32, u64>,
    /// Lanes that moved and were not told, in the order in which they became delivered.
    untold: Vec<u32>,
    server: String,
    settled: usize,
    sequence: u64,
    offset: u64,
}

fn gtid(sequence: u64) -> Gtid {
    Gtid { source: Uuid([7; 16]), tag: Tag::default(), sequence }
}

fn set<'a>(numbers: impl IntoIterator<Item = &'a u64>) -> GtidSet {
    numbers.into_iter().map(|number| gtid(*number)).collect()
}

impl Record {
    fn open(&mut self) -> &mut AckGroup {
        self.ack_groups.last_mut().expect("one is open")
    }

    fn redial(&self) -> Place {
        self.held.clone().unwrap_or_else(|| self.committed.clone())
    }

    fn hold(&mut self, open_xa: Option<&Position>) {
        self.held = open_xa.map(|start| Place { position: start.clone(), ..self.redial() });
    }

    fn close(&mut self) -> bool {
        let ends = (self.committed.clone(), self.redial());
        let ack_group = self.open();
        if !ack_group.is_changed && ack_group.outstanding == 0 {
            return false;
        }
        ack_group.ends = Some(ends);
        self.ack_groups.push(AckGroup::default());
        self.advance();
        true
    }

    /// Ack groups in front that are closed and of which nothing is on its way.
    fn advance(&mut self) -> bool {
        let before = self.settled;
        while self.ack_groups[self.settled].ends.is_some()
            && self.ack_groups[self.settled].outstanding == 0
        {
            let ack_group = &self.ack_groups[self.settled];
            for lane in &ack_group.moved {
                self.lanes.insert(*lane, ack_group.lanes[lane]);
                if !self.untold.contains(lane) {
                    self.untold.push(*lane);
                }
            }
            self.settled += 1;
        }
        self.settled > before
    }

    fn delivered(&self) -> &[AckGroup] {
        &self.ack_groups[..self.settled]
    }

    fn is_worth_saving(&self) -> bool {
        let new = &self.ack_groups[self.saved_units..self.settled];
        !self.unsaved_assumed.is_empty() || new.iter().any(|ack_group| ack_group.is_worth_saving)
    }

    fn settled_gtids(&self) -> GtidSet {
        set(self.delivered().iter().flat_map(|ack_group| &ack_group.gtids).chain(&self.assumed))
    }

    fn ends(&self, begin: &Checkpoint) -> (Place, Place) {
        let ends = self.delivered().last().and_then(|ack_group| ack_group.ends.clone());
        ends.unwrap_or_else(|| (begin.settled.clone(), begin.resume.clone()))
    }
}

#[allow(clippy::too_many_lines, reason = "one arm for each thing that may be told")]
fn tell(tracker: &mut Tracker, record: &mut Record, step: &Step) -> Result<(), TestCaseError> {
    let open_xa = |record: &Record, holds: bool| {
        let known = record.held.as_ref().map(|place| place.position.clone());
        holds.then(|| known.unwrap_or_else(|| place(record.offset)))
    };
    match step {
        Step::Commit { class, holds } => {
            let open_xa = open_xa(record, *holds);
            record.sequence += 1;
            record.offset += 100;
            let (number, end) = (record.sequence, place(record.offset));
            let class = match class {
                0 => TransactionKind::User,
                1 => TransactionKind::Filtered,
                // Not always rising: another process may write them.
                2 => TransactionKind::Heartbeat(number ^ 4),
                3 => TransactionKind::Canary,
                _ => TransactionKind::Checkpoint,
            };
            let id = TransactionId::Gtid(gtid(number));
            let resolves = [TransactionId::Gtid(gtid(number + 1_000))];
            let resolves = if *holds { &resolves[..] } else { &[] };
            let open_xa = open_xa.as_ref();
            tracker.commit(&Commit { id, class, end: &end, resolves, open_xa });
            record.hold(open_xa);
            record.committed.position = end;
            let ack_group = record.open();
            ack_group.gtids.insert(number);
            if *holds {
                ack_group.gtids.insert(number + 1_000);
            }
            ack_group.transactions.0 += 1;
            ack_group.is_changed = true;
            if class != TransactionKind::Checkpoint {
                ack_group.transactions.1 += 1;
                ack_group.is_worth_saving = true;
            }
            if let TransactionKind::Heartbeat(number) = class {
                ack_group.heartbeat = ack_group.heartbeat.max(Some(number));
            }
        }
        Step::Idle { moves, holds } => {
            let open_xa = open_xa(record, *holds);
            record.offset += if *moves { 10 } else { 0 };
            let at = if *moves { place(record.offset) } else { record.committed.position.clone() };
            tracker.reached(&at, open_xa.as_ref());
            record.hold(open_xa.as_ref());
            if record.committed.position != at {
                record.committed.position = at;
                let ack_group = record.open();
                (ack_group.is_changed, ack_group.is_worth_saving) = (true, true);
            }
        }
        Step::Opened(back) => {
            let ack_group = tracker.ack_group().saturating_sub(*back);
            let is_there = usize::try_from(ack_group).expect("small") >= record.settled;
            prop_assert_eq!(tracker.opened(ack_group).is_ok(), is_there);
            if is_there {
                record.ack_groups[usize::try_from(ack_group).expect("small")].outstanding += 1;
            }
        }
        Step::Settled(from) => {
            let ack_group = record.settled as u64 + from;
            let found = record.ack_groups.get_mut(usize::try_from(ack_group).expect("small"));
            match found.filter(|ack_group| ack_group.outstanding > 0) {
                Some(found) => {
                    found.outstanding -= 1;
                    let grows = record.advance();
                    prop_assert_eq!(tracker.settled(ack_group), Ok(grows));
                }
                None => {
                    prop_assert_eq!(
                        tracker.settled(ack_group),
                        Err(Misuse::NotOutstanding { ack_group })
                    );
                }
            }
        }
        Step::Numbered(lane) => {
            let next = 1 + record
                .ack_groups
                .iter()
                .filter_map(|it| it.lanes.get(lane))
                .max()
                .unwrap_or(&9);
            numbered(tracker, *lane, next);
            let ack_group = record.open();
            if ack_group.lanes.insert(*lane, next).is_none() {
                ack_group.moved.push(*lane);
            }
            ack_group.is_changed = true;
        }
        Step::Moved(server) => {
            let server = format!("server {server}");
            tracker.moved_to(&server);
            if record.server != server {
                record.committed.position = Position::default();
                if let Some(held) = &mut record.held {
                    held.position = Position::default();
                }
                record.server.clone_from(&server);
                let ack_group = record.open();
                ack_group.server = Some(server);
                (ack_group.is_changed, ack_group.is_worth_saving) = (true, true);
            }
        }
        Step::Close => prop_assert_eq!(tracker.close_ack_group(), record.close()),
        Step::Save => save(tracker, record)?,
        Step::Lanes(limit) => {
            let truncated = record.untold.len() > *limit;
            let told: Vec<_> = record.untold.drain(..(*limit).min(record.untold.len())).collect();
            let found = tracker.take_moved_lanes(*limit);
            let key = |lane: &u32| (format!("d.t#{lane}").into(), record.lanes[lane]);
            prop_assert_eq!(found.lanes, told.iter().map(key).collect::<Vec<_>>());
            prop_assert_eq!(found.truncated, truncated);
        }
        Step::Assume(number) => {
            let number = 5_000 + number;
            tracker.assume(&set([&number]));
            record.assumed.insert(number);
            record.unsaved_assumed.insert(number);
        }
    }
    Ok(())
}

fn save(tracker: &mut Tracker, record: &mut Record) -> Result<(), TestCaseError> {
    let Some(delta) = tracker.take_delta(77) else {
        prop_assert!(!record.is_worth_saving());
        return Ok(());
    };
    prop_assert!(record.is_worth_saving());
    let new = &record.ack_groups[record.saved_units..record.settled];
    let assumed = &record.unsaved_assumed;
    prop_assert_eq!(
        delta.gtids,
        set(new.iter().flat_map(|ack_group| &ack_group.gtids).chain(assumed))
    );
    let lanes: BTreeSet<_> = new.iter().flat_map(|ack_group| ack_group.lanes.keys()).collect();
    let lanes = lanes.into_iter().map(|lane| (format!("d.t#{lane}").into(), record.lanes[lane]));
    prop_assert_eq!(delta.lanes, lanes.collect::<BTreeMap<_, _>>());
    prop_assert_eq!(delta.heartbeat, new.iter().filter_map(|ack_group| ack_group.heartbeat).max());
    prop_assert_eq!(
        delta.transactions,
        new.iter().map(|ack_group| ack_group.transactions.1).sum::<u64>()
    );
    prop_assert_eq!(
        delta.server_uuid,
        new.iter().rev().find_map(|ack_group| ack_group.server.clone())
    );
    prop_assert_eq!(delta.taken_at_us, 77);
    prop_assert_eq!(&delta.settled, tracker.settled_place());
    prop_assert_eq!(&delta.resume, tracker.resume_place());
    record.saved_units = record.settled;
    record.unsaved_assumed.clear();
    Ok(())
}

fn compare(tracker: &Tracker, record: &Record, begin: &Checkpoint) -> Result<(), TestCaseError> {
    prop_assert_eq!(tracker.ack_group(), record.ack_groups.len() as u64 - 1);
    prop_assert_eq!(tracker.ack_groups_in_flight(), record.ack_groups.len() - 1 - record.settled);
    let open = record.ack_groups.last().expect("one is open");
    prop_assert_eq!(tracker.open_transactions(), open.transactions.0);
    prop_assert_eq!(tracker.settled_gtids(), &record.settled_gtids());
    let all =
        record.ack_groups.iter().flat_map(|ack_group| &ack_group.gtids).chain(&record.assumed);
    prop_assert_eq!(tracker.committed_gtids(), set(all));
    prop_assert_eq!(tracker.committed_place(), &record.committed);
    prop_assert_eq!(tracker.redial_place(), &record.redial());
    let (settled, resume) = record.ends(begin);
    prop_assert_eq!((tracker.settled_place(), tracker.resume_place()), (&settled, &resume));
    let heartbeat = record.delivered().iter().filter_map(|ack_group| ack_group.heartbeat).max();
    prop_assert_eq!(tracker.settled_heartbeat(), heartbeat);
    prop_assert_eq!(tracker.server(), record.server.as_str());
    for ack_group in 0..record.ack_groups.len() {
        prop_assert_eq!(tracker.is_settled(ack_group as u64), ack_group < record.settled);
    }
    Ok(())
}

proptest! {
    #[test]
    fn everything_it_says_follows_from_what_it_was_told(
        steps in steps(),
        is_held: bool,
    ) {
        let at = |offset| Place { position: place(offset), ..Place::default() };
        let begin = Checkpoint {
            settled: at(50),
            resume: at(if is_held { 20 } else { 50 }),
            server_uuid: "server 0".to_owned(),
            ..Checkpoint::default()
        };
        let mut tracker = Tracker::new(&begin);
        let mut record = Record {
            ack_groups: vec![AckGroup::default()],
            committed: at(50),
            held: is_held.then(|| at(20)),
            assumed: BTreeSet::new(),
            saved_units: 0,
            unsaved_assumed: BTreeSet::new(),
            lanes: BTreeMap::new(),
            untold: Vec::new(),
            server: "server 0".to_owned(),
            settled: 0,
            sequence: 0,
            offset: 50,
        };
        for step in &steps {
            tell(&mut tracker, &mut record, step)?;
            compare(&tracker, &record, &begin)?;
        }
    }
}
