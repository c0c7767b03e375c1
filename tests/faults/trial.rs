//! One fault on one stage: calm, the fault, its verdict, calm again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use binpulse_demo::Error;
use tokio::time::sleep;

use crate::baselines::Baseline;
use crate::catalogue::{Expect, Fault, begin, end, hidden_by};
use crate::dice::Dice;
use crate::load::Load;
use crate::pages::{Page, Pages};
use crate::stage::Stage;
use crate::watch::Shown;

/// Until a stage is well, at its start and after a fault.
const WELL_WITHIN: Duration = Duration::from_secs(100);
/// Beyond the budget, before a verdict counts as never given; more where time is not the question.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_OF_TESTS: Duration = Duration::from_mins(1);
/// From a verdict to its page: what the rules wait for, scrapes and evaluations.
const PAGE_WITHIN: Duration = Duration::from_secs(50);
/// The same of the alerts that do not go by the verdict.
const PAGE_ALONE_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) fault: Fault,
    pub(crate) load: Load,
    /// From the fault to the expected verdict.
    pub(crate) detected: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    /// From the end of the fault until the stage was well again.
    pub(crate) recovered: Option<Duration>,
    /// How long the fault lasted.
    pub(crate) lasted: Duration,
    /// What was shown from the fault to its end, with the time from the fault.
    pub(crate) shown: Vec<(Duration, Shown)>,
    /// What was shown when it ended.
    pub(crate) settled: String,
    /// When each baseline called an outage: before the fault, or how long after.
    pub(crate) baselines: Vec<(Baseline, Alarm)>,
    /// Alerts that fired, from the calm before to the calm after; `None` when nobody looked.
    pub(crate) pages: Option<BTreeSet<Page>>,
}

/// What a baseline made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// It called an outage what was none, before the fault.
    Already,
    /// So long after the fault.
    After(Duration),
    /// Not at all.
    Never,
}

impl Trial {
    /// Whether it was said what had to be said, nobody else was blamed, and only the alert that is
    /// meant has paged.
    pub(crate) fn is_right(&self) -> bool {
        self.is_told()
            && self.blamed().is_empty()
            && self.false_pages().is_empty()
            && !self.lacks_page()
    }

    /// Whether it was said what had to be said.
    pub(crate) fn is_told(&self) -> bool {
        match self.fault.expect {
            Expect::Verdict(..)
            | Expect::Warning(..)
            | Expect::ControlMessage(..)
            | Expect::Unaccounted(_) => self.detected.is_some(),
            Expect::Calm | Expect::NoPage | Expect::Page(_) => true,
        }
    }

    /// Whether the expected verdict came later than by design.
    pub(crate) fn is_late(&self) -> bool {
        self.detected.zip(self.budget).is_some_and(|(took, budget)| took > budget)
    }

    /// Verdicts that were shown and had no right to be: other outages.
    pub(crate) fn blamed(&self) -> BTreeSet<String> {
        let expected: &[&str] = match self.fault.expect {
            Expect::Verdict(any, ..) => any,
            Expect::NoPage => return BTreeSet::new(),
            Expect::Calm
            | Expect::Warning(..)
            | Expect::ControlMessage(..)
            | Expect::Page(_)
            | Expect::Unaccounted(_) => &[],
        };
        self.shown
            .iter()
            .filter(|(_, shown)| shown.grade == "outage")
            .filter(|(_, shown)| {
                let mut right = expected.iter().chain(self.fault.also);
                !right.any(|wanted| may_be_it(shown, wanted))
            })
            .map(|(_, shown)| shown.label())
            .collect()
    }

    /// Critical alerts that fired and are not the one that is meant.
    pub(crate) fn false_pages(&self) -> Vec<&str> {
        let wanted = self.fault.page();
        let hidden = wanted.map(hidden_by).unwrap_or_default();
        let fired = self.pages.iter().flatten().filter(|page| page.is_critical);
        let alerts = fired.map(|page| page.alert.as_str());
        alerts.filter(|alert| Some(*alert) != wanted && !hidden.contains(alert)).collect()
    }

    /// Whether nobody was paged for it who had to be.
    pub(crate) fn lacks_page(&self) -> bool {
        let (Some(wanted), Some(pages)) = (self.fault.page(), &self.pages) else { return false };
        !pages.iter().any(|page| page.alert == wanted)
    }
}

/// Whether a verdict is the wanted one, `state` or `state(reason)`.
pub(crate) fn is_it(shown: &Shown, wanted: &str) -> bool {
    shown.state == wanted || shown.label() == wanted
}

/// Whether it is, as far as it goes: the reason may not be known yet.
fn may_be_it(shown: &Shown, wanted: &str) -> bool {
    let state = wanted.split('(').next().unwrap_or_default();
    let unknown = matches!(shown.reason.as_deref(), None | Some("unknown"));
    is_it(shown, wanted) || shown.state == state && unknown
}

/// Waits until the stage has been well without a break for a while; how long after now that began.
pub(crate) async fn until_well(stage: &mut Stage) -> Result<Option<Duration>, Error> {
    let (from, well) = (Instant::now(), stage.load.well());
    let steady = stage.pace.h + stage.pace.tick();
    while from.elapsed() < WELL_WITHIN {
        stage.streamer.must_run()?;
        let since = stage.watch.seen().now().filter(|shown| shown.state == well).map(|it| it.at);
        if let Some(since) = since.filter(|since| (*since).max(from).elapsed() >= steady) {
            return Ok(Some(since.saturating_duration_since(from)));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(None)
}

/// How much is asked of a trial.
#[derive(Clone, Copy)]
pub(crate) enum Care<'a> {
    /// What is said, and when; what the baselines and the alerts make of it; and the way back.
    Full(Option<&'a Pages>),
    /// What is said, however late.
    Verdict,
}

impl<'a> Care<'a> {
    fn pages(self) -> Option<&'a Pages> {
        match self {
            Self::Full(pages) => pages,
            Self::Verdict => None,
        }
    }
}

/// Stages `fault`, and takes it away again.
pub(crate) async fn run(
    stage: &mut Stage,
    fault: Fault,
    care: Care<'_>,
    dice: &mut Dice,
) -> Result<Trial, Error> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    // Anywhere between two heartbeats.
    sleep(Duration::from_millis(dice.below(millis(stage.pace.h)))).await;
    let now = Instant::now();
    let calm_from = (now.checked_sub(stage.pace.h).unwrap_or(now), SystemTime::now());
    let injected = begin(fault.kind, stage).await?;
    let (detected, budget) = wait_for_verdict(stage, &fault, care, injected).await;
    wait_for_the_rest(stage, &fault, care, injected, calm_from.1).await?;

    let lasted = injected.elapsed();
    let (shown, settled) = shown_since(stage, injected);
    let baselines =
        Baseline::ALL.map(|baseline| (baseline, alarm(stage, baseline, calm_from.0, injected)));
    // What is spent is thrown away as it is.
    let mut recovered = None;
    let spends = fault.spends || matches!(care, Care::Verdict);
    if !spends {
        end(fault.kind, stage).await?;
        recovered = until_well(stage).await?;
    }
    let fired = match care.pages() {
        Some(pages) => {
            let address = stage.streamer.address();
            Some(pages.fired(address, calm_from.1, SystemTime::now()).await?)
        }
        None => None,
    };
    stage.spent |= spends || recovered.is_none();
    Ok(Trial {
        fault,
        load: stage.load,
        detected,
        budget,
        recovered,
        lasted,
        shown,
        settled,
        baselines: baselines.to_vec(),
        pages: fired,
    })
}

/// Waits for what has to be said; when it was, and by when it had to be.
async fn wait_for_verdict(
    stage: &Stage,
    fault: &Fault,
    care: Care<'_>,
    injected: Instant,
) -> (Option<Duration>, Option<Duration>) {
    let (busy, other) = match fault.expect {
        Expect::Verdict(_, busy, other) => (busy, other),
        Expect::Warning(_, budget)
        | Expect::ControlMessage(_, budget)
        | Expect::Unaccounted(budget) => (budget, budget),
        Expect::Calm | Expect::NoPage | Expect::Page(_) => return (None, None),
    };
    let budget = if stage.load == Load::Busy { busy } else { other }.time(&stage.pace);
    let patience = match care {
        Care::Full(_) => PATIENCE,
        Care::Verdict => PATIENCE_OF_TESTS,
    };
    let until = injected + budget + patience;
    let found = match fault.expect {
        Expect::Verdict(any, ..) => {
            let holds = |shown: &Shown| any.iter().any(|wanted| is_it(shown, wanted));
            stage.watch.until(injected, until, holds).await.map(|shown| shown.at)
        }
        Expect::Warning(condition, _) => {
            let holds = |status: &serde_json::Value| {
                let conditions = status["verdict"]["conditions"].as_array();
                conditions
                    .into_iter()
                    .flatten()
                    .any(|known| known["name"] == condition && known["status"] == "false")
            };
            stage.watch.until_status(injected, until, holds).await
        }
        Expect::ControlMessage(kind, _) => {
            let holds = |status: &serde_json::Value| {
                let control_messages = status["conclusion"]["notices"].as_array();
                control_messages.into_iter().flatten().any(|control| control["kind"] == kind)
            };
            stage.watch.until_status(injected, until, holds).await
        }
        Expect::Unaccounted(_) => {
            let holds = |status: &serde_json::Value| {
                status["verdict"]["unaccounted_transactions"].as_u64() > Some(0)
            };
            stage.watch.until_status(injected, until, holds).await
        }
        Expect::Calm | Expect::NoPage | Expect::Page(_) => None,
    };
    (found.map(|at| at.saturating_duration_since(injected)), Some(budget))
}

/// Waits until everybody has had the time to say something: the baselines, and the alerts.
async fn wait_for_the_rest(
    stage: &Stage,
    fault: &Fault,
    care: Care<'_>,
    injected: Instant,
    calm_from: SystemTime,
) -> Result<(), Error> {
    let pace = &stage.pace;
    let slowest = Baseline::ALL.iter().map(|it| it.limit(pace)).max().unwrap_or_default();
    let least = match care {
        Care::Verdict if fault.is_fault() => injected,
        Care::Verdict => injected + fault.lasts.max(pace.h * 2),
        Care::Full(_) => injected + fault.lasts.max(slowest + pace.h),
    };
    sleep(least.saturating_duration_since(Instant::now())).await;
    let (Some(pages), Some(alert)) = (care.pages(), fault.page()) else { return Ok(()) };
    let patience = match fault.expect {
        Expect::Page(_) => PAGE_ALONE_WITHIN,
        _ => PAGE_WITHIN,
    };
    let until = Instant::now() + patience;
    while Instant::now() < until {
        let fired = pages.fired(stage.streamer.address(), calm_from, SystemTime::now()).await?;
        if fired.iter().any(|page| page.alert == alert) {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

fn shown_since(stage: &Stage, injected: Instant) -> (Vec<(Duration, Shown)>, String) {
    let seen = stage.watch.seen();
    let shown = seen.since(injected).iter().filter(|shown| shown.at >= injected);
    let shown = shown.map(|shown| (shown.at.saturating_duration_since(injected), shown.clone()));
    (shown.collect(), seen.now().map(Shown::label).unwrap_or_default())
}

fn alarm(stage: &Stage, baseline: Baseline, calm_from: Instant, injected: Instant) -> Alarm {
    let seen = stage.watch.seen();
    let first = |from: Instant, to: Instant| {
        let mut within = seen.sights.iter().filter(|sight| sight.at >= from && sight.at < to);
        within.find(|sight| baseline.alarms(sight, &stage.pace)).map(|sight| sight.at)
    };
    if first(calm_from, injected).is_some() {
        return Alarm::Already;
    }
    match first(injected, Instant::now()) {
        Some(at) => Alarm::After(at.saturating_duration_since(injected)),
        None => Alarm::Never,
    }
}
