//! Consumers that are out of evaluation for a while, because an operator said so. It ends by itself, and
//! with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::freshness::{FreshnessState, Observation};
use crate::platform;
use crate::telemetry::http::MAINTENANCE_MAX;
use crate::telemetry::metrics::{Kind, ScrapedFamily};

/// Until when each consumer is in maintenance.
pub(super) struct Maintenance {
    consumers: Vec<Arc<str>>,
    until: Mutex<BTreeMap<Arc<str>, Instant>>,
    freshness_state: Arc<FreshnessState>,
}

impl Maintenance {
    /// Nobody is.
    pub(super) fn new(consumers: Vec<Arc<str>>, freshness_state: Arc<FreshnessState>) -> Arc<Self> {
        Arc::new(Self { consumers, until: Mutex::default(), freshness_state })
    }

    /// How long it still lasts.
    pub(super) fn left(&self, consumer: &str, now: Instant) -> Option<Duration> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.get(consumer)?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Takes `consumer` out for that long, or back in for zero. What was done, or why nothing was, in
    /// words.
    pub(super) fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String> {
        let known = self.consumers.iter().find(|known| ***known == *consumer);
        let Some(known) = known else {
            let names = self.consumers.join(", ");
            return Err(format!("no consumer {consumer:?} in canary.echo; known: {names}"));
        };
        let lasting = lasting.min(MAINTENANCE_MAX);
        let until = (!lasting.is_zero()).then(|| platform::now() + lasting);
        let mut all = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) => all.insert(Arc::clone(known), until),
            None => all.remove(known),
        };
        drop(all);
        let consumer = Arc::clone(known);
        self.freshness_state.observe(
            Observation::Maintenance { consumer: Arc::clone(&consumer), until },
            platform::now(),
        );
        let seconds = lasting.as_secs();
        tracing::warn!(
            %consumer, seconds,
            "maintenance: the consumer's canaries are not evaluated for this time"
        );
        Ok(match until {
            Some(_) => format!("{consumer} is in maintenance for {seconds} s; it ends by itself"),
            None => format!("maintenance of {consumer} has ended"),
        })
    }

    /// The metric about it.
    pub(super) fn family(self: &Arc<Self>) -> ScrapedFamily {
        let shared = Arc::clone(self);
        let read = move || {
            let now = platform::now();
            let sample = |consumer: &Arc<str>| {
                let value = f64::from(u8::from(shared.left(consumer, now).is_some()));
                (vec![("consumer", consumer.to_string())], value)
            };
            shared.consumers.iter().map(sample).collect()
        };
        ScrapedFamily {
            name: "binpulse_maintenance",
            help: "1 while the consumer is in maintenance and its canaries are not evaluated, else \
                   0.",
            kind: Kind::Gauge,
            labels: &["consumer"],
            read: Arc::new(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::{CanaryStep, Phase, ProgressObserver, RoundTrips, watch};

    #[test]
    fn maintenance_is_bounded_ends_by_itself_and_can_be_ended() {
        let (reporter, reports) = watch::queue();
        let names: [Arc<str>; 2] = ["billing".into(), "search".into()];
        let day = Duration::from_hours(24);
        let mut round_trips = RoundTrips::new("", names.clone(), Duration::from_secs(15));
        let (start, began) = (Instant::now(), Phase::Insert);
        let step = |number| CanaryStep { path: None, number, phase: began };
        round_trips.observe(&Observation::CanaryStarted(step(1)), start);
        round_trips.observe(&Observation::CanaryStarted(step(2)), start);
        round_trips.canary_accepted(&step(1), start);
        let freshness_state = FreshnessState::new(round_trips, reporter, |_| ());
        let maintenance = Maintenance::new(names.to_vec(), Arc::clone(&freshness_state));
        maintenance.maintenance("billing", day * 30).expect("it is known");
        let now = Instant::now();
        let left = maintenance.left("billing", now).expect("it lasts");
        assert!(left <= day && left > Duration::from_hours(23), "{left:?}");
        assert_eq!(maintenance.left("billing", now + day), None, "by itself");
        assert_eq!(maintenance.left("search", now), None);
        // Neither what is awaited nor what is accepted meanwhile is held against it; the other owes
        // both.
        freshness_state.canary_accepted(&step(2), now);
        let later = now + Duration::from_secs(20);
        for at in [now, now + Duration::from_secs(10), later] {
            for consumer in &names {
                let consumer = Arc::clone(consumer);
                freshness_state.observe(Observation::EchoRead { consumer }, at);
            }
        }
        freshness_state.expire(later);
        let lost = |name: &str| {
            freshness_state.read(|round_trips| {
                let found = round_trips.echoes().find(|(known, _)| ***known == *name);
                found.map_or(0, |(_, ledger)| ledger.counts().lost)
            })
        };
        assert_eq!((lost("billing"), lost("search")), (0, 2));

        maintenance.maintenance("billing", Duration::ZERO).expect("it is known");
        assert_eq!(maintenance.left("billing", now), None);
        let error = maintenance.maintenance("nobody", day).expect_err("no such consumer");
        assert!(error.contains("nobody") && error.contains("billing, search"), "{error}");
        let reports = reports.try_iter().map(|(_, report)| report);
        let is_about = |report: &Observation| matches!(report, Observation::Maintenance { .. });
        let reports: Vec<_> = reports.filter(is_about).collect();
        assert!(matches!(
            &reports[..],
            [
                Observation::Maintenance { until: Some(_), .. },
                Observation::Maintenance { until: None, .. }
            ]
        ));
    }
}
