//! What reading a snapshot needs to know.

use std::sync::Arc;
use std::time::Duration;

use super::throttle::Limits;
use crate::encode::Format;
use crate::filter;
use crate::mysql::HostPort;
use crate::source;

/// What the worker needs to know.
#[derive(Clone)]
pub struct Config {
    /// The source.
    pub source: source::Config,
    /// Which of its hosts the stream comes from right now.
    pub stream_at: Arc<dyn Fn() -> Option<HostPort> + Send + Sync>,
    /// Where chunks are read; `None`: where the stream comes from.
    pub read_from: Option<HostPort>,
    /// Which tables are published.
    pub filter: Arc<dyn Fn() -> filter::Config + Send + Sync>,
    /// binpulse's own database, which is in no snapshot.
    pub own_database: String,
    /// Number of this process among those that publish parts.
    pub attempt: u32,
    /// Format of messages.
    pub format: Format,
    /// Lanes of each table.
    pub lanes: u32,
    /// Bytes of a chunk, about.
    pub chunk_bytes: usize,
    /// Longest time of a chunk.
    pub chunk_time: Duration,
    /// Tables without a key are read under a lock, also where nobody asks for it.
    pub locks_keyless: bool,
    /// Most rows of such a table.
    pub keyless_rows: u64,
    /// What holds it back.
    pub limits: Limits,
    /// Random numbers: for pauses and ids.
    pub random: fn() -> u64,
}
