//! The source's side of the model: stream, SQL, writes, and the canaries that pass through all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Load, SERVER, STEP, Sns, World};
use crate::change::{Gtid, GtidSet, Position, Tag, TransactionId};
use crate::freshness::verdict::certificate::CountedAs;
use crate::freshness::{
    Connection, Executed, Facts, Observation, Probe, SqlFailure, StatePoll, StreamFailure, Upstream,
};

/// How long a dial waits for an answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    /// One at a time.
    pub(super) fn look(&mut self) {
        self.look_asked = !self.looks.is_empty();
        if self.look_asked {
            return;
        }
        for (connection, failure) in
            [(Connection::Existing, self.faults.old_sql), (Connection::Fresh, self.faults.new_sql)]
        {
            let wait = if failure == Some(SqlFailure::TimedOut) {
                self.parameters.periods.probe_timeout
            } else {
                STEP
            };
            let probe =
                Probe { connection, started: self.now, result: failure.map_or(Ok(()), Err) };
            // One that failed is gone, until a fresh one stays.
            if connection == Connection::Fresh || self.has_session {
                self.looks.push((self.now + wait, probe));
            }
        }
    }

    pub(super) fn answers(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.looks.drain(..).partition(|(at, _)| *at <= now);
        self.looks = later;
        for (_, probe) in due {
            self.tell(Observation::Probe(probe));
            match (probe.connection, probe.result) {
                (Connection::Existing, result) => self.has_session = result.is_ok(),
                (Connection::Fresh, Ok(())) => {
                    self.has_session = true;
                    self.poll();
                }
                (Connection::Fresh, Err(_)) => {}
            }
        }
        if self.looks.is_empty() && self.look_asked {
            self.look();
        }
    }

    fn poll(&mut self) {
        let poll = StatePoll {
            read_only: Some(self.faults.read_only),
            executed: Some(self.executed_shown()),
            purged: Some(GtidSet::new()),
            writer_state: self.faults.writer_state.map(str::to_owned),
            ..StatePoll::default()
        };
        self.tell(Observation::StatePoll(Box::new(poll)));
        self.tell(Observation::Upstream(if self.faults.upstream_broken {
            Upstream::Broken("error 1062".to_owned())
        } else {
            Upstream::None
        }));
    }

    fn executed_shown(&self) -> GtidSet {
        if self.faults.source_lacks { GtidSet::new() } else { self.executed.clone() }
    }

    pub(super) fn stream(&mut self) {
        if std::mem::take(&mut self.kill_stream) {
            self.drop_stream(StreamFailure::Ended);
        }
        let limit = self.parameters.receive_deadline;
        let takes = match self.faults.dial {
            Some(StreamFailure::Sql(SqlFailure::TimedOut)) => DIAL_TIMEOUT,
            _ => Duration::ZERO,
        };
        if !self.connected && self.now >= self.dial_at + takes {
            match self.faults.dial {
                Some(failure) => {
                    // Who has halted says so once, and dials no more.
                    let is_last = failure == StreamFailure::Halted;
                    self.dial_at = self.now + Duration::from_secs(if is_last { 86_400 } else { 1 });
                    self.tell(Observation::StreamFailed(failure));
                }
                None => {
                    self.connected = true;
                    self.faults.silent &= !self.faults.heals;
                    self.tell(Observation::StreamConnected { server: Some(SERVER) });
                    self.receive(100);
                }
            }
        } else if self.connected && !self.faults.silent {
            let idle = self.last_receive.is_none_or(|last| {
                self.now.saturating_duration_since(last)
                    >= self.parameters.periods.protocol_heartbeat
            });
            if idle {
                self.receive(60);
                self.idle_at = Some(self.now);
            }
        } else if self.connected
            && self.armed()
            && self
                .last_receive
                .is_some_and(|last| self.now.saturating_duration_since(last) >= limit)
        {
            self.drop_stream(StreamFailure::Silent);
        }
    }

    /// Whether the reader waits for bytes, and not for a sink that takes nothing.
    pub(super) fn armed(&self) -> bool {
        self.faults.sns == Sns::Well || self.load != Load::Busy
    }

    pub(super) fn catch_up(&mut self) {
        if self.connected && !self.faults.silent {
            for (gtid, class) in std::mem::take(&mut self.backlog) {
                self.deliver(gtid, class);
            }
        }
    }

    pub(super) fn drop_stream(&mut self, failure: StreamFailure) {
        self.connected = false;
        self.dial_at = self.now + STEP;
        self.tell(Observation::StreamFailed(failure));
    }

    /// The server's side of an open stream goes away.
    pub(in super::super) fn cut_stream(&mut self) {
        self.drop_stream(StreamFailure::Ended);
    }

    fn receive(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.last_receive = Some(self.now);
    }

    fn commit(&mut self, class: CountedAs) {
        self.sequence += 1;
        let gtid = Gtid { source: SERVER, tag: Tag::default(), sequence: self.sequence };
        self.executed.insert(gtid);
        let user = matches!(class, CountedAs::User | CountedAs::Filtered);
        if user && self.drop_transactions > 0 {
            self.drop_transactions -= 1;
            return;
        }
        let hidden = self.faults.hidden && matches!(class, CountedAs::Heartbeat(_));
        let class = if hidden { CountedAs::Filtered } else { class };
        if !self.connected || self.faults.silent {
            self.backlog.push((gtid, class));
            return;
        }
        self.receive(300);
        self.deliver(gtid, class);
        if class == CountedAs::User && self.faults.sns == Sns::Well {
            self.last_user_row = Some(self.now);
        }
    }

    fn deliver(&mut self, gtid: Gtid, class: CountedAs) {
        let (start, end) = (Position::default(), Position::default());
        if let Some(span) =
            self.recorder.transaction(TransactionId::Gtid(gtid), &start, &end, class)
        {
            self.tell(Observation::HeartbeatArrived(Box::new(span)));
        }
    }

    pub(super) fn users(&mut self) {
        let down = self.faults.old_sql.is_some() || self.faults.writes.is_some();
        match self.load {
            _ if down => {}
            Load::Quiet => {}
            Load::Busy => {
                self.commit(CountedAs::User);
                self.publish();
            }
            Load::FilteredOnly => self.commit(CountedAs::Filtered),
        }
    }

    fn publish(&mut self) {
        match self.faults.sns {
            Sns::Well => {
                self.acknowledged += 1;
                self.last_acknowledged = Some(self.now);
                self.waiting = None;
            }
            Sns::Fails(_) | Sns::Hangs => {
                self.waiting.get_or_insert(self.now);
            }
        }
    }

    pub(super) fn writer(&mut self) {
        if let Some(sent) = self.write_sent {
            self.outcome(sent);
        }
        if self.write_sent.is_none() && self.now >= self.next_write {
            if self.faults.old_sql.is_some() && self.faults.old_sql != Some(SqlFailure::TimedOut) {
                self.next_write = self.now + Duration::from_secs(1);
                self.tell(failed(None, SqlFailure::BROKEN));
                return;
            }
            self.heartbeat += 1;
            self.write_sent = Some(self.now);
            self.next_write = self.now + self.parameters.periods.heartbeat_interval;
            self.tell(Observation::HeartbeatStarted { number: self.heartbeat });
            let seen = self.faults.writes.is_some_and(|(.., seen)| seen && !self.failed_once);
            self.logged = seen;
            if seen {
                self.commit(CountedAs::Heartbeat(self.heartbeat));
            }
        }
    }

    fn outcome(&mut self, sent: Instant) {
        let waited = self.now.saturating_duration_since(sent);
        let number = self.heartbeat;
        let failure = match (self.faults.old_sql, self.faults.writes) {
            (Some(SqlFailure::TimedOut), _) => Some(SqlFailure::TimedOut),
            (Some(_), _) => Some(SqlFailure::BROKEN),
            (None, Some((first, later, _))) => Some(if self.failed_once { later } else { first }),
            (None, None) => None,
        };
        let seen = self.faults.writes.is_some_and(|(.., seen)| seen);
        if seen && !self.failed_once && !std::mem::replace(&mut self.logged, true) {
            // It was under way when the fault began.
            self.commit(CountedAs::Heartbeat(number));
        }
        match failure {
            Some(failure) => {
                let takes = if failure == SqlFailure::TimedOut {
                    self.parameters.periods.write_deadline
                } else if failure == SqlFailure::Lock {
                    Duration::from_secs(1)
                } else {
                    Duration::ZERO
                };
                if waited >= takes {
                    self.failed_once = true;
                    self.writes_failed += 1;
                    self.write_sent = None;
                    self.next_write = self.now + self.retry_after;
                    self.tell(failed(Some(number), failure));
                }
            }
            None => {
                self.failed_once = false;
                self.write_sent = None;
                self.commit(CountedAs::Heartbeat(number));
                self.tell(Observation::HeartbeatCommitted { number });
                let facts = Facts {
                    server_uuid: self.faults.writer_server.to_string(),
                    read_only: self.faults.read_only,
                    ..Facts::default()
                };
                let (executed, purged) = (Some(self.executed_shown()), Some(GtidSet::new()));
                let read = Executed { number, facts, executed, purged };
                self.tell(Observation::Executed(Box::new(read)));
                self.tell(if self.faults.checkpoint_fails {
                    Observation::CheckpointFailed { error: "No space left on device".to_owned() }
                } else {
                    Observation::CheckpointSaved
                });
            }
        }
    }

    pub(super) fn canaries(&mut self) {
        let works = self.faults.old_sql.is_none() && self.faults.writes.is_none();
        if works && self.now >= self.next_canary && !self.parameters.consumers.is_empty() {
            self.next_canary = self.now + self.parameters.periods.canary_interval;
            self.canary += 1;
            let number = self.canary;
            self.commit(CountedAs::Canary);
            self.publish();
            if self.faults.sns == Sns::Well {
                self.tell(Observation::CanaryOwed { path: None, number });
                for consumer in self.parameters.consumers.clone() {
                    if !self.faults.lost.contains(&&*consumer) {
                        self.unread.push((consumer, number));
                    }
                }
            }
        }
        self.queues();
    }

    /// Reads the echo queues: at once what is there, else each five seconds.
    fn queues(&mut self) {
        for consumer in self.parameters.consumers.clone() {
            let is_hung = self.faults.hung.contains(&&*consumer);
            let fails = is_hung || self.faults.unreadable.contains(&&*consumer);
            let (here, rest): (Vec<_>, Vec<_>) =
                self.unread.drain(..).partition(|(whose, _)| !fails && *whose == consumer);
            self.unread = rest;
            let due = self.read_at.get(&consumer).copied().unwrap_or(self.start);
            if here.is_empty() && self.now < due {
                continue;
            }
            let pause = Duration::from_secs(if is_hung { 8 } else { 5 });
            self.read_at.insert(Arc::clone(&consumer), self.now + pause);
            for (account, number) in here {
                self.tell(Observation::CanaryReturned { account, number });
            }
            self.tell(if fails {
                let message = "HTTP 403: AccessDenied: no".to_owned();
                Observation::EchoFailed { consumer, message }
            } else {
                Observation::EchoRead { consumer }
            });
        }
    }
}

fn failed(number: Option<u64>, reason: SqlFailure) -> Observation {
    Observation::HeartbeatFailed { number, reason, message: reason.words() }
}
