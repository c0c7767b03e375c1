//! The verdict as metrics, read at the scrape.

use std::sync::Arc;

use super::Shared;
use crate::freshness::verdict::obligation::Obligation;
use crate::freshness::verdict::{Condition, State, Status};
use crate::platform;
use crate::telemetry::metrics::{Kind, Sample, ScrapedFamily, timestamp};
use crate::telemetry::words::{Grade, Hop};

/// Families that follow from the verdict.
pub(crate) fn families(view: &Shared) -> Vec<ScrapedFamily> {
    let mut all = of_the_verdict(view);
    all.extend(of_its_evidence(view));
    all
}

fn family(
    view: &Shared,
    (name, help): (&'static str, &'static str),
    kind: Kind,
    labels: &'static [&'static str],
    of: Of,
) -> ScrapedFamily {
    let view = view.clone();
    ScrapedFamily { name, help, kind, labels, read: Arc::new(move || of(&view.read())) }
}

fn of_the_verdict(view: &Shared) -> Vec<ScrapedFamily> {
    vec![
        family(
            view,
            (
                "binpulse_verdict",
                "What freshness concludes: 1 for the state that holds, 0 for all others.",
            ),
            Kind::Gauge,
            &["state"],
            verdicts,
        ),
        family(
            view,
            (
                "binpulse_verdict_grade",
                "How good or bad the verdict is: 1 for the grade that it has, 0 for all others.",
            ),
            Kind::Gauge,
            &["grade"],
            grades,
        ),
        family(
            view,
            (
                "binpulse_verdict_hop",
                "The first broken hop: 1 for that one, 0 for all others; none while no hop is broken.",
            ),
            Kind::Gauge,
            &["hop"],
            hops,
        ),
        family(
            view,
            ("binpulse_verdict_since_timestamp_seconds", "Since when the verdict has its state."),
            Kind::Gauge,
            &[],
            |view| one(timestamp(view.verdict.since)),
        ),
        family(
            view,
            (
                "binpulse_verdict_recovering",
                "1 while the fault is over and its state is kept until the recovery has lasted.",
            ),
            Kind::Gauge,
            &[],
            |view| one(f64::from(u8::from(view.verdict.is_recovering))),
        ),
        family(
            view,
            (
                "binpulse_verdict_evaluated_timestamp_seconds",
                "When the verdict was last evaluated; its age grows when the verdict's loop is stuck.",
            ),
            Kind::Gauge,
            &[],
            |view| one(timestamp(view.verdict.evaluated_at)),
        ),
        family(
            view,
            ("binpulse_verdict_transitions_total", "How often one state followed another."),
            Kind::Counter,
            &["from", "to"],
            transitions,
        ),
    ]
}

fn of_its_evidence(view: &Shared) -> Vec<ScrapedFamily> {
    vec![
        family(
            view,
            (
                "binpulse_condition",
                "The conditions that the verdict follows from: 1 for the status that each has.",
            ),
            Kind::Gauge,
            &["condition", "status"],
            conditions,
        ),
        family(
            view,
            (
                "binpulse_obligation_oldest_age_seconds",
                "How long the oldest event that has a deadline has been awaited, while its clock runs; \
             0 for none.",
            ),
            Kind::Gauge,
            &["obligation"],
            obligations,
        ),
        family(
            view,
            (
                "binpulse_unaccounted_transactions_total",
                "Transactions that the source has and the stream did not deliver: loss.",
            ),
            Kind::Counter,
            &[],
            |view| one(number(view.unaccounted)),
        ),
        family(
            view,
            (
                "binpulse_self_pauses_total",
                "How often this process was frozen: suspended, stopped, or starved.",
            ),
            Kind::Counter,
            &[],
            |view| one(number(view.self_pauses)),
        ),
    ]
}

type Of = fn(&super::View) -> Vec<Sample>;

fn one(value: f64) -> Vec<Sample> {
    vec![(Vec::new(), value)]
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn number(count: u64) -> f64 {
    count as f64
}

fn verdicts(view: &super::View) -> Vec<Sample> {
    let holds = |state: State| f64::from(u8::from(state == view.verdict.state));
    State::ALL
        .into_iter()
        .map(|state| (vec![("state", state.name().to_owned())], holds(state)))
        .collect()
}

fn grades(view: &super::View) -> Vec<Sample> {
    let told = view.verdict.grade().told();
    let sample = |grade: Grade| {
        (vec![("grade", grade.name().to_owned())], f64::from(u8::from(grade == told)))
    };
    Grade::ALL.into_iter().map(sample).collect()
}

fn hops(view: &super::View) -> Vec<Sample> {
    let told = view.verdict.hop;
    let sample =
        |hop: Hop| (vec![("hop", hop.name().to_owned())], f64::from(u8::from(hop == told)));
    Hop::ALL.into_iter().map(sample).collect()
}

fn transitions(view: &super::View) -> Vec<Sample> {
    let count = |from, to| {
        let found = view.transitions.iter().find(|(a, b, _)| (*a, *b) == (from, to));
        found.map_or(0.0, |(_, _, count)| number(*count))
    };
    let pairs = State::ALL
        .into_iter()
        .flat_map(|from| State::ALL.into_iter().map(move |to| (from, to)))
        .filter(|(from, to)| from != to);
    pairs
        .map(|(from, to)| {
            let labels = vec![("from", from.name().to_owned()), ("to", to.name().to_owned())];
            (labels, count(from, to))
        })
        .collect()
}

fn conditions(view: &super::View) -> Vec<Sample> {
    let pairs = Condition::ALL
        .iter()
        .flat_map(|condition| Status::ALL.into_iter().map(move |status| (*condition, status)));
    pairs
        .map(|(condition, status)| {
            let labels = vec![
                ("condition", condition.name().to_owned()),
                ("status", status.name().to_owned()),
            ];
            (labels, f64::from(u8::from(view.status(condition) == status)))
        })
        .collect()
}

fn obligations(view: &super::View) -> Vec<Sample> {
    // Ages are as of the last evaluation, and grow from there.
    let since = platform::now().saturating_duration_since(view.verdict.evaluated_at);
    let age_of = |name: &str| {
        let age = view.obligation_ages.iter().find(|(known, _)| *known == name);
        age.map_or(0.0, |(_, age)| if age.is_zero() { 0.0 } else { (*age + since).as_secs_f64() })
    };
    Obligation::NAMES
        .into_iter()
        .map(|name| (vec![("obligation", name.to_owned())], age_of(name)))
        .collect()
}
