//! The page of `/metrics` of a service that has just started: for whoever must know the names.

use std::time::Instant;

use super::echo;
use super::findings::Findings;
use super::maintenance::Maintenance;
use super::paths;
use super::plan::Plan;
use super::pulse::book;
use super::readings::{readings, vocabulary};
use super::state::State;
use crate::pulse::Vital;
use crate::pulse::verdict::{Judge, Parameters};
use crate::pulse::watch::{self, Shared};
use crate::sink::{Health, intake};
use crate::source::Liveness;
use crate::telemetry::{Metrics, metrics};

/// Every series that the service of `plan` exports, as of the first scrape.
pub fn exported(plan: &Plan) -> Result<String, metrics::Error> {
    let (reporter, _) = watch::queue();
    let (feed, _) = intake(plan.queue_bytes);
    let book = book(plan, "");
    let state = State::new();
    let findings = Findings::default();
    let vital = Vital::new(book, reporter, |_| ());
    let now = Instant::now();
    let judge = Judge::new(Parameters::of(plan.pulse.periods), now);
    let view = Shared::new(&judge, now);
    let mut readings =
        readings(plan, &state, &vital, &Liveness::new(), feed.gauge(), &Health::new());
    readings.more.extend(watch::families(&view));
    readings.more.extend(watch::purge_families(vital.purge()));
    readings.more.extend(paths::families(plan, &vital));
    readings.more.push(findings.family());
    readings.more.push(echo::family(plan, &vital));
    readings.more.push(Maintenance::new(plan.pulse.consumers(), vital).family());
    Metrics::new(&vocabulary(plan), readings)?.text()
}
