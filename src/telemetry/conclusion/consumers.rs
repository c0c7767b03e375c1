//! How each consumer does, worst first: its built-in canaries and those of paths under one name.

use std::fmt::Write as _;

use serde::Serialize;

use super::consumer_state::ConsumerState;
use super::text::{duration, few};
use crate::telemetry::status::Consumer;
use crate::telemetry::words::Indicator;

/// A consumer, and how it does.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct ConsumerGroup {
    /// Its name.
    pub name: String,
    /// How it is shown.
    pub indicator: Indicator,
    /// The same in words.
    pub word: &'static str,
    /// What is so, in one line.
    pub text: String,
    /// Its members of `consumers`, worst first: the built-in canary and each path.
    pub members: Vec<Member>,
    /// Canaries that did not come back in time, since the start of the process.
    pub lost: u64,
    /// Seconds since the last canary came back by any of them.
    pub last_age_seconds: Option<f64>,
}

/// One kind of canary on its way to one consumer.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Member {
    /// Name of the member of `consumers`.
    pub name: String,
    /// How it is shown.
    pub indicator: Indicator,
    /// The same in words.
    pub word: &'static str,
}

/// The consumer whose member this is: those of paths are `consumer/path`.
pub(super) fn owner(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// All of them, worst first, and what is so of all together.
pub(super) fn of(consumers: &[Consumer]) -> (Vec<ConsumerGroup>, String) {
    let mut groups: Vec<(ConsumerState, ConsumerGroup)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let mut all: Vec<(ConsumerState, &Consumer)> =
        consumers.iter().map(|one| (ConsumerState::of(one), one)).collect();
    let counts = counted(&all);
    // Stable: members and groups that do alike keep the order of the settings.
    all.sort_by_key(|(does, _)| *does);
    for (does, one) in all {
        let place = *places.entry(owner(&one.name)).or_insert(groups.len());
        if place == groups.len() {
            let (indicator, word) = does.told();
            let name = owner(&one.name).to_owned();
            let group = ConsumerGroup { name, indicator, word, ..ConsumerGroup::default() };
            groups.push((does, group));
        }
        let Some((_, group)) = groups.get_mut(place) else { continue };
        let (indicator, word) = does.told();
        group.members.push(Member { name: one.name.clone(), indicator, word });
        group.lost += one.lost;
        let newest = group.last_age_seconds.into_iter().chain(one.last_age_seconds);
        group.last_age_seconds = newest.min_by(f64::total_cmp);
        if group.text.is_empty() {
            group.text = line(does, one);
        }
    }
    for (_, group) in &mut groups {
        let like: Vec<&str> =
            group.members.iter().filter(|it| it.word == group.word).map(|it| &*it.name).collect();
        if group.members.len() > 1 {
            let what = format!("{} of {}: {}", like.len(), group.members.len(), few(&like));
            let is_well = like.len() == group.members.len() && group.indicator == Indicator::Works;
            group.text = if is_well {
                format!("all {}", like.len())
            } else {
                [what, group.text.clone()].join("; ")
            };
            group.text = group.text.trim_end_matches("; ").to_owned();
        }
    }
    (groups.into_iter().map(|(_, group)| group).collect(), counts)
}

/// Why it does so, where there is more to say.
fn line(does: ConsumerState, one: &Consumer) -> String {
    match does {
        ConsumerState::Unreadable => one.unreadable.clone().unwrap_or_default(),
        ConsumerState::Rests => {
            let left = one.maintenance_seconds_left.unwrap_or_default();
            format!("not evaluated for {}", duration(left))
        }
        ConsumerState::Silent
        | ConsumerState::Loses
        | ConsumerState::NoneYet
        | ConsumerState::Echoes => String::new(),
    }
}

/// `3 of 100 consumer paths silent, 20 of 100 in maintenance`.
fn counted(all: &[(ConsumerState, &Consumer)]) -> String {
    let kinds = [
        ConsumerState::Silent,
        ConsumerState::Unreadable,
        ConsumerState::Loses,
        ConsumerState::NoneYet,
        ConsumerState::Rests,
    ];
    let count = |does: ConsumerState| all.iter().filter(|(one, _)| *one == does).count();
    let of = all.len();
    let mut told = String::new();
    for does in kinds.into_iter().filter(|does| count(*does) > 0) {
        let what = if told.is_empty() { " consumer paths" } else { "" };
        let comma = if told.is_empty() { "" } else { ", " };
        let word = if does == ConsumerState::Unreadable { "not readable" } else { does.told().1 };
        write!(told, "{comma}{} of {of}{what} {word}", count(does)).expect("a string has room");
    }
    match (told.is_empty(), of) {
        (_, 0) => "No consumer echoes canaries".to_owned(),
        (true, 1) => "The one consumer path echoes".to_owned(),
        (true, _) => format!("All {of} consumer paths echo"),
        (false, _) => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::Canary;
    use crate::telemetry::words::CanaryState;

    fn consumer(name: &str, states: &[CanaryState]) -> Consumer {
        let recent = states.iter().map(|state| Canary { state: *state, ..Canary::default() });
        Consumer {
            name: name.to_owned(),
            last: Some(7),
            recent: recent.collect(),
            ..Consumer::default()
        }
    }

    #[test]
    fn the_worst_consumer_stands_first_with_its_paths_under_its_name() {
        use CanaryState::{Awaited, Late, Lost, NotEvaluated, Resolved};
        let mut resting = consumer("resting", &[Lost, Lost]);
        resting.maintenance_seconds_left = Some(90.0);
        let mut blind = consumer("blind", &[Lost, Lost]);
        blind.unreadable = Some("denied".to_owned());
        let all = [
            consumer("well", &[Awaited, Resolved]),
            resting,
            consumer("billing", &[Resolved]),
            consumer("billing/orders", &[Awaited, NotEvaluated, Lost, Lost]),
            blind,
            consumer("flaky", &[Resolved, Lost]),
            consumer("back", &[Late, Lost]),
        ];
        let (groups, counts) = of(&all);
        let told: Vec<_> = groups.iter().map(|it| (&*it.name, it.word, &*it.text)).collect();
        assert_eq!(
            told,
            [
                ("billing", "silent", "1 of 2: billing/orders"),
                ("blind", "queue can't be read", "denied"),
                ("flaky", "lost a canary lately", ""),
                ("back", "lost a canary lately", ""),
                ("resting", "in maintenance", "not evaluated for 1 min 30 s"),
                ("well", "echoes", ""),
            ]
        );
        assert_eq!(groups[0].members.len(), 2);
        assert_eq!(
            counts,
            "1 of 7 consumer paths silent, 1 of 7 not readable, 2 of 7 lost a canary lately, \
             1 of 7 in maintenance"
        );
        assert_eq!(of(&all[..1]).1, "The one consumer path echoes");
    }
}
