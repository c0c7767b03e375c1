//! Rules of single hops, at the very edge of each deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CanaryEvidence, FAILURE_WINDOW, SqlEvidence, StreamEvidence, WriteEvidence};
use crate::freshness::verdict::obligation::Obligations;
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status};
use crate::freshness::{Connection, Probe, SqlFailure, StreamFailure, StreamSample};

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
    // The old one was well, failed at about that time, or failed long before.
    for ((at, failure), is_confirmed) in [
        ((SECOND, None), false),
        ((SECOND, refused), true),
        ((SECOND * 2 + FAILURE_WINDOW - TICK, refused), true),
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
    assert!(evidence.ok_since(until - TICK) && !evidence.ok_since(until));
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
    assert_eq!(failed(&[denied, denied], FAILURE_WINDOW - TICK).0, Status::False);
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
        trial.pass(trial.parameters.periods.canary_deadline.as_secs() - 1, true);
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
