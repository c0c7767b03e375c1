//! How the same faults look to those who judge by less: four usual ways, on the same stream.
//!
//! Each sees what the service itself received, so none has a worse connection than it.

use std::time::{Duration, Instant};

use crate::pace::Pace;

/// A usual way to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Time since the last transaction of users.
    LastEvent,
    /// Time since the last bytes on the replication connection, the server's heartbeats among them.
    ServerHeartbeat,
    /// Debezium's `MilliSecondsBehindSource`: age of the last event's commit when it was read, kept
    /// until the next, and 0 after a heartbeat of the server.
    BehindSource,
    /// Time since the last heartbeat row arrived; nothing looks behind the stream.
    HeartbeatRow,
}

impl Baseline {
    pub(crate) const ALL: [Self; 4] =
        [Self::LastEvent, Self::ServerHeartbeat, Self::BehindSource, Self::HeartbeatRow];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LastEvent => "last event",
            Self::ServerHeartbeat => "server heartbeat",
            Self::BehindSource => "behind source",
            Self::HeartbeatRow => "heartbeat row",
        }
    }

    /// What it calls an outage.
    pub(crate) fn limit(self, pace: &Pace) -> Duration {
        match self {
            Self::ServerHeartbeat => pace.t_rx(),
            Self::LastEvent | Self::BehindSource | Self::HeartbeatRow => pace.h * 2 + pace.t_hb,
        }
    }

    /// Whether it calls an outage what it sees.
    pub(crate) fn alarms(self, sight: &Sight, pace: &Pace) -> bool {
        let seconds = match self {
            Self::LastEvent => sight.at.saturating_duration_since(sight.last_event).as_secs_f64(),
            Self::ServerHeartbeat => sight.bytes_age,
            Self::BehindSource => sight.behind_source,
            Self::HeartbeatRow => sight.heartbeat_age,
        };
        seconds > self.limit(pace).as_secs_f64()
    }
}

/// What is read of `/metrics`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    clock: f64,
    bytes: f64,
    received: f64,
    heartbeat: f64,
    transactions: f64,
    newest_commit: f64,
}

impl Metrics {
    pub(crate) fn read(text: &str) -> Self {
        let sum = |name: &str, labels: &[&str]| -> f64 {
            let values = text.lines().filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let (series, value) = rest.rsplit_once(' ')?;
                let wanted = labels.is_empty() || labels.iter().any(|label| series.contains(label));
                ((series.is_empty() || series.starts_with('{')) && wanted)
                    .then(|| value.parse::<f64>().ok())
                    .flatten()
            });
            values.sum()
        };
        let users = ["class=\"user\"", "class=\"filtered\""];
        let received = ["stage=\"received\""];
        Self {
            clock: sum("binpulse_clock_timestamp_seconds", &[]),
            bytes: sum("binpulse_stream_bytes_total", &[]),
            received: sum("binpulse_stream_last_receive_timestamp_seconds", &[]),
            heartbeat: sum("binpulse_stage_heartbeat_timestamp_seconds", &received),
            transactions: sum("binpulse_transactions_total", &users),
            newest_commit: 0.0,
        }
    }

    /// With what `/status` says of the commit that was read last, seconds ago.
    pub(crate) fn with_lag(self, lag_seconds: Option<f64>) -> Self {
        Self { newest_commit: lag_seconds.unwrap_or_default(), ..self }
    }
}

/// What there was to evaluate by at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) at: Instant,
    last_event: Instant,
    bytes_age: f64,
    behind_source: f64,
    heartbeat_age: f64,
}

impl Sight {
    pub(crate) fn new(at: Instant, now: &Metrics, before: Option<&(Metrics, Self)>) -> Self {
        // A restarted service counts from 0 again.
        let moved = |now: f64, before: f64| (now - before).abs() > f64::EPSILON;
        let (mut last_event, mut behind_source) = (at, 0.0);
        if let Some((then, sight)) = before {
            let event = moved(now.transactions, then.transactions);
            last_event = if event { at } else { sight.last_event };
            behind_source = match event {
                true => now.newest_commit,
                false if moved(now.bytes, then.bytes) => 0.0,
                false => sight.behind_source,
            };
        }
        Self {
            at,
            last_event,
            bytes_age: now.clock - now.received,
            behind_source,
            heartbeat_age: now.clock - now.heartbeat,
        }
    }
}
