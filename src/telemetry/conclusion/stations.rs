//! How each station on the way of a row does.

use serde::Serialize;

use super::{StateKind, halt};
use crate::telemetry::status::Status;
use crate::telemetry::words::{ConditionStatus, Grade, HaltReason, Indicator, StationKey};

/// A station, and how it does.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Station {
    /// Which one.
    pub key: StationKey,
    /// Its name, for people.
    pub name: &'static str,
    /// How it is shown.
    pub indicator: Indicator,
    /// The same in words.
    pub word: &'static str,
}

/// The stations in the order in which a row passes them: key, name, and the key that the conditions
/// which speak for it have. What is delivered to the queues is all that is known of the consumers.
const STATIONS: [(StationKey, &str, StationKey); 6] = [
    (StationKey::Source, "Source", StationKey::Source),
    (StationKey::Stream, "Stream", StationKey::Stream),
    (StationKey::Publish, "Publish", StationKey::Publish),
    (StationKey::Delivery, "Delivery", StationKey::Delivery),
    (StationKey::Consumers, "Consumers", StationKey::Delivery),
    (StationKey::Checkpoint, "Checkpoint", StationKey::Checkpoint),
];

/// Halts that are about the checkpoint alone.
const AT_CHECKPOINT: [HaltReason; 2] = [HaltReason::Checkpoint, HaltReason::Fenced];

/// How each does. `indicator`: of the whole.
pub(super) fn of(status: &Status, indicator: Indicator, is_frozen: bool) -> Vec<Station> {
    let verdict = &status.verdict;
    let at_halt = status.halted.as_ref().and_then(|halted| halt::hop(halted.reason).station());
    let hop = verdict.hop.station();
    let is_at = |key: StationKey| hop == Some(key) || at_halt == Some(key);
    let first = STATIONS.iter().position(|(key, ..)| is_at(*key));
    let is_watched = !status.consumers.is_empty();
    let halt = status.halted.as_ref().map(|halted| halted.reason);
    let is_unsaved = verdict.kind == StateKind::Unsaved
        || halt.is_some_and(|reason| AT_CHECKPOINT.contains(&reason));
    let station =
        |(at, &(key, name, told_by)): (usize, &(StationKey, &'static str, StationKey))| {
            let broken = match indicator {
                Indicator::Late if verdict.grade == Grade::Recovering => {
                    (Indicator::Late, "recovering here")
                }
                Indicator::Late => (Indicator::Late, "late here"),
                Indicator::Works
                | Indicator::Broken
                | Indicator::Unknown
                | Indicator::Waits
                | Indicator::Unwatched => (Indicator::Broken, "broken here"),
            };
            let is_far = matches!(key, StationKey::Delivery | StationKey::Consumers);
            let is_checkpoint = key == StationKey::Checkpoint;
            let (indicator, word) = match first {
                _ if is_frozen => (Indicator::Unknown, "not known"),
                _ if is_checkpoint && is_unsaved => (Indicator::Broken, "broken here"),
                _ if is_checkpoint => by_conditions(status, told_by),
                Some(_) if is_at(key) => broken,
                _ if is_far && !is_watched => (Indicator::Unwatched, "not watched"),
                Some(first) if at > first => (Indicator::Waits, "not evaluated"),
                Some(_) => (Indicator::Works, "works"),
                None => by_conditions(status, told_by),
            };
            Station { key, name, indicator, word }
        };
    STATIONS.iter().enumerate().map(station).collect()
}

/// Without a broken hop: what the conditions of the station say.
fn by_conditions(status: &Status, station: StationKey) -> (Indicator, &'static str) {
    let verdict = &status.verdict;
    if verdict.kind == StateKind::Blind {
        return (Indicator::Unknown, "not known");
    }
    let asked = verdict.conditions.iter();
    let mut asked = asked.filter(|one| one.needed && one.speaks_for == Some(station)).peekable();
    if asked.peek().is_none() {
        return (Indicator::Unknown, "not known");
    }
    let (mut is_false, mut is_true) = (false, true);
    for condition in asked {
        is_false |= condition.status == ConditionStatus::False;
        is_true &= condition.status == ConditionStatus::True;
    }
    match (is_false, is_true) {
        (true, _) => (Indicator::Broken, "broken here"),
        (false, true) => (Indicator::Works, "works"),
        (false, false) => (Indicator::Unknown, "not known"),
    }
}

/// What is said of the stations after the first that is broken.
pub(super) fn after(stations: &[Station]) -> String {
    let waits = stations.iter().position(|station| station.indicator == Indicator::Waits);
    let before = waits.and_then(|at| stations.get(at.checked_sub(1)?));
    before.map_or_else(String::new, |station| {
        let name = station.name.to_lowercase();
        format!("What comes after {name} is not evaluated until that is fixed.")
    })
}
