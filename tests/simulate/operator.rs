//! An operator who holds tables back and lets them go, in the middle of everything else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use binpulse::platform::on;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::machine::Host;
use crate::oracle::FILTERED;
use crate::world::World;

/// The tables of the users, in every way to name them.
const PATTERNS: &[&str] = &["shop.orders", "shop.items", "shop.*", "all"];
/// Time in which everything must be let go when nothing is wrong any more.
const RELEASED_WITHIN: Duration = Duration::from_mins(3);

/// Whether a control with this pattern is about a table of the users.
pub(crate) fn is_of(pattern: &str, table: &str) -> bool {
    matches!(pattern, "all" | "shop.*") || pattern.strip_prefix("shop.") == Some(table)
}

/// A command, at random: what is held back is always sent in the end.
fn command(dice: &mut Dice, controls: &[Value]) -> Value {
    let (pattern, by, reason) = (*dice.pick(PATTERNS), "operator", "a test");
    let known = (!controls.is_empty()).then(|| dice.pick(controls)["pattern"].clone());
    match (dice.below(5), known) {
        (0 | 1, Some(pattern)) => {
            json!({"command": "release", "pattern": pattern, "send": true, "by": by})
        }
        (0 | 2, _) => {
            let seconds = dice.between(1, 20);
            json!({"command": "pause", "pattern": pattern, "seconds": seconds, "reason": reason, "by": by})
        }
        (3, _) => {
            json!({"command": "suppress", "pattern": pattern, "reason": reason, "by": by})
        }
        _ => {
            let rate = dice.between(10, 40);
            json!({"command": "rate", "pattern": pattern, "rows_per_second": rate, "reason": reason, "by": by})
        }
    }
}

impl World {
    /// The controls that the process shows which runs the stream; `None`: nobody answers.
    fn controls(&self) -> Option<Vec<Value>> {
        let mut status = self.active_status()?;
        // Before that the checkpoint with the controls may not have been read yet.
        if status["state"] != "running" {
            return None;
        }
        serde_json::from_value(status["controls"].take()).ok()
    }

    /// Asks the process that runs the stream.
    async fn ask(&self, command: &Value) {
        for slot in &self.slots {
            let Some(running) = &slot.process else { continue };
            let process = &running.process;
            let asking =
                on(Arc::new(Host(Arc::clone(process))), async { process.command(command) });
            let Ok(Some(answer)) = tokio::time::timeout(Duration::ZERO, asking).await else {
                continue;
            };
            if answer.is_ok() && command["command"] != "release" {
                self.oracle.held(command["pattern"].as_str().unwrap_or_default());
            }
            let number = running.process.number;
            self.oracle.tell(|| format!("process {number} is asked {command}: {answer:?}"));
        }
    }

    /// Something that an operator does.
    pub(crate) async fn operate(&mut self) {
        let controls = self.controls().unwrap_or_default();
        let command = command(&mut self.dice, &controls);
        self.oracle.count("commands of operators");
        self.ask(&command).await;
    }

    /// Changes the settings where they stand, and has them read again.
    pub(crate) async fn reload(&mut self, excludes: bool) {
        self.oracle.tell(|| format!("the settings exclude {FILTERED}: {excludes}"));
        let saved = self.saved().await;
        self.oracle.filters_change(&saved);
        self.excludes.store(excludes, Ordering::Relaxed);
        self.hang_up();
    }

    fn hang_up(&self) {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        running.for_each(|running| running.hangup.notify_one());
    }

    /// Looks whether settings that were changed are in force. What was refused is tried again: those before
    /// may not have been in force yet.
    pub(crate) fn look_at_filters(&mut self) {
        if self.oracle.filters_are_known() {
            return;
        }
        let Some(status) = self.active_status() else { return };
        let excludes = self.excludes.load(Ordering::Relaxed);
        let shown = status["config"]["filter.exclude"].as_str() == Some(FILTERED);
        if status["state"] != "running" || status["reload"]["state"] == "pending" {
            return;
        }
        if shown == excludes {
            self.oracle.filters_hold(!excludes);
        } else {
            self.hang_up();
        }
    }

    /// The settings exclude nothing more; whether all is well so far.
    pub(crate) async fn let_all_pass(&mut self) -> bool {
        if self.excludes.load(Ordering::Relaxed) {
            self.reload(false).await;
        }
        let until = Instant::now() + RELEASED_WITHIN;
        while !self.oracle.filters_are_known() && !self.is_halted() {
            if Instant::now() > until {
                self.oracle.is_wrong("all is healed, and the filters never hold".to_owned());
            }
            if !self.pass(Duration::from_secs(1)).await {
                return false;
            }
        }
        true
    }

    /// Lets everything go, and waits until it is; whether all is well so far.
    pub(crate) async fn release(&mut self) -> bool {
        let until = Instant::now() + RELEASED_WITHIN;
        loop {
            let controls = self.controls();
            if self.is_halted() {
                // What is held back ends with the checkpoint.
                return true;
            }
            if controls.as_ref().is_some_and(Vec::is_empty) {
                self.oracle.nothing_is_held();
                return true;
            }
            if Instant::now() > until {
                self.oracle
                    .is_wrong(format!("all is healed, and is still held back: {controls:?}"));
                return false;
            }
            for control in controls.unwrap_or_default() {
                if control["state"] != "sending" || control["kind"] == "rate" {
                    let pattern = &control["pattern"];
                    let command = json!({"command": "release", "pattern": pattern, "send": true, "by": "operator"});
                    self.ask(&command).await;
                }
            }
            if !self.pass(Duration::from_secs(1)).await {
                return false;
            }
        }
    }
}
