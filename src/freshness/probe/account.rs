//! What is known of one stream, by its canaries alone. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use super::numbers::{CanaryArrival, Counts, Numbers, Place};
use crate::freshness::Phase;
use crate::freshness::canary::echo::Canary;

/// Longest way of a canary that is believed: what clocks or damage make longer is cut to it.
const TRANSIT_MAX: Duration = Duration::from_hours(24 * 365);

/// The newest canary message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Number of the canary.
    pub number: u64,
    /// Its step.
    pub phase: Phase,
    /// Its place in the lane of canaries.
    pub place: Place,
    /// When it came.
    pub arrived: Instant,
    /// From its writing, by the writer's clock, to its arrival, by ours; zero when that is not known
    /// or would be negative.
    pub transit: Duration,
    /// From its watermark's taking to its arrival, by the same two clocks; `None` without one.
    pub watermark_transit: Option<Duration>,
    /// What its watermark says of the source; empty when it says nothing.
    pub verdict: String,
}

impl Newest {
    /// How old the canary is: what the reader can be sure to have all before.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.arrived).saturating_add(self.transit)
    }

    /// How old its watermark is.
    pub fn watermark_age(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.arrived);
        Some(since.saturating_add(self.watermark_transit?))
    }

    /// The message that follows it: the same canary's next step, or the next canary's first.
    fn next(&self) -> (u64, Phase) {
        match self.phase {
            Phase::Insert => (self.number, Phase::Update),
            Phase::Update => (self.number, Phase::Delete),
            Phase::Delete => (self.number.saturating_add(1), Phase::Insert),
        }
    }
}

/// One stream's account.
#[derive(Debug, Clone)]
pub struct Account {
    deadline: Duration,
    /// Whether only the newest canary is seen, as in a copy: it has no place in a lane.
    pub(super) is_copy: bool,
    /// Since when canaries are awaited.
    since: Instant,
    numbers: Numbers,
    newest: Option<Newest>,
    server_uuid: String,
    source_changes: u64,
}

impl Account {
    /// Canaries are awaited from `since` on, each within `deadline` of the one before.
    pub fn new(since: Instant, deadline: Duration) -> Self {
        Self {
            deadline,
            is_copy: false,
            since,
            numbers: Numbers::new(deadline),
            newest: None,
            server_uuid: String::new(),
            source_changes: 0,
        }
    }

    /// A canary came, at `now`, which is `wall_us` by our wall clock, microseconds since 1970 UTC.
    /// What it was, and how long it took.
    pub fn observe(
        &mut self,
        canary: &Canary,
        now: Instant,
        wall_us: i64,
    ) -> (CanaryArrival, Duration) {
        let place = Place { epoch: canary.epoch, number: canary.sequence };
        let arrival = if is_future(place.epoch, wall_us) {
            self.numbers.implausible()
        } else {
            self.numbers.observe(place, now)
        };
        let transit = since(canary.written_at_us, wall_us).unwrap_or_default();
        if arrival == CanaryArrival::New {
            if self.server_uuid != canary.server_uuid {
                self.source_changes += u64::from(!self.server_uuid.is_empty());
                self.server_uuid.clone_from(&canary.server_uuid);
            }
            self.newest = Some(Newest {
                number: canary.number,
                phase: canary.phase,
                place,
                arrived: now,
                transit,
                watermark_transit: since(canary.watermark_at_us, wall_us),
                verdict: canary.verdict.clone(),
            });
        }
        (arrival, transit)
    }

    /// Counts what is overdue as lost; how many messages that were.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.numbers.expire(now)
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.numbers.counts()
    }

    /// The newest canary message.
    pub fn newest(&self) -> Option<&Newest> {
        self.newest.as_ref()
    }

    /// The server that the newest was read from; empty before the first.
    pub fn server_uuid(&self) -> &str {
        &self.server_uuid
    }

    /// How often the newest was read from another server than the one before.
    pub fn source_changes(&self) -> u64 {
        self.source_changes
    }

    /// Age of the newest canary; before the first, of the wait.
    pub fn age(&self, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since);
        self.newest.as_ref().map_or(waited, |newest| newest.age(now))
    }

    /// What was missed, in words; `None` while nothing was.
    pub fn complaint(&self, stream: &str, now: Instant) -> Option<String> {
        let age = self.age(now);
        if age <= self.deadline {
            return None;
        }
        let (allowed, seconds) = (seconds(self.deadline), seconds(age));
        let Some(newest) = &self.newest else {
            return Some(format!(
                "stream {stream}: no canary has arrived in the {seconds} since the probe started, \
                 allowed {allowed}"
            ));
        };
        let silence = now.saturating_duration_since(newest.arrived);
        let Newest { number, phase, place, .. } = newest;
        let (phase, epoch) = (phase.as_str(), place.epoch);
        let last = if self.is_copy {
            format!("the last was canary {number} ({phase}) of epoch {epoch}")
        } else {
            let place = place.number;
            format!(
                "the last was canary {number} ({phase}), number {place} of its lane in epoch {epoch}"
            )
        };
        if silence > self.deadline {
            let missed = if self.is_copy || super::is_path(stream) {
                // Which steps it has is the operator's to say.
                "the next canary".to_owned()
            } else {
                let (next, step) = newest.next();
                format!("canary {next} ({})", step.as_str())
            };
            let verdict = match newest.verdict.as_str() {
                "" => String::new(),
                word => format!("; the streamer's verdict was then `{word}`"),
            };
            let silence = self::seconds(silence);
            return Some(format!(
                "stream {stream}: {missed} has not arrived: silence for {silence}, allowed \
                 {allowed}; {last}{verdict}"
            ));
        }
        Some(format!(
            "stream {stream}: canaries come, but {seconds} after they were written, allowed \
             {allowed}; {last}: the queue or the streamer is behind, or the clocks of writer and \
             probe differ"
        ))
    }
}

/// Epochs are the second of their beginning, since 1970: none is of the day after tomorrow.
fn is_future(epoch: u64, wall_us: i64) -> bool {
    const TWO_DAYS: u64 = 2 * 24 * 3600;
    let now = u64::try_from(wall_us / 1_000_000).unwrap_or_default();
    epoch > now.saturating_add(TWO_DAYS)
}

/// From a moment of the wall clock to another; `None` when the first is not known.
fn since(from_us: i64, to_us: i64) -> Option<Duration> {
    let us = (from_us > 0).then(|| to_us.saturating_sub(from_us))?;
    Some(Duration::from_micros(u64::try_from(us).unwrap_or(0)).min(TRANSIT_MAX))
}

/// For people: whole seconds once there are some.
pub(super) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} s", duration.as_secs())
    }
}
