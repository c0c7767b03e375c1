//! The other way round: over any trail of faults, also several at once, nothing is called healthy
//! while the model knows that rows are lost, or held up for longer than it takes to find out.

use proptest::prelude::*;

use super::world::{Faults, LOADS, Load, OTHER, Sns, World};
use crate::freshness::{SqlFailure, StreamFailure};
use crate::sink::FailureClass;

/// What keeps rows from where they belong, and the longest time in seconds for which it may look
/// healthy: what the catalogue allows.
const TROUBLES: [(Trouble, f64); 12] = [
    (Trouble::Hangs, 7.0),
    (Trouble::Refuses, 5.0),
    (Trouble::ShutsDown, 8.0),
    (Trouble::DumpSilent, 5.0),
    (Trouble::DumpDenied, 10.0),
    (Trouble::ReadOnly, 6.0),
    (Trouble::WritesLocked, 10.0),
    (Trouble::CommitsStuck, 10.0),
    (Trouble::HeartbeatsHidden, 16.0),
    (Trouble::OtherServer, 21.0),
    (Trouble::SnsFails, 21.0),
    (Trouble::CanariesLost, 36.0),
];

/// Longer than that by so much when something else was looked into just before: a tick, and the least
/// time between two looks.
const AFTER_ANOTHER: f64 = 6.0;

/// And by the time between two canaries where only these tell, and trouble before has put one off.
const CANARY_PUT_OFF: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Hangs,
    Refuses,
    ShutsDown,
    DumpSilent,
    DumpDenied,
    ReadOnly,
    WritesLocked,
    CommitsStuck,
    HeartbeatsHidden,
    OtherServer,
    SnsFails,
    CanariesLost,
}

impl Trouble {
    fn add_to(self, faults: &mut Faults) {
        let lock = SqlFailure::Lock;
        match self {
            Self::Hangs => {
                let timeout = Some(SqlFailure::TimedOut);
                (faults.old_sql, faults.new_sql, faults.silent) = (timeout, timeout, true);
                faults.dial = Some(StreamFailure::Sql(SqlFailure::TimedOut));
            }
            Self::Refuses => {
                faults.old_sql = Some(SqlFailure::BROKEN);
                faults.new_sql = Some(SqlFailure::REFUSED);
                faults.dial = Some(StreamFailure::Sql(SqlFailure::REFUSED));
            }
            Self::ShutsDown => {
                faults.old_sql = Some(SqlFailure::BROKEN);
                faults.new_sql = Some(SqlFailure::REFUSED);
            }
            Self::DumpSilent => faults.silent = true,
            Self::DumpDenied => faults.dial = Some(StreamFailure::Sql(SqlFailure::Denied)),
            Self::ReadOnly => {
                faults.read_only = true;
                faults.writes = Some((SqlFailure::ReadOnly, SqlFailure::ReadOnly, false));
            }
            Self::WritesLocked => faults.writes = Some((lock, lock, false)),
            Self::CommitsStuck => faults.writes = Some((SqlFailure::TimedOut, lock, true)),
            Self::HeartbeatsHidden => faults.hidden = true,
            Self::OtherServer => {
                faults.writer_server = OTHER;
                faults.hidden = true;
            }
            Self::SnsFails => faults.sns = Sns::Fails(FailureClass::ServerError),
            Self::CanariesLost => faults.lost = vec!["orders", "search"],
        }
    }

    /// Whether it ends an open stream.
    fn cuts(self) -> bool {
        matches!(self, Self::Refuses | Self::DumpDenied)
    }
}

/// Which troubles, for how long, and how many transactions vanish at its begin.
type Leg = (Vec<usize>, f64, u64);

fn steps() -> impl Strategy<Value = Vec<Leg>> {
    let quarters = (1_u32..240).prop_map(|quarters| f64::from(quarters) / 4.0);
    let step = (proptest::collection::vec(0..TROUBLES.len(), 0..3), quarters, 0_u64..8);
    let step = step.prop_map(|(which, seconds, dice)| (which, seconds, u64::from(dice == 0)));
    proptest::collection::vec(step, 1..12)
}

/// Runs the legs; what was called healthy and was not.
fn lies(load: Load, steps: &[Leg]) -> Vec<String> {
    let mut world = World::new(load);
    world.run(100.0);
    let mut since = [None; TROUBLES.len()];
    let mut lies = Vec::new();
    let mut told = Vec::new();
    for (which, seconds, lost) in steps {
        let mut faults = Faults::default();
        for (index, (trouble, _)) in TROUBLES.iter().enumerate() {
            let holds = which.contains(&index);
            if holds {
                trouble.add_to(&mut faults);
            }
            if holds && trouble.cuts() {
                world.cut_stream();
            }
            since[index] = holds.then_some(since[index].unwrap_or(world.now));
        }
        world.faults = faults;
        world.drop_transactions += lost;
        let end = world.now + std::time::Duration::from_secs_f64(*seconds);
        while world.now < end {
            world.run(0.25);
            // Back-pressure of a dead sink stops the reader: until the sink is told, nobody can tell
            // what is before it, and then it is told.
            if load == Load::Busy && world.faults.sns != Sns::Well {
                for (index, began) in since.iter_mut().enumerate() {
                    let is_sink = TROUBLES[index].0 == Trouble::SnsFails;
                    *began = if is_sink { *began } else { began.map(|_| world.now) };
                }
            }
            if !world.state().is_healthy() {
                continue;
            }
            for (index, (trouble, allowed)) in TROUBLES.iter().enumerate() {
                let Some(began) = since[index] else { continue };
                let lasted = world.now.saturating_duration_since(began).as_secs_f64();
                let by_canary = matches!(trouble, Trouble::SnsFails | Trouble::CanariesLost);
                let put_off = if by_canary { CANARY_PUT_OFF } else { 0.0 };
                if lasted > *allowed + AFTER_ANOTHER + put_off && !told.contains(&(index, began)) {
                    told.push((index, began));
                    let at = world.now.saturating_duration_since(world.start).as_secs_f64();
                    lies.push(format!("{} at {at} s, {lasted} s into {trouble:?}", world.state()));
                }
            }
        }
    }
    lies
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_healthy_for_longer_than_it_takes_to_find_out(
        load in prop::sample::select(LOADS.to_vec()),
        steps in steps(),
    ) {
        let lies = lies(load, &steps);
        prop_assert!(lies.is_empty(), "{}", lies.join("\n"));
    }

    /// And what vanished between socket and parser is counted, whatever else happened meanwhile.
    #[test]
    fn what_was_lost_is_counted_once_all_else_is_well(
        load in prop::sample::select(vec![Load::Busy, Load::FilteredOnly]),
        steps in steps(),
    ) {
        let mut world = World::new(load);
        world.run(100.0);
        let mut lost = 0;
        for (which, seconds, dropped) in &steps {
            let mut faults = Faults::default();
            for index in which {
                TROUBLES[*index].0.add_to(&mut faults);
                if TROUBLES[*index].0.cuts() {
                    world.cut_stream();
                }
            }
            world.faults = faults;
            world.drop_transactions += dropped;
            lost += dropped;
            world.run(*seconds);
        }
        world.faults = Faults::default();
        world.run(120.0);
        prop_assert_eq!(world.evaluator.unaccounted_total(), lost);
        prop_assert!(world.state().is_healthy(), "{}", world.state());
    }
}
