//! The page of `/metrics` of a service that has just started: for whoever must know the names.

use std::sync::Arc;

use super::controls;
use super::findings::Findings;
use super::freshness::round_trips;
use super::label_values::label_values;
use super::lease::Lease;
use super::maintenance::Maintenance;
use super::plan::Plan;
use super::scrape_sources::ScrapedParts;
use super::state::State;
use super::switches::Controls;
use crate::freshness::FreshnessState;
use crate::freshness::verdict::{Evaluator, Parameters};
use crate::freshness::watch::{self, Shared};
use crate::platform;
use crate::sink::{Health, intake};
use crate::source::Liveness;
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
    let maintenance = Maintenance::new(plan.freshness.consumers(), Arc::clone(&freshness_state));
    let parts = ScrapedParts {
        state: &state,
        freshness_state: &freshness_state,
        liveness: &Liveness::new(),
        gauge: feed.gauge(),
        health: &Health::new(),
        view: &view,
        findings: &findings,
        maintenance: &maintenance,
        lease: &Lease::new(plan).control(),
        controls: &Controls::new(&Arc::new(plan.clone())),
    };
    let mut sources = parts.sources(plan);
    let held = controls::families(&Arc::default(), &freshness_state).map(|family| family.name);
    for family in &mut sources.more {
        if held.contains(&family.name) {
            let sample = family.labels.iter().map(|label| (*label, String::new())).collect();
            family.read = Arc::new(move || vec![(Vec::clone(&sample), 0.0)]);
        }
    }
    Metrics::new(&label_values(plan), sources)?.text()
}
