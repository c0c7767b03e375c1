//! The report: as JSON for programs, and as the tables of `docs/develop/experiment.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::baselines::Baseline;
use crate::catalogue::{Expect, Kind};
use crate::trial::{Alarm, Trial};

/// What surrounds the tables.
const PROSE: &str = include_str!("experiment.md");

/// A run.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) pace: &'static str,
    pub(crate) beds: u64,
    pub(crate) rounds: u64,
    pub(crate) took: Duration,
    pub(crate) server: String,
    /// In the order of the catalogue.
    pub(crate) trials: Vec<Trial>,
    /// What could not be staged, and why.
    pub(crate) failed: Vec<String>,
    /// Trials that time did not suffice for.
    pub(crate) left: usize,
}

fn seconds(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, |time| json!((time.as_secs_f64() * 1000.0).round() / 1000.0))
}

/// For programs.
pub(crate) fn document(run: &Run) -> Value {
    json!({
        "seed": run.seed, "periods": run.pace, "beds": run.beds, "rounds": run.rounds,
        "server": run.server, "took_seconds": run.took.as_secs(), "not_staged": run.failed,
        "trials": run.trials.iter().map(trial).collect::<Vec<_>>(),
    })
}

fn trial(trial: &Trial) -> Value {
    let shown = trial.shown.iter().map(|(at, shown)| {
        json!({
            "after_seconds": seconds(Some(*at)), "verdict": shown.label(), "grade": shown.grade,
            "hop": shown.hop, "sentence": shown.sentence, "next_step": shown.next_step,
        })
    });
    let baselines = trial.baselines.iter().map(|(baseline, alarm)| {
        let told = match alarm {
            Alarm::Already => json!("before the fault"),
            Alarm::After(time) => seconds(Some(*time)),
            Alarm::Never => Value::Null,
        };
        (baseline.name().to_owned(), told)
    });
    let pages = trial.pages.as_ref();
    json!({
        "fault": trial.fault.name, "load": trial.load.name(),
        "right": trial.is_right(), "late": trial.is_late(),
        "detected_seconds": seconds(trial.detected), "budget_seconds": seconds(trial.budget),
        "lasted_seconds": seconds(Some(trial.lasted)),
        "recovered_seconds": seconds(trial.recovered),
        "shown": shown.collect::<Vec<_>>(), "settled": trial.settled,
        "also_blamed": trial.blamed(),
        "alerts": pages.map(|pages| pages.iter().map(|page| &page.alert).collect::<Vec<_>>()),
        "false_pages": trial.false_pages(),
        "baselines": baselines.collect::<BTreeMap<_, _>>(),
    })
}

/// For people: prose with the tables in it.
pub(crate) fn text(run: &Run) -> String {
    let parts = [
        ("{summary}", summary(run)),
        ("{faults}", faults(run)),
        ("{calm}", calm(run)),
        ("{matrix}", matrix(run)),
        ("{baselines}", baselines(run)),
        ("{words}", words(run)),
        ("{wrong}", wrong(run)),
    ];
    parts.into_iter().fold(PROSE.to_owned(), |text, (mark, part)| text.replace(mark, part.trim()))
}

/// A table in Markdown.
struct Table(String);

impl Table {
    fn new(head: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(head);
        table.row(&head.iter().map(|_| "---").collect::<Vec<_>>());
        table
    }

    fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(|cell| cell.as_ref().replace('|', "\\|")).collect();
        writeln!(self.0, "| {} |", cells.join(" | ")).expect("writing to a String cannot fail");
    }
}

/// The trials of each fault that was staged, in the catalogue's order.
fn by_kind(run: &Run) -> impl Iterator<Item = (Kind, Vec<&Trial>)> {
    Kind::ALL.iter().filter_map(|kind| {
        let trials: Vec<_> = run.trials.iter().filter(|it| it.fault.kind == *kind).collect();
        (!trials.is_empty()).then_some((*kind, trials))
    })
}

fn summary(run: &Run) -> String {
    let count = |holds: &dyn Fn(&Trial) -> bool| run.trials.iter().filter(|it| holds(it)).count();
    let kinds =
        |faults: bool| by_kind(run).filter(|(kind, _)| kind.fault().is_fault() == faults).count();
    let (faults, looked) = (count(&|it| it.fault.is_fault()), count(&|it| it.pages.is_some()));
    let false_pages = count(&|it| !it.false_pages().is_empty());
    let told = count(&|it| it.fault.is_fault() && it.is_right());
    let late = count(&|it| it.is_late());
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        writeln!(text, "| {what} | {value} |").expect("writing to a String cannot fail");
    };
    line("", String::new());
    line("---", "---".to_owned());
    line("server, periods", format!("{}, {}", run.server, run.pace));
    line(
        "seed, rounds, stages side by side",
        format!("{}, {}, {}", run.seed, run.rounds, run.beds),
    );
    line("took", format!("{:.0} min", run.took.as_secs_f64() / 60.0));
    line("faults staged, trials", format!("{}, {faults}", kinds(true)));
    line("told rightly, and nobody else blamed", format!("{told} of {faults}"));
    line("later than by design", late.to_string());
    line(
        "harmless things staged, trials",
        format!("{}, {}", kinds(false), run.trials.len() - faults),
    );
    if run.left > 0 {
        line("trials left out for lack of time", run.left.to_string());
    }
    let calm = count(&|it| !it.fault.is_fault() && it.is_right());
    line("left in peace", format!("{calm} of {}", run.trials.len() - faults));
    if looked > 0 {
        let bound = match false_pages {
            // Rule of three: 95 % confidence.
            #[expect(clippy::cast_precision_loss, reason = "a count of trials")]
            0 => format!("; 0 in {looked} bounds their rate below {:.1} %", 300.0 / looked as f64),
            _ => String::new(),
        };
        line("trials with a false page", format!("{false_pages}{bound}"));
    }
    text
}

fn quantiles(mut times: Vec<Duration>) -> (String, String) {
    times.sort();
    let show = |time: Option<&Duration>| {
        time.map_or("never".to_owned(), |time| format!("{:.1}", time.as_secs_f64()))
    };
    (show(times.get(times.len().saturating_sub(1) / 2)), show(times.last()))
}

fn budget(trials: &[&Trial]) -> String {
    let budgets: BTreeSet<_> = trials.iter().filter_map(|it| it.budget).collect();
    let budgets: Vec<_> = budgets.iter().map(|it| it.as_secs().to_string()).collect();
    budgets.join(" or ")
}

fn expected(kind: Kind) -> String {
    match kind.fault().expect {
        Expect::Verdict(any, ..) => {
            any.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" or ")
        }
        Expect::Unaccounted(_) => "counted as unaccounted".to_owned(),
        Expect::Page(alert) => format!("page {alert}"),
        Expect::Warning(condition, _) => format!("condition `{condition}` false"),
        Expect::ControlMessage(kind, _) => format!("notice of a {kind}"),
        Expect::Calm => "nothing".to_owned(),
        Expect::NoPage => "no page".to_owned(),
    }
}

fn list(words: impl IntoIterator<Item = String>) -> String {
    let words: BTreeSet<_> = words.into_iter().collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn faults(run: &Run) -> String {
    let head = ["fault", "loads", "expected", "by design, s", "p50, s", "worst, s", "over p50, s"];
    let mut table = Table::new(&[&head[..6], &["also blamed", "page", "well again, s"]].concat());
    for (kind, trials) in by_kind(run).filter(|(kind, _)| kind.fault().is_fault()) {
        let fault = kind.fault();
        let detected: Vec<_> = trials.iter().filter_map(|it| it.detected).collect();
        let missed = trials.len() - detected.len();
        let (p50, worst) = match fault.expect {
            Expect::Page(_) => (String::new(), String::new()),
            _ => quantiles(detected),
        };
        let worst = match fault.expect {
            Expect::Page(_) => worst,
            _ if missed > 0 => format!("{worst}, never in {missed}"),
            _ => worst,
        };
        let page = match (fault.page(), trials.iter().any(|it| it.lacks_page())) {
            (Some(page), false) => page.trim_start_matches("Binpulse").to_owned(),
            (Some(page), true) => format!("{} missed", page.trim_start_matches("Binpulse")),
            (None, _) => "none".to_owned(),
        };
        let back = if fault.spends {
            "(not waited for)".to_owned()
        } else {
            quantiles(trials.iter().filter_map(|it| it.recovered).collect()).1
        };
        table.row(&[
            fault.name.to_owned(),
            list(trials.iter().map(|it| it.load.name().to_owned())),
            expected(kind),
            budget(&trials),
            p50,
            worst,
            list(trials.iter().flat_map(|it| it.blamed())),
            page,
            back,
        ]);
    }
    table.0
}

fn calm(run: &Run) -> String {
    let mut table = Table::new(&["what", "loads", "expected", "shown meanwhile", "pages"]);
    for (kind, trials) in by_kind(run).filter(|(kind, _)| !kind.fault().is_fault()) {
        let fault = kind.fault();
        let shown = trials.iter().flat_map(|it| &it.shown);
        let shown = shown.filter(|(_, shown)| shown.grade != "healthy");
        let pages = trials.iter().flat_map(|it| it.false_pages());
        table.row(&[
            fault.name.trim_start_matches("calm: ").to_owned(),
            list(trials.iter().map(|it| it.load.name().to_owned())),
            expected(kind),
            list(shown.map(|(_, shown)| shown.label())),
            match list(pages.map(str::to_owned)) {
                pages if pages.is_empty() => "none".to_owned(),
                pages => pages,
            },
        ]);
    }
    table.0
}

/// The verdict that a trial is counted under: the first outage shown, else that there was none.
fn first_outage(trial: &Trial) -> String {
    let outage = trial.shown.iter().find(|(_, shown)| shown.grade == "outage");
    outage.map_or_else(|| "none".to_owned(), |(_, shown)| shown.state.clone())
}

fn matrix(run: &Run) -> String {
    let columns: BTreeSet<_> = run.trials.iter().map(first_outage).collect();
    let head: Vec<_> = std::iter::once("fault".to_owned()).chain(columns.iter().cloned()).collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for (kind, trials) in by_kind(run) {
        let counts = columns.iter().map(|column| {
            match trials.iter().filter(|it| first_outage(it) == *column).count() {
                0 => String::new(),
                count => count.to_string(),
            }
        });
        let cells: Vec<_> = std::iter::once(kind.fault().name.to_owned()).chain(counts).collect();
        table.row(&cells);
    }
    table.0
}

fn baselines(run: &Run) -> String {
    let names = Baseline::ALL.map(Baseline::name);
    let mut totals = Table::new(&[&[""], &names[..], &["binpulse"]].concat());
    let count = |faults: bool, holds: &dyn Fn(&Trial) -> bool| {
        let trials = run.trials.iter().filter(|it| it.fault.is_fault() == faults);
        trials.filter(|it| holds(it)).count().to_string()
    };
    let alarm = |trial: &Trial, baseline: Baseline| {
        trial.baselines.iter().find(|(it, _)| *it == baseline).map(|(_, alarm)| *alarm)
    };
    let mut line = |what: &str, faults: bool, holds: &dyn Fn(Alarm) -> bool, own: String| {
        let cells = Baseline::ALL
            .map(|baseline| count(faults, &|it| alarm(it, baseline).is_some_and(holds)));
        totals.row(&[&[what.to_owned()], &cells[..], &[own]].concat());
    };
    let told = count(true, &|it| it.detected.is_some() || it.pages.is_some() && !it.lacks_page());
    let missed = count(true, &|it| it.detected.is_none() && it.lacks_page());
    line("faults noticed", true, &|it| matches!(it, Alarm::After(_)), told);
    line("faults not noticed", true, &|it| it == Alarm::Never, missed);
    line("alarm stood before the fault already", true, &|it| it == Alarm::Already, "0".to_owned());
    let raised = |it: Alarm| it != Alarm::Never;
    let own = count(false, &|it| !it.blamed().is_empty());
    line("harmless things called an outage", false, &raised, own);
    let mut table = Table::new(&[&["fault"], &names[..], &["binpulse"]].concat());
    for (kind, trials) in by_kind(run).filter(|(kind, _)| kind.fault().is_fault()) {
        let cells = Baseline::ALL.map(|baseline| {
            let alarms: Vec<_> = trials.iter().filter_map(|it| alarm(it, baseline)).collect();
            show(&alarms)
        });
        let own = quantiles(trials.iter().filter_map(|it| it.detected).collect()).1;
        let own =
            if matches!(kind.fault().expect, Expect::Page(_)) { "page".to_owned() } else { own };
        table.row(&[&[kind.fault().name.to_owned()], &cells[..], &[own]].concat());
    }
    format!("{}\n{}", totals.0, table.0)
}

/// Worst time of those that noticed, and what the others did.
fn show(alarms: &[Alarm]) -> String {
    let times: Vec<_> = alarms
        .iter()
        .filter_map(|alarm| match alarm {
            Alarm::After(time) => Some(*time),
            Alarm::Already | Alarm::Never => None,
        })
        .collect();
    let already = alarms.iter().filter(|alarm| **alarm == Alarm::Already).count();
    let never = alarms.len() - times.len() - already;
    let mut parts = Vec::new();
    if !times.is_empty() {
        parts.push(quantiles(times).1);
    }
    if never > 0 {
        parts.push("-".to_owned());
    }
    if already > 0 {
        parts.push("before".to_owned());
    }
    parts.join(" / ")
}

/// What a person reads for each fault.
fn words(run: &Run) -> String {
    let mut table = Table::new(&["fault", "what the page says", "and what to do"]);
    for (kind, trials) in by_kind(run).filter(|(kind, _)| kind.fault().is_fault()) {
        let Expect::Verdict(any, ..) = kind.fault().expect else { continue };
        let said = trials
            .iter()
            .flat_map(|it| &it.shown)
            .find(|(_, shown)| any.iter().any(|wanted| crate::trial::is_it(shown, wanted)));
        let Some((_, shown)) = said else { continue };
        table.row(&[kind.fault().name, &shown.sentence, &shown.next_step]);
    }
    table.0
}

fn wrong(run: &Run) -> String {
    let mut text = String::new();
    for trial in run.trials.iter().filter(|it| !it.is_right() || it.is_late()) {
        let mut what = Vec::new();
        if trial.is_late() {
            let took = trial.detected.unwrap_or_default().as_secs_f64();
            let budget = trial.budget.unwrap_or_default().as_secs_f64();
            what.push(format!("told after {took:.1} s, by design {budget:.0} s"));
        }
        if trial.budget.is_some() && trial.detected.is_none() {
            what.push(format!("never told; shown: {}", trial.settled));
        }
        if !trial.blamed().is_empty() {
            what.push(format!("also blamed: {}", list(trial.blamed())));
        }
        if !trial.false_pages().is_empty() {
            what.push(format!("paged: {}", trial.false_pages().join(", ")));
        }
        if trial.lacks_page() {
            what.push("its page did not come while it was waited for".to_owned());
        }
        let (name, load) = (trial.fault.name, trial.load.name());
        writeln!(text, "- {name} ({load}): {}", what.join("; "))
            .expect("writing to a String cannot fail");
    }
    for failed in &run.failed {
        // The end of a log may follow.
        let first = failed.lines().next().unwrap_or_default();
        writeln!(text, "- not staged: {first}").expect("writing to a String cannot fail");
    }
    if text.is_empty() { "None.".to_owned() } else { text }
}
