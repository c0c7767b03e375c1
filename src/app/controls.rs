//! What is held back, in metrics and in `/status`.

use std::sync::Arc;

use crate::control::Desk;
use crate::freshness::FreshnessState;
use crate::platform;
use crate::telemetry::metrics::{Kind, ScrapedFamily};
use crate::telemetry::status::{ControlState, ControlStatus};

/// How each control stands, with the time that is left to send what it holds back.
pub(super) fn shown(desk: &Desk, freshness: &FreshnessState) -> Vec<ControlStatus> {
    let expiry = freshness.purge().expiry();
    let now = platform::now();
    let mut all = desk.status();
    for control in &mut all {
        control.purge_margin_seconds = control.first_row_us.zip(expiry).map(|(us, expiry)| {
            #[expect(clippy::cast_precision_loss, reason = "an age, not an identity")]
            let age = freshness.since_commit_us(us, now).max(0) as f64 / 1e6;
            (expiry.as_secs_f64() - age).max(0.0)
        });
    }
    all
}

/// The metrics about them: a series for each control that is in force.
pub(super) fn families(desk: &Arc<Desk>, freshness: &Arc<FreshnessState>) -> [ScrapedFamily; 4] {
    let gauge = |name, help, of: fn(&ControlStatus) -> Option<f64>| {
        let (desk, freshness) = (Arc::clone(desk), Arc::clone(freshness));
        let read = move || {
            let sample = |control: &ControlStatus| {
                let labels = vec![
                    ("table", control.pattern.clone()),
                    ("kind", control.kind.as_str().to_owned()),
                ];
                Some((labels, of(control)?))
            };
            shown(&desk, &freshness).iter().filter_map(sample).collect()
        };
        let labels = &["table", "kind"];
        ScrapedFamily { name, help, kind: Kind::Gauge, labels, read: Arc::new(read) }
    };
    [
        gauge(
            "binpulse_control_active",
            "1 for each pattern of tables that is held back, 0 for one whose rate is limited and not \
             exceeded; no series for all others.",
            |control| Some(f64::from(u8::from(control.state != ControlState::Live))),
        ),
        gauge(
            "binpulse_control_held_rows",
            "Rows of these tables that are numbered and were not sent.",
            |control| {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a float is what the format carries"
                )]
                let rows = control.rows as f64;
                Some(rows)
            },
        ),
        gauge(
            "binpulse_control_overdue_seconds",
            "Time since a pause was to be over that is still there: its rows are being sent, or can't be. 0 \
             until then; no series for what does not end by itself.",
            |control| overdue(control, platform::wall_us()),
        ),
        gauge(
            "binpulse_suppressed_purge_margin_seconds",
            "Time until the source may purge the first of these rows, at least: then release --send can \
             not send it any more. No series while nothing is held back, or the source purges nothing by \
             itself, or its expiry is not known.",
            |control| control.purge_margin_seconds,
        ),
    ]
}

/// Seconds since it was to be over, by the clock that ends it; `None`: it has no end of its own.
fn overdue(control: &ControlStatus, now_us: i64) -> Option<f64> {
    let since_us = now_us.saturating_sub(control.until_us?).max(0);
    #[expect(clippy::cast_precision_loss, reason = "an age, not an identity")]
    Some(since_us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_overdue_from_its_end_on_and_nothing_else_is() {
        let at = |until_us, now_us| {
            overdue(&ControlStatus { until_us, ..ControlStatus::default() }, now_us)
        };
        assert_eq!(at(None, 5_000_000), None);
        assert_eq!(at(Some(5_000_000), 4_000_000), Some(0.0));
        assert_eq!(at(Some(5_000_000), 7_500_000), Some(2.5));
        assert_eq!(at(Some(i64::MAX), i64::MIN), Some(0.0));
    }
}
