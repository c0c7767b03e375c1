//! Watches what the service says, as seen from outside, from its start to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::baselines::{Metrics, Sight};

/// Between two looks at the verdict.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two looks at the metrics.
const SCRAPE_EVERY: Duration = Duration::from_millis(500);

/// A verdict as it was shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) grade: String,
    pub(crate) hop: String,
    pub(crate) sentence: String,
    pub(crate) next_step: String,
}

impl Shown {
    /// `state(reason)`.
    pub(crate) fn label(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}({reason})", self.state),
            None => self.state.clone(),
        }
    }

    fn read(status: &Value, at: Instant) -> Self {
        let verdict = &status["verdict"];
        let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
        Self {
            at,
            state: text("state"),
            reason: verdict["reason"].as_str().map(str::to_owned),
            grade: text("grade"),
            hop: text("hop"),
            sentence: text("sentence"),
            next_step: text("next_step"),
        }
    }

    /// What is seen when nobody answers.
    fn nothing(at: Instant) -> Self {
        let none = String::new;
        Self {
            at,
            state: "no answer".to_owned(),
            reason: None,
            grade: "unknown".to_owned(),
            hop: none(),
            sentence: none(),
            next_step: none(),
        }
    }

    fn differs(&self, other: &Self) -> bool {
        self.state != other.state || self.reason != other.reason
    }
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Each change of state or reason.
    pub(crate) changes: Vec<Shown>,
    /// The last status.
    pub(crate) last: Option<(Instant, Value)>,
    /// The same, as the baselines see it.
    pub(crate) sights: Vec<Sight>,
}

impl Seen {
    /// What is shown now.
    pub(crate) fn now(&self) -> Option<&Shown> {
        self.changes.last()
    }

    /// What was shown at or after `from`, with what held then first.
    pub(crate) fn since(&self, from: Instant) -> &[Shown] {
        let begins = self.changes.iter().rposition(|shown| shown.at <= from).unwrap_or(0);
        &self.changes[begins..]
    }
}

/// Watching, until dropped.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    tasks: [JoinHandle<()>; 2],
}

impl Watch {
    /// Watches the service at `address`, also across its restarts.
    pub(crate) fn start(address: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let tasks = [
            tokio::spawn(look(address.to_owned(), Arc::clone(&seen))),
            tokio::spawn(scrape(address.to_owned(), Arc::clone(&seen))),
        ];
        Self { seen, tasks }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// The first instant from `from` on at which `holds`; waits for it until `until`.
    pub(crate) async fn until(
        &self,
        from: Instant,
        until: Instant,
        holds: impl Fn(&Shown) -> bool,
    ) -> Option<Shown> {
        loop {
            let found = {
                let seen = self.seen();
                seen.since(from).iter().find(|shown| holds(shown)).cloned()
            };
            if let Some(found) = found {
                return Some(found);
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(LOOK_EVERY / 2).await;
        }
    }

    /// The first instant from `from` on at which the whole status `holds`; waits until `until`.
    pub(crate) async fn until_status(
        &self,
        from: Instant,
        until: Instant,
        holds: impl Fn(&Value) -> bool,
    ) -> Option<Instant> {
        while Instant::now() < until {
            let found = {
                let seen = self.seen();
                seen.last.as_ref().filter(|(at, it)| *at >= from && holds(it)).map(|(at, _)| *at)
            };
            if found.is_some() {
                return found;
            }
            sleep(LOOK_EVERY / 2).await;
        }
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(address: String, seen: Arc<Mutex<Seen>>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = binpulse_demo::get(&address, "/status").await;
        let at = Instant::now();
        let status =
            answer.ok().and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
        let shown = status.as_ref().map_or_else(|| Shown::nothing(at), |it| Shown::read(it, at));
        let mut seen = lock(&seen);
        match seen.changes.last_mut() {
            Some(last) if !last.differs(&shown) => last.sentence = shown.sentence,
            _ => seen.changes.push(shown),
        }
        if let Some(status) = status {
            seen.last = Some((at, status));
        }
    }
}

async fn scrape(address: String, seen: Arc<Mutex<Seen>>) {
    let mut ticks = interval(SCRAPE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        ticks.tick().await;
        let Ok(answer) = binpulse_demo::get(&address, "/metrics").await else { continue };
        let mut seen = lock(&seen);
        let lag = seen
            .last
            .as_ref()
            .and_then(|(_, it)| it["progress"]["newest_commit_age_seconds"].as_f64());
        let metrics = Metrics::read(&answer.body).with_lag(lag);
        let sight = Sight::new(Instant::now(), &metrics, before.as_ref());
        seen.sights.push(sight);
        before = Some((metrics, sight));
    }
}
