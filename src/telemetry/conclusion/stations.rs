//! How each station on the way of a row does.

use serde::Serialize;

use super::{StateKind, halt};
use crate::telemetry::status::Status;
use crate::telemetry::words::{ConditionStatus, Grade, Look, StationKey};

/// A station, and how it does.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Station {
    /// Which one.
    pub key: StationKey,
    /// Its name, for people.
    pub name: &'static str,
    /// How it is shown.
    pub look: Look,
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
const AT_CHECKPOINT: [&str; 2] = ["checkpoint", "fenced"];

/// How each does. `look`: of the whole.
pub(super) fn of(status: &Status, look: Look, is_frozen: bool) -> Vec<Station> {
    let verdict = &status.verdict;
    let at_halt = status.halted.as_ref().and_then(|halted| halt::hop(&halted.reason).station());
    let hop = verdict.hop.station();
    let is_at = |key: StationKey| hop == Some(key) || at_halt == Some(key);
    let first = STATIONS.iter().position(|(key, ..)| is_at(*key));
    let is_watched = !status.consumers.is_empty();
    let halt = status.halted.as_ref().map(|halted| halted.reason.as_str());
    let is_unsaved = verdict.kind == StateKind::Unsaved
        || halt.is_some_and(|reason| AT_CHECKPOINT.contains(&reason));
    let station =
        |(at, &(key, name, told_by)): (usize, &(StationKey, &'static str, StationKey))| {
            let broken = match look {
                Look::Late if verdict.grade == Grade::Recovering => (Look::Late, "recovering here"),
                Look::Late => (Look::Late, "late here"),
                Look::Works | Look::Broken | Look::Unknown | Look::Waits | Look::Unwatched => {
                    (Look::Broken, "broken here")
                }
            };
            let is_far = matches!(key, StationKey::Delivery | StationKey::Consumers);
            let is_checkpoint = key == StationKey::Checkpoint;
            let (look, word) = match first {
                _ if is_frozen => (Look::Unknown, "not known"),
                _ if is_checkpoint && is_unsaved => (Look::Broken, "broken here"),
                _ if is_checkpoint => by_conditions(status, told_by),
                Some(_) if is_at(key) => broken,
                _ if is_far && !is_watched => (Look::Unwatched, "not watched"),
                Some(first) if at > first => (Look::Waits, "not evaluated"),
                Some(_) => (Look::Works, "works"),
                None => by_conditions(status, told_by),
            };
            Station { key, name, look, word }
        };
    STATIONS.iter().enumerate().map(station).collect()
}

/// Without a broken hop: what the conditions of the station say.
fn by_conditions(status: &Status, station: StationKey) -> (Look, &'static str) {
    let verdict = &status.verdict;
    if verdict.kind == StateKind::Blind {
        return (Look::Unknown, "not known");
    }
    let asked = verdict.conditions.iter();
    let mut asked = asked.filter(|one| one.needed && one.speaks_for == Some(station)).peekable();
    if asked.peek().is_none() {
        return (Look::Unknown, "not known");
    }
    let (mut is_false, mut is_true) = (false, true);
    for condition in asked {
        is_false |= condition.status == ConditionStatus::False;
        is_true &= condition.status == ConditionStatus::True;
    }
    match (is_false, is_true) {
        (true, _) => (Look::Broken, "broken here"),
        (false, true) => (Look::Works, "works"),
        (false, false) => (Look::Unknown, "not known"),
    }
}

/// What is said of the stations after the first that is broken.
pub(super) fn after(stations: &[Station]) -> String {
    let waits = stations.iter().position(|station| station.look == Look::Waits);
    let before = waits.and_then(|at| stations.get(at.checked_sub(1)?));
    before.map_or_else(String::new, |station| {
        let name = station.name.to_lowercase();
        format!("What comes after {name} is not evaluated until that is fixed.")
    })
}
