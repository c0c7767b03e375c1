//! The tracker against a plain record of all that it was told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{numbered, place};
use super::{Class, Commit, Misuse, Tracker};
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
    Seal,
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
        4 => Just(Step::Seal),
        2 => Just(Step::Save),
        1 => (0..4_usize).prop_map(Step::Lanes),
        1 => (0..50_u64).prop_map(Step::Assume),
    ];
    prop::collection::vec(step, 1..80)
}

/// One unit, as it was told.
#[derive(Debug, Clone, Default)]
struct Unit {
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
    /// Where all of it ends, and where a resume would begin, once it is sealed.
    ends: Option<(Place, Place)>,
}

#[derive(Debug)]
struct Record {
    units: Vec<Unit>,
    committed: Place,
    held: Option<Place>,
    assumed: BTreeSet<u64>,
    /// Units, and what was assumed, that are in a delta.
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
    fn open(&mut self) -> &mut Unit {
        self.units.last_mut().expect("one is open")
    }

    fn redial(&self) -> Place {
        self.held.clone().unwrap_or_else(|| self.committed.clone())
    }

    fn hold(&mut self, open_xa: Option<&Position>) {
        self.held = open_xa.map(|start| Place { position: start.clone(), ..self.redial() });
    }

    fn seal(&mut self) -> bool {
        let ends = (self.committed.clone(), self.redial());
        let unit = self.open();
        if !unit.is_changed && unit.outstanding == 0 {
            return false;
        }
        unit.ends = Some(ends);
        self.units.push(Unit::default());
        self.advance();
        true
    }

    /// Units in front that are sealed and of which nothing is on its way.
    fn advance(&mut self) -> bool {
        let before = self.settled;
        while self.units[self.settled].ends.is_some() && self.units[self.settled].outstanding == 0 {
            let unit = &self.units[self.settled];
            for lane in &unit.moved {
                self.lanes.insert(*lane, unit.lanes[lane]);
                if !self.untold.contains(lane) {
                    self.untold.push(*lane);
                }
            }
            self.settled += 1;
        }
        self.settled > before
    }

    fn delivered(&self) -> &[Unit] {
        &self.units[..self.settled]
    }

    fn is_worth_saving(&self) -> bool {
        let new = &self.units[self.saved_units..self.settled];
        !self.unsaved_assumed.is_empty() || new.iter().any(|unit| unit.is_worth_saving)
    }

    fn settled_gtids(&self) -> GtidSet {
        set(self.delivered().iter().flat_map(|unit| &unit.gtids).chain(&self.assumed))
    }

    fn ends(&self, begin: &Checkpoint) -> (Place, Place) {
        let ends = self.delivered().last().and_then(|unit| unit.ends.clone());
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
                0 => Class::User,
                1 => Class::Filtered,
                // Not always rising: another process may write them.
                2 => Class::Heartbeat(number ^ 4),
                3 => Class::Canary,
                _ => Class::Checkpoint,
            };
            let id = TransactionId::Gtid(gtid(number));
            let resolves = [TransactionId::Gtid(gtid(number + 1_000))];
            let resolves = if *holds { &resolves[..] } else { &[] };
            let open_xa = open_xa.as_ref();
            tracker.commit(&Commit { id, class, end: &end, resolves, open_xa });
            record.hold(open_xa);
            record.committed.position = end;
            let unit = record.open();
            unit.gtids.insert(number);
            if *holds {
                unit.gtids.insert(number + 1_000);
            }
            unit.transactions.0 += 1;
            unit.is_changed = true;
            if class != Class::Checkpoint {
                unit.transactions.1 += 1;
                unit.is_worth_saving = true;
            }
            if let Class::Heartbeat(number) = class {
                unit.heartbeat = unit.heartbeat.max(Some(number));
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
                let unit = record.open();
                (unit.is_changed, unit.is_worth_saving) = (true, true);
            }
        }
        Step::Opened(back) => {
            let unit = tracker.unit().saturating_sub(*back);
            let is_there = usize::try_from(unit).expect("small") >= record.settled;
            prop_assert_eq!(tracker.opened(unit).is_ok(), is_there);
            if is_there {
                record.units[usize::try_from(unit).expect("small")].outstanding += 1;
            }
        }
        Step::Settled(from) => {
            let unit = record.settled as u64 + from;
            let found = record.units.get_mut(usize::try_from(unit).expect("small"));
            match found.filter(|unit| unit.outstanding > 0) {
                Some(found) => {
                    found.outstanding -= 1;
                    let grows = record.advance();
                    prop_assert_eq!(tracker.settled(unit), Ok(grows));
                }
                None => {
                    prop_assert_eq!(tracker.settled(unit), Err(Misuse::NotOutstanding { unit }));
                }
            }
        }
        Step::Numbered(lane) => {
            let next =
                1 + record.units.iter().filter_map(|it| it.lanes.get(lane)).max().unwrap_or(&9);
            numbered(tracker, *lane, next);
            let unit = record.open();
            if unit.lanes.insert(*lane, next).is_none() {
                unit.moved.push(*lane);
            }
            unit.is_changed = true;
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
                let unit = record.open();
                unit.server = Some(server);
                (unit.is_changed, unit.is_worth_saving) = (true, true);
            }
        }
        Step::Seal => prop_assert_eq!(tracker.seal_unit(), record.seal()),
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
    let new = &record.units[record.saved_units..record.settled];
    let assumed = &record.unsaved_assumed;
    prop_assert_eq!(delta.gtids, set(new.iter().flat_map(|unit| &unit.gtids).chain(assumed)));
    let lanes: BTreeSet<_> = new.iter().flat_map(|unit| unit.lanes.keys()).collect();
    let lanes = lanes.into_iter().map(|lane| (format!("d.t#{lane}").into(), record.lanes[lane]));
    prop_assert_eq!(delta.lanes, lanes.collect::<BTreeMap<_, _>>());
    prop_assert_eq!(delta.heartbeat, new.iter().filter_map(|unit| unit.heartbeat).max());
    prop_assert_eq!(delta.transactions, new.iter().map(|unit| unit.transactions.1).sum::<u64>());
    prop_assert_eq!(delta.server_uuid, new.iter().rev().find_map(|unit| unit.server.clone()));
    prop_assert_eq!(delta.taken_at_us, 77);
    prop_assert_eq!(&delta.settled, tracker.settled_place());
    prop_assert_eq!(&delta.resume, tracker.resume_place());
    record.saved_units = record.settled;
    record.unsaved_assumed.clear();
    Ok(())
}

fn compare(tracker: &Tracker, record: &Record, begin: &Checkpoint) -> Result<(), TestCaseError> {
    prop_assert_eq!(tracker.unit(), record.units.len() as u64 - 1);
    prop_assert_eq!(tracker.units_on_their_way(), record.units.len() - 1 - record.settled);
    let open = record.units.last().expect("one is open");
    prop_assert_eq!(tracker.open_transactions(), open.transactions.0);
    prop_assert_eq!(tracker.settled_gtids(), &record.settled_gtids());
    let all = record.units.iter().flat_map(|unit| &unit.gtids).chain(&record.assumed);
    prop_assert_eq!(tracker.committed_gtids(), set(all));
    prop_assert_eq!(tracker.committed_place(), &record.committed);
    prop_assert_eq!(tracker.redial_place(), &record.redial());
    let (settled, resume) = record.ends(begin);
    prop_assert_eq!((tracker.settled_place(), tracker.resume_place()), (&settled, &resume));
    let heartbeat = record.delivered().iter().filter_map(|unit| unit.heartbeat).max();
    prop_assert_eq!(tracker.settled_heartbeat(), heartbeat);
    prop_assert_eq!(tracker.server(), record.server.as_str());
    for unit in 0..record.units.len() {
        prop_assert_eq!(tracker.is_settled(unit as u64), unit < record.settled);
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
            units: vec![Unit::default()],
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
