//! What must hold of the table and of the hysteresis whatever the evidence.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::freshness::verdict::table::{TABLE, classify};
use crate::freshness::verdict::verdict::{Hysteresis, Progress};
use crate::freshness::verdict::{
    Condition, Conditions, Grade, Parameters, State, Status, Topology,
};

/// These say how far we are ourselves, not how well the world is; a better world moves them not.
const PHASES: [Condition; 4] = [
    Condition::SelfRunning,
    Condition::Begun,
    Condition::NoDefiniteError,
    Condition::HeartbeatsAllowed,
];

fn parameters() -> impl Strategy<Value = Parameters> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(heartbeats, replica, canaries)| {
        Parameters {
            heartbeats,
            topology: if replica { Topology::Replica } else { Topology::Primary },
            consumers: if canaries { vec!["orders".into()] } else { Vec::new() },
            ..Parameters::default()
        }
    })
}

fn statuses() -> impl Strategy<Value = Vec<Status>> {
    // Mostly well, so that the lower rows of the table are reached.
    let status = prop_oneof![
        1 => Just(Status::False),
        1 => Just(Status::Unknown),
        12 => Just(Status::True),
    ];
    proptest::collection::vec(status, Condition::ALL.len())
}

fn conditions(parameters: &Parameters, statuses: &[Status]) -> Conditions {
    let now = Instant::now();
    let mut conditions = Conditions::new(parameters, now);
    for (condition, status) in Condition::ALL.iter().zip(statuses) {
        conditions.set(now, *condition, *status, "");
    }
    let allowed = if parameters.heartbeats { Status::True } else { Status::False };
    conditions.set(now, Condition::HeartbeatsAllowed, allowed, "");
    conditions
}

fn lacking(conditions: &Conditions) -> Vec<Condition> {
    let needed = Condition::ALL.iter().filter(|condition| conditions.is_needed(**condition));
    needed.copied().filter(|condition| conditions.status(*condition) != Status::True).collect()
}

#[test]
fn every_state_has_one_row_in_the_order_of_the_states() {
    assert_eq!(TABLE.map(|row| row.state), State::ALL);
    let names: BTreeSet<_> = State::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(names.len(), State::ALL.len());
}

#[test]
fn every_state_is_reached_by_some_evidence() {
    let parameters = Parameters::default();
    let all = vec![Status::True; Condition::ALL.len()];
    let mut reached = BTreeSet::new();
    for heartbeats in [true, false] {
        let parameters = Parameters { heartbeats, ..parameters.clone() };
        for first in Condition::ALL {
            for second in Condition::ALL {
                for status in Status::ALL {
                    let mut statuses = all.clone();
                    statuses[*first as usize] = Status::False;
                    statuses[*second as usize] = status;
                    reached.insert(classify(&conditions(&parameters, &statuses)).state);
                }
            }
        }
        reached.insert(classify(&conditions(&parameters, &all)).state);
    }
    assert_eq!(reached, State::ALL.into_iter().collect());
}

/// Conditions that are all well but for these.
fn but(changed: &[(Condition, Status)]) -> Conditions {
    let mut statuses = vec![Status::True; Condition::ALL.len()];
    for (condition, status) in changed {
        statuses[*condition as usize] = *status;
    }
    conditions(&Parameters::default(), &statuses)
}

#[test]
fn missing_evidence_is_waited_for_from_when_it_went_missing_also_under_an_outage() {
    let parameters = Parameters::default();
    let patience = parameters.indeterminate_after;
    let after = |outage: Duration, missing: Duration| {
        let start = Instant::now();
        let mut hysteresis = Hysteresis::new(start);
        let mut progress = Progress::default();
        let mut advance = |after: Duration, conditions: &Conditions, moved: u64| {
            progress.acknowledged += moved;
            hysteresis.advance(start + after, conditions, progress, &parameters)
        };
        assert_eq!(advance(Duration::ZERO, &but(&[]), 0), State::Live);
        let stalled = but(&[(Condition::SinkMoves, Status::False)]);
        assert_eq!(advance(Duration::ZERO, &stalled, 0), State::SinkStalled);
        assert_eq!(advance(outage, &stalled, 0), State::SinkStalled);
        // It takes messages again, but nobody knows of the rest.
        advance(outage + missing, &but(&[(Condition::CheckpointAdvances, Status::Unknown)]), 2)
    };
    let (none, tick) = (Duration::ZERO, Duration::from_nanos(1));
    assert_eq!(
        after(patience.checked_sub(tick).expect("it is later than that"), none),
        State::SinkStalled
    );
    assert_eq!(after(patience, none), State::Indeterminate);
    assert_eq!(
        after(none, patience.checked_sub(tick).expect("it is later than that")),
        State::SinkStalled
    );
    assert_eq!(after(none, patience), State::Indeterminate);
}

#[test]
fn an_outage_ends_with_as_much_progress_as_its_state_asks_for_and_not_before() {
    let parameters = Parameters::default();
    let cases = [
        (Condition::SinkMoves, State::SinkStalled, 2),
        (Condition::StreamConnected, State::StreamDown, 2),
        (Condition::SourceMatches, State::WrongSource, 1),
        (Condition::WritesCommit, State::WritesBlocked, 2),
        (Condition::CanariesArrive, State::CanaryLost, 2),
    ];
    for (condition, state, needed) in cases {
        let now = Instant::now();
        let mut hysteresis = Hysteresis::new(now);
        let mut progress = Progress { acknowledged: 7, ..Progress::default() };
        let mut advance = |progress: Progress, status| {
            let conditions = but(&[(condition, status)]);
            let shown = hysteresis.advance(now, &conditions, progress, &parameters);
            (shown, hysteresis.is_recovering(&conditions))
        };
        assert_eq!(advance(progress, Status::True), (State::Live, false));
        // What moved while the fault held ends nothing.
        for moved in [0, 9] {
            progress.round_trips += moved;
            progress.commits += moved;
            progress.echoes += moved;
            progress.acknowledged += moved;
            assert_eq!(advance(progress, Status::False), (state, false));
        }
        for moved in 0..=needed {
            let progress = Progress {
                round_trips: progress.round_trips + moved,
                commits: progress.commits + moved,
                acknowledged: progress.acknowledged + moved,
                echoes: progress.echoes + moved,
                sink_empty: false,
            };
            // A sink that has become empty by one acknowledgement has nothing more to show.
            let emptied = Progress { sink_empty: true, ..progress };
            let is_over = moved >= needed;
            let shown = advance(if moved == 0 { emptied } else { progress }, Status::True);
            assert_eq!(
                shown,
                if is_over { (State::Live, false) } else { (state, true) },
                "{state}"
            );
            if state == State::SinkStalled && moved == 1 {
                assert_eq!(advance(emptied, Status::True), (State::Live, false));
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn some_row_matches_and_the_first_one_counts(parameters in parameters(), statuses in statuses()) {
        let conditions = conditions(&parameters, &statuses);
        let found = classify(&conditions);
        prop_assert!(found.when.holds(&conditions));
        for row in TABLE.iter().take_while(|row| row.state != found.state) {
            prop_assert!(!row.when.holds(&conditions));
        }
    }

    #[test]
    fn worse_evidence_never_gives_a_healthier_state(
        parameters in parameters(),
        statuses in statuses(),
        worsened in proptest::collection::vec((0..Condition::ALL.len(), 0_usize..3), 1..5),
    ) {
        let mut worse = statuses.clone();
        for (index, status) in worsened {
            // A user's row is no evidence of health: without one, quiet is as good as live.
            let fixed = PHASES.contains(&Condition::ALL[index])
                || Condition::ALL[index] == Condition::UserRows;
            if !fixed {
                worse[index] = worse[index].min(Status::ALL[status]);
            }
        }
        let before = classify(&conditions(&parameters, &statuses)).state.grade();
        let after = classify(&conditions(&parameters, &worse)).state.grade();
        prop_assert!(after <= before, "{before:?} became {after:?}");
    }

    #[test]
    fn unknown_evidence_makes_no_outage(parameters in parameters(), statuses in statuses()) {
        let mut hopeful = statuses.clone();
        for status in &mut hopeful {
            if *status == Status::False {
                *status = Status::Unknown;
            }
        }
        let state = classify(&conditions(&parameters, &hopeful)).state;
        prop_assert!(state.grade() > Grade::Late, "{state}");
    }

    #[test]
    fn live_and_quiet_have_all_their_evidence(parameters in parameters(), statuses in statuses()) {
        let conditions = conditions(&parameters, &statuses);
        let state = classify(&conditions).state;
        if state.grade() >= Grade::Unproven {
            prop_assert_eq!(lacking(&conditions), []);
        }
        if state == State::Quiet {
            prop_assert_eq!(conditions.status(Condition::Accounted), Status::True);
        }
        if state == State::Live && parameters.heartbeats {
            prop_assert_ne!(conditions.status(Condition::Accounted), Status::False);
        }
    }

    /// With memory: still never live or quiet without the evidence, an outage that is proven is
    /// shown at once, and one state follows another only for a reason.
    #[test]
    fn hysteresis_never_shows_health_without_evidence_nor_hides_a_proven_fault(
        parameters in parameters(),
        history in proptest::collection::vec((statuses(), 1_u64..20, 0_u64..3), 1..40),
    ) {
        let mut now = Instant::now();
        let mut hysteresis = Hysteresis::new(now);
        let mut progress = Progress::default();
        for (statuses, seconds, moved) in history {
            now += Duration::from_secs(seconds);
            progress.round_trips += moved;
            progress.commits += moved;
            progress.acknowledged += moved;
            progress.echoes += moved;
            let conditions = conditions(&parameters, &statuses);
            let raw = classify(&conditions).state;
            let before = hysteresis.state();
            let shown = hysteresis.advance(now, &conditions, progress, &parameters);
            if shown.grade() >= Grade::Unproven {
                prop_assert_eq!(lacking(&conditions), []);
                prop_assert_eq!(shown, raw);
            }
            if raw.grade() <= Grade::Late {
                prop_assert_eq!(shown, raw);
            }
            prop_assert!(shown == before || shown == raw, "{} to {}, raw {}", before, shown, raw);
        }
    }
}
