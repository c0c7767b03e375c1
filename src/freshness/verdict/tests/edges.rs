//! Single rules of the evaluator: start, missing evidence, armed clocks, loss, maintenance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::world::{Faults, LOADS, Load, OTHER, SERVER, Sns, World};
use crate::change::{Gtid, GtidSet, Position, Tag, TransactionId};
use crate::freshness::Periods;
use crate::freshness::verdict::Evaluator;
use crate::freshness::verdict::accounting::{Class as Kind, Recorder};
use crate::freshness::verdict::{Condition, Grade, Parameters, Reason, State, Status, Topology};
use crate::freshness::{
    CanaryStep, ClockSample, Facts, Observation, Phase, SinkSample, SqlFailure, StatePoll,
    StreamFailure,
};
use crate::sink::Class;

#[test]
fn a_quiet_database_is_proven_quiet_within_two_heartbeats_of_the_start() {
    let mut world = World::new(Load::Quiet);
    world.run(30.0);
    let states: Vec<_> = world.trace.iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::Starting, State::Quiet]);
    let (at, ..) = world.trace[1];
    assert!(at.saturating_duration_since(world.start) <= Duration::from_secs(12));
    let verdict = world.evaluator.verdict();
    assert!(
        verdict.sentence.contains("nothing was written between heartbeats"),
        "{}",
        verdict.sentence
    );
    assert_eq!(verdict.facts, Vec::<String>::new());
}

/// The log is sent before the engine has committed, while a semi-synchronous replica is waited for. Then a
/// heartbeat that is committed may arrive together with one that is not.
#[test]
fn a_heartbeat_that_arrives_with_the_one_before_is_not_taken_to_be_committed() {
    let start = Instant::now();
    let mut evaluator = Evaluator::new(Parameters::default(), start);
    let mut recorder = Recorder::new();
    recorder.started(Some(&GtidSet::new()), None);
    let gtid = |sequence| Gtid { source: SERVER, tag: Tag::default(), sequence };
    let place = Position::new("binlog.000001", 4);
    let mut span = |number| {
        let id = TransactionId::Gtid(gtid(number));
        recorder.transaction(id, &place, &place, Kind::Heartbeat(number)).expect("a heartbeat's")
    };
    let at = |seconds| start + Duration::from_secs(seconds);
    evaluator.observe(at(1), Observation::StreamConnected { server: Some(SERVER) });
    evaluator.observe(at(1), Observation::HeartbeatStarted { number: 1 });
    evaluator.observe(at(1), Observation::HeartbeatCommitted { number: 1 });
    evaluator.observe(at(6), Observation::HeartbeatStarted { number: 2 });
    for number in [1, 2] {
        evaluator.observe(at(7), Observation::HeartbeatArrived(Box::new(span(number))));
    }
    for seconds in [8, 10] {
        let poll = StatePoll {
            asked: Some(at(seconds)),
            server: Some(SERVER),
            executed: Some([gtid(1)].into_iter().collect()),
            ..StatePoll::default()
        };
        evaluator.observe(at(seconds), Observation::StatePoll(Box::new(poll)));
    }
    evaluator.evaluate(at(10));
    assert_ne!(evaluator.verdict().state, State::PositionLost);
}

#[test]
fn a_definite_error_ends_the_start_and_silence_alone_waits_a_minute() {
    let mut world = World::new(Load::Quiet);
    world.faults = Faults {
        old_sql: Some(SqlFailure::Login),
        new_sql: Some(SqlFailure::Login),
        dial: Some(StreamFailure::Sql(SqlFailure::Login)),
        ..Faults::default()
    };
    world.run(15.0);
    assert_eq!(world.state(), State::SourceUnreachable);

    let mut world = World::new(Load::Quiet);
    world.faults = Faults {
        old_sql: Some(SqlFailure::TimedOut),
        new_sql: Some(SqlFailure::TimedOut),
        dial: Some(StreamFailure::Sql(SqlFailure::TimedOut)),
        ..Faults::default()
    };
    world.run(58.0);
    assert_eq!(world.state(), State::Starting);
    world.run(5.0);
    assert_eq!(world.state(), State::SourceHung);
}

#[test]
fn a_stream_that_only_an_operator_ends_the_trouble_of_is_told_before_the_start_is_over() {
    let after = |dial| {
        let mut world = World::new(Load::Quiet);
        world.faults.dial = Some(dial);
        world.run(15.0);
        world.state()
    };
    assert_eq!(after(StreamFailure::DuplicateReplica), State::StreamDown);
    assert_eq!(after(StreamFailure::Sql(SqlFailure::Denied)), State::StreamDown);
    assert_eq!(after(StreamFailure::Sql(SqlFailure::TimedOut)), State::Starting);
}

#[test]
fn a_start_that_lacks_evidence_is_a_start_and_recovers_from_nothing() {
    let mut world = World::new(Load::Quiet);
    let first = world.evaluator.verdict().next_step.clone();
    world.faults.checkpoint_fails = true;
    for _ in 0..10 {
        world.run(1.0);
        let verdict = world.evaluator.verdict();
        assert_eq!((verdict.state, verdict.is_recovering), (State::Starting, false));
        assert_eq!(verdict.next_step, first);
    }
    world.run(20.0);
    assert_eq!(world.state(), State::Indeterminate);
}

#[test]
fn a_source_that_lacks_what_it_sent_is_told_by_its_own_word_alone() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults.source_lacks = true;
    world.run(11.0);
    assert_eq!(world.state(), State::PositionLost);
    let reason = world.evaluator.verdict().reason.as_ref().map(Reason::name);
    assert_eq!(reason.as_deref(), Some("diverged"));
}

#[test]
fn a_source_that_lacks_only_the_newest_that_it_sent_is_told_too() {
    for (lacking, state) in [(0, State::Quiet), (5, State::PositionLost)] {
        let mut world = World::new(Load::Quiet);
        world.run(100.0);
        for _ in 0..2 {
            let text = format!("{SERVER}:1-{}", world.executed.count() - lacking);
            let executed = Some(text.parse().expect("a set"));
            let server = Some(SERVER);
            world.tell(Observation::StatePoll(Box::new(StatePoll {
                server,
                executed,
                ..StatePoll::default()
            })));
        }
        world.run(1.0);
        assert_eq!(world.state(), state, "{lacking}");
    }
}

#[test]
fn what_the_writers_new_server_lacks_is_not_held_against_the_streams() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults = Faults { writer_server: OTHER, source_lacks: true, ..Faults::default() };
    // The first answers after the failover may be compared before the servers are known to differ.
    world.run(40.0);
    assert_eq!(world.state(), State::WrongSource, "{}", world.evaluator.verdict().sentence);
}

#[test]
fn a_clock_that_differs_for_certain_is_told_and_one_that_may_differ_is_not() {
    let told = |source_us| {
        let mut world = World::new(Load::Quiet);
        world.run(100.0);
        let clock = ClockSample { sent_us: 0, source_us, received_us: 1_000_000 };
        world.tell(Observation::Facts(Facts { clock, ..Facts::default() }));
        world.run(1.0);
        assert_eq!(world.state(), State::Quiet);
        let conditions = &world.evaluator.verdict().conditions;
        let found = conditions.iter().find(|(name, _)| *name == Condition::ClockAgrees);
        let offset = world.evaluator.clock_offset(world.now);
        (found.map(|(_, known)| known.status), offset.map(|offset| offset.offset_us))
    };
    let (same, differs) = (Some(Status::True), Some(Status::False));
    // Half a second of the question's way may be the difference.
    assert_eq!(told(500_000), (same, Some(0)));
    assert_eq!(told(6_000_000), (same, Some(5_500_000)));
    assert_eq!(told(6_001_000), (differs, Some(5_501_000)));
    assert_eq!(told(-5_001_000), (differs, Some(-5_501_000)));
}

#[test]
fn how_often_we_were_frozen_is_counted() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    assert_eq!(world.evaluator.self_pauses(), 0);
    world.freeze(60);
    world.run(30.0);
    // Our own ticks stood still, and those of the tasks.
    assert_eq!(world.evaluator.self_pauses(), 2);
}

#[test]
fn a_users_row_makes_a_database_live_for_a_minute() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    let row = |seconds: u64| {
        let now = world.now;
        let sample = SinkSample {
            oldest_unacknowledged: None,
            acknowledged: 100,
            last_acknowledged: Some(now),
            failure: None,
            failures_in_a_row: 0,
            last_user_row: now.checked_sub(Duration::from_secs(seconds)),
            is_withheld: false,
        };
        world.evaluator.observe(now, Observation::Sink(sample));
        world.evaluator.evaluate(now).state
    };
    assert_eq!([0, 60, 61].map(row), [State::Live, State::Live, State::Quiet]);
}

#[test]
fn a_canary_that_can_not_be_written_is_in_the_facts_until_one_is() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    let (path, reason) = (None, SqlFailure::Denied);
    world.tell(Observation::CanaryFailed { path, reason, message: "no privilege".to_owned() });
    let told = |world: &World| {
        let conditions = &world.evaluator.verdict().conditions;
        conditions.iter().any(|(_, known)| known.because.contains("no canary can be written"))
    };
    world.run(1.0);
    assert!(told(&world));
    let step = CanaryStep { path: Some("orders".into()), number: 1, phase: Phase::Insert };
    world.tell(Observation::CanaryCommitted { step: step.clone() });
    world.run(1.0);
    assert!(told(&world), "one through an operator's table says nothing of ours");
    world.tell(Observation::CanaryCommitted { step: CanaryStep { path: None, ..step } });
    world.run(1.0);
    assert!(!told(&world));
}

#[test]
fn a_dead_sink_on_a_busy_database_is_never_called_a_silent_stream() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults.sns = Sns::Fails(Class::ServerError);
    // Back-pressure: the reader no longer waits for bytes, and none are taken.
    world.faults.silent = true;
    world.run(3.0);
    world.run(120.0);
    let trace = world.since_fault();
    assert!(trace.iter().any(|(_, state, _)| *state == State::SinkStalled), "{trace:?}");
    let blamed = [State::SourceHung, State::StreamSilent];
    assert!(trace.iter().all(|(_, state, _)| !blamed.contains(state)), "{trace:?}");
}

#[test]
fn a_transaction_lost_between_socket_and_parser_is_found_in_two_heartbeats() {
    for load in [Load::Busy, Load::FilteredOnly] {
        let mut world = World::new(load);
        world.run(101.0);
        world.drop_transactions = 1;
        world.run(11.0);
        assert_eq!(world.evaluator.unaccounted_total(), 1, "{load:?}");
        world.run(60.0);
        assert_eq!(world.evaluator.unaccounted_total(), 1, "each counts once");
    }
}

#[test]
fn when_all_tasks_fall_silent_the_verdict_is_not_kept() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    let mut seen = Vec::new();
    for _ in 0..120 {
        world.now += Duration::from_secs(1);
        let clocks = crate::freshness::Clocks {
            boot: world.now.saturating_duration_since(world.start),
            real: Duration::from_secs(1_000_000) + world.now.saturating_duration_since(world.start),
        };
        world.tell(Observation::Tick(clocks));
        let now = world.now;
        seen.push(world.evaluator.evaluate(now).state);
    }
    // The tasks' runtime does not move, which is our own fault and nobody else's.
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
    let until = Some(world.now + Duration::from_mins(2));
    world.tell(Observation::Maintenance { consumer: Arc::from("search"), until });
    world.faults.lost = vec!["search"];
    world.run(119.0);
    assert_eq!(world.state(), State::Quiet);
    world.run(60.0);
    assert_eq!(world.state(), State::CanaryLost);
}

#[test]
fn a_lost_position_stays_lost_until_the_process_is_started_anew() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults.dial = Some(StreamFailure::Purged);
    world.cut_stream();
    world.run(20.0);
    world.faults = Faults::default();
    world.run(60.0);
    assert_eq!(world.state(), State::PositionLost);
}

#[test]
fn a_purge_of_what_the_stream_has_brought_is_no_loss_and_of_what_it_never_brings_one() {
    for (never_brought, state) in [(0, State::Live), (1, State::PositionLost)] {
        let mut world = World::new(Load::Busy);
        world.run(103.0);
        world.drop_transactions = never_brought;
        for _ in 0..32 {
            world.run(0.5);
            // FLUSH and PURGE to the newest log: the set has more than the last heartbeat brought.
            let (server, purged) = (Some(SERVER), Some(world.executed.clone()));
            world.tell(Observation::StatePoll(Box::new(StatePoll {
                server,
                purged,
                ..StatePoll::default()
            })));
        }
        world.run(30.0);
        assert_eq!(world.state(), state, "{}", world.evaluator.verdict().sentence);
    }
}

#[test]
fn what_another_server_says_of_its_history_is_not_held_against_the_source() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    for _ in 0..5 {
        let (server, executed) = (Some(OTHER), Some(crate::change::GtidSet::new()));
        world.tell(Observation::StatePoll(Box::new(StatePoll {
            server,
            executed,
            ..StatePoll::default()
        })));
        world.run(1.0);
    }
    assert_eq!(world.state(), State::Live, "{}", world.evaluator.verdict().sentence);
}

#[test]
fn exactly_one_state_holds_and_transitions_are_counted() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    assert_eq!(world.evaluator.states().filter(|(_, holds)| *holds).count(), 1);
    let transitions: Vec<_> = world.evaluator.transitions().collect();
    assert_eq!(transitions, [(State::Starting, State::Live, 1)]);
    assert_eq!(world.evaluator.obligation_ages(world.now).count(), 7);
}

#[test]
fn a_verdict_names_its_evidence_hop_and_next_step() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults = Faults {
        writes: Some((SqlFailure::Lock, SqlFailure::Lock, false)),
        writer_state: Some("Waiting for global read lock"),
        ..Faults::default()
    };
    world.run(15.0);
    let verdict = world.evaluator.verdict();
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
    let base = Parameters::of(Periods::default());
    assert_eq!(base, Parameters::default());
    let refused = |parameters: Parameters| parameters.checked().expect_err("refused").to_string();
    let error = refused(Parameters {
        periods: Periods { protocol_heartbeat: seconds(5), ..base.periods },
        ..base.clone()
    });
    assert!(error.starts_with("protocol_heartbeat = 5s and heartbeat_interval = 5s"), "{error}");
    let error = refused(Parameters { receive_deadline: seconds(1), ..base.clone() });
    assert!(error.starts_with("receive_deadline = 1s and protocol_heartbeat = 1s"), "{error}");
    let error = refused(Parameters { tick: seconds(3), ..base.clone() });
    assert!(error.starts_with("tick = 3s and receive_deadline = 4s"), "{error}");
    assert_eq!(base.clone().checked(), Ok(base));
}

#[test]
fn one_refused_write_is_no_blocked_source_however_late_the_next_attempt() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults.writes = Some((SqlFailure::Lock, SqlFailure::Lock, false));
    // The writer tries again with the next interval only.
    world.retry_after = Duration::from_secs(5);
    while world.writes_failed == 0 {
        world.run(0.25);
    }
    world.faults.writes = None;
    world.run(60.0);
    assert_eq!(world.since_fault(), []);
}

#[test]
fn a_dump_killed_each_second_is_down_and_not_silent() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.fault_at = Some(world.now);
    for _ in 0..20 {
        world.kill_stream = true;
        world.run(1.0);
    }
    let trace = world.since_fault();
    assert_eq!(trace.first().map(|(_, state, _)| *state), Some(State::StreamDown), "{trace:?}");
    assert!(trace.first().is_some_and(|(at, ..)| *at <= 10.0), "{trace:?}");
    world.run(40.0);
    assert_eq!(world.state(), State::Quiet);
}

#[test]
fn a_restarted_source_that_came_back_read_only_is_named_so_at_once() {
    let mut world = World::new(Load::Quiet);
    world.run(100.0);
    world.faults = Faults {
        old_sql: Some(SqlFailure::BROKEN),
        new_sql: Some(SqlFailure::REFUSED),
        dial: Some(StreamFailure::Sql(SqlFailure::REFUSED)),
        ..Faults::default()
    };
    world.cut_stream();
    world.run(30.0);
    assert_eq!(world.state(), State::SourceUnreachable);
    // No round trip will ever end the outage that was; the new one must show all the same.
    let refused = (SqlFailure::ReadOnly, SqlFailure::ReadOnly, false);
    world.faults = Faults { read_only: true, writes: Some(refused), ..Faults::default() };
    world.run(10.0);
    assert_eq!(world.state(), State::SourceReadOnly);
}

#[test]
fn a_source_that_hangs_is_told_in_time_whenever_the_last_look_was() {
    let mut late = Vec::new();
    for load in LOADS {
        // A routine look comes each 15 s; one that was under way loses both of its connections.
        for quarter in 0..80 {
            let mut world = World::new(load);
            world.run(100.0 + 0.25 * f64::from(quarter));
            world.fault_at = Some(world.now);
            world.faults = Faults {
                old_sql: Some(SqlFailure::TimedOut),
                new_sql: Some(SqlFailure::TimedOut),
                silent: true,
                dial: Some(StreamFailure::Sql(SqlFailure::TimedOut)),
                ..Faults::default()
            };
            world.run(20.0);
            let trace = world.since_fault();
            let hung = trace.first().filter(|(_, state, _)| *state == State::SourceHung);
            if hung.is_none_or(|(at, ..)| *at > 7.0) {
                late.push(format!("{load:?} +{quarter}/4 s: {trace:?}"));
            }
        }
    }
    assert!(late.is_empty(), "{}", late.join("\n"));
}

#[test]
fn a_source_that_was_put_back_is_told_although_its_numbers_were_used_again() {
    let after = |back: u64, server| {
        let mut world = World::new(Load::Quiet);
        world.run(100.0);
        // Its GTID set is as large as ours again: other transactions have the lost ones' numbers.
        let number = world.heartbeat.saturating_sub(back);
        world.tell(Observation::HeartbeatStored { number, server });
        world.run(30.0);
        (world.state(), world.evaluator.verdict().sentence.clone())
    };
    let (state, sentence) = after(3, Some(SERVER));
    assert_eq!(state, State::PositionLost);
    assert!(
        sentence.contains("was restored to an older state: its last heartbeat is"),
        "{sentence}"
    );
    // As it was; the table was cleared; a proxy asked another server; one that has no name.
    for (back, server) in [(0, Some(SERVER)), (u64::MAX, Some(SERVER)), (3, Some(OTHER)), (3, None)]
    {
        assert_eq!(after(back, server).0, State::Quiet, "{back}, {server:?}");
    }
}

#[test]
fn a_stream_that_flows_excuses_whoever_still_answers_newcomers() {
    let shut_out = [
        (Topology::Primary, SqlFailure::TooManyConnections),
        (Topology::Primary, SqlFailure::Login),
        (Topology::Primary, SqlFailure::NO_ADDRESS),
        // The stream comes from a replica, which is well.
        (Topology::Replica, SqlFailure::REFUSED),
    ];
    for (topology, failure) in shut_out {
        let parameters = Parameters { topology, ..World::new(Load::Quiet).parameters };
        let mut world = World::with(Load::Quiet, parameters);
        world.run(100.0);
        assert_eq!(world.state(), State::Quiet);
        world.fault_at = Some(world.now);
        world.faults.old_sql = Some(SqlFailure::BROKEN);
        world.faults.new_sql = Some(failure);
        world.run(60.0);
        let states: Vec<_> = world.since_fault().iter().map(|(_, state, _)| *state).collect();
        assert_eq!(states, [State::Indeterminate], "{topology:?}, {failure:?}");
    }
}

#[test]
fn a_server_that_took_over_without_our_last_rows_is_told_once_it_refuses_us() {
    for quarter in 0..60 {
        let mut world = World::new(Load::Quiet);
        world.run(100.0);
        world.faults = Faults {
            old_sql: Some(SqlFailure::BROKEN),
            new_sql: Some(SqlFailure::REFUSED),
            dial: Some(StreamFailure::Sql(SqlFailure::REFUSED)),
            ..Faults::default()
        };
        world.cut_stream();
        // The way there comes back at any time between two looks at what is down.
        world.run(2.0 + 0.25 * f64::from(quarter));
        world.fault_at = Some(world.now);
        world.faults = Faults { dial: Some(StreamFailure::Diverged), ..Faults::default() };
        world.run(20.0);
        let trace = world.since_fault();
        let lost = trace.iter().find(|(_, state, _)| *state == State::PositionLost);
        // A dial, and two evaluations.
        assert!(lost.is_some_and(|(at, ..)| *at <= 3.25), "+{quarter}/4 s: {trace:?}");
    }
}

#[test]
fn a_failing_own_account_makes_no_outage_and_no_health() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.fault_at = Some(world.now);
    world.faults.writes = Some((SqlFailure::Denied, SqlFailure::Denied, false));
    world.run(90.0);
    let states: Vec<_> = world.since_fault().iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::Indeterminate]);
    let facts = &world.evaluator.verdict().facts;
    assert!(
        facts
            .iter()
            .any(|fact| fact.contains("heartbeats can't be written: a privilege is missing")),
        "{facts:?}"
    );
}

#[test]
fn arrivals_of_abandoned_writes_out_of_order_make_no_round_trip_twice() {
    let mut world = World::new(Load::Quiet);
    world.faults.writes = Some((SqlFailure::TimedOut, SqlFailure::Lock, true));
    world.run(50.0);
    // Seen on the stream, never answered: uncertain, so no round trip and no end of the start.
    assert_eq!(world.state(), State::WritesBlocked);
    world.faults = Faults::default();
    world.run(60.0);
    assert_eq!(world.state(), State::Quiet);
}

#[test]
fn a_heartbeat_that_is_merely_behind_is_not_lost() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.fault_at = Some(world.now);
    // What is delivered now was committed before the fault, and so before the heartbeats.
    world.faults = Faults { hidden: true, lag: Some(|s| s), ..Faults::default() };
    world.run(25.0);
    let lost = |(_, state, _): &(f64, State, Option<String>)| *state == State::HeartbeatLost;
    assert!(!world.since_fault().iter().any(lost), "{:?}", world.since_fault());
}

#[test]
fn a_checkpoint_that_is_not_saved_says_why() {
    let mut world = World::new(Load::Busy);
    world.run(100.0);
    world.faults.checkpoint_fails = true;
    world.run(140.0);
    assert_eq!(world.state(), State::CheckpointStuck);
    let sentence = &world.evaluator.verdict().sentence;
    assert!(sentence.contains("without a checkpoint: No space left on device"), "{sentence}");
}
