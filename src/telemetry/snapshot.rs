//! How far a snapshot has got, as `/status`, the page and the commands show it.

use serde::{Deserialize, Serialize};

/// The newest snapshot of this stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Its id, a ULID.
    pub id: String,
    /// Where it stands.
    pub state: SnapshotState,
    /// What it waits for right now, if it waits.
    pub waits_for: Option<SnapshotWait>,
    /// Why it was refused, stopped or is stalled, in words.
    pub reason: Option<String>,
    /// Subscribers that the parts are for (the attribute `replay`); `None`: all.
    pub audience: Option<String>,
    /// It publishes digests of rows, for whoever has a copy to compare, and no rows.
    #[serde(default)]
    pub verifies: bool,
    /// When it was asked for, microseconds since 1970 UTC.
    pub started_at_us: i64,
    /// When its last chunk was published, microseconds since 1970 UTC; `None` before the first.
    pub newest_chunk_at_us: Option<i64>,
    /// For how long it has published no chunk, seconds; only if that is long, and it runs and does not
    /// wait for its turn by a limit of rows a second.
    #[serde(default)]
    pub stalled_seconds: Option<f64>,
    /// Rows that were published.
    pub rows: u64,
    /// Rows a second, over the last half minute.
    pub rows_per_second: f64,
    /// About how long it still takes, seconds; `None` while nobody can tell.
    pub seconds_left: Option<f64>,
    /// Its tables, in the order in which they are read.
    pub tables: Vec<SnapshotTable>,
}

/// A running snapshot without a chunk for so long is stalled.
const STALLED_AFTER_SECONDS: f64 = 120.0;

impl SnapshotStatus {
    /// As it is at this time, microseconds since 1970 UTC: it may have stalled since it was told.
    #[must_use]
    pub fn at(mut self, now_us: i64) -> Self {
        let since = self.newest_chunk_at_us.unwrap_or(self.started_at_us).max(self.started_at_us);
        #[expect(clippy::cast_precision_loss, reason = "an age")]
        let age = now_us.saturating_sub(since) as f64 / 1e6;
        let should_move =
            self.state == SnapshotState::Running && self.waits_for != Some(SnapshotWait::Rate);
        self.stalled_seconds = (should_move && age > STALLED_AFTER_SECONDS).then_some(age);
        self
    }
}

/// Where a snapshot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// Its tables are looked at.
    Checking,
    /// It could not begin: `reason` says why. Nothing was sent.
    Refused,
    /// Tables are read.
    Running,
    /// An operator paused it.
    Paused,
    /// All tables are done.
    Done,
    /// An operator stopped it, or each table that was left was given up.
    Stopped,
}

impl SnapshotState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Refused => "refused",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Refused | Self::Done | Self::Stopped)
    }
}

/// What keeps a snapshot from the next chunk for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotWait {
    /// The stream is not connected, or has not come to the place of the last chunk.
    Stream,
    /// What was processed is not yet visible on the server that chunks are read from.
    Visibility,
    /// The sink is behind; changes go first.
    Sink,
    /// `snapshot.rows_per_second`.
    Rate,
    /// `snapshot.max_threads_running`.
    ThreadsRunning,
    /// `snapshot.max_replica_lag`, or the lag can't be read.
    ReplicaLag,
    /// The server that chunks are read from does not answer.
    Source,
    /// The schema of the table changes.
    Schema,
    /// An operator holds the table back.
    Suppressed,
}

impl SnapshotWait {
    /// Each.
    pub const ALL: [Self; 9] = [
        Self::Stream,
        Self::Visibility,
        Self::Sink,
        Self::Rate,
        Self::ThreadsRunning,
        Self::ReplicaLag,
        Self::Source,
        Self::Schema,
        Self::Suppressed,
    ];

    /// As it is written, also as a label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Visibility => "visibility",
            Self::Sink => "sink",
            Self::Rate => "rate",
            Self::ThreadsRunning => "threads_running",
            Self::ReplicaLag => "replica_lag",
            Self::Source => "source",
            Self::Schema => "schema",
            Self::Suppressed => "suppressed",
        }
    }

    /// What it waits for, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Stream => "the stream to come to the chunk's place",
            Self::Visibility => "the server to show what the stream has processed",
            Self::Sink => "the sink, which is behind: changes go first",
            Self::Rate => "its turn by the limit of rows a second",
            Self::ThreadsRunning => "Threads_running to fall below snapshot.max_threads_running",
            Self::ReplicaLag => "replicas to come within snapshot.max_replica_lag",
            Self::Source => "the server that chunks are read from",
            Self::Schema => "the table's schema to settle",
            Self::Suppressed => "the table to be released: an operator holds it back",
        }
    }
}

/// Why a chunk was not published: it is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkDiscard {
    /// A statement changed the table while it was read, or its rows have other columns now.
    SchemaChanged,
    /// The stream comes from another server since.
    ServerChanged,
    /// The stream changed more keys meanwhile than `snapshot.touched_keys`.
    TooManyKeys,
    /// Rows of the table went by whose keys are not known.
    UnknownKeys,
    /// A row moved to another key, and its image was not complete: the table is read from its
    /// beginning.
    KeyMoved,
    /// A chunk before it was discarded, or the snapshot was stopped.
    OutOfOrder,
    /// It took longer than `snapshot.chunk_time`, or met a lock.
    TooSlow,
    /// The view did not show everything that the stream had processed.
    NotVisible,
    /// An operator holds the table back.
    Suppressed,
}

impl ChunkDiscard {
    /// Each.
    pub const ALL: [Self; 9] = [
        Self::SchemaChanged,
        Self::ServerChanged,
        Self::TooManyKeys,
        Self::UnknownKeys,
        Self::KeyMoved,
        Self::OutOfOrder,
        Self::TooSlow,
        Self::NotVisible,
        Self::Suppressed,
    ];

    /// As a label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SchemaChanged => "schema_changed",
            Self::ServerChanged => "server_changed",
            Self::TooManyKeys => "too_many_keys",
            Self::UnknownKeys => "unknown_keys",
            Self::KeyMoved => "key_moved",
            Self::OutOfOrder => "out_of_order",
            Self::TooSlow => "too_slow",
            Self::NotVisible => "not_visible",
            Self::Suppressed => "suppressed",
        }
    }
}

/// One table of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotTable {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Where it stands.
    pub state: SnapshotTableState,
    /// Rows that were published.
    pub rows: u64,
    /// About how many rows it has, by the server's statistics; `None` when they do not tell.
    pub rows_estimated: Option<u64>,
    /// Chunks that were published.
    pub chunks: u64,
    /// Why it was given up.
    pub reason: Option<String>,
}

/// Where a table of a snapshot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotTableState {
    /// Its turn has not come.
    Waiting,
    /// It is read.
    Reading,
    /// All its rows were accepted by the topic.
    Done,
    /// It was given up: `reason` says why.
    Abandoned,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stalled_when_it_should_move_and_has_not_for_long() {
        let status = |state, waits_for, newest_chunk_at_us| SnapshotStatus {
            id: String::new(),
            state,
            waits_for,
            reason: None,
            audience: None,
            verifies: false,
            started_at_us: 1_000_000,
            newest_chunk_at_us,
            stalled_seconds: None,
            rows: 0,
            rows_per_second: 0.0,
            seconds_left: None,
            tables: Vec::new(),
        };
        let (runs, sink, rate) =
            (SnapshotState::Running, Some(SnapshotWait::Sink), Some(SnapshotWait::Rate));
        for (state, waits_for, newest, at, expected) in [
            (runs, None, None, 121, None),
            (runs, None, None, 122, Some(121.0)),
            (runs, sink, Some(5_000_000), 126, Some(121.0)),
            (runs, sink, Some(5_000_000), 125, None),
            (runs, rate, None, 999, None),
            (SnapshotState::Paused, None, None, 999, None),
            (SnapshotState::Done, None, Some(5_000_000), 999, None),
        ] {
            let found = status(state, waits_for, newest).at(at * 1_000_000).stalled_seconds;
            assert_eq!(found, expected, "{state:?} {waits_for:?} {newest:?} {at}");
        }
    }
}
