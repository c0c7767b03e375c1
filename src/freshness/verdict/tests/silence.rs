//! What must not change the verdict.

use std::time::Duration;

use super::world::{Faults, LOADS, Load, Sns, World};
use crate::freshness::verdict::{Grade, Parameters, Reason, State, Status};
use crate::freshness::{Observation, SqlFailure, StreamFailure};
use crate::sink::FailureClass;

fn healthy(load: Load) -> State {
    if load == Load::Busy { State::Live } else { State::Quiet }
}

/// Runs until healthy, lets `disturb` do its worst, and asserts that nothing else was ever shown.
fn undisturbed(name: &str, disturb: fn(&mut World)) {
    for load in LOADS {
        let mut world = World::new(load);
        world.run(100.0);
        assert_eq!(world.state(), healthy(load), "{name}");
        world.fault_at = Some(world.now);
        disturb(&mut world);
        world.run(60.0);
        assert_eq!(world.since_fault(), [], "{name} on {load:?}");
    }
}

#[test]
fn six_quiet_hours_bring_one_state_and_stay_in_it() {
    for (load, reason) in [(Load::Quiet, "empty"), (Load::FilteredOnly, "filtered_only")] {
        let mut world = World::new(load);
        world.run(6.0 * 3_600.0);
        let states: Vec<_> = world.trace.iter().map(|(_, state, _)| *state).collect();
        assert_eq!(states, [State::Starting, State::Quiet], "{load:?}");
        let verdict = world.evaluator.verdict();
        assert_eq!(
            verdict.reason.as_ref().map(crate::freshness::verdict::Reason::name).as_deref(),
            Some(reason)
        );
        assert_eq!(world.evaluator.unaccounted_total(), 0);
    }
}

#[test]
fn no_condition_reads_false_while_all_is_well() {
    for load in LOADS {
        let mut world = World::new(load);
        world.run(100.0);
        for _ in 0..240 {
            world.run(0.25);
            let verdict = world.evaluator.verdict();
            assert_eq!(verdict.state, healthy(load));
            let known = verdict.conditions.iter();
            let read_false: Vec<_> = known
                .filter(|(_, known)| known.status == Status::False)
                .map(|(condition, known)| (condition.name(), &known.because))
                .collect();
            assert!(read_false.is_empty(), "{load:?}: {read_false:?}");
        }
    }
}

#[test]
fn a_dump_thread_killed_once_changes_nothing() {
    undisturbed("KILL dump", |world| world.kill_stream = true);
}

#[test]
fn a_source_stopped_for_three_seconds_changes_nothing() {
    undisturbed("SIGSTOP 3 s", |world| {
        world.faults = Faults {
            old_sql: Some(SqlFailure::TimedOut),
            new_sql: Some(SqlFailure::TimedOut),
            silent: true,
            ..Faults::default()
        };
        world.run(3.0);
        world.faults = Faults::default();
    });
}

#[test]
fn a_killed_heartbeat_connection_changes_nothing() {
    undisturbed("KILL writer", |world| {
        world.faults.old_sql = Some(SqlFailure::BROKEN);
        world.run(1.0);
        world.faults.old_sql = None;
    });
}

#[test]
fn exhausted_connections_are_a_condition_and_no_verdict() {
    undisturbed("1040", |world| {
        world.faults.new_sql = Some(SqlFailure::TooManyConnections);
        world.run(1.0);
        let now = world.now;
        for offset in 0..2 {
            let started = now + Duration::from_millis(offset);
            world.tell(Observation::Probe(crate::freshness::Probe {
                connection: crate::freshness::Connection::Fresh,
                started,
                result: Err(SqlFailure::TooManyConnections),
            }));
        }
        world.run(20.0);
        let admits = crate::freshness::verdict::Condition::SqlAdmits;
        let known = world.evaluator.verdict().conditions.iter().find(|(name, _)| *name == admits);
        assert_eq!(
            known.map(|(_, known)| known.status),
            Some(crate::freshness::verdict::Status::False)
        );
        world.faults.new_sql = None;
    });
}

#[test]
fn slow_commits_and_single_failures_change_nothing() {
    undisturbed("one 1205", |world| {
        world.faults.writes = Some((SqlFailure::Lock, SqlFailure::Lock, false));
        world.run(2.0);
        world.faults.writes = None;
    });
    undisturbed("a deadlock", |world| {
        world.faults.writes = Some((SqlFailure::Deadlock, SqlFailure::Deadlock, false));
        world.run(0.5);
        world.faults.writes = None;
    });
    undisturbed("single 503s", |world| {
        world.faults.sns = Sns::Fails(FailureClass::ServerError);
        world.run(2.0);
        world.faults.sns = Sns::Well;
    });
}

#[test]
fn our_own_clock_may_be_stepped_both_ways() {
    undisturbed("clock +5 min", |world| world.real_ahead = 300);
    undisturbed("clock -5 min", |world| world.real_ahead = -300);
}

#[test]
fn a_silent_dump_heals_with_the_redial() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults = Faults { silent: true, heals: true, ..Faults::default() };
    world.run(40.0);
    let states: Vec<_> = world.since_fault().iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::StreamSilent, State::Quiet]);
}

#[test]
fn being_frozen_blames_nobody_else() {
    for load in LOADS {
        for seconds in [4, 60, 3_600] {
            let mut world = World::new(load);
            world.run(100.0);
            world.fault_at = Some(world.now);
            world.freeze(seconds);
            // What our own deadlines made of it, told before anything else works again.
            world.tell(Observation::Tick(crate::freshness::Clocks {
                boot: world.now.saturating_duration_since(world.start),
                real: Duration::from_secs(1_000_000),
            }));
            world.tell(Observation::StreamFailed(StreamFailure::Silent));
            world.run(60.0);
            let trace = world.since_fault();
            let blamed = trace.iter().filter(|(_, state, _)| state.grade() < Grade::Unknown);
            assert_eq!(blamed.count(), 0, "{load:?}, {seconds} s: {trace:?}");
            assert!(trace.iter().any(|(_, state, _)| *state == State::SelfStalled));
            assert_eq!(world.state(), healthy(load));
            assert!(world.evaluator.self_pauses() >= 1);
        }
    }
}

#[test]
fn being_frozen_does_not_undo_a_halt() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.faults.dial = Some(StreamFailure::Halted);
    world.cut_stream();
    world.run(20.0);
    let reason = |world: &World| (world.state(), world.evaluator.verdict().reason.clone());
    assert_eq!(reason(&world), (State::StreamDown, Some(Reason::Halted)));
    world.freeze(60);
    world.run(60.0);
    assert_eq!(reason(&world), (State::StreamDown, Some(Reason::Halted)));
}

#[test]
fn a_failover_of_less_than_fifteen_seconds_is_a_blip() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults = Faults {
        old_sql: Some(SqlFailure::BROKEN),
        new_sql: Some(SqlFailure::REFUSED),
        dial: Some(StreamFailure::Sql(SqlFailure::REFUSED)),
        ..Faults::default()
    };
    world.cut_stream();
    world.run(12.0);
    world.faults = Faults::default();
    world.run(60.0);
    let states: Vec<_> = world.since_fault().iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::SourceUnreachable, State::Quiet]);
}

#[test]
fn without_heartbeat_rows_silence_is_never_called_quiet() {
    let mut world =
        World::with(Load::Quiet, Parameters { heartbeats: false, ..Parameters::default() });
    world.run(1_000.0);
    assert!(world.trace.iter().all(|(_, state, _)| *state != State::Quiet), "{:?}", world.trace);
    assert_eq!(world.state(), State::QuietUnproven);
}

#[test]
fn looks_are_rare_on_a_healthy_source_and_bounded_on_a_sick_one() {
    let mut world = World::new(Load::Busy);
    world.run(600.0);
    assert!((35..=50).contains(&world.look_count), "{} looks in 600 s", world.look_count);
    world.faults.writes = Some((SqlFailure::Lock, SqlFailure::Lock, false));
    let before = world.look_count;
    world.run(600.0);
    assert!(world.look_count - before <= 121, "{} looks in 600 s", world.look_count - before);
}

#[test]
fn a_database_that_is_not_in_the_binary_log_is_never_proven_quiet() {
    for load in LOADS {
        let mut world = World::new(load);
        world.run(100.0);
        assert!(world.evaluator.verdict().certificate.is_some());
        let unlogged = |names: &[&str]| {
            Observation::Unlogged(names.iter().map(|name| (*name).to_owned()).collect())
        };
        world.tell(unlogged(&["shop"]));
        world.run(100.0);
        let verdict = world.evaluator.verdict();
        assert_ne!(verdict.state, State::Quiet, "{load:?}");
        assert!(verdict.certificate.is_none(), "{load:?}");
        if load != Load::Busy {
            assert_eq!(verdict.state, State::Indeterminate);
            assert!(verdict.sentence.contains("shop"), "{}", verdict.sentence);
        }
        world.tell(unlogged(&[]));
        world.run(100.0);
        assert_eq!(world.state(), healthy(load));
    }
}
