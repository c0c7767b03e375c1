//! Settings that are read again while the stream runs: on SIGHUP, and by `binpulse reload`.
//!
//! ```text
//! read     file, environment and flags, as at the start; every mistake refuses the whole
//! compare  with the settings in force: what holds at once, and what needs a restart, which refuses too
//!          (`Takes` in `config/diff.rs`, said beside each setting)
//! look     at the source: patterns of the filters that match nothing (filter.strict refuses)
//! change   at the end of a transaction, saved with that place before the next one is read
//! ```
//!
//! All or nothing: the settings in force are those of one reading.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::findings::Findings;
use super::plan::{Plan, Settings};
use super::source::look;
use super::state::State;
use crate::config::{Difference, Takes, Values};
use crate::control::ControlRegistry;
use crate::filter::{self, Version};
use crate::platform;
use crate::snapshot;
use crate::source::preflight::Severity;
use crate::telemetry::logs;
use crate::telemetry::metrics::{Kind, ScrapedFamily};
use crate::telemetry::status::{ReloadState, ReloadStatus};

/// Settings of other programs of the same file.
const OF_OTHERS: [&str; 2] = ["relay.", "probe."];

/// The settings in force, and those that are to be.
pub(super) struct Reloader {
    inner: Mutex<Inner>,
    arrived: Notify,
    snapshot: Arc<snapshot::SnapshotHandle>,
}

struct Inner {
    /// In force, with its settings and filters.
    plan: Arc<Plan>,
    /// The stream has begun: settings may change.
    is_open: bool,
    /// What is to be in force.
    pending: Option<Arc<Plan>>,
    generation: u64,
    state: ReloadState,
    changed: Instant,
    told: String,
}

impl Reloader {
    /// Of a plan that is about to be run.
    pub(super) fn new(plan: &Arc<Plan>, snapshot: Arc<snapshot::SnapshotHandle>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                plan: Arc::clone(plan),
                is_open: false,
                pending: None,
                generation: 1,
                state: ReloadState::InForce,
                changed: platform::now(),
                told: String::new(),
            }),
            arrived: Notify::new(),
            snapshot,
        }
    }

    /// The stream begins with this plan: from here on settings may change.
    fn open(&self, plan: &Arc<Plan>) {
        let mut inner = self.lock();
        (inner.plan, inner.is_open) = (Arc::clone(plan), true);
    }

    /// The filters in force, for who asks the source's tables.
    pub(super) fn filters(self: &Arc<Self>) -> Arc<dyn Fn() -> filter::Config + Send + Sync> {
        let reloader = Arc::clone(self);
        Arc::new(move || reloader.lock().plan.filter.clone())
    }

    /// Reads the settings again, or with `check` only tells what would follow. What follows, or why nothing
    /// does, in words.
    pub(super) fn command(&self, check: bool) -> Result<String, String> {
        let mut inner = self.lock();
        if inner.pending.is_some() {
            let why = "the settings that were read before are not in force yet: ask again";
            return Err(why.to_owned());
        }
        let read = inner.read(&self.snapshot);
        if check {
            return read.map(|(text, _)| text);
        }
        match read {
            Ok((text, None)) => {
                // Whatever was refused is gone from the file.
                inner.enter(ReloadState::InForce, text.clone());
                Ok(text)
            }
            Ok((text, Some(plan))) => {
                inner.pending = Some(plan);
                inner.enter(ReloadState::Pending, text.clone());
                drop(inner);
                self.arrived.notify_one();
                Ok(text)
            }
            Err(why) => {
                tracing::error!("the settings are not changed: {why}");
                inner.enter(ReloadState::Refused, why.clone());
                Err(why)
            }
        }
    }

    /// How the last reading went.
    pub(super) fn status(&self, now: Instant) -> ReloadStatus {
        let inner = self.lock();
        ReloadStatus {
            generation: inner.generation,
            state: inner.state,
            age_seconds: now.saturating_duration_since(inner.changed).as_secs_f64(),
            told: inner.told.clone(),
        }
    }

    /// The settings in force, without secrets.
    pub(super) fn shown(&self) -> serde_json::Value {
        let inner = self.lock();
        let shown = inner.plan.settings.values.shown();
        serde_json::Value::Object(shown.map(|(key, text)| (key.to_owned(), text.into())).collect())
    }

    /// The metrics about it.
    pub(super) fn families(self: &Arc<Self>) -> [ScrapedFamily; 2] {
        let gauge = |name, help, of: fn(&Inner) -> f64| {
            let reloader = Arc::clone(self);
            let read = move || vec![(Vec::new(), of(&reloader.lock()))];
            ScrapedFamily { name, help, kind: Kind::Gauge, labels: &[], read: Arc::new(read) }
        };
        [
            gauge(
                "binpulse_config_last_reload_successful",
                "1 if the settings that were read last are in force or will be; 0 if they were refused, \
                 and those before them are.",
                |inner| f64::from(u8::from(inner.state != ReloadState::Refused)),
            ),
            gauge(
                "binpulse_config_generation",
                "1 for the settings of the start, and 1 more for each change of them since.",
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a float is what the format carries"
                )]
                |inner| inner.generation as f64,
            ),
        ]
    }

    /// The settings that are to be in force: they stay so until they hold, or are refused. Cancel safe.
    async fn next(&self) -> Arc<Plan> {
        loop {
            let notified = self.arrived.notified();
            if let Some(plan) = &self.lock().pending {
                return Arc::clone(plan);
            }
            notified.await;
        }
    }

    fn refuse(&self, why: String) {
        tracing::error!("the settings are not changed: {why}");
        let mut inner = self.lock();
        inner.pending = None;
        inner.enter(ReloadState::Refused, why);
    }

    /// These settings hold from here on.
    fn hold(&self, plan: Arc<Plan>, version: Option<&Version>) {
        logs::set_level(plan.settings.values.text_opt("log.level"));
        let mut inner = self.lock();
        let mut told = std::mem::take(&mut inner.told);
        if let Some(version) = version {
            told.push_str(&place(version));
        }
        inner.generation += 1;
        let generation = inner.generation;
        (inner.plan, inner.pending) = (plan, None);
        inner.enter(ReloadState::InForce, told);
        drop(inner);
        tracing::warn!(generation, "the settings changed");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where filters came into force, as a line.
fn place(version: &Version) -> String {
    let since = &version.since;
    let gtids = [since.gtids.to_string(), since.maria.to_string()].concat();
    let after = if gtids.is_empty() { String::new() } else { format!(", behind {gtids}") };
    format!("the filters hold from {} on{after}\n", since.position)
}

impl Inner {
    fn enter(&mut self, state: ReloadState, told: String) {
        (self.state, self.told, self.changed) = (state, told, platform::now());
    }

    /// What follows from the settings as they stand now, in words, and the plan with them if anything
    /// changes; or why they can't be in force.
    fn read(
        &self,
        snapshot: &snapshot::SnapshotHandle,
    ) -> Result<(String, Option<Arc<Plan>>), String> {
        if !self.is_open {
            return Err("the stream has not begun yet: ask again\n".to_owned());
        }
        let now = &self.plan;
        let (values, plan) = read(&now.settings)?;
        let differences = differences(&now.settings.values, &values);
        if differences.is_empty() {
            return Ok(("nothing has changed\n".to_owned(), None));
        }
        let text = text(&differences);
        let refused = |why: &str| Err(format!("{text}{why}; nothing is changed\n"));
        if differences.iter().any(|it| it.takes != Takes::Reload) {
            return refused("not all of it can change while the service runs");
        }
        let mut next = Plan {
            filter: plan.filter,
            settings: Settings { values, ..now.settings.clone() },
            ..Plan::clone(now)
        };
        next.compare_names(now.filter.names);
        let is_changed = differences.iter().any(|it| it.key.starts_with("filter."));
        let routes = next.freshness.routes.iter().zip(&now.freshness.routes);
        let mut moved = routes.filter(|(next, now)| next.is_filtered_out != now.is_filtered_out);
        if let Some((route, _)) = moved.next() {
            let name = &route.path.name;
            return refused(&format!(
                "the filters let the table of canary path {name} pass, or exclude it: that needs a restart"
            ));
        }
        if is_changed && snapshot.is_running() {
            return refused(
                "a snapshot is read: wait for its end, or stop it (`binpulse snapshot stop`)",
            );
        }
        Ok((text, Some(Arc::new(next))))
    }
}

/// The settings as they stand now, and the plan that follows from them; or every mistake, line by line.
fn read(settings: &Settings) -> Result<(Values, Plan), String> {
    let Some(reload) = &settings.reload else {
        return Err("this process has no settings that could be read again\n".to_owned());
    };
    let values = (reload.load)().map_err(|errors| lines(&errors))?;
    let plan = Plan::new(&values).map_err(|errors| lines(&errors))?;
    Ok((values, plan))
}

/// Each in a line of its own.
fn lines(items: &[impl Display]) -> String {
    items.iter().fold(String::new(), |text, item| text + &format!("{item}\n"))
}

fn differences(before: &Values, now: &Values) -> Vec<Difference> {
    let mut found = before.differences(now);
    found.retain(|it| !OF_OTHERS.iter().any(|prefix| it.key.starts_with(prefix)));
    found
}

/// What changes, by what it takes.
fn text(differences: &[Difference]) -> String {
    let mut text = String::new();
    for (takes, heading) in [
        (Takes::Reload, "changes at once (filters: at the end of a transaction)"),
        (Takes::Restart, "needs a restart"),
        (Takes::NewEpoch, "needs a restart, which begins a new epoch"),
    ] {
        let these = differences.iter().filter(|it| it.takes == takes);
        let these: Vec<_> = these.map(|it| format!("  {it}")).collect();
        if !these.is_empty() {
            text = text + heading + ":\n" + &lines(&these);
        }
    }
    text
}

/// The plan of a process that has the stream now, with the filters as they stand in its settings: they may have
/// changed while it waited as a standby.
pub(super) fn as_it_stands(plan: &Arc<Plan>) -> Arc<Plan> {
    if !plan.ha.stands_by || plan.settings.reload.is_none() {
        return Arc::clone(plan);
    }
    let (values, read) = match read(&plan.settings) {
        Ok(read) => read,
        Err(why) => {
            tracing::error!("the settings are as at the start, and can't be read again: {why}");
            return Arc::clone(plan);
        }
    };
    let differences = differences(&plan.settings.values, &values);
    if differences.iter().any(|it| it.takes != Takes::Reload) {
        let text = text(&differences);
        tracing::warn!("the settings changed, and are as at the start until a restart: {text}");
        return Arc::clone(plan);
    }
    let settings = Settings { values, ..plan.settings.clone() };
    Arc::new(Plan { filter: read.filter, settings, ..Plan::clone(plan) })
}

/// What a reload needs besides the settings.
#[derive(Clone)]
pub(super) struct Reloading {
    reloader: Arc<Reloader>,
    held: Arc<ControlRegistry>,
    findings: Findings,
    state: State,
}

impl Reloading {
    /// The stream begins with this plan: from here on settings may change.
    pub(super) fn begin(
        plan: &Arc<Plan>,
        reloader: Arc<Reloader>,
        held: &Arc<ControlRegistry>,
        (findings, state): (&Findings, &State),
    ) -> Self {
        reloader.open(plan);
        let (findings, state) = (findings.clone(), state.clone());
        Self { reloader, held: Arc::clone(held), findings, state }
    }

    /// Brings settings into force that were asked for, until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let signal = self.reloader.lock().plan.settings.reload.clone().map(|reload| reload.signal);
        let signals = async {
            let Some(signal) = &signal else { return std::future::pending().await };
            loop {
                signal.notified().await;
                tracing::info!("SIGHUP: the settings are read again");
                // What is wrong is logged where it is refused.
                if let Ok(text) = self.reloader.command(false) {
                    tracing::info!("{}", text.trim_end());
                }
            }
        };
        let work = async {
            loop {
                let plan = self.reloader.next().await;
                self.bring(plan).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = signals => {}
            () = work => {}
        }
    }

    async fn bring(&self, plan: Arc<Plan>) {
        let now = self.reloader.filters()();
        let is_same = now.has_patterns_of(&plan.filter);
        if is_same && now.must_match == plan.filter.must_match {
            return self.reloader.hold(plan, None);
        }
        if let Err(why) = self.look(&plan).await {
            return self.reloader.refuse(why);
        }
        let version = if is_same {
            None
        } else {
            let holds = self.held.filter(plan.filter.clone(), platform::wall_us()).await;
            // Without a loop the process stops: the settings hold with the next start.
            let Some(version) = holds else { return std::future::pending().await };
            Some(version)
        };
        self.findings.filter_is(plan.filter.clone());
        self.reloader.hold(plan, version.as_ref());
    }

    /// Looks which of the patterns match anything. Why the filters can't be in force.
    async fn look(&self, plan: &Plan) -> Result<(), String> {
        let streamed = self.state.read().identity.map(|identity| identity.host);
        let host = plan.source.hosts.iter().position(|host| Some(host) == streamed.as_ref());
        match look(plan, host.unwrap_or_default()).await {
            Ok((_, catalog)) => {
                let refused = catalog.findings.iter().filter(|it| it.severity == Severity::Refuse);
                let refused: Vec<_> = refused.collect();
                if !refused.is_empty() {
                    return Err(lines(&refused));
                }
                self.findings.cataloged(&catalog);
                Ok(())
            }
            Err(error) if plan.filter.must_match => {
                Err(format!("filter.strict = true, and the source can't be asked: {error}\n"))
            }
            Err(error) => {
                tracing::warn!(%error, "whether the filters' patterns match anything is not known");
                Ok(())
            }
        }
    }
}
