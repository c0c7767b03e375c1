//! The stream's side of the accounting: called for every transaction, so it must cost next to nothing.

use crate::change::{Gtid, GtidSet, Position, TransactionId};

use super::position::Contiguity;
use super::{CountedAs, Counts, Gap, Mark, Span};

/// Holes kept per span; further ones are as bad.
const GAPS_MAX: usize = 16;

/// Gathers what stands between two heartbeats. Lives where the stream is read; only its [`Span`]s
/// travel.
#[derive(Debug, Default)]
pub struct Recorder {
    from: Option<Mark>,
    counts: Counts,
    received: GtidSet,
    /// GTIDs that follow one another, not yet in `received`: most do, and then no set is touched.
    run: Option<(Gtid, u64)>,
    started_with: Option<GtidSet>,
    /// Transactions have GTIDs: they are counted by these, and holes in the file mean nothing, since
    /// servers leave out what a replica has.
    has_gtids: bool,
    gaps: Vec<Gap>,
    contiguity: Contiguity,
}

impl Recorder {
    /// Has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A dump begins: with GTIDs, after all of `set`; else at a position.
    pub fn started(&mut self, set: Option<&GtidSet>, position: Option<&Position>) {
        if let Some(set) = set {
            self.has_gtids = !set.is_empty() || position.is_none();
            self.started_with.get_or_insert_default().union(set);
        }
        if let Some(position) = position {
            self.contiguity.take_up(position);
        }
    }

    /// A dump begins after transactions that are named, on a server whose transactions are not counted
    /// by a set of them (MariaDB): it seeks.
    pub fn sought(&mut self) {
        self.contiguity.seek();
    }

    /// The stream continues in another file. Only after a ROTATE event of the file before.
    pub fn rotated(&mut self, start: &Position) {
        self.contiguity.take_up(start);
    }

    /// An event outside of transactions stands from `start` to `end`. Needed only where transactions
    /// have no GTIDs.
    pub fn passed(&mut self, start: &Position, end: &Position) {
        if self.has_gtids {
            return;
        }
        let gap = self.contiguity.step(start, end);
        self.note(gap);
    }

    /// A transaction is complete. A heartbeat's gives the span that it ends.
    pub fn transaction(
        &mut self,
        id: TransactionId,
        start: &Position,
        end: &Position,
        class: CountedAs,
    ) -> Option<Span> {
        match id {
            TransactionId::Gtid(gtid) => self.receive(gtid),
            TransactionId::Maria(_) | TransactionId::Anonymous => {
                self.contiguity.found();
                self.passed(start, end);
            }
        }
        self.counts.add(class);
        match class {
            CountedAs::Heartbeat(number) => Some(self.close(Mark { number, id, end: end.clone() })),
            CountedAs::User | CountedAs::Filtered | CountedAs::Canary | CountedAs::Lease => None,
        }
    }

    /// An XA transaction was prepared: the server counts it as executed from here on, although its
    /// rows are held until it is decided.
    pub fn prepared(&mut self, id: TransactionId) {
        if let TransactionId::Gtid(gtid) = id {
            self.receive(gtid);
        }
    }

    fn receive(&mut self, gtid: Gtid) {
        self.has_gtids = true;
        match &mut self.run {
            Some((first, next))
                if first.source == gtid.source
                    && first.tag == gtid.tag
                    && *next == gtid.sequence =>
            {
                *next += 1;
            }
            _ => {
                self.flush();
                self.run = Some((gtid, gtid.sequence.saturating_add(1)));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((first, end)) = self.run.take() {
            self.received.insert_range(first.source, first.tag, first.sequence..end);
        }
    }

    fn note(&mut self, gap: Option<Gap>) {
        self.gaps.extend(gap.filter(|_| self.gaps.len() < GAPS_MAX));
    }

    fn close(&mut self, to: Mark) -> Span {
        self.flush();
        Span {
            from: self.from.replace(to.clone()),
            to,
            counts: std::mem::take(&mut self.counts),
            received: std::mem::take(&mut self.received),
            started_with: self.started_with.take(),
            gaps: std::mem::take(&mut self.gaps),
        }
    }
}
