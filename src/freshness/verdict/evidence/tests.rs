//! Rules of single hops, at the very edge of each deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    CanaryEvidence, FAILURE_WINDOW, HeartbeatContext, HeartbeatEvidence, HistoryEvidence, Sets,
    SinkEvidence, SqlEvidence, StreamEvidence, WriteEvidence,
};
use crate::change::GtidSet;
use crate::freshness::verdict::obligation::Obligations;
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status, Topology};
use crate::freshness::{
    Connection, Probe, SinkSample, SqlFailure, StreamFailure, StreamSample, Upstream,
};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(1);

/// A probe of `connection` that begins and ends at `at`.
fn probe(
    evidence: &mut SqlEvidence,
    at: Instant,
    connection: Connection,
    failure: Option<SqlFailure>,
) {
    let result = failure.map_or(Ok(()), Err);
    evidence.probed(at, Probe { connection, started: at, result });
}

fn sql(evidence: &SqlEvidence, now: Instant) -> (Status, Status) {
    let parameters = Parameters::default();
    let mut conditions = Conditions::new(&parameters, now);
    evidence.apply(now, &parameters, &mut conditions);
    (conditions.status(Condition::SqlAdmits), conditions.status(Condition::SqlAnswers))
}

#[test]
fn a_failed_look_is_confirmed_by_a_second_one_or_by_the_old_connection_at_about_that_time() {
    let (start, refused) = (Instant::now(), Some(SqlFailure::REFUSED));
    let (old, new) = (Connection::Existing, Connection::Fresh);
    let looks = |looks: &[(Duration, Connection, Option<SqlFailure>)]| {
        let mut evidence = SqlEvidence::default();
        let mut now = start;
        for (after, connection, failure) in looks {
            now = start + *after;
            probe(&mut evidence, now, *connection, *failure);
        }
        (sql(&evidence, now).0, evidence.decided_since(start, start))
    };
    let none = SqlEvidence::default();
    assert!(!none.looked_since(start) && !none.decided_since(start, start), "nobody has looked");
    assert_eq!(looks(&[(SECOND, new, None)]), (Status::True, true));
    assert_eq!(looks(&[(SECOND, new, refused)]), (Status::Unknown, false));
    assert_eq!(looks(&[(SECOND, new, refused), (SECOND * 5, new, refused)]), (Status::False, true));
    let timeout = Some(SqlFailure::TimedOut);
    assert_eq!(
        looks(&[(SECOND, new, timeout), (SECOND * 5, new, refused)]),
        (Status::Unknown, false)
    );
    assert_eq!(
        looks(&[(SECOND, new, timeout), (SECOND * 5, new, timeout)]),
        (Status::Unknown, true)
    );
    let between = [(SECOND, new, refused), (SECOND * 2, new, timeout), (SECOND * 3, new, refused)];
    assert_eq!(looks(&between), (Status::Unknown, false));
    // The old one was well, failed at about that time, or failed long before.
    for ((at, failure), is_confirmed) in [
        ((SECOND, None), false),
        ((SECOND, refused), true),
        (
            (
                (SECOND * 2 + FAILURE_WINDOW).checked_sub(TICK).expect("it is later than that"),
                refused,
            ),
            true,
        ),
        ((SECOND * 2 + FAILURE_WINDOW, refused), false),
    ] {
        let expected = (if is_confirmed { Status::False } else { Status::Unknown }, is_confirmed);
        assert_eq!(looks(&[(at, old, failure), (SECOND * 2, new, refused)]), expected, "{at:?}");
    }
}

#[test]
fn a_look_counts_from_its_begin_and_is_believed_for_two_intervals_and_a_grace() {
    let (start, valid) = (Instant::now(), Parameters::default().probe_validity());
    let mut evidence = SqlEvidence::default();
    let result = Ok(());
    evidence
        .probed(start + SECOND, Probe { connection: Connection::Fresh, started: start, result });
    assert!(evidence.looked_since(start) && evidence.ok_since(start));
    assert!(!evidence.looked_since(start + TICK) && !evidence.ok_since(start + TICK));
    let until = start + SECOND + valid;
    assert_eq!(sql(&evidence, until), (Status::True, Status::True));
    assert_eq!(sql(&evidence, until + TICK), (Status::Unknown, Status::Unknown));
    evidence.answered(until);
    assert!(
        evidence.ok_since(until.checked_sub(TICK).expect("it is later than that"))
            && !evidence.ok_since(until)
    );
    assert_eq!(evidence.last_answer(), Some(until));
    assert_eq!(sql(&evidence, until + TICK), (Status::Unknown, Status::True));
    // A standing connection that has not been asked since leaves the look without its half.
    probe(&mut evidence, start, Connection::Existing, None);
    probe(&mut evidence, until, Connection::Fresh, None);
    assert!(!evidence.looked_since(until));
    probe(&mut evidence, until, Connection::Existing, None);
    assert!(evidence.looked_since(until));
}

#[test]
fn old_and_new_connections_without_an_answer_are_a_server_that_hangs_until_one_is_answered() {
    let (start, timeout) = (Instant::now(), Some(SqlFailure::TimedOut));
    let mut evidence = SqlEvidence::default();
    probe(&mut evidence, start, Connection::Fresh, timeout);
    assert_eq!(sql(&evidence, start).1, Status::Unknown);
    assert!(evidence.suspected());
    probe(&mut evidence, start, Connection::Existing, timeout);
    let until = start + Parameters::default().probe_validity();
    assert_eq!(sql(&evidence, until).1, Status::False);
    assert_eq!(sql(&evidence, until + TICK).1, Status::Unknown);
    evidence.answered(start + TICK);
    assert_eq!(sql(&evidence, start + TICK).1, Status::True);
    assert_eq!(evidence.reason(), Some(SqlFailure::TimedOut.reason()));
}

/// A stream that stood and brought bytes, and then failed as told, `apart` from each other.
fn failed(failures: &[StreamFailure], apart: Duration) -> (Status, Option<Reason>) {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let mut obligations = Obligations::default();
    let (mut stream, mut sql) = (StreamEvidence::default(), SqlEvidence::default());
    let mut conditions = Conditions::new(&parameters, start);
    stream.connected(start, &mut obligations);
    let mut now = start + SECOND * 4;
    let last_receive = Some(now);
    let sample = StreamSample { bytes: 1, last_receive, armed: true, idle_at: None };
    stream.sampled(now, sample, &parameters, &mut obligations);
    stream.apply(now, &parameters, &obligations, &sql, &mut conditions);
    assert_eq!(conditions.status(Condition::StreamConnected), Status::True);
    for failure in failures {
        now += apart;
        stream.failed(now, *failure, &parameters, &mut obligations);
        // The server answers SQL.
        probe(&mut sql, now, Connection::Fresh, None);
        stream.apply(now, &parameters, &obligations, &sql, &mut conditions);
    }
    (conditions.status(Condition::StreamConnected), stream.reason())
}

#[test]
fn a_stream_is_down_with_its_second_failure_and_a_lost_position_is_no_broken_connection() {
    let denied = StreamFailure::Sql(SqlFailure::Denied);
    assert_eq!(failed(&[denied], SECOND), (Status::True, Some(Reason::Denied)));
    assert_eq!(failed(&[denied, denied], SECOND), (Status::False, Some(Reason::Denied)));
    assert_eq!(
        failed(&[denied, denied], FAILURE_WINDOW.checked_sub(TICK).expect("it is later than that"))
            .0,
        Status::False
    );
    assert_eq!(failed(&[denied, StreamFailure::Ended], FAILURE_WINDOW).0, Status::True);
    assert_eq!(failed(&[StreamFailure::Halted], SECOND), (Status::False, Some(Reason::Halted)));
    for position in [StreamFailure::Purged, StreamFailure::Diverged] {
        assert_eq!(failed(&[position; 2], SECOND), (Status::Unknown, None), "{position:?}");
    }
    // One that our own deadline ended is made again at once, and stands until that fails.
    assert_eq!(failed(&[StreamFailure::Silent], SECOND).0, Status::True);
}

#[test]
fn while_nobody_reads_and_the_server_is_mute_nothing_is_known_of_the_streams_bytes() {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let bytes = |is_mute: bool, armed: bool, quiet: Duration| {
        let mut obligations = Obligations::default();
        let (mut stream, sql) = (StreamEvidence::default(), SqlEvidence::default());
        let mut conditions = Conditions::new(&parameters, start);
        let answers = if is_mute { Status::False } else { Status::True };
        conditions.set(start, Condition::SqlAnswers, answers, "");
        stream.connected(start, &mut obligations);
        let now = start + SECOND + quiet;
        let last_receive = Some(start + SECOND);
        let sample = StreamSample { bytes: 1, last_receive, armed, idle_at: None };
        // The reader waited for its sink all the time, or begins to wait for bytes only now.
        let before = StreamSample { armed: false, ..sample };
        stream.sampled(start + SECOND, before, &parameters, &mut obligations);
        stream.sampled(now, sample, &parameters, &mut obligations);
        stream.apply(now, &parameters, &obligations, &sql, &mut conditions);
        conditions.status(Condition::StreamBytes)
    };
    let limit = parameters.receive_deadline;
    assert_eq!(bytes(true, false, limit), Status::True);
    assert_eq!(bytes(true, false, limit + TICK), Status::Unknown);
    assert_eq!(bytes(true, true, limit + TICK), Status::True);
    assert_eq!(bytes(false, false, limit + TICK), Status::True);
}

#[test]
fn what_a_blocked_writer_was_seen_waiting_for_counts_until_it_waits_for_something_else() {
    let start = Instant::now();
    let mut obligations = Obligations::default();
    let mut writes = WriteEvidence::default();
    writes.writer_seen(Some(&"Waiting for table metadata lock".to_owned()));
    writes.writer_seen(None);
    assert_eq!(writes.reason(), Reason::Unknown, "nothing is blocked");
    writes.failed(start, Some(1), SqlFailure::Lock, &mut obligations);
    for (seen, reason) in [
        (Some("Waiting for table metadata lock"), Reason::MetadataLock),
        (None, Reason::MetadataLock),
        (Some("updating"), Reason::MetadataLock),
        (Some("Waiting for global read lock"), Reason::GlobalReadLock),
        (None, Reason::GlobalReadLock),
    ] {
        writes.writer_seen(seen.map(str::to_owned).as_ref());
        assert_eq!(writes.reason(), reason, "{seen:?}");
    }
    writes.committed(start + SECOND, &mut obligations);
    writes.failed(start + SECOND, Some(2), SqlFailure::Lock, &mut obligations);
    assert_eq!(writes.reason(), Reason::Unknown, "what was seen before the commit is over");
    // Without words of a wait the next ones count, whatever they are.
    for (seen, reason) in
        [("updating", Reason::RowLock), ("Waiting for backup lock", Reason::GlobalReadLock)]
    {
        writes.writer_seen(Some(&seen.to_owned()));
        assert_eq!(writes.reason(), reason, "{seen}");
    }
}

/// Two consumers of which `billing` misses canaries: each second of a trial tells the evidence what
/// the queue did.
struct Trial {
    evidence: CanaryEvidence,
    obligations: Obligations,
    parameters: Parameters,
    now: Instant,
}

impl Trial {
    fn new() -> Self {
        let consumers: Vec<Arc<str>> = vec!["billing".into()];
        let parameters = Parameters { consumers, ..Parameters::default() };
        let evidence = CanaryEvidence::new(&parameters);
        Self { evidence, obligations: Obligations::default(), parameters, now: Instant::now() }
    }

    fn queue(&mut self, failure: Option<&str>) {
        let (now, parameters) = (self.now, &self.parameters);
        self.evidence.queue(now, "billing", failure, parameters, &mut self.obligations);
    }

    fn owed(&mut self, number: u64) {
        let (now, parameters) = (self.now, &self.parameters);
        self.evidence.acknowledged(now, None, number, parameters, &mut self.obligations);
    }

    /// So many seconds, with the queue read in each of them, or not.
    fn pass(&mut self, seconds: u64, is_read: bool) {
        for _ in 0..seconds {
            self.now += SECOND;
            if is_read {
                self.queue(None);
            }
            self.evidence.advance(self.now, &self.parameters, &mut self.obligations);
        }
    }

    /// A canary that never comes back, until it counts as missed.
    fn miss(&mut self, number: u64) {
        self.owed(number);
        self.pass(self.parameters.periods.canary_deadline.as_secs() + 1, true);
    }
}

#[test]
fn two_canaries_missed_in_a_row_are_a_lost_consumer_and_one_is_a_suspicion() {
    let mut trial = Trial::new();
    trial.pass(1, true);
    trial.miss(1);
    assert!(trial.evidence.suspected() && trial.evidence.lost().is_empty());
    trial.evidence.echoed(trial.now, "billing", 1, &mut trial.obligations);
    assert!(!trial.evidence.suspected(), "late, but it came");
    trial.miss(2);
    trial.miss(3);
    assert_eq!(trial.evidence.lost(), [Arc::from("billing")]);
    assert!(trial.evidence.all_lost());
}

#[test]
fn what_a_queue_held_while_nobody_read_it_is_not_missed() {
    // Read on and on, one more canary makes it lost.
    let after = |pause: u64| {
        let mut trial = Trial::new();
        trial.pass(1, true);
        trial.miss(1);
        trial.owed(2);
        trial.pass(pause, false);
        trial.pass(1, true);
        trial.pass(trial.parameters.periods.canary_deadline.as_secs() + 1, true);
        trial.evidence.lost().len()
    };
    assert_eq!(after(14), 1);
    assert_eq!(after(15), 0, "longer than the deadline: it begins again");
}

#[test]
fn a_queue_that_can_not_be_read_loses_nobody() {
    let mut trial = Trial::new();
    trial.pass(1, true);
    trial.miss(1);
    trial.miss(2);
    assert_eq!(trial.evidence.lost().len(), 1);
    let grace = trial.parameters.evidence_grace;
    let name = |trial: &Trial, now| trial.evidence.unreadable_reason(now, &trial.parameters);
    trial.queue(Some("HTTP 403"));
    assert_eq!(name(&trial, trial.now + grace), None, "one failed read is no blindness");
    let blind = Some(Reason::EchoUnreadable(vec!["billing".into()]));
    assert_eq!(name(&trial, trial.now + grace + TICK), blind);
    trial.owed(3);
    trial.pass(grace.as_secs() + 1, false);
    assert!(trial.evidence.lost().is_empty() && !trial.evidence.suspected());
    trial.queue(None);
    assert_eq!(name(&trial, trial.now), None);
    trial.pass(60, true);
    assert!(trial.evidence.lost().is_empty(), "what was owed meanwhile is not missed later");
}

#[test]
fn a_canary_that_can_not_be_written_is_told_beside_what_is_known_of_the_others() {
    let mut trial = Trial::new();
    let because = |trial: &Trial| {
        let mut conditions = Conditions::new(&trial.parameters, trial.now);
        trial.evidence.apply(trial.now, &trial.parameters, &mut conditions);
        let known = conditions.known(Condition::CanariesArrive);
        (known.status, known.because.clone())
    };
    let failure = || Some((SqlFailure::Denied, "no privilege".to_owned()));
    trial.evidence.written(failure());
    let (status, words) = because(&trial);
    assert_eq!(status, Status::Unknown);
    assert!(
        words.starts_with("no canary can be written: ") && words.ends_with(": no privilege"),
        "{words}"
    );
    trial.evidence.written(None);
    trial.evidence.echoed(trial.now, "billing", 1, &mut trial.obligations);
    let (status, words) = because(&trial);
    assert_eq!((status, &*words), (Status::True, "every consumer echoed a canary, last 0.0 s ago"));
    trial.evidence.written(failure());
    let (status, words) = because(&trial);
    assert_eq!(status, Status::True);
    assert!(words.contains("last 0.0 s ago; no canary can be written: "), "{words}");
    // An echo is believed until the next must have come.
    trial.now += trial.parameters.echo_validity();
    assert_eq!(because(&trial).0, Status::True);
    trial.now += TICK;
    assert_eq!(because(&trial).0, Status::Unknown);
}

/// Writes' conditions: whether they commit, and whether the source's own replication runs.
fn writes(evidence: &mut WriteEvidence, now: Instant, sql: &SqlEvidence) -> (Status, Status) {
    let (parameters, stream) = (Parameters::default(), StreamEvidence::default());
    let mut conditions = Conditions::new(&parameters, now);
    evidence.apply(now, &parameters, sql, &stream, &mut conditions);
    (conditions.status(Condition::WritesCommit), conditions.status(Condition::UpstreamRuns))
}

#[test]
fn a_commit_and_a_word_on_replication_are_believed_until_the_next_must_have_come() {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let (mut obligations, sql) = (Obligations::default(), SqlEvidence::default());
    let mut evidence = WriteEvidence::default();
    assert_eq!(writes(&mut evidence, start, &sql), (Status::Unknown, Status::Unknown));
    evidence.committed(start, &mut obligations);
    evidence.upstream_seen(start, Upstream::Running);
    let periods = parameters.periods;
    let commit =
        periods.heartbeat_interval + periods.write_deadline * 2 + parameters.evidence_grace;
    assert_eq!(writes(&mut evidence, start + commit, &sql).0, Status::True);
    assert_eq!(writes(&mut evidence, start + commit + TICK, &sql).0, Status::Unknown);
    let look = parameters.probe_validity();
    assert_eq!(writes(&mut evidence, start + look, &sql).1, Status::True);
    assert_eq!(writes(&mut evidence, start + look + TICK, &sql).1, Status::Unknown);
    evidence.upstream_seen(start + look, Upstream::Broken("error 1062".to_owned()));
    assert_eq!(writes(&mut evidence, start + look, &sql).1, Status::False);
    evidence.upstream_seen(start + look, Upstream::Unseen("denied".to_owned()));
    assert_eq!(writes(&mut evidence, start + look, &sql).1, Status::Unknown);
}

#[test]
fn a_write_that_hangs_blocks_after_two_deadlines_and_a_refused_one_with_the_second() {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let deadline = parameters.periods.write_deadline;
    let blocked = |refusals: u64, failure, after: Duration, is_alive: bool| {
        let (mut obligations, mut sql) = (Obligations::default(), SqlEvidence::default());
        let mut evidence = WriteEvidence::default();
        evidence.started(start, 1, &parameters, &mut obligations);
        for number in 1..=refusals {
            evidence.failed(start, Some(number), failure, &mut obligations);
        }
        if is_alive {
            probe(&mut sql, start, Connection::Fresh, None);
        }
        writes(&mut evidence, start + after, &sql).0
    };
    let (lock, hangs) = (SqlFailure::Lock, SqlFailure::TimedOut);
    let twice = deadline * 2;
    assert_eq!(blocked(0, lock, twice, true), Status::False, "still out");
    assert_eq!(
        blocked(0, lock, twice.checked_sub(TICK).expect("it is later than that"), true),
        Status::Unknown
    );
    assert_eq!(blocked(0, lock, twice, false), Status::Unknown, "nobody knows that it lives");
    assert_eq!(blocked(1, lock, twice, true), Status::Unknown, "that lock may be gone");
    assert_eq!(blocked(2, lock, twice, true), Status::False);
    assert_eq!(blocked(1, hangs, twice, true), Status::False);
    assert_eq!(blocked(2, SqlFailure::Denied, twice, true), Status::Unknown, "our own account");
}

#[test]
fn after_we_were_frozen_no_earlier_failure_of_a_write_is_suspicious() {
    let start = Instant::now();
    let mut obligations = Obligations::default();
    let mut evidence = WriteEvidence::default();
    evidence.failed(start, None, SqlFailure::BROKEN, &mut obligations);
    assert!(evidence.suspected());
    evidence.reset(start + SECOND);
    assert!(!evidence.suspected());
    // One that is blocked stays so, and its time begins now.
    evidence.failed(start, Some(1), SqlFailure::TimedOut, &mut obligations);
    evidence.reset(start + SECOND * 60);
    assert!(evidence.suspected());
    let mut sql = SqlEvidence::default();
    probe(&mut sql, start + SECOND * 60, Connection::Fresh, None);
    let twice = Parameters::default().periods.write_deadline * 2;
    assert_eq!(
        writes(
            &mut evidence,
            (start + SECOND * 60 + twice).checked_sub(TICK).expect("it is later than that"),
            &sql
        )
        .0,
        Status::Unknown
    );
    assert_eq!(writes(&mut evidence, start + SECOND * 60 + twice, &sql).0, Status::False);
}

/// A heartbeat that was committed, and seconds and less after which things happened.
struct Committed {
    topology: Topology,
    has_come: bool,
    idle: Option<Duration>,
    upstream: Option<Duration>,
}

const COMMITTED: Committed =
    Committed { topology: Topology::Primary, has_come: false, idle: None, upstream: None };

impl Committed {
    fn seen(&self, after: Duration) -> Status {
        let start = Instant::now();
        let parameters = Parameters { topology: self.topology, ..Parameters::default() };
        let mut obligations = Obligations::default();
        let mut evidence = HeartbeatEvidence::default();
        evidence.committed(start, 1, &parameters, &mut obligations);
        if self.has_come {
            evidence.arrived(start, 1, &mut obligations);
        }
        let context = HeartbeatContext {
            stream_flows: true,
            same_server: true,
            idle_at: self.idle.map(|after| start + after),
            delivered_until: None,
            upstream_at: self.upstream.map(|after| start + after),
        };
        let (now, mut conditions) = (start + after, Conditions::new(&parameters, start));
        // Its clock runs from when the stream was seen to flow.
        evidence.apply(start, &parameters, context, &mut obligations, &mut conditions);
        evidence.apply(now, &parameters, context, &mut obligations, &mut conditions);
        conditions.status(Condition::HeartbeatSeen)
    }
}

#[test]
fn a_heartbeat_is_believed_for_its_time_and_missed_once_the_stream_is_past_it() {
    let parameters = Parameters::default();
    let valid = parameters.round_trip_validity();
    let come = Committed { has_come: true, ..COMMITTED };
    assert_eq!([valid, valid + TICK].map(|age| come.seen(age)), [Status::True, Status::Unknown]);
    let deadline = parameters.periods.heartbeat_deadline;
    let late = deadline + SECOND;
    let idle = |idle| Committed { idle: Some(idle), ..COMMITTED };
    assert_eq!(idle(late).seen(deadline), Status::Unknown);
    assert_eq!(idle(late).seen(deadline + TICK), Status::False);
    assert_eq!(COMMITTED.seen(late), Status::Unknown);
    assert_eq!(idle(deadline).seen(late), Status::Unknown);
    assert_eq!(idle(deadline + TICK).seen(late), Status::False);
}

#[test]
fn on_a_replica_a_heartbeat_is_missed_once_its_replication_was_looked_at_or_for_long() {
    let periods = Parameters::default().periods;
    let late = periods.heartbeat_deadline + SECOND;
    let looked = |idle, upstream| Committed {
        topology: Topology::Replica,
        idle: Some(idle),
        upstream,
        ..COMMITTED
    };
    assert_eq!(looked(late, None).seen(late), Status::Unknown);
    assert_eq!(looked(late, Some(Duration::ZERO)).seen(late), Status::Unknown);
    assert_eq!(looked(late, Some(TICK)).seen(late), Status::False);
    let long = periods.heartbeat_deadline + periods.heartbeat_interval * 3;
    assert_eq!(looked(long, None).seen(long), Status::Unknown);
    assert_eq!(looked(long, None).seen(long + TICK), Status::False);
}

#[test]
fn a_report_of_the_sink_is_believed_for_its_grace_and_a_message_owed_until_its_deadline() {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let told = |oldest: Option<Instant>, failures_in_a_row: u32, after: Duration| {
        let (mut obligations, mut evidence) = (Obligations::default(), SinkEvidence::default());
        let sample = SinkSample {
            oldest_unacknowledged: oldest,
            acknowledged: 1,
            last_acknowledged: Some(start),
            failure: (failures_in_a_row > 0).then_some(crate::sink::Class::Denied),
            failures_in_a_row,
            last_user_row: None,
            is_withheld: false,
        };
        evidence.sampled(start, sample, &parameters, &mut obligations);
        let mut conditions = Conditions::new(&parameters, start);
        evidence.apply(start + after, &parameters, &obligations, &mut conditions);
        let known = conditions.known(Condition::SinkMoves);
        (known.status, known.because.clone())
    };
    let grace = parameters.evidence_grace;
    assert_eq!(told(None, 0, grace).0, Status::True);
    let (status, because) = told(None, 0, grace + TICK);
    assert_eq!((status, &*because), (Status::Unknown, "no report of the sink for 10.0 s"));
    let deadline = parameters.periods.publish_deadline;
    assert!(deadline <= grace, "so that it shows with one sample");
    let began = start.checked_sub(SECOND);
    assert_eq!(told(began, 0, deadline).0, Status::True, "it counts from the last acknowledgement");
    assert_eq!(told(began, 2, Duration::ZERO).0, Status::True);
    assert_eq!(told(began, 3, Duration::ZERO).0, Status::False);
}

#[test]
fn nothing_is_owed_while_the_lease_permits_no_calls_and_a_message_counts_from_the_permission() {
    let (parameters, start) = (Parameters::default(), Instant::now());
    let deadline = parameters.periods.publish_deadline;
    let (mut obligations, mut evidence) = (Obligations::default(), SinkEvidence::default());
    let mut told = |after: Duration, is_withheld: bool| {
        let now = start + after;
        let oldest_unacknowledged = Some(start);
        let sample = SinkSample { oldest_unacknowledged, is_withheld, ..SinkSample::default() };
        evidence.sampled(now, sample, &parameters, &mut obligations);
        let mut conditions = Conditions::new(&parameters, now);
        evidence.apply(now, &parameters, &obligations, &mut conditions);
        assert!(!evidence.is_empty(), "a message waits");
        conditions.known(Condition::SinkMoves).status
    };
    assert_eq!(told(Duration::ZERO, true), Status::Unknown);
    assert_eq!(told(deadline * 3, true), Status::Unknown);
    assert_eq!(told(deadline * 4, false), Status::Unknown, "its time begins here");
    assert_eq!(told(deadline * 5, false), Status::Unknown);
    assert_eq!(told(deadline * 5 + TICK, false), Status::False);
    // A lease that could not be renewed for a while
    assert_eq!(told(deadline * 6, true), Status::Unknown);
    assert_eq!(told(deadline * 7, false), Status::Unknown);
    assert_eq!(told(deadline * 8 + TICK, false), Status::False);
}

#[test]
fn a_sign_of_another_kind_is_cleared_by_its_own_evidence_whatever_came_before() {
    let set = |text: &str| -> GtidSet {
        format!("00000000-0000-0000-0000-000000000001:{text}").parse().expect("a set")
    };
    let (start, known, less) = (Instant::now(), set("1-7"), set("1-6"));
    let mut history = HistoryEvidence::default();
    history.accepted();
    history.round_trip(start, &known);
    history.refused(start, StreamFailure::Purged);
    let mut read = |executed: &GtidSet| {
        let sets = Sets { asked: start, executed: Some(executed), purged: None };
        history.read(start, sets, Some(&known));
        history.suspected_at().is_some()
    };
    assert!(read(&less), "it lacks something, which is another sign than the refusal");
    assert!(!read(&known), "and now it has it");
}
