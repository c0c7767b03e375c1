//! Parked rows, over HTTP.

use binpulse_relay::route::{ParkedCommand, Status};
use binpulse_relay::state::ParkedEntry;
use serde_json::{Value, json};

use crate::telemetry::http::{HeaderMap, StatusCode};

/// Header of `POST /parked`: `retry`, `retry ID,ID` or `drop ID,ID: REASON`.
pub const HEADER: &str = "x-binpulse-parked";

/// All that is parked, without bodies.
pub(super) fn list(entries: &[ParkedEntry]) -> Value {
    entries.iter().map(entry).collect()
}

/// One request with its body.
pub(super) fn whole(found: &ParkedEntry) -> Value {
    let mut document = entry(found);
    document["content_type"] = found.parked.content_type.as_str().into();
    document["body"] = String::from_utf8_lossy(&found.parked.body).into();
    document
}

fn entry(entry: &ParkedEntry) -> Value {
    let parked = &entry.parked;
    json!({
        "id": parked.id, "lane": parked.lane.as_ref().map(ToString::to_string),
        "first": parked.first, "last": parked.last, "keys": parked.keys,
        "reason": parked.reason.as_str(), "attempts": parked.attempts, "answer": parked.answer,
        "parked_at_us": parked.parked_at_us, "to_retry": entry.to_retry,
    })
}

/// Hands the command to the route.
pub(super) fn act(headers: &HeaderMap, status: &Status) -> Result<String, (StatusCode, String)> {
    let bad = |why: &str| Err((StatusCode::BAD_REQUEST, format!("{HEADER}: {why}")));
    let Some(text) = headers.get(HEADER).and_then(|value| value.to_str().ok()) else {
        return bad("found none, expected retry, retry ID,ID or drop ID,ID: REASON");
    };
    let (verb, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let ids = |list: &str| -> Vec<String> {
        list.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    };
    let command = match verb {
        "retry" => ParkedCommand::Retry(ids(rest)),
        "drop" => {
            let (list, reason) = rest.split_once(':').unwrap_or((rest, ""));
            let (ids, reason) = (ids(list), reason.trim());
            if ids.is_empty() || reason.is_empty() {
                return bad("drop needs ids and a reason: drop ID,ID: REASON");
            }
            tracing::warn!(?ids, reason, "an operator drops parked rows");
            ParkedCommand::Drop(ids)
        }
        _ => return bad("expected retry, retry ID,ID or drop ID,ID: REASON"),
    };
    if !status.command(command) {
        let why = String::from("too many commands wait: try again in a second");
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    Ok(String::from("accepted: the relay does it within a few seconds"))
}
