//! The periods that the service runs with, and the worst times that follow from them by design.

use std::time::Duration;

/// Periods of the freshness model; the letters are those of `docs/reference/states.md`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) name: &'static str,
    /// P: replication heartbeat.
    pub(crate) p: Duration,
    /// H: heartbeat row.
    pub(crate) h: Duration,
    /// W: write deadline.
    pub(crate) w: Duration,
    /// `T_hb`: commit to seen.
    pub(crate) t_hb: Duration,
    /// C: canary.
    pub(crate) c: Duration,
    /// `T_sink`: publish deadline.
    pub(crate) t_sink: Duration,
    /// L: canary's echo.
    pub(crate) l: Duration,
}

/// B: deadline of a probe. No setting.
pub(crate) const B: Duration = Duration::from_secs(2);

/// From a canary's begin to the topic's answer, on a stage that is well.
const PUBLISHED: Duration = Duration::from_secs(1);

/// For a look at a server whose door is closed, on a machine with other work.
const PROBED: Duration = Duration::from_secs(1);

/// The settings' defaults.
pub(crate) const DEFAULT: Pace = Pace {
    name: "default",
    p: Duration::from_secs(1),
    h: Duration::from_secs(5),
    w: Duration::from_secs(2),
    t_hb: Duration::from_secs(5),
    c: Duration::from_secs(10),
    t_sink: Duration::from_secs(10),
    l: Duration::from_secs(15),
};

/// As short as lock waits allow, which servers count in whole seconds.
pub(crate) const SHORT: Pace = Pace {
    name: "short",
    p: Duration::from_millis(500),
    h: Duration::from_secs(2),
    w: Duration::from_millis(1_500),
    t_hb: Duration::from_secs(2),
    c: Duration::from_secs(3),
    t_sink: Duration::from_secs(3),
    l: Duration::from_secs(5),
};

impl Pace {
    /// By name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        [DEFAULT, SHORT].into_iter().find(|pace| pace.name == name)
    }

    /// `T_rx`: longest silence of the stream.
    pub(crate) fn t_rx(&self) -> Duration {
        self.p * 3 + Duration::from_secs(1)
    }

    /// V: time between two evaluations.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_secs(1).min(self.t_rx() / 2)
    }

    /// As settings of the service.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let periods = [
            ("source.heartbeat_period", self.p),
            ("heartbeat.interval", self.h),
            ("heartbeat.write_deadline", self.w),
            ("heartbeat.seen_deadline", self.t_hb),
            ("canary.interval", self.c),
            ("sns.request_timeout", self.t_sink),
            ("canary.deadline", self.l),
        ];
        periods.map(|(key, period)| (key, format!("{}ms", period.as_millis()))).to_vec()
    }
}

/// Worst time from a fault to its verdict, as the design has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Connections are refused or admitted no more: two failures of stream and probe.
    Refused,
    /// Nothing answers: `T_rx + B`, and a look.
    Hung,
    /// The stream alone says nothing: `T_rx`.
    Silent,
    /// Two failures of the stream within 10 s.
    StreamDown,
    /// The next heartbeat is refused.
    ReadOnly,
    /// Until the next heartbeat, and twice its deadline.
    Blocked,
    /// The next probe on a fresh connection.
    Admission,
    /// The source says so at once.
    Purged,
    /// The next heartbeat's look at the source's history.
    Diverged,
    /// Two heartbeats and the deadline of the second.
    HeartbeatLost,
    /// 15 s of grace after the next heartbeat.
    WrongSource,
    /// Messages flow: the publish deadline.
    SinkBusy,
    /// The next canary, and its publish deadline.
    SinkQuiet,
    /// Two canaries, the way of the second to SNS, and its deadline from there.
    Canary,
    /// No echo is believed any more: a canary and its deadline after the last, and 10 s of grace.
    Echo,
    /// 30 s of lag, and the time to tell that it grows.
    Lag,
    /// A checkpoint of 120 s.
    Checkpoint,
    /// Two heartbeats and a tick.
    Ledger,
    /// The next canary of a path, and a look.
    Path,
    /// The next look at the source's own replication, each three heartbeats.
    Upstream,
    /// The next heartbeat finds its session gone, and a look that nobody takes another: the source keeps
    /// the replication connection for a long while of its own shutdown.
    ShutDown,
}

impl Budget {
    /// In this pace.
    pub(crate) fn time(self, pace: &Pace) -> Duration {
        let seconds = Duration::from_secs;
        let tick = pace.tick();
        match self {
            Self::Refused => seconds(5),
            Self::Hung => pace.t_rx() + B + tick,
            Self::Silent => pace.t_rx() + tick,
            Self::StreamDown => seconds(10),
            Self::ReadOnly => pace.h + tick,
            Self::Blocked => pace.h + pace.w * 2 + tick,
            Self::Admission => seconds(15),
            Self::Purged => seconds(3),
            Self::Diverged => pace.h,
            Self::HeartbeatLost => pace.h * 2 + pace.t_hb + tick,
            Self::WrongSource => pace.h + seconds(15) + tick,
            Self::SinkBusy => pace.t_sink + tick,
            Self::SinkQuiet => pace.c + pace.t_sink + tick,
            // L begins with the topic's answer: by then the canary has been written in three
            // transactions, has come back on the stream, was packed, and was published.
            Self::Canary => pace.c * 2 + PUBLISHED + pace.l + tick,
            Self::Echo => pace.c + pace.l + seconds(10) + tick,
            Self::Lag => seconds(60),
            Self::Checkpoint => seconds(120) + pace.h + tick,
            Self::Ledger => pace.h * 2 + tick,
            Self::Path => pace.c + tick * 2,
            Self::Upstream => pace.h * 3 + B + tick,
            Self::ShutDown => pace.h + PROBED + tick * 2,
        }
    }
}
