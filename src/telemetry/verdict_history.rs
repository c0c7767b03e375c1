//! What has been: the changes of the verdict with their evidence, and an hour of figures in steps of ten
//! seconds. Pure: the time is an argument. Bounded in count and in bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::duration;
use super::status::Status;
use super::table_rows::{TableRate, TableRates};
use super::words::{ConditionStatus, Grade, Hop, Indicator};

/// Changes of the verdict that are kept.
pub const CHANGES_MAX: usize = 200;
/// Bytes of all of them as JSON.
pub const BYTES_MAX: usize = 256 * 1024;
/// Bytes of one text in a change.
const TEXT_MAX: usize = 600;
/// Facts, and conditions, of one change.
const EVIDENCE_MAX: usize = 32;

/// Length of a step.
const STEP_US: i64 = 10_000_000;
/// Steps that are kept: an hour.
const POINTS_MAX: usize = 360;
/// Samples from which the time to catch up is estimated; one is taken each second.
const RECENT_MAX: usize = 30;
/// Fewer than these tell nothing.
const RECENT_MIN: usize = 5;
/// Below this lag, seconds, nothing is said of catching up.
const LATE_AFTER: f64 = 5.0;
/// Less of the source's time than this, seconds, tells no rate of commits.
const COMMITTED_MIN: f64 = 1.0;
/// Seconds of lag less in each second: below it, it does not shrink.
const SHRINKS_BY: f64 = 0.02;

/// A change of the verdict, with what it was concluded from.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Default)]
pub struct Change {
    /// When it was seen, microseconds since 1970 UTC.
    pub at_us: i64,
    /// The state with its reason, or the reason of a halt.
    pub state: String,
    /// What it means for those who wait for data.
    pub grade: Grade,
    /// How it is shown.
    pub indicator: Indicator,
    /// The grade in words, with the place.
    pub label: String,
    /// The first broken hop.
    pub hop: Hop,
    /// What is so, in a few words.
    pub headline: String,
    /// What was seen.
    pub evidence: String,
    /// What was to be done.
    pub next_step: String,
    /// Path of the runbook on this server, if one went with it. Files of before have none.
    #[serde(default)]
    pub runbook: Option<String>,
    /// Further facts.
    pub facts: Vec<String>,
    /// Conditions that were needed and did not hold, or were not known.
    pub conditions: Vec<Unmet>,
    /// Version of the program.
    pub version: String,
}

/// A condition that did not hold.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Default)]
pub struct Unmet {
    /// Its name.
    pub name: String,
    /// What it was.
    pub status: ConditionStatus,
    /// Seconds for which it had been that.
    pub since_seconds: f64,
    /// The observation.
    pub because: String,
}

/// Figures of one step.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Default)]
pub struct Point {
    /// When it ended, microseconds since 1970 UTC.
    pub at_us: i64,
    /// The greatest lag in it, seconds; `null` if it was not known.
    pub lag_seconds: Option<f64>,
    /// Rows that the source committed, each second of its own clock: of that part of the log that was
    /// read meanwhile. `null` if no commit was read.
    pub committed_per_second: Option<f64>,
    /// Rows that the topic accepted, each second.
    pub changes_per_second: f64,
    /// Messages that the topic accepted, each second.
    pub messages_per_second: f64,
    /// The longest round trip of a heartbeat, seconds.
    pub heartbeat_seconds: Option<f64>,
    /// The longest round trip of the newest canaries of all consumers, seconds.
    pub canary_seconds: Option<f64>,
}

/// What `/history` shows.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Document {
    /// How late the stream is and how long it takes to catch up; empty when it is not late.
    pub late: String,
    /// Why changes from before this process are missing, or are not saved; empty otherwise.
    pub told: String,
    /// Changes of the verdict, the newest first.
    pub changes: Vec<Change>,
    /// Length of a step, seconds.
    pub step_seconds: i64,
    /// An hour of figures, the oldest first.
    pub points: Vec<Point>,
    /// The busiest tables of the last minute, the busiest first.
    pub busiest: Vec<TableRate>,
}

/// The history, while the process runs.
#[derive(Debug, Default)]
pub struct History {
    changes: VecDeque<(Change, usize)>,
    bytes: usize,
    points: VecDeque<Point>,
    step: Option<Step>,
    /// Lags of the last seconds: when, and how late.
    recent: VecDeque<(i64, f64)>,
    tables: TableRates,
    told: String,
}

/// A step that has not ended.
#[derive(Debug)]
struct Step {
    began_us: i64,
    changes: u64,
    messages: u64,
    read: u64,
    /// The newest commit that was read, by the source's clock, microseconds.
    commit_us: Option<f64>,
    so_far: Point,
}

impl History {
    /// Takes what is so at `now_us`. Whether the verdict has changed.
    pub fn record(&mut self, status: &Status, now_us: i64) -> bool {
        self.sample(status, now_us);
        let change = Change::of(status, now_us);
        let before = self.changes.back().map(|(one, _)| one);
        // The state and no more: a headline may tick.
        let is_same = before.is_some_and(|one| {
            (&one.state, one.grade, one.indicator)
                == (&change.state, change.grade, change.indicator)
        });
        if !is_same {
            self.push(change);
        }
        !is_same
    }

    /// Whether a step ends now: then the tables are counted too.
    pub fn is_step_over(&self, now_us: i64) -> bool {
        self.step.as_ref().is_none_or(|step| is_over(step.began_us, now_us))
    }

    /// Takes the rows of each table that were published since the start.
    pub fn count_tables(&mut self, counts: HashMap<Arc<str>, u64>, now_us: i64) {
        self.tables.sample(counts, now_us);
    }

    /// Puts the changes of the run before in front of those of this one.
    pub fn continue_from(&mut self, before: Vec<Change>) {
        let own: Vec<Change> = self.changes.drain(..).map(|(one, _)| one).collect();
        self.bytes = 0;
        let is_known = |at_us| own.iter().any(|one| one.at_us == at_us);
        let before: Vec<Change> = before.into_iter().filter(|one| !is_known(one.at_us)).collect();
        for change in before.into_iter().chain(own) {
            self.push(change);
        }
    }

    /// Notes why the history is not whole; empty: it is.
    pub fn tell(&mut self, told: String) {
        self.told = told;
    }

    /// The changes, the oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter().map(|(one, _)| one)
    }

    /// What is shown of it.
    pub fn document(&self) -> Document {
        Document {
            late: self.late(),
            told: self.told.clone(),
            changes: self.changes().rev().cloned().collect(),
            step_seconds: STEP_US / 1_000_000,
            points: self.points.iter().copied().collect(),
            busiest: self.tables.busiest(),
        }
    }

    fn push(&mut self, change: Change) {
        let size = serde_json::to_string(&change).map_or(0, |text| text.len());
        self.bytes += size;
        self.changes.push_back((change, size));
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some((_, size)) = self.changes.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(size);
        }
    }

    fn sample(&mut self, status: &Status, now_us: i64) {
        let progress = &status.progress;
        match progress.lag_seconds {
            Some(lag) => self.recent.push_back((now_us, lag)),
            None => self.recent.clear(),
        }
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        let (changes, messages) = (progress.changes_published, progress.messages_published);
        let read = progress.changes_read;
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let commit_us = progress.newest_commit_age_seconds.map(|age| now_us as f64 - age * 1e6);
        let so_far = Point::default();
        let fresh = || Step { began_us: now_us, changes, messages, read, commit_us, so_far };
        let step = self.step.get_or_insert_with(fresh);
        let trips = status.consumers.iter();
        let trips = trips.filter_map(|one| one.recent.iter().find_map(|it| it.took_seconds));
        let canary = trips.fold(None, |most, one| greater(most, Some(one)));
        let so_far = &mut step.so_far;
        so_far.lag_seconds = greater(so_far.lag_seconds, progress.lag_seconds);
        let heartbeat = status.heartbeat.roundtrip_seconds;
        so_far.heartbeat_seconds = greater(so_far.heartbeat_seconds, heartbeat);
        so_far.canary_seconds = greater(so_far.canary_seconds, canary);
        if !is_over(step.began_us, now_us) {
            return;
        }
        let took_us = now_us.saturating_sub(step.began_us);
        let committed = step.commit_us.zip(commit_us).map(|(from, to)| (to - from) / 1e6);
        let committed = committed.filter(|seconds| *seconds >= COMMITTED_MIN);
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let per_second = |now: u64, then: u64| {
            now.saturating_sub(then) as f64 * 1e6 / took_us.max(STEP_US) as f64
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let rows_read = read.saturating_sub(step.read) as f64;
        let point = Point {
            at_us: now_us,
            committed_per_second: committed.map(|seconds| rows_read / seconds),
            changes_per_second: per_second(changes, step.changes),
            messages_per_second: per_second(messages, step.messages),
            ..step.so_far
        };
        self.step = Some(fresh());
        self.points.push_back(point);
        while self.points.len() > POINTS_MAX {
            self.points.pop_front();
        }
    }

    /// How late the stream is, and how long it takes to catch up at the pace of the last half minute.
    fn late(&self) -> String {
        let Some(&(now_us, lag)) = self.recent.back() else { return String::new() };
        if lag < LATE_AFTER {
            return String::new();
        }
        let late = format!("{} late", duration(lag));
        let Some(&(then_us, before)) = self.recent.front() else { return late };
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let seconds = now_us.saturating_sub(then_us) as f64 / 1e6;
        let shrinks = (before - lag) / seconds;
        if self.recent.len() < RECENT_MIN || !shrinks.is_finite() {
            late
        } else if shrinks < SHRINKS_BY {
            format!("{late}, and not catching up")
        } else {
            format!("{late}, about {} to catch up", rough(lag / shrinks))
        }
    }
}

impl Change {
    fn of(status: &Status, at_us: i64) -> Self {
        let (said, verdict) = (&status.conclusion, &status.verdict);
        let unmet = verdict.conditions.iter();
        let unmet = unmet.filter(|one| one.needed && one.status != ConditionStatus::True);
        Self {
            at_us,
            state: clipped(&said.state),
            grade: said.grade,
            indicator: said.indicator,
            label: clipped(&said.label),
            hop: said.hop,
            headline: clipped(&said.headline),
            evidence: clipped(&said.evidence),
            next_step: clipped(&said.next_step),
            runbook: said.runbook.clone(),
            facts: verdict.facts.iter().take(EVIDENCE_MAX).map(|fact| clipped(fact)).collect(),
            conditions: unmet
                .take(EVIDENCE_MAX)
                .map(|one| Unmet {
                    name: one.name.clone(),
                    status: one.status,
                    since_seconds: one.since_seconds,
                    because: clipped(&one.because),
                })
                .collect(),
            version: status.version.clone(),
        }
    }
}

fn is_over(began_us: i64, now_us: i64) -> bool {
    !(0..STEP_US).contains(&now_us.saturating_sub(began_us))
}

fn greater(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// An estimate in one unit.
fn rough(seconds: f64) -> String {
    let (count, unit) = match seconds {
        ..90.0 => (seconds, "s"),
        ..5_400.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / 86_400.0, "days"),
    };
    format!("{:.0} {unit}", count.max(1.0))
}

fn clipped(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    text.get(..end)
        .filter(|_| end < text.len())
        .map_or_else(|| text.to_owned(), |it| format!("{it}..."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::{Canary, Condition, Consumer};

    fn status(state: &str) -> Status {
        let mut status = Status::default();
        state.clone_into(&mut status.conclusion.state);
        status
    }

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_change_is_kept_with_its_evidence_and_the_same_state_is_none() {
        let mut history = History::default();
        let mut late = status("sink_stalled (denied)");
        late.conclusion.evidence = "3 attempts in a row ended with AuthorizationError.".to_owned();
        late.verdict.conditions = vec![
            Condition { name: "sink_moves".to_owned(), needed: true, ..Condition::default() },
            Condition { name: "upstream_runs".to_owned(), needed: false, ..Condition::default() },
        ];
        assert!(history.record(&status("live"), SECOND));
        assert!(!history.record(&status("live"), 2 * SECOND));
        assert!(history.record(&late, 3 * SECOND));
        let shown = history.document().changes;
        let states: Vec<_> = shown.iter().map(|one| (one.at_us, one.state.as_str())).collect();
        assert_eq!(states, [(3 * SECOND, "sink_stalled (denied)"), (SECOND, "live")]);
        assert_eq!(shown[0].evidence, late.conclusion.evidence);
        let unmet: Vec<_> = shown[0].conditions.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(unmet, ["sink_moves"]);
    }

    #[test]
    fn changes_are_bounded_in_count_and_in_bytes() {
        let mut history = History::default();
        for at in 0..1_000 {
            history.record(&status(&at.to_string()), at);
        }
        assert_eq!(history.changes().count(), CHANGES_MAX);
        assert_eq!(history.changes().last().map(|one| one.at_us), Some(999));
        for at in 1_000..1_300 {
            let mut large = status(&at.to_string());
            large.verdict.facts = vec!["\u{e4}".repeat(10_000); 100];
            history.record(&large, at);
        }
        let bytes: usize =
            history.changes().map(|it| serde_json::to_vec(it).expect("JSON").len()).sum();
        assert!(bytes <= BYTES_MAX && history.changes().count() > 5, "{bytes}");
    }

    #[test]
    fn the_run_before_stands_in_front_and_the_newest_are_kept() {
        let mut history = History::default();
        history.record(&status("live"), 900);
        let before = |at_us| Change { at_us, ..Change::default() };
        history.continue_from((0..300).map(before).collect());
        history.continue_from((200..300).map(before).collect());
        assert_eq!(history.changes().count(), CHANGES_MAX);
        assert_eq!(history.changes().last().map(|one| one.state.as_str()), Some("live"));
        assert_eq!(history.changes().next().map(|one| one.at_us), Some(101));
    }

    #[test]
    fn an_hour_of_figures_stands_in_steps_of_ten_seconds() {
        let mut history = History::default();
        let mut says = status("live");
        let canary = |took| Canary { took_seconds: took, ..Canary::default() };
        says.consumers = vec![
            Consumer { recent: vec![canary(None), canary(Some(2.0))], ..Consumer::default() },
            Consumer { recent: vec![canary(Some(0.5))], ..Consumer::default() },
        ];
        for second in 0..=7_200 {
            says.progress.changes_published = 50 * second;
            says.progress.lag_seconds = Some(if second % 10 == 3 { 4.0 } else { 1.0 });
            history.record(&says, i64::try_from(second).expect("small") * SECOND);
        }
        let points = history.document().points;
        assert_eq!(points.len(), POINTS_MAX);
        let last = points[POINTS_MAX - 1];
        assert_eq!((last.at_us, last.lag_seconds), (7_200 * SECOND, Some(4.0)));
        assert!((last.changes_per_second - 50.0).abs() < 1e-9, "{last:?}");
        assert_eq!(last.canary_seconds, Some(2.0), "the newest that came back, of the slowest");
        assert_eq!(points[0].at_us, 3_610 * SECOND);
    }

    #[test]
    fn the_rate_of_commits_is_by_the_source_s_clock_and_that_of_publishing_by_ours() {
        let mut history = History::default();
        let mut says = status("catching_up");
        // In each second ten seconds of the log are read, in which 40 rows a second were committed
        for second in 0..=20_u32 {
            says.progress.newest_commit_age_seconds = Some(1_000.0 - 9.0 * f64::from(second));
            says.progress.changes_read = 400 * u64::from(second);
            says.progress.changes_published = 390 * u64::from(second);
            history.record(&says, i64::from(second) * SECOND);
        }
        let last = *history.document().points.last().expect("a point");
        assert_eq!(last.committed_per_second.map(f64::round), Some(40.0));
        assert!((last.changes_per_second - 390.0).abs() < 1e-9, "{last:?}");
        // What has not moved tells no rate
        for second in 21..=40_u32 {
            says.progress.newest_commit_age_seconds = Some(820.0 + f64::from(second - 20));
            history.record(&says, i64::from(second) * SECOND);
        }
        let last = *history.document().points.last().expect("a point");
        assert_eq!(last.committed_per_second, None);
    }

    #[test]
    fn the_time_to_catch_up_follows_from_the_pace_of_the_last_half_minute() {
        let late = |lags: &[f64]| {
            let mut history = History::default();
            for (second, lag) in (0..).zip(lags) {
                let mut says = status("catching_up");
                says.progress.lag_seconds = Some(*lag);
                history.record(&says, second * SECOND);
            }
            history.document().late
        };
        let falls =
            |from: f64, by: f64| (0..40).map(|at| from - by * f64::from(at)).collect::<Vec<_>>();
        assert_eq!(late(&falls(51.75, 0.25)), "42.0 s late, about 3 min to catch up");
        assert_eq!(late(&falls(42.0, 0.0)), "42.0 s late, and not catching up");
        assert_eq!(late(&[60.0, 59.0]), "59.0 s late", "two samples tell no pace");
        assert_eq!(late(&falls(4.0, 0.0)), "");
    }
}
