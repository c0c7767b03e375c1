//! How a route stands, for `/status`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use binpulse_core::encode::Lane;
use serde::Serialize;

use super::documents::Documents;
use super::gaps::{GapState, PartsGap};
use super::verified::DifferingRange;
use crate::clock::wall_clock_us;
use crate::lane::LaneKey;
use crate::metrics::Metrics;
use crate::state::ParkedEntry;

/// A route, as of its last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// Name of the route.
    pub route: String,
    /// The queue's URL.
    pub queue: String,
    /// Where requests go, without secrets.
    pub target: String,
    /// `works`, `failing` (the breaker is open) or `gone` (the target said so; restart to try again).
    pub target_state: &'static str,
    /// The last failure of the target, while it fails.
    pub last_failure: Option<String>,
    /// The last failure of the state, while it fails.
    pub state_failure: Option<String>,
    /// What is received and not finished.
    #[serde(flatten)]
    pub held: Unfinished,
    /// Requests that are begun and not delivered.
    pub requests_begun: u64,
    /// Requests that are parked.
    pub parked: u64,
    /// Rows that the topic accepted and that are not delivered, over all lanes.
    pub lag_rows: u64,
    /// Seconds until the queue drops the oldest message that is held.
    pub retention_margin_seconds: Option<u64>,
    /// Lanes that wait or stand still, at most 100 of them; and how many lanes there are.
    pub lanes: Vec<LaneStatus>,
    /// Lanes that this process delivers.
    pub lanes_total: u64,
    /// What was made of rows, where only a share is delivered: of the first 100 lanes.
    pub documents: Vec<Documents>,
    /// Ranges of a copy that differ from the source, as `binpulse verify` found; at most 100.
    pub differing: Vec<DifferingRange>,
}

/// What is received and not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Messages.
    pub messages_held: u64,
    /// Bytes that they take.
    pub buffer_bytes: u64,
    /// Rows that they have.
    pub buffer_rows: u64,
}

/// A lane that does not go on by itself just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneStatus {
    /// `stream/epoch/lane`.
    pub lane: String,
    /// The smallest number that is not delivered.
    pub next: u64,
    /// `waiting` (rows are missing), `asked` (for a replay) or `halted`.
    pub state: &'static str,
    /// Numbers that are missing.
    pub missing: Option<(u64, u64)>,
    /// Numbers of rows of snapshot parts that are missing.
    pub missing_parts: Option<(u64, u64)>,
    /// What an operator does.
    pub remedy: Option<String>,
}

/// What an operator wants done with parked rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedCommand {
    /// They are tried again, in their order. No ids: all of them.
    Retry(Vec<String>),
    /// They are removed, and never delivered.
    Drop(Vec<String>),
}

/// Commands that wait to be taken, at most.
const COMMANDS_MAX: usize = 1_000;

/// How the route stands, and what operators want of it.
#[derive(Debug)]
pub struct Status {
    view: Mutex<(View, Instant)>,
    parked: Mutex<Vec<ParkedEntry>>,
    commands: Mutex<Vec<ParkedCommand>>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            view: Mutex::new((View::default(), Instant::now())),
            parked: Mutex::default(),
            commands: Mutex::default(),
        }
    }
}

impl Status {
    /// The newest view.
    pub fn view(&self) -> View {
        locked(&self.view).0.clone()
    }

    /// How old it is: the route tells of itself each second.
    pub fn age(&self) -> Duration {
        locked(&self.view).1.elapsed()
    }

    pub(crate) fn set(&self, view: View) {
        *locked(&self.view) = (view, Instant::now());
    }

    /// Parked rows as of a few seconds ago, the oldest first; not all of them where they are many.
    pub fn parked(&self) -> Vec<ParkedEntry> {
        locked(&self.parked).clone()
    }

    pub(crate) fn set_parked(&self, parked: Vec<ParkedEntry>) {
        *locked(&self.parked) = parked;
    }

    /// Hands a command to the route, which takes it within a second. `false`: too many wait.
    pub fn command(&self, command: ParkedCommand) -> bool {
        let mut commands = locked(&self.commands);
        let has_room = commands.len() < COMMANDS_MAX;
        if has_room {
            commands.push(command);
        }
        has_room
    }

    pub(crate) fn take_commands(&self) -> Vec<ParkedCommand> {
        std::mem::take(&mut *locked(&self.commands))
    }
}

/// What it holds is whole after each change, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lanes that are told one by one.
pub(super) const LANES_SHOWN_MAX: usize = 100;

/// A lane, for its status.
pub(super) struct LaneView<'a> {
    pub(super) key: &'a LaneKey,
    pub(super) next: u64,
    /// The newest watermark; 0 none.
    pub(super) accepted: u64,
    pub(super) gap: &'a GapState,
    pub(super) parts: &'a PartsGap,
    pub(super) waiting: usize,
}

/// What lanes add to a view.
pub(super) fn lanes<'a>(route: &str, lanes: impl Iterator<Item = LaneView<'a>>) -> View {
    let (mut view, mut waits) = (View::default(), Vec::new());
    for LaneView { key, next, accepted, gap, parts: parts_gap, waiting } in lanes {
        let (parts, are_halted) = (parts_gap.parts(), parts_gap.is_halted());
        view.lanes_total += 1;
        view.lag_rows += if next > 0 { accepted.saturating_sub(next) } else { 0 };
        let (state, missing) = match *gap {
            GapState::Halted { gap } => ("halted", Some(gap)),
            GapState::Asked { gap, .. } => ("asked", Some(gap)),
            GapState::None if are_halted => ("halted", None),
            GapState::None if parts.is_some() => ("asked", None),
            GapState::None if waiting > 0 => ("waiting", None),
            GapState::None => continue,
        };
        // Lanes that wait for a moment hide none of which rows are missing.
        let is_waiting = missing.is_none() && parts.is_none();
        let shown = if is_waiting { &mut waits } else { &mut view.lanes };
        if shown.len() < LANES_SHOWN_MAX {
            let remedy = match *gap {
                GapState::Halted { gap } => Some(remedy(route, key, gap)),
                GapState::Asked { .. } => None,
                GapState::None => are_halted.then(|| remedy_of_parts(route, key)),
            };
            let (lane, missing_parts) = (key.to_string(), parts.map(|gap| (gap.first, gap.last())));
            shown.push(LaneStatus { lane, next, state, missing, missing_parts, remedy });
        }
    }
    waits.truncate(LANES_SHOWN_MAX - view.lanes.len());
    view.lanes.append(&mut waits);
    view
}

/// Seconds until the queue drops the oldest message.
pub(super) fn margin(retention: Option<Duration>, oldest_us: Option<i64>) -> Option<u64> {
    let (retention, oldest_us) = retention.zip(oldest_us)?;
    let age = u64::try_from(wall_clock_us().saturating_sub(oldest_us) / 1_000_000);
    Some(retention.as_secs().saturating_sub(age.unwrap_or_default()))
}

/// Shows a view, in the metrics too.
pub(super) fn tell(metrics: &Metrics, status: &Status, view: View) {
    let set = |gauge: &prometheus::IntGauge, value: u64| {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    };
    set(&metrics.lanes, view.lanes_total);
    set(&metrics.messages_held, view.held.messages_held);
    set(&metrics.buffer_bytes, view.held.buffer_bytes);
    set(&metrics.buffer_rows, view.held.buffer_rows);
    set(&metrics.lag_rows, view.lag_rows);
    set(&metrics.parked, view.parked);
    let is_open = |lane: &&LaneStatus| lane.missing.is_some() || lane.missing_parts.is_some();
    let gaps = view.lanes.iter().filter(is_open).count();
    set(&metrics.gaps_open, gaps as u64);
    metrics.endpoint_state.set(match view.target_state {
        "gone" => 2,
        "failing" => 1,
        _ => 0,
    });
    // Without a message that waits, an old margin would say that one is about to be lost.
    let margin = view.retention_margin_seconds.map(Duration::from_secs);
    metrics.retention_margin_seconds.set(margin.map_or(f64::NAN, |margin| margin.as_secs_f64()));
    status.set(view);
}

fn remedy(route: &str, lane: &LaneKey, (first, last): (u64, u64)) -> String {
    let lane = &lane.lane;
    format!(
        "publish the missing rows again, with the streamer's settings (`binpulse replay --lane \
         '{lane}' --numbers {first}-{last} --same-topics --for {route}`), or go on without them \
         (relay.gap = declare)"
    )
}

/// No log has the parts of a snapshot, so that no replay brings them.
fn remedy_of_parts(route: &str, lane: &LaneKey) -> String {
    let table = Lane::table_of(&lane.lane);
    let table =
        table.map_or_else(String::new, |(database, table, _)| format!("{database}.{table}"));
    let table = table.replace('\'', "'\\''");
    format!(
        "look for the part in dead letter queues (`binpulse relay redrive`); else go on without it \
         (relay.gap = declare, and restart the relay), then read the table's rows again, with the \
         streamer's settings (`binpulse snapshot start --tables '{table}' --for {route}`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_wait_hide_none_that_is_halted() {
        let keys: Vec<LaneKey> = (0..150)
            .map(|number| LaneKey {
                stream: "s".into(),
                epoch: 1,
                lane: format!("a.b#{number}").into(),
            })
            .collect();
        let (none, halted) = (GapState::None, GapState::Halted { gap: (1, 2) });
        let (parts_none, parts) = (PartsGap::default(), PartsGap::halted(3, 5));
        let shown = lanes(
            "r",
            keys.iter().enumerate().map(|(at, key)| LaneView {
                key,
                next: 1,
                accepted: 4,
                gap: if at == 149 { &halted } else { &none },
                parts: if at == 148 { &parts } else { &parts_none },
                waiting: 1,
            }),
        );
        assert_eq!((shown.lanes_total, shown.lag_rows, shown.lanes.len()), (150, 450, 100));
        let first = &shown.lanes[0];
        assert_eq!(
            (first.state, first.missing, first.missing_parts),
            ("halted", None, Some((3, 4)))
        );
        let remedy = first.remedy.as_deref().expect("what to do");
        assert!(remedy.contains("snapshot start --tables 'a.b' --for r"), "{remedy}");
        assert_eq!((shown.lanes[1].state, shown.lanes[1].missing), ("halted", Some((1, 2))));
    }
}
