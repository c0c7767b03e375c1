//! What a relay says of itself above its runbooks. Pure.

use binpulse_relay::route::View;

use crate::telemetry::told;
use crate::telemetry::words::Indicator;

/// Lanes that are told one by one above a runbook.
const LANES_MAX: usize = 5;

/// How the route stands, for the top of its runbooks.
pub(super) fn state(view: &View) -> String {
    let is_failing = view.target_state != "works" || view.state_failure.is_some();
    let indicator = match view {
        _ if is_failing => Indicator::Broken,
        view if view.parked > 0 || !view.lanes.is_empty() => Indicator::Late,
        _ => Indicator::Works,
    };
    let (route, target, state) = (&view.route, &view.target, view.target_state);
    let mut lines = vec![
        format!("Relay {route}, from {} to {target}. The target: {state}.", view.queue),
        format!(
            "{} rows are not delivered, {} requests are parked, {} of {} lanes wait.",
            view.lag_rows,
            view.parked,
            view.lanes.len(),
            view.lanes_total
        ),
    ];
    let failure = |what: &str, why: &Option<String>| {
        why.as_ref().map(|why| format!("The {what} failed last with: {why}"))
    };
    lines.extend(failure("target", &view.last_failure));
    lines.extend(failure("state", &view.state_failure));
    for lane in view.lanes.iter().take(LANES_MAX) {
        let remedy = lane.remedy.as_ref().map(|remedy| format!(": {remedy}"));
        let (name, next, remedy) = (&lane.lane, lane.next, remedy.unwrap_or_default());
        lines.push(format!("Lane {name}, {} at row {next}{remedy}", lane.state));
    }
    told(indicator, &lines)
}

#[cfg(test)]
mod tests {
    use binpulse_relay::route::LaneStatus;

    use super::*;

    #[test]
    fn what_waits_and_what_fails_is_told_as_text() {
        let view = View {
            route: "partners".to_owned(),
            target: "https://partner.example".to_owned(),
            target_state: "works",
            ..View::default()
        };
        let text = state(&view);
        assert!(text.contains("class=\"works\"") && text.contains("Relay partners"), "{text}");
        let lane = LaneStatus {
            lane: "orders/1/shop.orders#0".to_owned(),
            next: 812,
            state: "halted",
            missing: None,
            missing_parts: None,
            remedy: Some("read <them> again".to_owned()),
        };
        let text = state(&View { lanes: vec![lane; 9], lanes_total: 40, ..view.clone() });
        assert!(text.contains("class=\"late\"") && text.contains("9 of 40 lanes wait"), "{text}");
        let halted = "orders/1/shop.orders#0, halted at row 812: read &lt;them&gt; again";
        assert_eq!(text.matches(halted).count(), LANES_MAX, "{text}");
        let last_failure = Some("HTTP 503".to_owned());
        let text = state(&View { target_state: "failing", last_failure, ..view });
        assert!(text.contains("class=\"broken\"") && text.contains("with: HTTP 503"), "{text}");
    }
}
