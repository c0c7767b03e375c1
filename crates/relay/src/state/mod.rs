//! What a route must not forget.
//!
//! One record for each lane, and the parked rows. A store changes a record only for the holder of
//! the lane's lease, told by its fence: a process that was paused and wakes up changes nothing.
//!
//! [`Store`] is a file of one process (`file`), tables in MySQL or MariaDB (`mysql`), or keys in
//! Redis (`redis`). All three follow the rules of leases that `lease` states, each by the clock
//! of the store. A store that fails keeps no broken connection: the next call connects again. Each
//! call ends within [`DEADLINE`].
//!
//! A target that is a database keeps its lanes itself, in the transaction that writes the rows; it
//! has no store here.

mod file;
mod lease;
mod mysql;
mod redis;
#[cfg(test)]
mod two_relays;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lane::LaneKey;

/// How far a lane is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// The smallest number that is neither delivered, nor parked, nor given up.
    pub next: u64,
    /// Delivered or parked from `next` on: ascending, disjoint, both ends included.
    pub done: Vec<(u64, u64)>,
    /// Rows that the source holds back, and that may still come: first and last number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<(u64, u64)>,
    /// Number of the row that the lane began with, where earlier ones had not come in time; else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub began: u64,
    /// Requests under way. Written before the first attempt, so that after a crash the same rows go
    /// out under the same id.
    pub sending: Vec<Sending>,
    /// Keys of which a row is parked: later rows of such a key are parked behind it.
    pub parked_keys: Vec<String>,
    /// Attempt of the snapshot parts that `part_next` counts.
    #[serde(default)]
    pub part_attempt: u32,
    /// The rows of the lane's snapshot parts that are delivered: the smallest number that is not.
    pub part_next: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A request under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Number of its first row.
    pub first: u64,
    /// Number of its last row.
    pub last: u64,
    /// Attempts that failed.
    pub attempts: u32,
}

/// Rows that could not be delivered, kept for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The request's id, see [`Request::id`](crate::target::Request::id).
    pub id: String,
    /// Lane of the rows; `None` for a message that could not be opened.
    pub lane: Option<LaneKey>,
    /// Number of the first row.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
    /// Keys of the rows, before and after, where order is kept by key: the one that the request is
    /// grouped by first.
    pub keys: Vec<String>,
    /// The request's body, or the message's where it could not be opened.
    pub body: Vec<u8>,
    /// Media type of the body.
    pub content_type: String,
    /// Why it is here.
    pub reason: Reason,
    /// Attempts that failed.
    pub attempts: u32,
    /// The target's last answer, cut: a status and the beginning of its text, or an error.
    pub answer: String,
    /// When it was parked, microseconds since 1970 UTC.
    pub parked_at_us: i64,
}

/// Why rows are parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The target refused each attempt.
    Refused,
    /// An earlier row of the same key is parked.
    Behind,
    /// The message is none of binpulse's, damaged, or of a version that is not known.
    Unreadable,
    /// The rows don't fit into a request.
    TooLarge,
    /// The rows came after their lane had begun behind them.
    Late,
}

impl Reason {
    /// Its name, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Behind => "behind",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Late => "late",
        }
    }

    /// The way back.
    pub fn read(name: &str) -> Option<Self> {
        let all = [Self::Refused, Self::Behind, Self::Unreadable, Self::TooLarge, Self::Late];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A lane's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is the caller's until the time to live ends or it is renewed.
    Leased {
        /// Rises with each holder; named with each change.
        fence: u64,
        /// The lane as it was saved last; the default for an unknown one, whose `next` is 0.
        record: LaneRecord,
    },
    /// Another process holds it.
    Held {
        /// That process.
        owner: String,
    },
}

/// A change of one lane. All that a store is given together is saved together, or nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// The lane.
    pub lane: LaneKey,
    /// The lease's fence.
    pub fence: u64,
    /// What stands for the lane from now on.
    pub record: LaneRecord,
    /// Rows that are parked with it. An id that is there already stays as it is.
    pub park: Vec<Parked>,
    /// Parked rows that were tried again in vain: they stand as given, where they stood, and wait for
    /// an operator again. An id that is not there stays so.
    pub put_back: Vec<Parked>,
    /// Ids of parked rows that were delivered after all.
    pub unpark: Vec<String>,
}

/// A lease that the caller holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lane.
    pub lane: LaneKey,
    /// From [`Acquired::Leased`].
    pub fence: u64,
}

/// Which parked rows; all for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Only the row with this id.
    pub id: Option<String>,
    /// Only rows of this lane.
    pub lane: Option<LaneKey>,
    /// Only requests with rows of one of these keys; empty: of all.
    pub keys: Vec<String>,
    /// Only requests that stand before this number.
    pub before: Option<u64>,
    /// Only rows that are here for this reason.
    pub reason: Option<Reason>,
    /// Only rows that an operator wants to be tried again, or only others.
    pub to_retry: Option<bool>,
}

/// A parked row as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEntry {
    /// Rises in the order in which rows were parked: later rows of a key stand behind earlier ones.
    pub number: u64,
    /// Whether an operator wants it to be tried again, see [`Store::retry`].
    pub to_retry: bool,
    /// The row.
    pub parked: Parked,
}

/// A lane as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// The lane.
    pub lane: LaneKey,
    /// Who holds its lease, unless it ended.
    pub owner: Option<String>,
    /// How far it is delivered.
    pub record: LaneRecord,
}

/// A store failed, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Can't be reached, or broke off: tried again.
    #[error("relay.state {place}: {message}")]
    Unavailable {
        /// The store, without secrets.
        place: String,
        /// What happened.
        message: String,
    },
    /// Is not fit: an operator is needed.
    #[error("relay.state {place}: found {found}, needed {needed}: {remedy}")]
    Unfit {
        /// The store, without secrets.
        place: String,
        /// What was found.
        found: String,
        /// What is needed.
        needed: String,
        /// What to do.
        remedy: String,
    },
}

impl StateError {
    fn unavailable(place: &str, message: impl std::fmt::Display) -> Self {
        let message = binpulse_core::excerpt::excerpt(&message.to_string());
        Self::Unavailable { place: place.to_owned(), message }
    }

    fn unfit(place: &str, found: impl Into<String>, needed: &str, remedy: &str) -> Self {
        let (needed, remedy) = (needed.to_owned(), remedy.to_owned());
        Self::Unfit { place: place.to_owned(), found: found.into(), needed, remedy }
    }
}

/// Most time that a call takes, connecting included.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Most characters of a route's name.
const ROUTE_CHARACTERS_MAX: usize = 64;
/// Most rows that one call of [`Store::parked`] returns.
pub const PARKED_ROWS_MAX: usize = 1_000;
/// Bytes of bodies with which an answer of [`Store::parked`] ends: at least one row, then as many as fit.
pub const PARKED_BYTES_MAX: usize = 8 << 20;

/// A store, open. Cheap to share by reference; calls may overlap.
#[derive(Debug)]
pub enum Store {
    /// One file, of one process.
    File(file::FileStore),
    /// Two tables.
    Mysql(mysql::MysqlStore),
    /// Keys with one hash tag.
    Redis(Box<redis::RedisStore>),
}

/// The same call of whichever store it is.
macro_rules! each {
    ($store:expr, $inner:ident => $call:expr) => {
        match $store {
            Self::File($inner) => $call,
            Self::Mysql($inner) => $call,
            Self::Redis($inner) => $call,
        }
    };
}

impl Store {
    /// Opens the store of `relay.state` for the route of this name, and makes what is missing.
    pub async fn open(url: &str, route: &str) -> Result<Self, StateError> {
        let fits = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        if route.is_empty() || route.len() > ROUTE_CHARACTERS_MAX || !route.chars().all(fits) {
            let found = format!("the route's name `{}`", binpulse_core::excerpt::excerpt(route));
            let needed = "1 to 64 letters, digits, `_`, `-` or `.`";
            return Err(StateError::unfit("(any)", found, needed, "change relay.name"));
        }
        match url.split_once(':') {
            Some(("file", path)) => file::FileStore::open(path, route).await.map(Self::File),
            Some(("mysql", _)) => mysql::MysqlStore::open(url, route).await.map(Self::Mysql),
            Some(("redis" | "rediss", _)) => {
                redis::RedisStore::open(url, route).await.map(|store| Self::Redis(Box::new(store)))
            }
            // What stands there may hold a password.
            _ => Err(StateError::unfit(
                "(unknown)",
                "an address of another kind",
                "file:/PATH, mysql://USER:PASSWORD@HOST/DATABASE or redis://HOST/",
                "change relay.state",
            )),
        }
    }

    /// Takes the lease of a lane, if nobody else holds it. The owner's own lease is taken again, with
    /// a new fence: give each process a name of its own.
    pub async fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> Result<Acquired, StateError> {
        each!(self, store => store.acquire(lane, owner, ttl).await)
    }

    /// Prolongs leases; returns the lanes that were lost to others. A lease that ended and that nobody
    /// took is prolonged.
    pub async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<LaneKey>, StateError> {
        each!(self, store => store.renew(leases, ttl).await)
    }

    /// Gives leases back. Those lost to others are passed over.
    pub async fn release(&self, leases: &[Lease]) -> Result<(), StateError> {
        each!(self, store => store.release(leases).await)
    }

    /// Saves lanes that are the caller's, all or none; returns the others, of which nothing was saved.
    /// Saving the same once more changes nothing, so a save whose answer was lost is repeated.
    pub async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        each!(self, store => store.save(saves).await)
    }

    /// Parks what belongs to no lane. An id that is there already stays as it is.
    pub async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        each!(self, store => store.park(parked).await)
    }

    /// Parked rows with numbers above `after`, in the order of their numbers: `limit` at most, fewer
    /// where bodies are large ([`PARKED_BYTES_MAX`]), none if there are no more.
    pub async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        let limit = limit.min(PARKED_ROWS_MAX);
        each!(self, store => store.parked(filter, after, limit).await)
    }

    /// How many rows are parked.
    pub async fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        each!(self, store => store.parked_count(filter).await)
    }

    /// Notes that an operator wants these parked rows to be tried again; returns how many are there.
    pub async fn retry(&self, ids: &[String]) -> Result<u64, StateError> {
        each!(self, store => store.retry(ids).await)
    }

    /// Removes parked rows, whoever holds their lanes; returns how many were there.
    pub async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        each!(self, store => store.unpark(ids).await)
    }

    /// All lanes of the route.
    pub async fn lanes(&self) -> Result<Vec<LaneStatus>, StateError> {
        each!(self, store => store.lanes().await)
    }
}

impl ParkedFilter {
    /// Whether a row is meant, all but the id.
    fn admits(&self, number: u64, header: &ParkedHeader, to_retry: bool) -> bool {
        self.lane.as_ref().is_none_or(|lane| header.lane.as_ref() == Some(lane))
            && (self.keys.is_empty() || header.keys.iter().any(|key| self.keys.contains(key)))
            && self.before.is_none_or(|before| number < before)
            && self.reason.is_none_or(|reason| header.reason == reason)
            && self.to_retry.is_none_or(|wanted| wanted == to_retry)
    }
}

/// A parked row without its body, as the file and Redis keep it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ParkedHeader {
    id: String,
    lane: Option<LaneKey>,
    first: u64,
    last: u64,
    keys: Vec<String>,
    content_type: String,
    reason: Reason,
    attempts: u32,
    answer: String,
    parked_at_us: i64,
}

impl ParkedHeader {
    fn of(parked: &Parked) -> Self {
        Self {
            id: parked.id.clone(),
            lane: parked.lane.clone(),
            first: parked.first,
            last: parked.last,
            keys: parked.keys.clone(),
            content_type: parked.content_type.clone(),
            reason: parked.reason,
            attempts: parked.attempts,
            answer: parked.answer.clone(),
            parked_at_us: parked.parked_at_us,
        }
    }

    fn with_body(self, body: Vec<u8>) -> Parked {
        Parked {
            id: self.id,
            lane: self.lane,
            first: self.first,
            last: self.last,
            keys: self.keys,
            body,
            content_type: self.content_type,
            reason: self.reason,
            attempts: self.attempts,
            answer: self.answer,
            parked_at_us: self.parked_at_us,
        }
    }
}

/// What a store keeps as JSON.
fn to_json<T: Serialize>(place: &str, value: &T) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|error| StateError::unavailable(place, error))
}

/// The way back. What can't be read is no record of ours.
fn from_json<'a, T: Deserialize<'a>>(
    place: &str,
    what: impl std::fmt::Display,
    json: &'a [u8],
) -> Result<T, StateError> {
    serde_json::from_slice(json).map_err(|error| {
        let found = format!("{what}, which cannot be read ({error})");
        let remedy = "repair or remove it, or give relay.name a new value";
        StateError::unfit(place, found, "a record that a relay of this version wrote", remedy)
    })
}
