//! The metrics of paths through the operator's tables.

use std::sync::Arc;

use super::plan::{PathRoute, Plan};
use crate::freshness::round_trips::Canaries;
use crate::freshness::{FreshnessState, RoundTrips};
use crate::telemetry::metrics::{Kind, Sample, ScrapedFamily, timestamp};

type Of = fn(&PathRoute, Option<&Canaries>) -> Vec<(&'static str, f64)>;

/// Families about the paths that the plan has SQL for.
pub(super) fn families(plan: &Plan, freshness_state: &Arc<FreshnessState>) -> Vec<ScrapedFamily> {
    let routes = plan.freshness.routes.iter().filter(|route| route.path.steps.is_some());
    let routes: Arc<[PathRoute]> = routes.cloned().collect();
    let family = |name, help, kind, labels: &'static [&'static str], of: Of| {
        let (routes, freshness_state) = (Arc::clone(&routes), Arc::clone(freshness_state));
        let read = move || freshness_state.read(|round_trips| samples(&routes, round_trips, of));
        ScrapedFamily { name, help, kind, labels, read: Arc::new(read) }
    };
    vec![
        family(
            "binpulse_canary_path_walks_total",
            "Canaries through a path of canary.paths, by whether all of their steps were written.",
            Kind::Counter,
            &["path", "result"],
            |_, state| {
                let count = |of: fn(&Canaries) -> u64| number(state.map_or(0, of));
                vec![("ok", count(|state| state.walked)), ("failed", count(|state| state.failed))]
            },
        ),
        family(
            "binpulse_canary_path_failing",
            "1 while the last canary could not be written through the path, or filters keep its table out.",
            Kind::Gauge,
            &["path"],
            |route, state| vec![("", f64::from(u8::from(fails(route, state))))],
        ),
        family(
            "binpulse_canary_path_seen_timestamp_seconds",
            "When the path's newest canary that was seen on the stream was written; NaN before the first.",
            Kind::Gauge,
            &["path"],
            |_, state| {
                let seen = state.and_then(|state| state.seen);
                vec![("", seen.map_or(f64::NAN, |trip| timestamp(trip.started)))]
            },
        ),
    ]
}

fn samples(routes: &[PathRoute], round_trips: &RoundTrips, of: Of) -> Vec<Sample> {
    let of_route = |route: &PathRoute| {
        let name = route.path.name.to_string();
        let values = of(route, round_trips.canaries(Some(&*route.path.name))).into_iter();
        values
            .map(move |(result, value)| {
                let mut labels = vec![("path", name.clone())];
                if !result.is_empty() {
                    labels.push(("result", result.to_owned()));
                }
                (labels, value)
            })
            .collect::<Vec<_>>()
    };
    routes.iter().flat_map(of_route).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Whether the canary that is to be written through it is not.
pub(super) fn fails(route: &PathRoute, state: Option<&Canaries>) -> bool {
    let is_refused = state.is_some_and(|state| state.failure.is_some());
    route.path.steps.is_some() && (route.is_filtered_out || is_refused)
}
