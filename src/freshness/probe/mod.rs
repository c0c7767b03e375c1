//! The consumer's own judge of freshness: it goes by the canaries that reach a queue of its own, and
//! trusts nothing else that the streamer says.
//!
//! Pure: what came and when is told to it. It never asks the source, nor the streamer.
//!
//! A canary message is known by its place (epoch, number) in its stream's lane of canaries. These
//! are contiguous, so what is missing can be named, whatever the streamer believes to have sent.
//!
//! Canaries through a path of the operator's have a lane of their own, and so an account of their own,
//! called `stream/path`. They are counted, but nobody is unwell for want of them unless the account was
//! named: a path comes and goes with the streamer's settings.

mod account;
mod numbers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use account::{Account, Newest};
pub use numbers::{CanaryArrival, Counts, Place};

use super::canary::echo::Canary;
use account::seconds;

/// Streams that are learnt at most: the queue of a probe is subscribed to a few topics.
pub const STREAMS_MAX: usize = 64;

/// What a message of a probe's queue was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A canary of a stream that is watched.
    Canary,
    /// A canary of a stream that is not.
    OtherStream,
    /// Something else that is well formed.
    OtherKind,
    /// Something that could not be opened.
    Malformed,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 4] = [Self::Canary, Self::OtherStream, Self::OtherKind, Self::Malformed];

    /// Lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::OtherStream => "other_stream",
            Self::OtherKind => "other_kind",
            Self::Malformed => "malformed",
        }
    }
}

/// A canary, evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluatedCanary {
    /// What it was.
    pub arrival: CanaryArrival,
    /// From its writing, by the writer's clock, to its arrival, by ours.
    pub transit: Duration,
}

/// What the queue brought, by stream.
#[derive(Debug, Clone)]
pub struct Probe {
    deadline: Duration,
    since: Instant,
    /// Whether streams that were not named are taken up.
    learns: bool,
    /// Whether only the newest canary is seen, as in a copy.
    is_copy: bool,
    accounts: BTreeMap<String, Account>,
    kinds: [u64; Kind::ALL.len()],
    queue: Queue,
}

/// What is known of the queue itself.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// When it was last read.
    pub read: Option<Instant>,
    /// Reads and deletions that failed.
    pub failures: u64,
    /// Why, while the last try failed.
    pub failure: Option<String>,
}

impl Probe {
    /// Awaits canaries of `streams` from `since` on, each within `deadline` of the one before. With
    /// no stream named, of every stream whose canaries come, and of one at least.
    pub fn new(
        streams: impl IntoIterator<Item = String>,
        deadline: Duration,
        since: Instant,
    ) -> Self {
        let account = |stream| (stream, Account::new(since, deadline));
        let accounts: BTreeMap<_, _> = streams.into_iter().map(account).collect();
        Self {
            deadline,
            since,
            learns: accounts.is_empty(),
            is_copy: false,
            accounts,
            kinds: [0; Kind::ALL.len()],
            queue: Queue::default(),
        }
    }

    /// Canaries are those of a copy, which has the newest alone.
    #[must_use]
    pub fn of_copy(mut self) -> Self {
        self.is_copy = true;
        for account in self.accounts.values_mut() {
            account.is_copy = true;
        }
        self
    }

    /// The queue was read.
    pub fn read(&mut self, now: Instant) {
        self.queue.read = Some(now);
        self.queue.failure = None;
    }

    /// The queue could not be read, or messages in it not be deleted.
    pub fn failed(&mut self, message: String) {
        self.queue.failures += 1;
        self.queue.failure = Some(message);
    }

    /// A message came that is no canary.
    pub fn other(&mut self, kind: Kind) {
        self.kinds[kind as usize] += 1;
    }

    /// A canary came, at `now`, which is `wall_us` by our wall clock, microseconds since 1970 UTC.
    /// `None`: of a stream that is not watched.
    pub fn observe(
        &mut self,
        canary: &Canary,
        now: Instant,
        wall_us: i64,
    ) -> Option<EvaluatedCanary> {
        let name = account_name(canary);
        if !self.accounts.contains_key(&*name) {
            if !self.learns || self.accounts.len() >= STREAMS_MAX {
                self.other(Kind::OtherStream);
                return None;
            }
            let mut account = Account::new(now, self.deadline);
            account.is_copy = self.is_copy;
            self.accounts.insert(name.clone().into_owned(), account);
        }
        self.other(Kind::Canary);
        let account = self.accounts.get_mut(&*name)?;
        let (arrival, transit) = account.observe(canary, now, wall_us);
        Some(EvaluatedCanary { arrival, transit })
    }

    /// Counts what is overdue as lost; streams and how many messages of each.
    pub fn expire(&mut self, now: Instant) -> Vec<(String, u64)> {
        let lost = self.accounts.iter_mut().map(|(name, account)| (name, account.expire(now)));
        lost.filter(|(_, lost)| *lost > 0).map(|(name, lost)| (name.clone(), lost)).collect()
    }

    /// The accounts, by stream.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.accounts.iter().map(|(stream, account)| (stream.as_str(), account))
    }

    /// How many messages of this kind came.
    pub fn kind(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize]
    }

    /// What is known of the queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What was missed, a sentence for each stream; nothing while canaries arrive, or are not due
    /// yet.
    pub fn complaints(&self, now: Instant) -> Vec<String> {
        let streams = self.accounts.iter().filter(|(name, _)| !self.learns || !is_path(name));
        let mut found: Vec<String> =
            streams.filter_map(|(stream, account)| account.complaint(stream, now)).collect();
        let waited = now.saturating_duration_since(self.since);
        let has_streams = self.accounts.keys().any(|name| !is_path(name));
        if self.learns && !has_streams && waited > self.deadline {
            found.push(format!(
                "no canary of any stream has arrived in the {} since the probe started, allowed {}",
                seconds(waited),
                seconds(self.deadline)
            ));
        }
        if let (false, Some(failure)) = (found.is_empty(), &self.queue.failure) {
            let last = self.queue.read.map_or_else(
                || "it has never been read".to_owned(),
                |at| format!("it was last read {} ago", seconds(now.saturating_duration_since(at))),
            );
            found.push(format!("{failure}; {last}"));
        }
        found
    }

    /// What is awaited, a sentence for each stream that has sent nothing yet.
    pub fn awaited(&self) -> impl Iterator<Item = String> {
        let silent = self.accounts.iter().filter(|(_, account)| account.newest().is_none());
        silent.map(|(stream, _)| format!("waiting for the first canary of stream {stream}"))
    }
}

/// `stream`, or `stream/path`: neither holds a slash in a message of binpulse's.
pub fn account_name(canary: &Canary) -> Cow<'_, str> {
    match canary.path.as_str() {
        "" => Cow::Borrowed(&canary.stream),
        path => Cow::Owned(format!("{}/{path}", canary.stream)),
    }
}

fn is_path(account: &str) -> bool {
    account.contains('/')
}
