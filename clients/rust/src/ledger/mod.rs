//! Which rows come next, which came before, which are missing.
//!
//! The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order,
//! and some may be lost. A [`Lane`] decides for each message: *skip* it, *go* and apply it, or *wait*;
//! and it names a *gap* once it is certain, or has lasted for long enough, that rows do not come. A
//! [`Ledger`] has the lanes of a consumer, and a [`Store`] keeps them over a restart: a SQL database (see
//! [`Sql`]), or Redis.
//!
//! ```
//! # use std::time::Duration;
//! use binpulse_client::ledger::{Ledger, Next, Store};
//! # use binpulse_client::proto::ChangeBatch;
//!
//! /// Applies the rows of a message once; says whether it may be deleted.
//! async fn take<S: Store>(
//!     ledger: &mut Ledger,
//!     db: &mut S,
//!     batch: &ChangeBatch,
//!     now: Duration, // since any fixed moment
//! ) -> Result<bool, S::Error> {
//!     loop {
//!         match ledger.next(db, batch, now).await? {
//!             Next::Skip => return Ok(true),
//!             Next::Wait => return Ok(false),
//!             Next::Apply(change) => {
//!                 // In a SQL database: begin a transaction, and `save` to it.
//!                 for row in batch.rows().skip(change.skip()).take(change.take()) {
//!                     println!("{}", row.number());
//!                 }
//!                 db.save(&change).await?;
//!                 // Commit it. What is not given back is forgotten, and loaded again.
//!                 ledger.saved(*change);
//!             }
//!         }
//!     }
//! }
//! ```

mod lane;
#[cfg(feature = "mysql")]
mod mysql;
mod sql;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

pub use lane::{Decision, Gap, Lane, Waits};
pub use sql::{Answer, CREATE_TABLE, Sql, SqlValue};

use crate::proto::{Canary, ChangeBatch, Source, Suppressed};

/// A lane of one epoch of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneName {
    /// Name of the stream.
    pub stream: String,
    /// The stream's epoch: numbers begin anew with each.
    pub epoch: u64,
    /// The lane, `database.table#number`.
    pub lane: String,
}

impl LaneName {
    /// The lane of a batch, or of what is suppressed.
    pub fn new(source: Option<&Source>, lane: &str) -> Self {
        let (stream, epoch) = source.map_or(("", 0), |source| (&*source.stream, source.epoch));
        Self { stream: stream.to_owned(), epoch, lane: lane.to_owned() }
    }
}

/// What a store keeps of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The number that is expected; `None`: not known yet.
    pub next: Option<u64>,
    /// Rows that are suppressed and have not come: first and last number.
    pub suppressed: Vec<(u64, u64)>,
}

impl State {
    fn of(lane: &Lane) -> Self {
        Self { next: lane.next(), suppressed: lane.suppressed_rows().collect() }
    }

    fn lane(&self, waits: Waits, now: Duration) -> Lane {
        let mut lane = match self.next {
            Some(next) => Lane::resume(next, waits, now),
            None => Lane::new(waits, now),
        };
        for (first, last) in &self.suppressed {
            lane.resume_suppressed(*first, *last, now);
        }
        lane
    }
}

/// A change of a lane, to be stored in the transaction of its rows' effect and then given to
/// [`Ledger::saved`].
#[derive(Debug)]
pub struct Change {
    /// The lane.
    pub lane: LaneName,
    /// What the store has; `None`: nothing yet.
    pub before: Option<State>,
    /// What it is to have.
    pub after: State,
    /// Rows to apply: how many stand before them, and how many they are.
    rows: (u64, u64),
    changed: Lane,
}

impl Change {
    fn new(lane: LaneName, before: Option<State>, changed: Lane) -> Self {
        Self { lane, before, after: State::of(&changed), rows: (0, 0), changed }
    }

    /// How many rows of the batch stand before those that are to be applied.
    pub fn skip(&self) -> usize {
        usize::try_from(self.rows.0).unwrap_or(usize::MAX)
    }

    /// How many rows are to be applied.
    pub fn take(&self) -> usize {
        usize::try_from(self.rows.1).unwrap_or(usize::MAX)
    }
}

/// What to do with a message that has arrived.
#[derive(Debug)]
pub enum Next {
    /// Apply these of its rows, save the change in the same transaction, and ask again.
    Apply(Box<Change>),
    /// All its rows are applied: delete it.
    Skip,
    /// Rows before it have not come: keep it, and ask again when something has changed.
    Wait,
}

/// Where the numbers of lanes are kept.
pub trait Store {
    /// Why a call failed.
    type Error;

    /// The state of a lane; `None` where the store does not have it.
    fn load(
        &mut self,
        lane: &LaneName,
    ) -> impl Future<Output = Result<Option<State>, Self::Error>> + Send;

    /// Stores a change, if the lane is as it was before; else fails: another process has changed it.
    fn save(&mut self, change: &Change) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError<E> {
    /// The driver's error. A lane that two processes meet at the same time is one too: its row is there.
    #[error("{0}")]
    Driver(#[from] E),
    /// Another process has changed the lane: undo the transaction, and take the message again.
    #[error("another process has changed the lane {0}")]
    Conflict(String),
    /// What the store has of the lane was not written by this library, or a number has more than 63 bits.
    #[error("the state of the lane {0} can't be read or written")]
    State(String),
}

/// The lanes of a consumer. It asks the store for each lane that it meets.
#[derive(Debug, Default)]
pub struct Ledger {
    waits: Waits,
    /// With what the store has of each.
    lanes: HashMap<LaneName, (Lane, Option<State>)>,
}

impl Ledger {
    /// No lane is known.
    pub fn new(waits: Waits) -> Self {
        Self { waits, lanes: HashMap::new() }
    }

    /// Rows of a batch have arrived. A change that is not given back to [`Ledger::saved`] is forgotten, and
    /// its lane is loaded again: after an error, take the message again.
    pub async fn next<S: Store>(
        &mut self,
        store: &mut S,
        batch: &ChangeBatch,
        now: Duration,
    ) -> Result<Next, S::Error> {
        let (first, count) = (batch.sequence_first, batch.rows.len() as u64);
        let name = LaneName::new(batch.source.as_ref(), &batch.lane);
        let (mut lane, before) = self.remove(store, &name, now).await?;
        let (skip, take) = match lane.offer(first, count, now) {
            Decision::Go { skip } => (skip, count - skip),
            Decision::Late { skip, take } => (skip, take),
            decision @ (Decision::Skip | Decision::Wait) => {
                self.lanes.insert(name, (lane, before));
                return Ok(if decision == Decision::Skip { Next::Skip } else { Next::Wait });
            }
        };
        lane.applied_late(first + skip, take);
        lane.applied(first + skip + take, now);
        let rows = (skip, take);
        Ok(Next::Apply(Box::new(Change { rows, ..Change::new(name, before, lane) })))
    }

    /// A message of kind `suppressed`: save the change, and give it to [`Ledger::saved`].
    pub async fn suppressed<S: Store>(
        &mut self,
        store: &mut S,
        message: &Suppressed,
        now: Duration,
    ) -> Result<Change, S::Error> {
        let name = LaneName::new(message.source.as_ref(), &message.lane);
        let (mut lane, before) = self.remove(store, &name, now).await?;
        let first = message.sequence_first;
        lane.suppressed(first, first.saturating_add(message.count).saturating_sub(1), now);
        Ok(Change::new(name, before, lane))
    }

    /// Goes on without the rows of a gap: save the change, and give it to [`Ledger::saved`].
    pub async fn give_up<S: Store>(
        &mut self,
        store: &mut S,
        name: LaneName,
        gap: Gap,
        now: Duration,
    ) -> Result<Change, S::Error> {
        let (mut lane, before) = self.remove(store, &name, now).await?;
        lane.absent(gap, now);
        Ok(Change::new(name, before, lane))
    }

    /// The store has the change.
    pub fn saved(&mut self, change: Change) {
        self.lanes.insert(change.lane, (change.changed, Some(change.after)));
    }

    /// A canary has arrived: what it says of lanes that are known.
    pub fn watermark(&mut self, canary: &Canary, now: Duration) {
        let source = canary.batch.as_ref().and_then(|batch| batch.source.as_ref());
        for mark in canary.watermark.iter().flat_map(|watermark| &watermark.lanes) {
            let name = LaneName { epoch: mark.epoch, ..LaneName::new(source, &mark.lane) };
            if let Some((lane, _)) = self.lanes.get_mut(&name) {
                lane.watermark(mark.sequence_next, now);
            }
        }
    }

    /// All lanes with a gap that is due.
    pub fn gaps(&mut self, now: Duration) -> Vec<(LaneName, Gap)> {
        let gap = |(name, (lane, _)): (&LaneName, &mut (Lane, _))| {
            Some((name.clone(), lane.missing(now)?))
        };
        self.lanes.iter_mut().filter_map(gap).collect()
    }

    /// The lane: known, of the store, or new.
    async fn remove<S: Store>(
        &mut self,
        store: &mut S,
        name: &LaneName,
        now: Duration,
    ) -> Result<(Lane, Option<State>), S::Error> {
        if let Some(known) = self.lanes.remove(name) {
            return Ok(known);
        }
        let stored = store.load(name).await?;
        Ok((stored.clone().unwrap_or_default().lane(self.waits, now), stored))
    }
}

/// Runs of numbers as text, as stores keep them: `4-7,9-12`.
pub(crate) fn text(ranges: &[(u64, u64)]) -> String {
    let ranges: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    ranges.join(",")
}

/// The state with this number (0: not known) and these runs.
pub(crate) fn state(next: u64, ranges: &str) -> Option<State> {
    let pairs = ranges.split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (first, last) = pair.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Some(State {
        next: Some(next).filter(|next| *next > 0),
        suppressed: pairs.map(pair).collect::<Option<_>>()?,
    })
}
