//! One fault on one stage: calm, the fault, its verdict, calm again.

use std::time::{Duration, Instant};

use binpulse::demo::Error;
use tokio::time::sleep;

use crate::baselines::Baseline;
use crate::catalogue::{Expect, Fault, begin, end};
use crate::dice::Dice;
use crate::load::Load;
use crate::stage::Stage;
use crate::watch::Shown;

/// Until a stage is well, at its start and after a fault.
const WELL_WITHIN: Duration = Duration::from_secs(90);
/// Beyond the budget, before a verdict counts as never given.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) fault: Fault,
    pub(crate) load: Load,
    pub(crate) injected: Instant,
    pub(crate) healed: Instant,
    /// From the fault to the expected verdict.
    pub(crate) detected: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    /// From the end of the fault until the stage was well again.
    pub(crate) recovered: Option<Duration>,
    /// What was shown from the fault to its end, with the time from the fault.
    pub(crate) shown: Vec<(Duration, Shown)>,
    /// What was shown when it ended.
    pub(crate) settled: String,
    /// When each baseline called an outage: before the fault, or how long after.
    pub(crate) baselines: Vec<(Baseline, Alarm)>,
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
    /// Whether it was said what had to be said, within the budget, and nobody else was blamed.
    pub(crate) fn is_right(&self) -> bool {
        match self.fault.expect {
            Expect::Verdict(..) => self.detected.is_some() && self.wrong().is_empty(),
            Expect::Calm => self.wrong().is_empty(),
        }
    }

    /// Whether the expected verdict came later than by design.
    pub(crate) fn is_late(&self) -> bool {
        self.detected.zip(self.budget).is_some_and(|(took, budget)| took > budget)
    }

    /// Verdicts that were shown and had no right to be: other outages.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let expected: &[&str] = match self.fault.expect {
            Expect::Verdict(any, ..) => any,
            Expect::Calm => &[],
        };
        let mut wrong = Vec::new();
        for (_, shown) in self.shown.iter().filter(|(_, shown)| shown.grade == "outage") {
            let label = shown.label();
            if !expected.iter().any(|wanted| is_it(shown, wanted)) && !wrong.contains(&label) {
                wrong.push(label);
            }
        }
        wrong
    }
}

/// Whether a verdict is the wanted one, `state` or `state(reason)`.
pub(crate) fn is_it(shown: &Shown, wanted: &str) -> bool {
    shown.state == wanted || shown.label() == wanted
}

/// Waits until the stage has been well without a break for a while; how long that took.
pub(crate) async fn until_well(stage: &mut Stage) -> Result<Option<Duration>, Error> {
    let (from, well) = (Instant::now(), stage.load.well());
    let steady = stage.pace.h + stage.pace.tick();
    while from.elapsed() < WELL_WITHIN {
        let since = stage.watch.seen().now().filter(|shown| shown.state == well).map(|it| it.at);
        if since.is_some_and(|since| since.elapsed() >= steady) {
            let since = since.unwrap_or(from);
            return Ok(Some(since.saturating_duration_since(from)));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}

/// Stages `fault`, and takes it away again.
pub(crate) async fn run(
    stage: &mut Stage,
    fault: Fault,
    dice: &mut Dice,
) -> Result<Trial, Error> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    // Anywhere between two heartbeats.
    sleep(Duration::from_millis(dice.below(millis(stage.pace.h)))).await;
    let calm_from = Instant::now() - stage.pace.h;
    let injected = begin(fault.kind, stage).await?;
    let pace = stage.pace;
    let slowest = Baseline::ALL.iter().map(|it| it.limit(&pace)).max().unwrap_or_default();
    let least = injected + slowest + pace.h;
    let (mut detected, mut budget) = (None, None);
    if let Expect::Verdict(any, busy, other) = fault.expect {
        let time = if stage.load == Load::Busy { busy } else { other }.time(&pace);
        budget = Some(time);
        let found = stage.watch.until(injected, injected + time + PATIENCE, |shown| {
            any.iter().any(|wanted| is_it(shown, wanted))
        });
        detected = found.await.map(|shown| shown.at.saturating_duration_since(injected));
    }
    sleep(least.saturating_duration_since(Instant::now())).await;

    let healed = Instant::now();
    let (shown, settled) = {
        let seen = stage.watch.seen();
        let shown: Vec<_> = seen.since(injected)[..]
            .iter()
            .filter(|shown| shown.at >= injected)
            .map(|shown| (shown.at.saturating_duration_since(injected), shown.clone()))
            .collect();
        (shown, seen.now().map(Shown::label).unwrap_or_default())
    };
    let baselines = Baseline::ALL
        .into_iter()
        .map(|baseline| (baseline, alarm(stage, baseline, calm_from, injected)))
        .collect();
    end(fault.kind, stage).await?;
    let recovered = if fault.spends { None } else { until_well(stage).await? };
    stage.spent |= fault.spends || recovered.is_none();
    Ok(Trial {
        fault,
        load: stage.load,
        injected,
        healed,
        detected,
        budget,
        recovered,
        shown,
        settled,
        baselines,
    })
}

fn alarm(stage: &Stage, baseline: Baseline, calm_from: Instant, injected: Instant) -> Alarm {
    let seen = stage.watch.seen();
    let alarms = |from: Instant, to: Instant| {
        let mut within = seen.sights.iter().filter(|sight| sight.at >= from && sight.at < to);
        within.find(|sight| baseline.alarms(sight, &stage.pace)).map(|sight| sight.at)
    };
    if alarms(calm_from, injected).is_some() {
        return Alarm::Already;
    }
    match alarms(injected, Instant::now()) {
        Some(at) => Alarm::After(at.saturating_duration_since(injected)),
        None => Alarm::Never,
    }
}
