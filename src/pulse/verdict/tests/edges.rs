//! Single rules of the judge: start, missing evidence, armed clocks, loss, maintenance.

use std::sync::Arc;
use std::time::Duration;

use super::world::{Faults, Load, Sns, World};
use crate::pulse::verdict::{
    Condition, Grade, Observation, ParameterError, Parameters, ProbeFailure, SinkFailure, State,
    Status, StreamFailure,
};

#[test]
fn a_quiet_database_is_proven_quiet_within_two_heartbeats_of_the_start() {
    let mut world = World::new(Load::Quiet);
    world.run(30.0);
    let states: Vec<_> = world.trace.iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::Starting, State::Quiet]);
    let (at, ..) = world.trace[1];
    assert!(at.saturating_duration_since(world.start) <= Duration::from_secs(12));
    let verdict = world.judge.verdict();
    assert!(
        verdict.sentence.contains("nothing was written between heartbeats"),
        "{}",
        verdict.sentence
    );
    assert_eq!(verdict.facts, Vec::<String>::new());
}

#[test]
fn a_definite_error_ends_the_start_and_silence_alone_waits_a_minute() {
    let mut world = World::new(Load::Quiet);
    world.faults = Faults {
        old_sql: Some(ProbeFailure::Auth),
        new_sql: Some(ProbeFailure::Auth),
        dial: Some(StreamFailure::Auth),
        ..Faults::default()
    };
    world.run(15.0);
    assert_eq!(world.state(), State::SourceUnreachable);

    let mut world = World::new(Load::Quiet);
    world.faults = Faults {
        old_sql: Some(ProbeFailure::Timeout),
        new_sql: Some(ProbeFailure::Timeout),
        dial: Some(StreamFailure::Timeout),
        ..Faults::default()
    };
    world.run(58.0);
    assert_eq!(world.state(), State::Starting);
    world.run(5.0);
    assert_eq!(world.state(), State::SourceHung);
}

#[test]
fn a_dead_sink_on_a_busy_database_is_never_called_a_silent_stream() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults.sns = Sns::Fails(SinkFailure::ServerError);
    // Back-pressure: the reader no longer waits for bytes, and none are taken.
    world.faults.silent = true;
    world.run(3.0);
    world.run(120.0);
    let trace = world.since_fault();
    assert!(trace.iter().any(|(_, state, _)| *state == State::SinkStalled), "{trace:?}");
    assert!(trace.iter().all(|(_, state, _)| *state != State::SourceHung), "{trace:?}");
}

#[test]
fn a_transaction_lost_between_socket_and_parser_is_found_in_two_heartbeats() {
    for load in [Load::Busy, Load::FilteredOnly] {
        let mut world = World::new(load);
        world.run(101.0);
        world.drop_transactions = 1;
        world.run(11.0);
        assert_eq!(world.judge.unaccounted_total(), 1, "{load:?}");
        world.run(60.0);
        assert_eq!(world.judge.unaccounted_total(), 1, "each counts once");
    }
}

#[test]
fn when_all_tasks_fall_silent_the_verdict_is_not_kept() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    let mut seen = Vec::new();
    for _ in 0..120 {
        world.now += Duration::from_secs(1);
        let clocks = crate::pulse::verdict::Clocks {
            boot: world.now.saturating_duration_since(world.start),
            real: Duration::from_secs(1_000_000) + world.now.saturating_duration_since(world.start),
        };
        world.tell(Observation::Tick(clocks));
        let now = world.now;
        seen.push(world.judge.judge(now).state);
    }
    // The tasks' runtime stands still, which is our own fault and nobody else's.
    assert_eq!(seen.last(), Some(&State::SelfStalled));
    assert!(
        seen.iter().all(|state| state.grade() > Grade::Late || *state == State::Quiet),
        "{seen:?}"
    );
    assert!(!seen[15..].iter().any(|state| state.is_healthy()));
}

#[test]
fn a_consumer_in_maintenance_is_not_missed_until_it_expires() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    let until = Some(world.now + Duration::from_secs(120));
    world.tell(Observation::Maintenance { consumer: Arc::from("search"), until });
    world.faults.lost = vec!["search"];
    world.run(119.0);
    assert_eq!(world.state(), State::Quiet);
    world.run(60.0);
    assert_eq!(world.state(), State::CanaryLost);
}

#[test]
fn a_lost_position_stays_lost_until_an_operator_resets_it() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults.dial = Some(StreamFailure::Purged);
    world.cut_stream();
    world.run(20.0);
    world.faults = Faults::default();
    world.run(60.0);
    assert_eq!(world.state(), State::PositionLost);
    world.tell(Observation::PositionReset);
    world.run(60.0);
    assert_eq!(world.state(), State::Quiet);
}

#[test]
fn exactly_one_state_holds_and_transitions_are_counted() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    assert_eq!(world.judge.states().filter(|(_, holds)| *holds).count(), 1);
    let transitions: Vec<_> = world.judge.transitions().collect();
    assert_eq!(transitions, [(State::Starting, State::Live, 1)]);
    assert_eq!(world.judge.obligation_ages(world.now).count(), 7);
}

#[test]
fn a_verdict_names_its_evidence_hop_and_next_step() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults = Faults {
        writes: Some((
            crate::pulse::verdict::WriteFailure::LockWait,
            crate::pulse::verdict::WriteFailure::LockWait,
            false,
        )),
        writer_state: Some("Waiting for global read lock"),
        ..Faults::default()
    };
    world.run(15.0);
    let verdict = world.judge.verdict();
    assert!(verdict.sentence.starts_with("Writes to the database are blocked, by a global read lock: no heartbeat has committed since one was sent"), "{}", verdict.sentence);
    assert!(verdict.next_step.contains("FLUSH TABLES WITH READ LOCK"));
    assert!(
        verdict.facts.iter().any(|fact| fact.starts_with("writes_commit is false")),
        "{:?}",
        verdict.facts
    );
    assert!(verdict.certificate.is_some());
    assert_eq!(verdict.conditions.len(), Condition::ALL.len());
    assert!(verdict.conditions.iter().any(|(_, known)| known.status == Status::False));
}

#[test]
fn parameters_that_contradict_one_another_are_refused_by_name_and_value() {
    let seconds = Duration::from_secs;
    let base = Parameters::default();
    let refused = |parameters: Parameters| -> ParameterError {
        parameters.checked().expect_err("contradiction")
    };
    let error = refused(Parameters { protocol_heartbeat: seconds(5), ..base.clone() });
    assert!(error.to_string().starts_with(
        "`source.heartbeat_period` is 5s and `heartbeat.interval` is 5s: the period must be at most"
    ));
    let error = refused(Parameters { write_deadline: seconds(5), ..base.clone() });
    assert_eq!((error.first, error.second), ("heartbeat.write_deadline", "heartbeat.interval"));
    let error = refused(Parameters { canary_deadline: seconds(14), ..base.clone() });
    assert_eq!(error.first, "canary.deadline");
    let error = refused(Parameters { canary_interval: seconds(31), ..base.clone() });
    assert_eq!((error.first, error.second), ("canary.interval", "canary.deadline"));
    assert_eq!(base.clone().checked(), Ok(base));
}
