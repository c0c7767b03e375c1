//! How each station on the way of a row does.

use serde::Serialize;

use super::halt;
use crate::telemetry::status::Status;

/// A station, and how it does.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Station {
    /// `source`, `stream`, `publish`, `delivery`, `consumers`, and beside them `checkpoint`.
    pub key: &'static str,
    /// Its name, for people.
    pub name: &'static str,
    /// `works`, `late`, `broken`, `unknown`, `waits` or `unwatched`.
    pub look: &'static str,
    /// The same in words.
    pub word: &'static str,
}

/// The stations in the order in which a row passes them: key, name, and the key that the conditions
/// which speak for it have. What is delivered to the queues is all that is known of the consumers.
const STATIONS: [(&str, &str, &str); 6] = [
    ("source", "Source", "source"),
    ("stream", "Stream", "stream"),
    ("publish", "Publish", "publish"),
    ("delivery", "Delivery", "delivery"),
    ("consumers", "Consumers", "delivery"),
    ("checkpoint", "Checkpoint", "checkpoint"),
];
const CHECKPOINT: usize = 5;

/// Halts that are about the checkpoint alone.
const AT_CHECKPOINT: [&str; 2] = ["checkpoint", "fenced"];

/// How each does. `look`: of the whole.
pub(super) fn of(status: &Status, look: &str, is_frozen: bool) -> Vec<Station> {
    let verdict = &status.verdict;
    let at_halt = status.halted.as_ref().map(|halted| halt::hop(&halted.reason));
    let is_at = |key: &str| verdict.hop == key || at_halt == Some(key);
    let first = STATIONS.iter().position(|(key, ..)| is_at(key));
    let is_watched = !status.consumers.is_empty();
    let halt = status.halted.as_ref().map(|halted| halted.reason.as_str());
    let is_unsaved = verdict.state == "checkpoint_stuck"
        || halt.is_some_and(|reason| AT_CHECKPOINT.contains(&reason));
    let station = |(at, &(key, name, told_by)): (usize, &(&'static str, &'static str, &str))| {
        let broken = match look {
            "late" if verdict.grade == "recovering" => ("late", "recovering here"),
            "late" => ("late", "late here"),
            _ => ("broken", "broken here"),
        };
        let is_far = matches!(key, "delivery" | "consumers");
        let (look, word) = match first {
            _ if is_frozen => ("unknown", "not known"),
            _ if at == CHECKPOINT && is_unsaved => ("broken", "broken here"),
            _ if at == CHECKPOINT => by_conditions(status, told_by),
            Some(_) if is_at(key) => broken,
            _ if is_far && !is_watched => ("unwatched", "not watched"),
            Some(first) if at > first => ("waits", "not evaluated"),
            Some(_) => ("works", "works"),
            None => by_conditions(status, told_by),
        };
        Station { key, name, look, word }
    };
    STATIONS.iter().enumerate().map(station).collect()
}

/// Without a broken hop: what the conditions of the station say.
fn by_conditions(status: &Status, station: &str) -> (&'static str, &'static str) {
    let verdict = &status.verdict;
    if matches!(verdict.state.as_str(), "starting" | "self_stalled") {
        return ("unknown", "not known");
    }
    let asked = verdict.conditions.iter();
    let mut asked = asked.filter(|one| one.needed && one.speaks_for == Some(station)).peekable();
    if asked.peek().is_none() {
        return ("unknown", "not known");
    }
    let (mut is_false, mut is_true) = (false, true);
    for condition in asked {
        is_false |= condition.status == "false";
        is_true &= condition.status == "true";
    }
    match (is_false, is_true) {
        (true, _) => ("broken", "broken here"),
        (false, true) => ("works", "works"),
        (false, false) => ("unknown", "not known"),
    }
}

/// What is said of the stations after the first that is broken.
pub(super) fn after(stations: &[Station]) -> String {
    let waits = stations.iter().position(|station| station.look == "waits");
    let before = waits.and_then(|at| stations.get(at.checked_sub(1)?));
    before.map_or_else(String::new, |station| {
        let name = station.name.to_lowercase();
        format!("What comes after {name} is not evaluated until that is fixed.")
    })
}
