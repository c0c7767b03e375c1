//! The lease on a stream: a row in the source database that says which process has the stream.
//!
//! The holder renews the row; whoever wants the stream watches it, and takes it when it is no longer
//! renewed. The row's `fence` rises with each taking, and each statement of a holder asks for its own:
//! so of two holders only the newer can renew. With the checkpoint in a table the fence is the number
//! of that table's owner too.
//!
//! The decisions are pure: time is an argument. [`table`] has the statements. This part does not know
//! what a stream is.

pub mod table;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// Names the process: a UUID made at its start. Empty: the lease was given up.
    pub instance: String,
    /// Where its pages are, as it was told to listen.
    pub address: String,
    /// Name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Names the locked file of its checkpoint among all files of all machines; empty without one.
    pub place: String,
}

/// The row, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Rises with each taking.
    pub fence: u64,
    /// Rises with each renewal.
    pub renewals: u64,
    /// For how long a renewal holds.
    pub lifetime: Duration,
    /// Time since the last renewal, by the server's clock; `None`: it lies in the future.
    pub age: Option<Duration>,
    /// When it was taken, by the server's clock, as text.
    pub since: String,
    /// Who took it.
    pub holder: Holder,
}

impl Row {
    /// Whether its holder has given it up.
    pub fn is_given_up(&self) -> bool {
        self.holder.instance.is_empty()
    }
}

/// What a look at the row comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It may be taken.
    Free,
    /// It is renewed again and again.
    Renewed,
    /// Not known yet: look again.
    Waits,
}

/// Lifetimes without a renewal after which a newcomer takes the lease.
pub const NEWCOMER_WAITS: u32 = 2;

/// Watches a lease that another process may hold.
#[derive(Debug)]
pub struct Watch {
    lifetimes: u32,
    trusts_age: bool,
    /// Fence and renewals as seen last, and when they were first seen so.
    seen: Option<(u64, u64, Instant)>,
    /// When the first change of them was seen.
    changed: Option<Instant>,
}

impl Watch {
    /// For a process that starts, and does not expect another. It believes the age that the server
    /// tells, so that a restart long after a crash waits for nothing.
    pub fn newcomer() -> Self {
        Self { lifetimes: NEWCOMER_WAITS, trusts_age: true, seen: None, changed: None }
    }

    /// For a standby. It believes its own clock alone: one lifetime without a renewal, since it saw the last.
    pub fn standby() -> Self {
        Self { lifetimes: 1, trusts_age: false, seen: None, changed: None }
    }

    /// When the renewal that was seen last was first seen; `None`: nobody has the lease.
    pub fn seen_since(&self) -> Option<Instant> {
        self.seen.map(|(_, _, since)| since)
    }

    /// From when whoever takes the lease now, as it was looked at last, may publish. A holder that was not
    /// heard of begins no request after a lifetime, and `request` after that each has ended.
    pub fn publishes_from(&self, row: Option<&Row>, request: Duration, now: Instant) -> Instant {
        let held = row.filter(|row| !row.is_given_up());
        let ended = held.zip(self.seen_since());
        ended.map_or(now, |(row, since)| since + row.lifetime + request)
    }

    /// A look that was asked for at `asked` and answered at `answered`.
    pub fn look(&mut self, row: Option<&Row>, asked: Instant, answered: Instant) -> Look {
        let Some(row) = row.filter(|row| !row.is_given_up()) else {
            self.seen = None;
            return Look::Free;
        };
        let since = match self.seen {
            Some((fence, renewals, since)) if (fence, renewals) == (row.fence, row.renewals) => {
                since
            }
            before => {
                self.seen = Some((row.fence, row.renewals, answered));
                if before.is_some() {
                    // What a holder sent before it died may be done long after, where commits wait:
                    // one renewal is no sign of life, renewals that go on are.
                    let first = *self.changed.get_or_insert(answered);
                    let goes_on = answered.saturating_duration_since(first) >= row.lifetime / 2;
                    return if goes_on { Look::Renewed } else { Look::Waits };
                }
                answered
            }
        };
        let patience = row.lifetime.saturating_mul(self.lifetimes);
        let is_old = self.trusts_age && row.age.is_some_and(|age| age >= patience);
        if is_old || asked.saturating_duration_since(since) >= patience {
            Look::Free
        } else {
            Look::Waits
        }
    }
}

/// What a holder does whose renewal changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrenewed {
    /// The row is older than what is held, or not there: the server was replaced by one that lacks the
    /// last writes. It is written again.
    WentBack,
    /// Another process holds it.
    Lost,
}

impl Unrenewed {
    /// Decides by the row that is there instead.
    pub fn of(row: Option<&Row>, fence: u64) -> Self {
        match row {
            Some(row) if row.fence >= fence => Self::Lost,
            Some(_) | None => Self::WentBack,
        }
    }
}
