//! What is said between the end of a fault and the end of its verdict.

use std::collections::BTreeSet;

use super::catalogue::CASES;
use super::world::{Faults, LOADS, Load, World};
use crate::freshness::verdict::words::headline;
use crate::freshness::verdict::{Condition, Grade, State, Status};
use crate::freshness::{LagSample, Observation, SqlFailure};

/// The value that the evaluator has shown for a condition.
fn shown(world: &World, wanted: Condition) -> Status {
    let found = world.evaluator.verdict().conditions.iter().find(|(name, _)| *name == wanted);
    found.map_or(Status::Unknown, |(_, known)| known.status)
}

/// What is wrong with what is said now: an outage, and evidence that there is none.
fn contradiction(world: &World) -> Option<String> {
    let verdict = world.evaluator.verdict();
    let rests_on = verdict.state.row().rests_on;
    let is_refuted = rests_on.is_some_and(|it| shown(world, it) == Status::True);
    let is_outage = verdict.grade() == Grade::Outage
        || verdict.sentence.starts_with(&*headline(verdict.state, verdict.reason.as_ref(), false));
    let is_fault = verdict.state.grade() <= Grade::Late;
    (is_fault && is_refuted && is_outage).then(|| verdict.sentence.clone())
}

#[test]
fn no_outage_is_told_with_evidence_that_it_is_over() {
    let (mut wrong, mut recovered) = (BTreeSet::new(), BTreeSet::new());
    for case in CASES.iter().filter(|case| case.state != State::PositionLost) {
        for load in LOADS {
            let mut world = case.staged(load);
            let reason = world.evaluator.verdict().reason.clone();
            world.faults = Faults::default();
            let ended = world.now;
            for _ in 0..360 {
                world.run(0.25);
                wrong.extend(contradiction(&world).map(|text| format!("{}: {text}", case.name)));
                let verdict = world.evaluator.verdict();
                if verdict.is_recovering {
                    recovered.insert(verdict.state);
                    if verdict.state == case.state {
                        assert_eq!(verdict.reason, reason, "{}", case.name);
                    }
                }
                // The model's lag is gone with its fault, from the next sample on.
                if verdict.state == State::Lagging && verdict.evaluated_at > ended {
                    wrong.insert(format!("{}: {}", case.name, verdict.sentence));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    for state in [
        State::StreamDown,
        State::SourceReadOnly,
        State::WritesBlocked,
        State::UpstreamReplicationBroken,
        State::CatchingUp,
    ] {
        assert!(recovered.contains(&state), "{state} was never seen to recover: {recovered:?}");
    }
}

#[test]
fn what_comes_back_while_it_recovers_is_an_outage_again_at_once() {
    let lock = Some((SqlFailure::Lock, SqlFailure::Lock, false));
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults = Faults { writes: lock, writer_state: Some("updating"), ..Faults::default() };
    world.run(20.0);
    assert_eq!(world.evaluator.verdict().grade(), Grade::Outage);
    world.faults = Faults::default();
    for _ in 0..40 {
        if !world.evaluator.verdict().is_recovering {
            world.run(0.25);
        }
    }
    let verdict = world.evaluator.verdict();
    assert_eq!((verdict.state, verdict.grade()), (State::WritesBlocked, Grade::Recovering));
    assert!(verdict.sentence.starts_with("Writes to the database commit again: "));
    assert!(verdict.next_step.starts_with("Wait: "), "{}", verdict.next_step);
    world.faults = Faults { read_only: true, ..Faults::default() };
    world.run(6.0);
    let verdict = world.evaluator.verdict();
    assert_eq!((verdict.state, verdict.grade()), (State::SourceReadOnly, Grade::Outage));
}

#[test]
fn a_lag_that_has_closed_is_told_as_closed_and_not_as_lagging() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults = Faults { lag: Some(|s| s), ..Faults::default() };
    world.run(70.0);
    assert_eq!(world.state(), State::Lagging);
    world.faults = Faults { lag: Some(|_| 0.6), ..Faults::default() };
    world.run(2.0);
    let verdict = world.evaluator.verdict();
    assert_eq!((verdict.state, verdict.grade()), (State::CatchingUp, Grade::Recovering));
    assert_eq!(verdict.sentence, "Caught up: what is published now was committed 0.6 s ago.");
    let sample = LagSample { lag: Some(std::time::Duration::from_secs(20)), transaction_bytes: 0 };
    world.tell(Observation::Lag(sample));
    let now = world.now;
    assert_eq!(
        world.evaluator.evaluate(now).grade(),
        Grade::Outage,
        "not closed, and not shrinking"
    );
}
