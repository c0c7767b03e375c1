//! The quiet certificate: every transaction between two heartbeats, accounted for. What the source had
//! executed is compared with what the stream received by [`Accounting::arrived`].
//!
//! # With GTIDs: why the comparison is exact
//!
//! Transactions commit concurrently, so neither "executed between two heartbeats" nor "seen between
//! two heartbeats" is a set that both sides can name exactly. What is exact is this. Let `E(n)` be
//! `@@gtid_executed`, read in the writer's session after heartbeat n's commit was answered and
//! before any later heartbeat's write was sent. Let `R(m)` be all that the stream was started with
//! or has delivered up to and including heartbeat m. Then for n < m:
//!
//! > every GTID of `E(n)` must be in `R(m)`.
//!
//! For a GTID enters `gtid_executed` only after its transaction was flushed to the binary log;
//! heartbeat m is flushed after its write was sent, hence after `E(n)` was read; and the stream
//! delivers in the order of the log. So each transaction of `E(n)` stands before heartbeat m, on
//! whatever connection it committed and however commits were ordered (also with
//! `binlog_order_commits=OFF`). What is in `E(n)` and not in `R(m)` was lost: never a false alarm.
//! GTIDs in `@@gtid_purged` are left out: they are in no log that could be sent (a server that
//! purges what we lack is a lost position, which is evaluated elsewhere).
//!
//! Nothing lost is overlooked either: what stands before heartbeat n in the log was committed, in
//! log order, when heartbeat n's commit was answered, so it is in `E(n)`; with
//! `binlog_order_commits=OFF` it may enter a later `E`, and is then found one heartbeat later.
//!
//! Hence the interval from heartbeat n to n+1 is certified when heartbeat n+2 arrives: by then
//! `E(n+1)`, which covers it, has been compared. If an answer is missing (a write that timed out),
//! the next `E` certifies both intervals. Numbers are compared, not neighbours: an abandoned write
//! that commits late and out of order was sent after the reads of all smaller numbers, so the
//! argument holds for it too.
//!
//! # Without GTIDs
//!
//! Each event group's start must equal the end of what was before it in the file. A hole is counted
//! in bytes. Positions must come from the events (`log_pos`), not from summing what was received, or
//! a hole can't show. The interval is certified as soon as its second heartbeat arrives.

mod position;
mod recorder;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use crate::change::{GtidSet, Position, TransactionId};

pub use position::Gap;
pub use recorder::Recorder;

/// What a transaction was, as far as we are concerned. One with a user's row that is published is
/// the user's, whatever else is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountedAs {
    /// At least one row that is published.
    User,
    /// Nothing that is published: filtered tables, or no rows at all.
    Filtered,
    /// Our heartbeat row of that number.
    Heartbeat(u64),
    /// Our canary rows.
    Canary,
    /// A renewal of a lease: counted among our heartbeats, but none that a span ends with.
    Lease,
}

/// Transactions by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Users', with rows that are published.
    pub user: u64,
    /// Without anything that is published.
    pub filtered: u64,
    /// Our heartbeats, and renewals of leases.
    pub heartbeat: u64,
    /// Our canaries.
    pub canary: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, class: CountedAs) {
        match class {
            CountedAs::User => self.user += 1,
            CountedAs::Filtered => self.filtered += 1,
            CountedAs::Heartbeat(_) | CountedAs::Lease => self.heartbeat += 1,
            CountedAs::Canary => self.canary += 1,
        }
    }
}

/// A heartbeat's place on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its counter.
    pub number: u64,
    /// Its transaction's identity.
    pub id: TransactionId,
    /// Where its transaction ends.
    pub end: Position,
}

/// What the stream carried after one heartbeat, up to and including the next.
#[derive(Debug, Clone)]
pub struct Span {
    /// The heartbeat before; `None` for the first since start.
    pub from: Option<Mark>,
    /// The heartbeat that ends it.
    pub to: Mark,
    /// Transactions of it, that last heartbeat included.
    pub counts: Counts,
    /// Their GTIDs.
    pub received: GtidSet,
    /// What the stream was started with, if it was started within the span: all this was received
    /// before, or is not wanted.
    pub started_with: Option<GtidSet>,
    /// Holes in the file, where transactions have no GTIDs.
    pub gaps: Vec<Gap>,
}

/// Transactions that the source has and the stream did not bring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unaccounted {
    /// With GTIDs.
    pub gtids: GtidSet,
    /// Without.
    pub gaps: Vec<Gap>,
}

impl Unaccounted {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.gtids.is_empty() && self.gaps.is_empty()
    }
}

impl fmt::Display for Unaccounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let gaps = self.gaps.iter().map(ToString::to_string);
        let gtids = (!self.gtids.is_empty()).then(|| self.gtids.to_string());
        f.write_str(&gtids.into_iter().chain(gaps).collect::<Vec<_>>().join(", "))
    }
}

/// The quiet certificate: proof of what stood between two heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The heartbeat before.
    pub from: Mark,
    /// The heartbeat that ends it.
    pub to: Mark,
    /// Transactions after `from`, up to and including `to`.
    pub counts: Counts,
    /// What is missing. With GTIDs: of all that the source had executed when it was evaluated.
    pub unaccounted: Unaccounted,
    /// When it was evaluated.
    pub evaluated_at: Instant,
    /// What the source had executed when `from`'s commit was answered, and when `to`'s was; `None`
    /// without GTIDs, and where it was not read.
    pub executed: [Option<GtidSet>; 2],
}

/// Spans that wait for their evaluation; more means that the writer's answers are missing for long.
const SPANS_MAX: usize = 64;

/// What was read after a heartbeat's commit.
#[derive(Debug, Clone)]
struct Executed {
    /// The heartbeat.
    number: u64,
    /// Everything.
    all: GtidSet,
    /// Without what is in no log any more.
    sendable: GtidSet,
}

/// Matches what the writer read with what the stream brought.
#[derive(Debug, Default)]
pub struct Accounting {
    received: GtidSet,
    /// What was read after each commit, by heartbeat, oldest first.
    executed: VecDeque<Executed>,
    /// The last of them that was compared, and the one before it.
    compared: [Option<Executed>; 2],
    waiting: VecDeque<Span>,
    /// Already reported, so that each missing transaction counts once.
    reported: GtidSet,
    /// What was reported, and may lie in a span that is not yet certified: one that begins before the
    /// heartbeat after whose commit it was found to be missing. A loss is found when a heartbeat comes
    /// again, and the span that this one ends is certified only by the next.
    lost: (GtidSet, u64),
    certificate: Option<Certificate>,
    unaccounted_total: u64,
    /// Whether it is known what the stream was started after. If not (a start by file and offset
    /// on a server with GTIDs), all that the first comparison finds is taken to be from before.
    based: bool,
}

impl Accounting {
    /// Takes what was read in the writer's session right after heartbeat `number`'s commit.
    pub fn committed(&mut self, number: u64, executed: Option<&GtidSet>, purged: Option<&GtidSet>) {
        let Some(executed) = executed else { return };
        let sendable = purged.map_or_else(|| executed.clone(), |purged| executed.subtract(purged));
        if self.executed.len() == SPANS_MAX {
            self.executed.pop_front();
        }
        self.executed.push_back(Executed { number, all: executed.clone(), sendable });
    }

    /// Takes what arrived with a heartbeat, and judges what can be judged now.
    pub fn arrived(&mut self, at: Instant, span: Span) {
        if let Some(start) = &span.started_with {
            self.received.union(start);
            self.based = true;
        }
        self.received.union(&span.received);
        let arrived = span.to.number;
        let by_position = matches!(span.to.id, TransactionId::Anonymous | TransactionId::Maria(_));
        if self.waiting.len() == SPANS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(span);
        if by_position {
            self.certify(at, u64::MAX);
            return;
        }

        // The newest of those read before this heartbeat was written covers the older ones.
        let mut compared = None;
        while self.executed.front().is_some_and(|read| read.number < arrived) {
            compared = self.executed.pop_front();
            let [last, before] = &mut self.compared;
            *before = std::mem::replace(last, compared.clone());
        }
        let Some(Executed { number: covered, all, sendable: executed }) = compared else { return };
        if !std::mem::replace(&mut self.based, true) {
            // What was purged by then as well: it lies before the file that the stream began in.
            self.received.union(&all);
        }
        let missing = executed.subtract(&self.received);
        self.reported = self.reported.subtract(&self.received);
        let news = missing.subtract(&self.reported);
        self.unaccounted_total =
            self.unaccounted_total.saturating_add(u64::try_from(news.count()).unwrap_or(u64::MAX));
        self.reported.union(&news);
        let (lost, found) = &mut self.lost;
        *lost = lost.subtract(&self.received);
        if !news.is_empty() {
            lost.union(&news);
            *found = covered;
        }
        self.certify(at, covered);
    }

    /// Certifies the spans that end at or before heartbeat `covered`.
    fn certify(&mut self, at: Instant, covered: u64) {
        while self.waiting.front().is_some_and(|span| span.to.number <= covered) {
            let Some(span) = self.waiting.pop_front() else { return };
            self.unaccounted_total = self.unaccounted_total.saturating_add(span.gaps.len() as u64);
            let Some(from) = span.from else { continue };
            if from.number >= self.lost.1 {
                self.lost.0 = GtidSet::new();
            }
            let read = |number| {
                let found = self.compared.iter().flatten().find(|read| read.number == number);
                found.map(|read| read.all.clone())
            };
            self.certificate = Some(Certificate {
                executed: [read(from.number), read(span.to.number)],
                from,
                to: span.to,
                counts: span.counts,
                unaccounted: Unaccounted { gtids: self.lost.0.clone(), gaps: span.gaps },
                evaluated_at: at,
            });
        }
    }

    /// The newest certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Transactions and holes found missing since start; each counts once.
    pub fn unaccounted_total(&self) -> u64 {
        self.unaccounted_total
    }

    /// All that was received, or that the stream was started after.
    pub fn received(&self) -> &GtidSet {
        &self.received
    }

    /// The same, once it is known what the stream was started after.
    pub fn known(&self) -> Option<&GtidSet> {
        self.based.then_some(&self.received)
    }
}
