//! How soon the source may purge what is still needed of its binary logs. Pure but for its lock.
//!
//! A server purges a log when its last write is older than the expiry. The last write of a log that
//! went by is the commit time of its last transaction; of one that is still being read, no earlier
//! than the newest that went by. The one that is being written is not purged. So the margin that is
//! told is never more than there is. Logs that somebody purges by hand, or a cloud provider by rules
//! of its own, go earlier: the count of older logs says how near that is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::freshness::Progress;
use crate::platform;
use crate::source::retention::{LogPlace, Retention};
use crate::telemetry::metrics::{Kind, ScrapedFamily};

/// Logs whose last commit is remembered.
const LOGS_MAX: usize = 4096;

/// Shared by the loop, the looks, and the metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct PurgeMargin(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Logs and the commit time of the newest transaction of each, microseconds since 1970 UTC.
    commits: VecDeque<(Arc<str>, i64)>,
    /// The log that holds the place which a restart continues from.
    needed: Arc<str>,
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    expires_after: Option<Duration>,
    /// When what is needed may be purged; `None`: never.
    due: Option<Instant>,
    older: u64,
}

impl PurgeMargin {
    /// How far the loop has got, told regularly.
    pub(crate) fn progressed(&self, progress: &Progress) {
        let mut inner = self.lock();
        inner.needed = Arc::clone(&progress.needed.file);
        let (file, commit_us) = (&progress.read.file, progress.newest_commit_us);
        if file.is_empty() || commit_us <= 0 {
            return;
        }
        match inner.commits.back_mut() {
            Some((last, at)) if last == file => *at = commit_us,
            Some(_) | None => {
                if inner.commits.len() == LOGS_MAX {
                    inner.commits.pop_front();
                }
                inner.commits.push_back((Arc::clone(file), commit_us));
            }
        }
    }

    /// What the source said of its logs.
    pub(crate) fn looked(&self, now: Instant, now_us: i64, retention: &Retention) {
        let mut inner = self.lock();
        let known = inner.known(now, now_us, retention);
        inner.known = known;
    }

    /// The source did not say.
    pub(crate) fn unseen(&self) {
        self.lock().known = None;
    }

    fn read<T>(&self, read: impl FnOnce(Known) -> T, unknown: T) -> T {
        self.lock().known.map_or(unknown, read)
    }

    /// The margin, and the expiry that it is a part of, where the source purges by itself.
    pub(crate) fn told(&self, now: Instant) -> Option<(Duration, Duration)> {
        let known = self.lock().known?;
        Some((known.due?.saturating_duration_since(now), known.expires_after?))
    }

    /// Age at which the source purges a log; `None`: it does not by itself, or that is not known.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        self.lock().known?.expires_after
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What follows from the source's logs. Nothing while it is not known which of them is needed, or
    /// how old that one is.
    fn known(&self, now: Instant, now_us: i64, retention: &Retention) -> Option<Known> {
        if self.needed.is_empty() {
            return None;
        }
        let (older, margin) = match retention.place(&self.needed) {
            LogPlace::Gone => (0, retention.expires_after.map(|_| Duration::ZERO)),
            LogPlace::Newest { older } => (older, retention.expires_after),
            LogPlace::Closed { older } => {
                // Without one, nothing of it went by in this process.
                let mut commits = self.commits.iter().rev();
                let (_, commit_us) = commits.find(|(log, _)| *log == self.needed)?;
                let age_us = u64::try_from(now_us.saturating_sub(*commit_us)).unwrap_or(0);
                let age = Duration::from_micros(age_us);
                (older, retention.expires_after.map(|expiry| expiry.saturating_sub(age)))
            }
        };
        let due = margin.map(|margin| now + margin);
        Some(Known { expires_after: retention.expires_after, due, older })
    }
}

/// The families of metrics about it.
pub(crate) fn purge_families(margin: &PurgeMargin) -> Vec<ScrapedFamily> {
    let gauge = |name, help, of: fn(Known, Instant) -> f64| {
        let margin = margin.clone();
        let read =
            move || vec![(Vec::new(), margin.read(|known| of(known, platform::now()), f64::NAN))];
        ScrapedFamily { name, help, kind: Kind::Gauge, labels: &[], read: Arc::new(read) }
    };
    vec![
        gauge(
            "binpulse_purge_margin_seconds",
            "Time until the source may purge a binary log that is still needed, at least; +Inf when it purges none by itself, NaN while it is not known.",
            |known, now| {
                known
                    .due
                    .map_or(f64::INFINITY, |due| due.saturating_duration_since(now).as_secs_f64())
            },
        ),
        gauge(
            "binpulse_purge_margin_files",
            "Binary logs that the source has and that are older than what is still needed; NaN while it is not known.",
            |known, _| number(known.older),
        ),
        gauge(
            "binpulse_source_log_expiry_seconds",
            "Age at which the source purges a binary log; +Inf when it does not by itself, NaN while it is not known.",
            |known, _| known.expires_after.map_or(f64::INFINITY, |expiry| expiry.as_secs_f64()),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Position;

    const HOUR: Duration = Duration::from_hours(1);
    const HOUR_US: i64 = 3_600_000_000;

    fn progress(needed: &str, read: &str, newest_commit_us: i64) -> Progress {
        Progress {
            needed: Position::new(needed, 4),
            read: Position::new(read, 4),
            newest_commit_us,
            ..Progress::default()
        }
    }

    fn retention(expires_after: Option<Duration>) -> Retention {
        let logs = ["b.1", "b.2", "b.3", "b.4"].map(str::to_owned).to_vec();
        Retention { expires_after, logs }
    }

    /// Seconds that the gauge would show right at the look, and older logs.
    fn values(margin: &PurgeMargin, now_us: i64, retention: &Retention) -> Option<(f64, u64)> {
        let now = Instant::now();
        margin.looked(now, now_us, retention);
        let known = margin.lock().known?;
        let seconds = known.due.map_or(f64::INFINITY, |due| (due - now).as_secs_f64());
        Some((seconds, known.older))
    }

    #[test]
    fn the_margin_counts_from_the_last_commit_of_the_log_that_is_needed() {
        let (margin, keeps) = (PurgeMargin::default(), retention(Some(24 * HOUR)));
        assert_eq!(values(&margin, 0, &keeps), None, "nothing is known of what is needed");
        let seconds = |hours: u32| f64::from(hours) * 3600.0;

        // Delivery stands in the second log while the third goes by.
        margin.progressed(&progress("b.2", "b.2", 10 * HOUR_US));
        margin.progressed(&progress("b.2", "b.3", 12 * HOUR_US));
        assert_eq!(values(&margin, 20 * HOUR_US, &keeps), Some((seconds(14), 1)));
        assert_eq!(
            values(&margin, 40 * HOUR_US, &keeps),
            Some((0.0, 1)),
            "it may be gone any time"
        );

        // Then everything is delivered: what is being written is not purged.
        margin.progressed(&progress("b.4", "b.4", 40 * HOUR_US));
        assert_eq!(values(&margin, 90 * HOUR_US, &keeps), Some((seconds(24), 3)));
        let never = retention(None);
        assert_eq!(values(&margin, 90 * HOUR_US, &never), Some((f64::INFINITY, 3)));
    }

    #[test]
    fn a_log_that_is_gone_has_no_margin_and_one_that_was_not_seen_none_that_is_known() {
        let (margin, keeps) = (PurgeMargin::default(), retention(Some(HOUR)));
        margin.progressed(&progress("b.3", "b.4", HOUR_US));
        assert_eq!(values(&margin, HOUR_US, &keeps), None);
        margin.progressed(&progress("a.9", "a.9", HOUR_US));
        assert_eq!(values(&margin, HOUR_US, &keeps), Some((0.0, 0)));

        // What was known of another log, or before the source fell silent, counts down no more.
        margin.progressed(&progress("b.3", "b.4", HOUR_US));
        assert_eq!(values(&margin, HOUR_US, &keeps), None);
        margin.progressed(&progress("b.4", "b.4", HOUR_US));
        assert_eq!(values(&margin, HOUR_US, &keeps), Some((3600.0, 3)));
        margin.progressed(&progress("", "b.4", HOUR_US));
        assert_eq!(values(&margin, HOUR_US, &keeps), None, "it is a place on another server");
        margin.progressed(&progress("b.4", "b.4", HOUR_US));
        assert!(values(&margin, HOUR_US, &keeps).is_some());
        margin.unseen();
        assert!(margin.lock().known.is_none());
    }
}
