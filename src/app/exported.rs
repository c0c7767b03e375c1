//! The page of `/metrics` of a service that has just started: for whoever must know the names.

use std::sync::Arc;

use super::controls;
use super::echo;
use super::findings::Findings;
use super::freshness::round_trips;
use super::label_values::label_values;
use super::lease::Lease;
use super::maintenance::Maintenance;
use super::paths;
use super::plan::Plan;
use super::scrape_sources::{self, scrape_sources};
use super::state::State;
use crate::freshness::FreshnessState;
use crate::freshness::verdict::{Evaluator, Parameters};
use crate::freshness::watch::{self, Shared};
use crate::platform;
use crate::sink::{Health, intake};
use crate::source::Liveness;
use crate::telemetry::metrics::ScrapedFamily;
use crate::telemetry::{Metrics, metrics};

/// Every series that the service of `plan` exports, as of the first scrape; and of what an operator holds
/// back, of which there is none yet, one with empty labels.
#[cfg(feature = "testing")]
pub fn exported(plan: &Plan) -> Result<String, metrics::Error> {
    let (reporter, _) = watch::queue();
    let (feed, _) = intake(plan.queue_bytes);
    let round_trips = round_trips(plan, "");
    let state = State::new();
    let findings = Findings::default();
    let freshness_state = FreshnessState::new(round_trips, reporter, |_| ());
    let now = platform::now();
    let evaluator = Evaluator::new(Parameters::of(plan.freshness.periods), now);
    let view = Shared::new(&evaluator, now);
    let mut sources =
        scrape_sources(&state, &freshness_state, &Liveness::new(), feed.gauge(), &Health::new());
    sources.more.extend(watch::families(&view));
    sources.more.extend(watch::purge_families(freshness_state.purge()));
    sources.more.extend(paths::families(plan, &freshness_state));
    sources.more.push(findings.family());
    sources.more.extend(scrape_sources::snapshot(&Arc::default()));
    for family in controls::families(&Arc::default(), &freshness_state) {
        let sample = (family.labels.iter().map(|label| (*label, String::new())).collect(), 0.0);
        sources.more.push(ScrapedFamily { read: Arc::new(move || vec![sample.clone()]), ..family });
    }
    sources.more.extend(Lease::new(plan).control().families());
    sources.more.push(echo::family(plan, &freshness_state));
    sources.more.push(Maintenance::new(plan.freshness.consumers(), freshness_state).family());
    Metrics::new(&label_values(plan), sources)?.text()
}
