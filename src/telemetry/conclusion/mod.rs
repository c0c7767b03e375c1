//! From the document of `/status` to what people are told: one source of words for the page, the
//! terminal and the document itself. Pure.

mod consumer_state;
mod consumers;
mod halt;
mod next;
mod notices;
mod state_kind;
mod stations;
mod surroundings;
mod text;

use serde::Serialize;

pub use consumers::{ConsumerGroup, Member};
pub use next::{Aid, Command, Link, NextSteps, Place, quote};
pub use notices::Notice;
pub use state_kind::StateKind;
pub use stations::Station;
pub use surroundings::Surroundings;
pub use text::{duration, few};

use super::status::{Status, Verdict};
use super::words::{Grade, Hop, Indicator, StationKey};
use text::{begun, beyond};

/// The verdict is evaluated each second; older than this, seconds, its loop does not move.
const FROZEN_AFTER: f64 = 6.0;

/// What a status says at a glance, ready to be shown.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Conclusion {
    /// The verdict's, or `unknown` when that is no longer evaluated.
    pub grade: Grade,
    /// How it is shown.
    pub indicator: Indicator,
    /// The grade in words, with the place.
    pub label: String,
    /// The state with its reason, or the reason of a halt.
    pub state: String,
    /// Seconds since it is that.
    pub since_seconds: f64,
    /// What is so, in a few words.
    pub headline: String,
    /// What the verdict's sentence says beyond its headline.
    pub evidence: String,
    /// What to do next.
    pub next_step: String,
    /// Path of the runbook on this server, if one goes with it.
    pub runbook: Option<String>,
    /// The whole address of the runbook, if one goes with it.
    pub runbook_url: Option<String>,
    /// The hop that the label names.
    pub hop: Hop,
    /// The verdict's loop does not move: what it said last is not the present.
    pub is_frozen: bool,
    /// How each station on the way of a row does, and the checkpoint beside them.
    pub stations: Vec<Station>,
    /// What comes after the first broken station, in words; empty when none is.
    pub after: String,
    /// What the verdict does not tell, and somebody must know.
    pub notices: Vec<Notice>,
    /// How each consumer does, worst first, with its paths under its name.
    pub consumers: Vec<ConsumerGroup>,
    /// What is so of all consumers and their paths together, counted.
    pub consumers_text: String,
}

impl Status {
    /// The document with everything that follows from its facts.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        if let Some(halted) = &self.halted {
            self.verdict.tell_halt(halted);
        }
        self.conclusion = conclude(&self);
        self.next = next::of(&self);
        self.name_addresses();
        self
    }

    /// Paths of runbooks as others reach them.
    fn name_addresses(&mut self) {
        let url = self.url.trim_end_matches('/');
        let whole = |path: &String| format!("{url}{path}");
        self.verdict.runbook_url = self.verdict.runbook.as_ref().map(whole);
        self.conclusion.runbook_url = self.conclusion.runbook.as_ref().map(whole);
        for notice in &mut self.conclusion.notices {
            notice.runbook_url = whole(&notice.runbook);
        }
    }
}

fn conclude(status: &Status) -> Conclusion {
    let verdict = &status.verdict;
    let is_frozen = verdict.evaluated_age_seconds > FROZEN_AFTER;
    let notices = notices::of(status);
    let mut said = said(status);
    if let (Some(notice), Grade::Healthy) = (notices.first(), said.grade) {
        said.indicator = Indicator::Late;
        "healthy, with a warning".clone_into(&mut said.label);
        said.headline = format!("{}; {}", said.headline, notice.headline);
        said.next_step.clone_from(&notice.next_step);
        said.runbook = Some(notice.runbook.clone());
    }
    if is_frozen {
        said = Conclusion {
            grade: Grade::Unknown,
            indicator: Indicator::Unknown,
            label: "not known".to_owned(),
            state: format!("was {}", said.state),
            evidence: format!("The last verdict was: {}. {}", said.headline, said.evidence),
            headline: "Quiet or down: not known".to_owned(),
            next_step: "Restart binpulse: it continues from its checkpoint. Keep its log."
                .to_owned(),
            hop: Hop::None,
            ..said
        };
    }
    let stations = stations::of(status, said.indicator, is_frozen);
    let (consumers, consumers_text) = consumers::of(&status.consumers);
    let after = stations::after(&stations);
    Conclusion { is_frozen, stations, after, notices, consumers, consumers_text, ..said }
}

/// What the verdict says, or the halt.
fn said(status: &Status) -> Conclusion {
    let verdict = &status.verdict;
    let (indicator, word) = match verdict.grade {
        Grade::Healthy => (Indicator::Works, "healthy"),
        Grade::Intended => (Indicator::Late, "intended"),
        Grade::Recovering => (Indicator::Late, "recovering"),
        Grade::Late => (Indicator::Late, "late"),
        Grade::Outage => (Indicator::Broken, "outage"),
        Grade::Unknown => (Indicator::Unknown, "not known"),
    };
    let word = if status.halted.is_some() { "halted" } else { word };
    let checkpoint = (verdict.kind == StateKind::Unsaved).then_some(StationKey::Checkpoint);
    let label = match verdict.hop.station().or(checkpoint).map(StationKey::name) {
        None => word.to_owned(),
        Some(at) => format!("{word} at {at}"),
    };
    let is_name = |word: &str| {
        let mut consumers = status.consumers.iter().map(|one| consumers::owner(&one.name));
        consumers.any(|name| name == word) || status.paths.iter().any(|path| path.name == word)
    };
    let (state, evidence, since_seconds) = match &status.halted {
        Some(halted) => (
            halted.reason.name().to_owned(),
            begun(&halted.message, is_name),
            status.state_age_seconds,
        ),
        None => {
            let evidence = beyond(&verdict.sentence, &verdict.headline, is_name);
            (named(verdict, status.consumers.len()), evidence, verdict.since_seconds)
        }
    };
    Conclusion {
        grade: verdict.grade,
        indicator,
        label,
        state,
        since_seconds,
        headline: verdict.headline.clone(),
        evidence,
        next_step: verdict.next_step.clone(),
        runbook: verdict.runbook.clone(),
        hop: verdict.hop,
        ..Conclusion::default()
    }
}

/// Names of consumers in a state that are told one by one.
const NAMES_MAX: usize = 3;

/// The state with its reason. Many names of consumers are counted.
fn named(verdict: &Verdict, consumers: usize) -> String {
    match &verdict.reason {
        Some(reason) if reason.split(',').count() > NAMES_MAX => {
            let names = reason.split(',').count();
            format!("{} ({names} of {consumers} consumer paths)", verdict.state)
        }
        Some(reason) => format!("{} ({reason})", verdict.state),
        None => verdict.state.clone(),
    }
}

#[cfg(test)]
mod tests;
