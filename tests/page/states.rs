//! A status for each verdict, in the words of the real table: conditions are set so that the state
//! follows from them.

use std::sync::Arc;
use std::time::Instant;

use binpulse::change::{Position, TransactionId};
use binpulse::freshness::verdict::Condition as C;
use binpulse::freshness::verdict::Status::{False, True, Unknown};
use binpulse::freshness::verdict::{Conditions, Parameters, Reason, State, Status as Value};
use binpulse::freshness::verdict::{certificate, table, words};
use binpulse::telemetry::status::{
    Canary, Certificate, Checkpoint, Condition, Consumer, Halted, Lease, Probe, Progress,
    ReloadStatus, Sink, Source, Status, Verdict,
};
use binpulse::telemetry::words::{CanaryState, Role, StreamState};
use binpulse::telemetry::{Conclusion, NextSteps, Surroundings};

type Found = (C, Value, &'static str);

/// What must be found for a state, and its reason.
#[rustfmt::skip]
fn found(state: State) -> (Option<Reason>, &'static [Found]) {
    match state {
        State::SelfStalled => (None, &[(C::SelfRunning, False, "binpulse was suspended for 61 s, until 2.0 s ago")]),
        State::PositionLost => (Some(Reason::Purged), &[(C::PositionHeld, False, "server error 1236: the first GTID that we lack was purged")]),
        State::Starting => (None, &[(C::Begun, False, "no round trip since the start 4.0 s ago")]),
        State::SourceUnreachable => (Some(Reason::Refused), &[
            (C::SqlAdmits, False, "a fresh connection was refused 0.8 s ago, as was the one before"),
            (C::SqlAnswers, Unknown, "no connection to ask on"),
            (C::StreamConnected, False, "dialling was refused twice in 2.1 s")]),
        State::SourceHung => (Some(Reason::Timeout), &[
            (C::SqlAnswers, False, "neither the standing nor a fresh connection answered within 2 s"),
            (C::StreamBytes, False, "no byte for 6.1 s while waiting")]),
        State::WrongSource => (None, &[(C::SourceMatches, False, "heartbeats go to 8f0c2b4e, the stream comes from 3e11fa47, for 17 s")]),
        State::StreamDown => (Some(Reason::DuplicateReplica), &[(C::StreamConnected, False, "ended twice in 3.4 s: a replica with the same UUID connected")]),
        State::StreamSilent => (None, &[(C::StreamBytes, False, "no byte for 4.2 s while waiting, due after 4 s")]),
        State::SourceReadOnly => (None, &[(C::SourceWritable, False, "a heartbeat was refused with error 1290 (--read-only) 2.6 s ago")]),
        State::WritesBlocked => (Some(Reason::DiskFull), &[(C::WritesCommit, False, "heartbeat 812 has been waiting for its commit for 11 s")]),
        State::UpstreamReplicationBroken => (None, &[(C::UpstreamRuns, False, "its SQL thread does not run")]),
        State::SinkStalled => (Some(Reason::Denied), &[(C::SinkMoves, False, "3 attempts in a row ended with AuthorizationError; the oldest message waits for 24 s")]),
        State::HeartbeatLost => (None, &[(C::HeartbeatSeen, False, "heartbeat 812 was committed 9.2 s ago and the stream is past it")]),
        State::CatchingUp => (None, &[(C::LagSmall, False, "48 s behind"), (C::LagShrinks, True, "by 3.1 s each second")]),
        State::Lagging => (None, &[(C::LagSmall, False, "96 s behind"), (C::LagShrinks, False, "the lag does not shrink")]),
        State::CanaryLost => (Some(Reason::Consumers(vec![Arc::from("search")])), &[(C::CanariesArrive, False, "search has not echoed canaries 79 and 80 within 15 s")]),
        State::CheckpointStuck => (None, &[(C::CheckpointAdvances, False, "last saved 134 s ago, while messages were acknowledged")]),
        State::Indeterminate => (None, &[(C::HeartbeatSeen, Unknown, "no heartbeat was committed for 14 s, and why is not known yet")]),
        State::SuppressedByOperator => {
            (None, &[(C::NotSuppressed, False, "an operator holds them back: ada: a stop")])
        }
        State::PausedByOperator => {
            (None, &[(C::NotPaused, False, "an operator lets them wait: ada: a move")])
        }
        State::QuietUnproven => (None, &[(C::HeartbeatsAllowed, False, "by configuration")]),
        State::Live => (None, &[(C::UserRows, True, "the last was published 0.4 s ago")]),
        State::Quiet => (Some(Reason::Empty), &[]),
    }
}

/// Conditions as they are on a quiet day.
fn conditions(state: State, parameters: &Parameters, now: Instant) -> Conditions {
    let mut conditions = Conditions::new(parameters, now);
    for condition in C::ALL {
        conditions.set(now, *condition, True, "seen within the last second");
    }
    conditions.set(now, C::UserRows, False, "none for 60 s");
    conditions.set(now, C::UpstreamRuns, Unknown, "the source is a primary");
    conditions.set(now, C::LagShrinks, Unknown, "there is none");
    for (condition, status, because) in found(state).1 {
        conditions.set(now, *condition, *status, *because);
    }
    conditions
}

fn verdict(state: State) -> Verdict {
    let now = Instant::now();
    let parameters = Parameters {
        consumers: vec!["orders".into(), "search".into()],
        heartbeats: state != State::QuietUnproven,
        ..Parameters::default()
    };
    let conditions = conditions(state, &parameters, now);
    assert_eq!(table::classify(&conditions).state, state, "the table agrees");
    let reason = found(state).0;
    let shown = conditions.iter().map(|(condition, known)| Condition {
        name: condition.name().to_owned(),
        status: known.status,
        since_seconds: if known.status == True { 9_512.0 } else { 12.5 },
        because: known.because.clone(),
        needed: conditions.is_needed(condition),
        speaks_for: condition.speaks_for(),
    });
    Verdict {
        state: state.name().to_owned(),
        grade: state.grade().told(),
        reason: reason.as_ref().map(Reason::name),
        since_seconds: if state.is_healthy() { 9_512.0 } else { 12.5 },
        evaluated_age_seconds: 0.3,
        headline: words::headline(state, reason.as_ref(), false).into_owned(),
        sentence: words::sentence(state, reason.as_ref(), false, &conditions, Some(&proof(now))),
        facts: words::missing(&conditions),
        hop: words::hop(state, false, false),
        next_step: words::next_step(state, reason.as_ref(), false).into_owned(),
        runbook: words::alert(state, reason.as_ref()).map(|alert| format!("/runbooks/{alert}")),
        runbook_url: None,
        certificate: (state != State::Starting).then(certificate),
        unaccounted_transactions: 0,
        conditions: shown.collect(),
        kind: state.kind(),
        aids: words::aids(state),
    }
}

/// The same, as the judge keeps it.
fn proof(now: Instant) -> certificate::Certificate {
    let mark = |number| certificate::Mark {
        number,
        id: TransactionId::Anonymous,
        end: Position::new("binlog.000042", number),
    };
    certificate::Certificate {
        from: mark(810),
        to: mark(811),
        counts: certificate::Counts { heartbeat: 1, canary: 3, ..certificate::Counts::default() },
        unaccounted: certificate::Unaccounted::default(),
        evaluated_at: now,
        executed: [None, None],
    }
}

fn certificate() -> Certificate {
    let gtid = |number| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{number}");
    Certificate {
        from_heartbeat: 810,
        to_heartbeat: 811,
        from: gtid(48_119),
        to: gtid(48_123),
        user: 0,
        filtered: 0,
        heartbeat: 1,
        canary: 3,
        unaccounted: "none".to_owned(),
        complete: true,
    }
}

/// The document that `/status` shows in that state.
pub(crate) fn status(state: State) -> Status {
    let mut status = Status {
        stream: "orders-eu".to_owned(),
        url: "https://binpulse.example.org".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: StreamState::Running,
        state_age_seconds: 9_520.0,
        uptime_seconds: 9_524.0,
        halted: None,
        lease: Lease {
            role: Role::Active,
            host: "db-1".to_owned(),
            age_seconds: Some(0.4),
            ..Lease::default()
        },
        snapshot: None,
        replay: None,
        controls: Vec::new(),
        verdict: verdict(state),
        findings: Vec::new(),
        source: Source {
            host: "db-1.internal:3306".to_owned(),
            server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned(),
            server_id: 101,
            version: "8.4.3".to_owned(),
            flavor: "mysql".to_owned(),
            connected: true,
        },
        progress: Progress {
            read: "binlog.000042:73115021".to_owned(),
            delivered: "binlog.000042:73115021".to_owned(),
            gtid_set: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-48123".to_owned(),
            lag_seconds: Some(0.0),
            newest_commit_age_seconds: Some(1.2),
            purge_margin_seconds: Some(251_900.0),
            log_expiry_seconds: Some(259_200.0),
            lanes: 12,
            changes_read: 1_204_120,
            changes_published: 1_204_118,
            messages_published: 31_007,
        },
        heartbeat: probe(811, 2.1, 0.004),
        canary: probe(81, 4.0, 0.006),
        paths: Vec::new(),
        consumers: vec![consumer("orders"), consumer("search")],
        sink: Sink {
            kind: "sns".to_owned(),
            up: true,
            last_accept_age_seconds: Some(0.9),
            oldest_pending_age_seconds: None,
            queue_bytes: 0,
            queue_capacity_bytes: 64 << 20,
            last_error: None,
            quarantined: 0,
        },
        checkpoint: Checkpoint {
            place: "/var/lib/binpulse/orders-eu.checkpoint".to_owned(),
            age_seconds: Some(1.1),
            failures: 0,
            epoch: 1,
        },
        reload: ReloadStatus { generation: 1, ..ReloadStatus::default() },
        config: serde_json::json!({
            "stream.name": "orders-eu",
            "heartbeat.interval": "5s",
            "sns.topic": "arn:aws:sns:eu-central-1:123456789012:orders",
            "canary.echo": "orders=https://sqs.eu-central-1.amazonaws.com/123456789012/orders-echo,\
                            search=https://sqs.eu-central-1.amazonaws.com/123456789012/search-echo",
        }),
        conclusion: Conclusion::default(),
        next: NextSteps::default(),
        surroundings: Surroundings {
            asking: "--config /etc/binpulse/orders.toml".to_owned(),
            all: "--config /etc/binpulse/orders.toml".to_owned(),
            ..Surroundings::default()
        },
    };
    dress(&mut status, state);
    status.concluded()
}

/// Figures that go with the state.
fn dress(status: &mut Status, state: State) {
    match state {
        State::SourceUnreachable | State::SourceHung | State::StreamDown => {
            status.state = StreamState::Reconnecting;
            status.source.connected = false;
            status.heartbeat = probe(809, 14.2, 0.004);
            if state != State::StreamDown {
                status.heartbeat.last_result = "connection: connection refused".to_owned();
            }
        }
        State::SourceReadOnly | State::WritesBlocked => {
            status.heartbeat = probe(809, 14.2, 0.004);
            let (blocked, read_only) = ("timed_out: no answer within 2 s", "read_only: error 1290");
            let words = if state == State::SourceReadOnly { read_only } else { blocked };
            status.heartbeat.last_result = words.to_owned();
        }
        State::SinkStalled => {
            status.sink.up = false;
            status.sink.last_accept_age_seconds = Some(24.3);
            status.sink.oldest_pending_age_seconds = Some(23.9);
            status.sink.queue_bytes = 9 << 20;
            status.sink.last_error = Some("denied".to_owned());
        }
        State::CanaryLost => {
            let search = &mut status.consumers[1];
            (search.last, search.last_age_seconds, search.lost) = (Some(78), Some(41.0), 2);
            for canary in &mut search.recent[..2] {
                (canary.state, canary.took_seconds) = (CanaryState::Lost, None);
            }
        }
        State::CheckpointStuck => status.checkpoint.age_seconds = Some(134.0),
        State::Starting => {
            status.state = StreamState::Starting;
            status.uptime_seconds = 4.0;
            status.state_age_seconds = 4.0;
            status.source = Source::default();
            status.heartbeat = Probe { last_result: "none yet".to_owned(), ..Probe::default() };
            status.canary = status.heartbeat.clone();
            status.consumers = vec![Consumer { name: "orders".to_owned(), ..Consumer::default() }];
            status.progress = Progress::default();
            status.sink.last_accept_age_seconds = None;
        }
        State::CatchingUp | State::Lagging => {
            status.progress.lag_seconds = Some(48.0);
            status.progress.newest_commit_age_seconds = Some(48.0);
        }
        State::SelfStalled
        | State::PositionLost
        | State::WrongSource
        | State::StreamSilent
        | State::UpstreamReplicationBroken
        | State::HeartbeatLost
        | State::Indeterminate
        | State::SuppressedByOperator
        | State::PausedByOperator
        | State::QuietUnproven
        | State::Live
        | State::Quiet => {}
    }
}

/// A stream that can't continue.
pub(crate) fn halted() -> Status {
    let mut status = status(State::HeartbeatLost);
    status.state = StreamState::Halted;
    status.halted = Some(Halted {
        reason: binpulse::telemetry::words::HaltReason::Undecodable,
        message:
            "shop.orders, column 7 (JSON), at binlog.000042:73115021: opaque value of type 245"
                .to_owned(),
        remedy:
            "examine the named event with mysqlbinlog; if the table is not needed, exclude it by \
             filter.exclude and restart"
                .to_owned(),
    });
    status.concluded()
}

fn probe(number: u64, age: f64, roundtrip: f64) -> Probe {
    Probe {
        written: Some(number),
        written_age_seconds: Some(age),
        seen: Some(number),
        seen_age_seconds: Some(age),
        roundtrip_seconds: Some(roundtrip),
        last_result: "ok".to_owned(),
    }
}

fn consumer(name: &str) -> Consumer {
    let canary = |number: u64| Canary {
        number,
        state: CanaryState::Resolved,
        age_seconds: Some(4.0 + 10.0 * (81.0 - f64::from(u32::try_from(number).unwrap_or(81)))),
        took_seconds: Some(0.021),
    };
    Consumer {
        name: name.to_owned(),
        last: Some(81),
        last_age_seconds: Some(3.9),
        roundtrip_seconds: Some(0.027),
        lost: 0,
        unreadable: None,
        maintenance_seconds_left: None,
        recent: (78..=81).rev().map(canary).collect(),
    }
}
