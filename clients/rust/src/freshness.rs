//! Is a silent table quiet, or am I cut off? Canaries tell.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use binpulse_client::freshness::{Freshness, Health};
//!
//! let mut freshness = Freshness::default();
//! // For each canary that decodes: freshness.observe(&canary);
//! match freshness.health(SystemTime::now(), Duration::from_secs(60)) {
//!     Health::Fresh { .. } => {}
//!     Health::Stale { .. } | Health::Unknown => { /* fail the health check */ }
//! }
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::{Canary, LaneMark, QuietCertificate, Watermark};

/// What the canaries of one stream tell. One for each stream, and one for each path of canaries
/// through a table of yours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Freshness {
    /// When the newest canary was written, microseconds since 1970 UTC.
    written_at_us: Option<i64>,
    watermark: Option<Watermark>,
    /// The newest certificate that any canary carried.
    certificate: Option<QuietCertificate>,
}

/// A health check's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health<'a> {
    /// The newest canary is young enough: what was committed before it has arrived, or is on its way.
    Fresh {
        /// Age of the newest canary.
        age: Duration,
        /// The streamer's verdict: `live`, `quiet` and others; empty where there is no verdict.
        verdict: &'a str,
    },
    /// No canary for too long: cut off, whatever the reason, and whatever the last verdict was.
    Stale {
        /// Age of the newest canary.
        age: Duration,
    },
    /// There was no canary yet.
    Unknown,
}

impl Freshness {
    /// Takes a canary, in whichever order they come.
    pub fn observe(&mut self, canary: &Canary) {
        let Some(written_at_us) = written_at_us(canary) else { return };
        let certificate = canary.watermark.as_ref().and_then(|mark| mark.certificate.as_ref());
        let known = self.certificate.as_ref().map(|known| known.proven_at_us);
        if certificate.is_some_and(|new| known.is_none_or(|known| known < new.proven_at_us)) {
            self.certificate = certificate.cloned();
        }
        if self.written_at_us.is_none_or(|known| known <= written_at_us) {
            self.written_at_us = Some(written_at_us);
            self.watermark.clone_from(&canary.watermark);
        }
    }

    /// Age of the newest canary; none before the first. A canary of the future has the age 0: clocks
    /// differ.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let age_us = i128::from(micros(now)) - i128::from(self.written_at_us?);
        Some(Duration::from_micros(u64::try_from(age_us).unwrap_or(0)))
    }

    /// All in one: a canary that is older than `age_max` is too old. Six times `canary.interval`, which
    /// is 60 s unless it was changed, passes over one that is late.
    pub fn health(&self, now: SystemTime, age_max: Duration) -> Health<'_> {
        match self.age(now) {
            None => Health::Unknown,
            Some(age) if age > age_max => Health::Stale { age },
            Some(age) => Health::Fresh { age, verdict: self.verdict().unwrap_or_default() },
        }
    }

    /// The streamer's verdict when the newest canary was read. Only good while the canary is young:
    /// see [`Freshness::health`].
    pub fn verdict(&self) -> Option<&str> {
        self.watermark.as_ref().map(|mark| mark.verdict.as_str())
    }

    /// The newest certificate: every transaction between two heartbeats is accounted for.
    pub fn certificate(&self) -> Option<&QuietCertificate> {
        self.certificate.as_ref()
    }

    /// Until when it is proven that no transaction had rows for this stream, microseconds since 1970 UTC:
    /// the newest certificate's end, if it has none. Nothing is proven of what came later.
    pub fn quiet_until_us(&self) -> Option<i64> {
        let quiet = self.certificate.as_ref().filter(|proof| proof.user_transactions == 0);
        quiet.map(|proof| proof.proven_at_us)
    }

    /// How far the topic had got in a lane when the newest canary was sent; none where the lane did not
    /// move since the canary before. Who holds less than `sequence_next` - 1 of it has something still
    /// to come, or lost it.
    pub fn lane(&self, lane: &str) -> Option<&LaneMark> {
        self.watermark.as_ref()?.lanes.iter().find(|mark| mark.lane == lane)
    }
}

/// When the canary was written; where that is not known, when it was committed.
fn written_at_us(canary: &Canary) -> Option<i64> {
    if canary.written_at_us > 0 {
        return Some(canary.written_at_us);
    }
    canary.batch.as_ref()?.rows().next()?.committed_at_us()
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(written_at_us: i64, verdict: &str, proof: Option<(u64, i64)>) -> Canary {
        let certificate = proof.map(|(user_transactions, proven_at_us)| QuietCertificate {
            user_transactions,
            proven_at_us,
            ..QuietCertificate::default()
        });
        let lanes = vec![LaneMark {
            lane: "shop.t#0".into(),
            sequence_next: 9,
            epoch: 1,
            ..LaneMark::default()
        }];
        let verdict = verdict.into();
        let watermark = Watermark { verdict, certificate, lanes, ..Watermark::default() };
        Canary { written_at_us, watermark: Some(watermark), ..Canary::default() }
    }

    #[test]
    fn only_a_young_canary_tells_the_verdict() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let limit = Duration::from_mins(1);
        let mut freshness = Freshness::default();
        assert_eq!(freshness.health(at(100), limit), Health::Unknown);
        freshness.observe(&Canary::default());
        assert_eq!(freshness.health(at(100), limit), Health::Unknown);
        freshness.observe(&canary(100_000_000, "quiet", Some((0, 95_000_000))));
        freshness.observe(&canary(90_000_000, "live", Some((3, 85_000_000))));
        let age = Duration::from_mins(1);
        assert_eq!(freshness.health(at(160), limit), Health::Fresh { age, verdict: "quiet" });
        let age = Duration::from_secs(61);
        assert_eq!(freshness.health(at(161), limit), Health::Stale { age });
        assert_eq!(freshness.age(at(0)), Some(Duration::ZERO));
        assert_eq!(freshness.quiet_until_us(), Some(95_000_000));
        assert_eq!(freshness.lane("shop.t#0").map(|mark| mark.sequence_next), Some(9));
        freshness.observe(&canary(110_000_000, "live", Some((1, 105_000_000))));
        assert_eq!(freshness.quiet_until_us(), None);
        // Transactions were missing: what was proven before stays proven, of its own time.
        freshness.observe(&canary(120_000_000, "lagging", None));
        assert_eq!(freshness.certificate().map(|proof| proof.proven_at_us), Some(105_000_000));
        assert_eq!(freshness.verdict(), Some("lagging"));
    }
}
