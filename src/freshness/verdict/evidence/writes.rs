//! Heartbeat writes: do they commit, and if not, what is in their way?

use std::time::{Duration, Instant};

use super::{SqlEvidence, StreamEvidence, seconds};
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status, Topology};
use crate::freshness::{Facts, SqlFailure, StatePoll, Upstream};

/// Writes that do not commit, since the last one that did.
#[derive(Debug, Clone, Copy)]
struct Blocked {
    /// The first such write.
    number: u64,
    /// When it was sent.
    since: Instant,
    /// How it failed: its kind tells locks from stuck commits.
    first: Option<SqlFailure>,
    /// Writes that were refused. One alone may have met a lock that is gone; one that is still out
    /// may not.
    refusals: u32,
}

impl Blocked {
    fn is_lasting(self) -> bool {
        self.refusals >= 2 || matches!(self.first, None | Some(SqlFailure::TimedOut))
    }
}

#[derive(Debug, Default)]
pub(in super::super) struct WriteEvidence {
    outstanding: Option<(u64, Instant)>,
    blocked: Option<Blocked>,
    last_commit: Option<Instant>,
    last_failure: Option<SqlFailure>,
    /// A write was refused as the server is read-only, and none has committed since.
    refused: bool,
    /// A row was seen on the stream while its commit was pending: the largest number.
    arrived: Option<u64>,
    read_only: Option<bool>,
    writer_state: Option<String>,
    upstream: Option<(Instant, Upstream)>,
    /// Commits since start, for the exit rules.
    pub(in super::super) commits: u64,
}

impl WriteEvidence {
    pub(in super::super) fn started(
        &mut self,
        at: Instant,
        number: u64,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        self.outstanding = Some((number, at));
        obligations.begin(
            Obligation::HeartbeatCommit,
            number,
            at,
            parameters.periods.write_deadline,
        );
    }

    pub(in super::super) fn committed(&mut self, at: Instant, obligations: &mut Obligations) {
        self.outstanding = None;
        self.blocked = None;
        self.last_failure = None;
        self.refused = false;
        self.writer_state = None;
        self.last_commit = Some(at);
        self.commits += 1;
        obligations.clear(Obligation::HeartbeatCommit);
    }

    /// A write failed; without a number none could even be sent: the way to the server, or our account.
    pub(in super::super) fn failed(
        &mut self,
        at: Instant,
        number: Option<u64>,
        failure: SqlFailure,
        obligations: &mut Obligations,
    ) {
        self.last_failure = Some(failure);
        self.refused |= failure.is_read_only();
        let Some(number) = number else { return };
        let sent = self.outstanding.take().map_or(at, |(_, sent)| sent);
        match failure {
            SqlFailure::Lock
            | SqlFailure::Deadlock
            | SqlFailure::TimedOut
            | SqlFailure::DiskFull
            | SqlFailure::Interrupted => {
                let blocked = self.blocked.get_or_insert(Blocked {
                    number,
                    since: sent,
                    first: None,
                    refusals: 0,
                });
                blocked.first.get_or_insert(failure);
                // The late answer to the write that was overdue: it did not hang in its commit.
                if number == blocked.number && failure == SqlFailure::Lock {
                    blocked.first = Some(failure);
                }
                blocked.refusals = blocked.refusals.saturating_add(1);
            }
            // These say nothing about writes: the way to the server, or our own account, is at fault.
            SqlFailure::ReadOnly
            | SqlFailure::StorageReadOnly
            | SqlFailure::Denied
            | SqlFailure::ExemptAccount
            | SqlFailure::Diverged
            | SqlFailure::SchemaMissing
            | SqlFailure::TooManyConnections
            | SqlFailure::Offline
            | SqlFailure::ShuttingDown
            | SqlFailure::Login
            | SqlFailure::Connection(_)
            | SqlFailure::Tls
            | SqlFailure::Other(_) => obligations.clear(Obligation::HeartbeatCommit),
        }
    }

    /// What the server says of itself.
    pub(in super::super) fn facts(&mut self, facts: &Facts) {
        self.read_only = Some(facts.takes_no_writes());
    }

    /// Heartbeat `number` is on the stream.
    pub(in super::super) fn arrived(&mut self, number: u64) {
        let pending = self.outstanding.map_or(0, |(pending, _)| pending);
        if self.blocked.is_some() || number == pending {
            self.arrived = self.arrived.max(Some(number));
        }
    }

    pub(in super::super) fn polled(&mut self, poll: &StatePoll) {
        self.read_only = poll.read_only.or(self.read_only);
        self.writer_seen(poll.writer_state.as_ref());
    }

    /// A blocked writer waits now and rests then: what it was seen waiting for counts until a write
    /// commits, or it is seen waiting for something else.
    pub(in super::super) fn writer_seen(&mut self, state: Option<&String>) {
        let waits = |state: &String| state.contains("Waiting");
        let keeps = self.blocked.is_some()
            && self.writer_state.as_ref().is_some_and(|before| {
                state.is_none() || waits(before) && !state.is_some_and(waits)
            });
        if !keeps {
            self.writer_state = state.cloned();
        }
    }

    /// When the source last told of its own replication.
    pub(in super::super) fn upstream_at(&self) -> Option<Instant> {
        self.upstream.as_ref().map(|(at, _)| *at)
    }

    /// A look at the source's own replication.
    pub(in super::super) fn upstream_seen(&mut self, at: Instant, upstream: Upstream) {
        self.upstream = Some((at, upstream));
    }

    /// The write that is out is not waited for.
    pub(in super::super) fn stopped(&mut self) {
        self.outstanding = None;
    }

    pub(in super::super) fn reset(&mut self, at: Instant) {
        self.blocked = self.blocked.map(|blocked| Blocked { since: at, ..blocked });
        self.outstanding = self.outstanding.map(|(number, _)| (number, at));
        self.last_failure = None;
    }

    /// Whether a write is late or was refused.
    pub(in super::super) fn suspected(&self) -> bool {
        self.blocked.is_some() || self.last_failure.is_some()
    }

    /// What blocks writes, from the first failure's kind, the row's arrival, and the words of the
    /// process list.
    pub(in super::super) fn reason(&self) -> Reason {
        let state = self.writer_state.as_deref().unwrap_or_default();
        let seen = self
            .blocked
            .is_some_and(|blocked| self.arrived.is_some_and(|arrived| arrived >= blocked.number));
        if seen || state.contains("semi-sync ACK") {
            return Reason::Semisync;
        }
        // MariaDB takes its global read lock as a backup lock; MySQL's stops DDL only.
        let global = ["global read lock", "backup lock", "Waiting for table flush"];
        if global.iter().any(|words| state.contains(words)) {
            return Reason::GlobalReadLock;
        }
        if state.contains("metadata lock") {
            return Reason::MetadataLock;
        }
        match self.blocked.and_then(|blocked| blocked.first) {
            Some(SqlFailure::DiskFull) => Reason::DiskFull,
            // Stuck in commit and not in the log: the log can't be written. With the row lock that
            // the stuck statement holds, the later ones fail with 1205.
            Some(SqlFailure::TimedOut)
                if state.contains("handler commit") || state == "updating" =>
            {
                Reason::DiskFull
            }
            // A row's lock has no words of its own; that of a table or of all of them has.
            Some(SqlFailure::Lock | SqlFailure::Deadlock) if !state.is_empty() => Reason::RowLock,
            Some(_) | None => Reason::Unknown,
        }
    }

    pub(in super::super) fn apply(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        sql: &SqlEvidence,
        stream: &StreamEvidence,
        conditions: &mut Conditions,
    ) {
        if let Some((number, sent)) = self.outstanding
            && now.saturating_duration_since(sent) > parameters.periods.write_deadline
        {
            self.blocked.get_or_insert(Blocked { number, since: sent, first: None, refusals: 0 });
        }
        let (status, because) = self.writable(parameters);
        conditions.set(now, Condition::SourceWritable, status, because);
        let (status, because) = self.commits(now, parameters, sql, stream, conditions);
        conditions.set(now, Condition::WritesCommit, status, because);
        let (status, because) = self.upstream(now, parameters);
        conditions.set(now, Condition::UpstreamRuns, status, because);
    }

    fn writable(&self, parameters: &Parameters) -> (Status, String) {
        let primary = parameters.topology == Topology::Primary;
        if self.refused {
            return (Status::False, "a heartbeat was refused: the server is read-only".to_owned());
        }
        if self.read_only == Some(true) && primary {
            return (Status::False, "read_only is set, and a primary is expected".to_owned());
        }
        match (self.last_commit, self.read_only) {
            (Some(_), _) => (Status::True, "heartbeats are accepted".to_owned()),
            (None, Some(false)) => (Status::True, "read_only is not set".to_owned()),
            (None, _) => (Status::Unknown, "no heartbeat was written yet".to_owned()),
        }
    }

    fn commits(
        &self,
        now: Instant,
        parameters: &Parameters,
        sql: &SqlEvidence,
        stream: &StreamEvidence,
        conditions: &Conditions,
    ) -> (Status, String) {
        if let Some(blocked) = self.blocked {
            let age = now.saturating_duration_since(blocked.since);
            let because =
                format!("no heartbeat has committed since one was sent {} ago", seconds(age));
            // Only a server that is alive can block writes; else the hop before is at fault.
            let alive = sql.ok_since(blocked.since)
                || stream.received_since(blocked.since + parameters.periods.write_deadline);
            let was = conditions.status(Condition::WritesCommit);
            let status = match age >= parameters.periods.write_deadline * 2 {
                true if alive && blocked.is_lasting() => Status::False,
                true if age > Self::validity(parameters) => Status::Unknown,
                true | false => was,
            };
            return (status, because);
        }
        let valid = Self::validity(parameters);
        match (self.last_commit, self.last_failure) {
            (Some(at), _) if now.saturating_duration_since(at) <= valid => {
                let age = seconds(now.saturating_duration_since(at));
                (Status::True, format!("the last heartbeat committed {age} ago"))
            }
            (_, Some(failure)) => {
                (Status::Unknown, format!("heartbeats can't be written: {}", failure.words()))
            }
            (Some(at), None) => {
                let age = seconds(now.saturating_duration_since(at));
                (Status::Unknown, format!("the last heartbeat was written {age} ago"))
            }
            (None, None) => (Status::Unknown, "no heartbeat was written yet".to_owned()),
        }
    }

    /// How long a commit is believed.
    fn validity(parameters: &Parameters) -> Duration {
        parameters.periods.heartbeat_interval
            + parameters.periods.write_deadline * 2
            + parameters.evidence_grace
    }

    fn upstream(&self, now: Instant, parameters: &Parameters) -> (Status, String) {
        let recent = self
            .upstream
            .as_ref()
            .filter(|(at, _)| now.saturating_duration_since(*at) <= parameters.probe_validity());
        match recent.map(|(_, upstream)| upstream) {
            None => (Status::Unknown, "the source's own replication can't be checked".to_owned()),
            Some(Upstream::None) => (Status::True, "the source is not a replica".to_owned()),
            Some(Upstream::Running) => {
                (Status::True, "the source's own replication runs".to_owned())
            }
            Some(Upstream::Unseen(why)) => {
                (Status::Unknown, format!("the source's own replication can't be checked: {why}"))
            }
            Some(Upstream::Broken(error)) => {
                (Status::False, format!("the source's own replication stopped: {error}"))
            }
        }
    }
}
