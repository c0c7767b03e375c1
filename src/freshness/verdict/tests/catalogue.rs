//! The fault catalogue: each fault gets its own verdict within its time, on every load.

use super::world::{Faults, LOADS, Load, OTHER, Sns, World};
use crate::freshness::verdict::{Hop, State};
use crate::freshness::{SqlFailure, StreamFailure};
use crate::sink::FailureClass;

/// A fault, and what must be said of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Whether it ends an open stream.
    pub(super) cuts: bool,
    pub(super) faults: fn() -> Faults,
    pub(super) state: State,
    reason: Option<&'static str>,
    hop: Hop,
    /// Longest time to the verdict, seconds.
    pub(super) within: f64,
}

impl Case {
    /// A world in which it has come, and had time to be seen.
    pub(super) fn staged(&self, load: Load) -> World {
        let mut world = World::new(load);
        world.run(100.0);
        self.strike(&mut world);
        world
    }

    /// It comes, and has time to be seen.
    fn strike(&self, world: &mut World) {
        world.fault_at = Some(world.now);
        world.faults = (self.faults)();
        if self.cuts {
            world.cut_stream();
        }
        world.run(self.within + 5.0);
    }
}

const TIMEOUT: Option<SqlFailure> = Some(SqlFailure::TimedOut);

fn blocked(first: SqlFailure, later: SqlFailure, seen: bool, state: &'static str) -> Faults {
    Faults { writes: Some((first, later, seen)), writer_state: Some(state), ..Faults::default() }
}

fn unreachable(failure: SqlFailure, dial: StreamFailure) -> Faults {
    Faults {
        old_sql: Some(SqlFailure::BROKEN),
        new_sql: Some(failure),
        dial: Some(dial),
        ..Faults::default()
    }
}

fn sink(sns: Sns) -> Faults {
    Faults { sns, ..Faults::default() }
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case { name: "mysqld killed", cuts: true, faults: || unreachable(SqlFailure::REFUSED, StreamFailure::Sql(SqlFailure::REFUSED)),
        state: State::SourceUnreachable, reason: Some("refused"), hop: Hop::Source, within: 5.0 },
    Case { name: "mysqld shuts down, and keeps its dump threads", cuts: false,
        faults: || Faults { old_sql: Some(SqlFailure::BROKEN), new_sql: Some(SqlFailure::REFUSED), ..Faults::default() },
        state: State::SourceUnreachable, reason: Some("refused"), hop: Hop::Source, within: 8.0 },
    Case { name: "DNS failure", cuts: true, faults: || unreachable(SqlFailure::NO_ADDRESS, StreamFailure::Sql(SqlFailure::NO_ADDRESS)),
        state: State::SourceUnreachable, reason: Some("dns"), hop: Hop::Source, within: 5.0 },
    Case { name: "TLS failure", cuts: true, faults: || unreachable(SqlFailure::Tls, StreamFailure::Sql(SqlFailure::Tls)),
        state: State::SourceUnreachable, reason: Some("tls"), hop: Hop::Source, within: 5.0 },
    Case { name: "offline_mode", cuts: true, faults: || unreachable(SqlFailure::Offline, StreamFailure::Sql(SqlFailure::Offline)),
        state: State::SourceUnreachable, reason: Some("offline"), hop: Hop::Source, within: 15.0 },
    Case { name: "account locked and connections cut", cuts: true, faults: || unreachable(SqlFailure::Login, StreamFailure::Sql(SqlFailure::Login)),
        state: State::SourceUnreachable, reason: Some("auth"), hop: Hop::Source, within: 15.0 },
    Case { name: "mysqld stopped by SIGSTOP, or a black hole", cuts: false,
        faults: || Faults { old_sql: TIMEOUT, new_sql: TIMEOUT, silent: true, dial: Some(StreamFailure::Sql(SqlFailure::TimedOut)), ..Faults::default() },
        state: State::SourceHung, reason: Some("timeout"), hop: Hop::Source, within: 7.0 },
    Case { name: "only the dump's flow is dropped", cuts: false, faults: || Faults { silent: true, heals: true, ..Faults::default() },
        state: State::StreamSilent, reason: None, hop: Hop::Stream, within: 5.0 },
    Case { name: "REPLICATION SLAVE revoked, then a reconnect", cuts: true, faults: || Faults { dial: Some(StreamFailure::Sql(SqlFailure::Denied)), ..Faults::default() },
        state: State::StreamDown, reason: Some("denied"), hop: Hop::Stream, within: 10.0 },
    Case { name: "a second client with our UUID", cuts: true, faults: || Faults { dial: Some(StreamFailure::DuplicateReplica), ..Faults::default() },
        state: State::StreamDown, reason: Some("duplicate_replica"), hop: Hop::Stream, within: 10.0 },
    Case { name: "logs purged past the checkpoint", cuts: true, faults: || Faults { dial: Some(StreamFailure::Purged), ..Faults::default() },
        state: State::PositionLost, reason: Some("purged"), hop: Hop::Stream, within: 3.0 },
    Case { name: "failover to a server that lacks our last GTIDs", cuts: true, faults: || Faults { dial: Some(StreamFailure::Diverged), ..Faults::default() },
        state: State::PositionLost, reason: Some("diverged"), hop: Hop::Stream, within: 5.0 },
    Case { name: "read_only", cuts: false, faults: || Faults { read_only: true, writes: Some((SqlFailure::ReadOnly, SqlFailure::ReadOnly, false)), ..Faults::default() },
        state: State::SourceReadOnly, reason: None, hop: Hop::Source, within: 6.0 },
    Case { name: "read_only, and our account writes all the same", cuts: false, faults: || Faults { read_only: true, ..Faults::default() },
        state: State::SourceReadOnly, reason: None, hop: Hop::Source, within: 6.0 },
    Case { name: "FLUSH TABLES WITH READ LOCK", cuts: false,
        faults: || blocked(SqlFailure::Lock, SqlFailure::Lock, false, "Waiting for global read lock"),
        state: State::WritesBlocked, reason: Some("ftwrl"), hop: Hop::Source, within: 10.0 },
    Case { name: "LOCK TABLES", cuts: false,
        faults: || blocked(SqlFailure::Lock, SqlFailure::Lock, false, "Waiting for table metadata lock"),
        state: State::WritesBlocked, reason: Some("mdl"), hop: Hop::Source, within: 10.0 },
    Case { name: "row lock", cuts: false, faults: || blocked(SqlFailure::Lock, SqlFailure::Lock, false, "updating"),
        state: State::WritesBlocked, reason: Some("row_lock"), hop: Hop::Source, within: 10.0 },
    Case { name: "binlog volume full", cuts: false,
        faults: || blocked(SqlFailure::TimedOut, SqlFailure::Lock, false, "waiting for handler commit"),
        state: State::WritesBlocked, reason: Some("disk_full"), hop: Hop::Source, within: 10.0 },
    Case { name: "semi-sync without a replica", cuts: false,
        faults: || blocked(SqlFailure::TimedOut, SqlFailure::Lock, true, "updating"),
        state: State::WritesBlocked, reason: Some("semisync"), hop: Hop::Source, within: 10.0 },
    Case { name: "the source's own replication stops", cuts: false, faults: || Faults { upstream_broken: true, ..Faults::default() },
        state: State::UpstreamReplicationBroken, reason: None, hop: Hop::Source, within: 17.0 },
    Case { name: "heartbeats go to another server", cuts: false, faults: || Faults { writer_server: OTHER, hidden: true, ..Faults::default() },
        state: State::WrongSource, reason: None, hop: Hop::Source, within: 21.0 },
    Case { name: "heartbeat schema hidden by binlog-ignore-db", cuts: false, faults: || Faults { hidden: true, ..Faults::default() },
        state: State::HeartbeatLost, reason: None, hop: Hop::Stream, within: 16.0 },
    Case { name: "SNS answers 500", cuts: false, faults: || sink(Sns::Fails(FailureClass::ServerError)),
        state: State::SinkStalled, reason: Some("server_error"), hop: Hop::Publish, within: 21.0 },
    Case { name: "SNS accepts, then hangs", cuts: false, faults: || sink(Sns::Hangs),
        state: State::SinkStalled, reason: Some("timeout"), hop: Hop::Publish, within: 21.0 },
    Case { name: "SNS denies", cuts: false, faults: || sink(Sns::Fails(FailureClass::Denied)),
        state: State::SinkStalled, reason: Some("denied"), hop: Hop::Publish, within: 21.0 },
    Case { name: "topic deleted", cuts: false, faults: || sink(Sns::Fails(FailureClass::NotFound)),
        state: State::SinkStalled, reason: Some("not_found"), hop: Hop::Publish, within: 21.0 },
    Case { name: "SNS acknowledges and drops", cuts: false, faults: || Faults { lost: vec!["orders", "search"], ..Faults::default() },
        state: State::CanaryLost, reason: Some("orders,search"), hop: Hop::Delivery, within: 36.0 },
    Case { name: "one of two consumers stops", cuts: false, faults: || Faults { lost: vec!["search"], ..Faults::default() },
        state: State::CanaryLost, reason: Some("search"), hop: Hop::Consumers, within: 36.0 },
    Case { name: "the echo queues can't be read", cuts: false, faults: || Faults { unreadable: vec!["orders", "search"], ..Faults::default() },
        state: State::Indeterminate, reason: Some("echo_unreadable"), hop: Hop::None, within: 46.0 },
    Case { name: "one echo queue never answers", cuts: false, faults: || Faults { hung: vec!["search"], ..Faults::default() },
        state: State::Indeterminate, reason: Some("echo_unreadable"), hop: Hop::None, within: 46.0 },
    Case { name: "an echo queue can't be read, and the other consumer stops", cuts: false,
        faults: || Faults { unreadable: vec!["orders"], lost: vec!["search"], ..Faults::default() },
        state: State::CanaryLost, reason: Some("search"), hop: Hop::Consumers, within: 36.0 },
    Case { name: "throttled to half the offered rate", cuts: false, faults: || Faults { lag: Some(|s| s / 2.0), ..Faults::default() },
        state: State::Lagging, reason: None, hop: Hop::Stream, within: 62.0 },
    Case { name: "a backlog that shrinks", cuts: false, faults: || Faults { lag: Some(|s| (3_600.0 - 50.0 * s).max(0.0)), ..Faults::default() },
        state: State::CatchingUp, reason: None, hop: Hop::Stream, within: 31.0 },
    Case { name: "one huge transaction moves", cuts: false, faults: || Faults { lag: Some(|s| s), transaction_bytes: 1, ..Faults::default() },
        state: State::CatchingUp, reason: None, hop: Hop::Stream, within: 33.0 },
    Case { name: "checkpoint store read-only", cuts: false, faults: || Faults { checkpoint_fails: true, ..Faults::default() },
        state: State::CheckpointStuck, reason: None, hop: Hop::None, within: 127.0 },
    Case { name: "source and sink dead", cuts: true,
        faults: || Faults { sns: Sns::Hangs, ..unreachable(SqlFailure::REFUSED, StreamFailure::Sql(SqlFailure::REFUSED)) },
        state: State::SourceUnreachable, reason: Some("refused"), hop: Hop::Source, within: 5.0 },
    Case { name: "binary logs and GTIDs reset", cuts: false, faults: || Faults { source_lacks: true, ..Faults::default() },
        state: State::PositionLost, reason: Some("diverged"), hop: Hop::Stream, within: 11.0 },
];

fn healthy(load: Load) -> State {
    if load == Load::Busy { State::Live } else { State::Quiet }
}

#[test]
fn every_fault_gets_its_own_verdict_in_time_on_every_load_and_phase() {
    let mut wrong = Vec::new();
    for case in CASES {
        let mut worst = 0.0_f64;
        for load in LOADS {
            for phase in [0.0, 0.25, 1.25, 2.5, 3.5, 4.75, 6.0, 7.25, 9.75] {
                let mut world = World::new(load);
                world.run(100.0 + phase);
                assert_eq!(
                    world.state(),
                    healthy(load),
                    "{}: {load:?} before the fault",
                    case.name
                );
                case.strike(&mut world);
                let trace = world.since_fault();
                let hit = trace.iter().find(|(_, state, reason)| {
                    *state == case.state
                        && (case.reason.is_none() || reason.as_deref() == case.reason)
                });
                let before = trace.iter().take_while(|(_, state, _)| *state != case.state);
                // A failover may be under way for a while: then nothing is proven, and nobody blamed.
                let waits = case.state == State::WrongSource;
                let strays: Vec<_> = before
                    .filter(|(_, state, _)| *state != healthy(load))
                    .filter(|(_, state, _)| !(waits && *state == State::Indeterminate))
                    .collect();
                match hit {
                    Some((at, ..)) if *at <= case.within && strays.is_empty() => {
                        worst = worst.max(*at);
                    }
                    _ => wrong.push(format!("{}: {load:?} +{phase}: {trace:?}", case.name)),
                }
                if hit.is_some()
                    && world.state() == case.state
                    && world.evaluator.verdict().hop != case.hop
                {
                    wrong.push(format!("{}: hop {:?}", case.name, world.evaluator.verdict().hop));
                }
            }
        }
        println!(
            "{:<55} {:<28} worst {worst:>6.2} s of {:>5}",
            case.name,
            case.state.name(),
            case.within
        );
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_outage_but_a_lost_position_ends_when_its_fault_does() {
    for case in CASES.iter().filter(|case| case.state != State::PositionLost) {
        for load in LOADS {
            let mut world = case.staged(load);
            world.faults = Faults::default();
            world.run(90.0);
            assert_eq!(
                world.state(),
                healthy(load),
                "{}: {load:?}: {:?}",
                case.name,
                world.since_fault()
            );
        }
    }
}
