//! Streams that halt: whether they had to, and what an operator then does, as the runbook says
//! (`docs/runbooks/BinpulsePositionLost.md`).

use std::sync::Arc;
use std::time::Duration;

use binpulse::app::Outcome;
use binpulse::change::GtidSet;
use binpulse::checkpoint::FileStore;
use binpulse::platform::on;
use tokio::time::Instant;

use crate::faults::{self, Fault};
use crate::log::Change;
use crate::machine::{Host, Process};
use crate::server::Server;
use crate::value::{Row, Value};
use crate::world::{STREAM, World};

/// Time in which a stream that can't continue must say so.
const SAID_WITHIN: Duration = Duration::from_secs(20);

/// The row of the stream in the table of checkpoints, as a change of it has both.
fn checkpoint_row(server: &Server) -> Option<Change> {
    let table = server.table("binpulse", "checkpoint").expect("a table");
    let key = (table.id, vec![Value::text(STREAM)]);
    let row = server.state().rows.get(&key).cloned()?;
    Some(Change { table, before: Some(row.clone()), after: Some(row) })
}

impl Change {
    fn cell(&mut self, column: &str) -> Option<&mut Value> {
        let column = self.table.column(column)?;
        self.after.as_mut().map(|row: &mut Row| &mut row[column])
    }
}

impl World {
    /// Removes all logs that no stream reads. While tables are held back it removes none: their rows are
    /// there alone, and that somebody removes them is not foreseen.
    pub(crate) fn purge(&mut self) {
        let kept = if self.oracle.holds_nothing() { 1 } else { usize::MAX };
        for server in &self.servers {
            let is_any = server.purge(kept);
            self.oracle.tell(|| format!("{} purges its logs: {is_any}", server.name));
        }
    }

    /// What the saved checkpoint names as delivered; nothing without one.
    pub(crate) async fn saved(&mut self) -> GtidSet {
        if self.setting.table_store {
            let mut row = checkpoint_row(self.primary());
            let mut cell = |column| row.as_mut().and_then(|row| row.cell(column).cloned());
            let is_begun = cell("begun").is_some_and(|begun| begun.int() != 0);
            let set = cell("gtid_set").filter(|_| is_begun);
            return set.and_then(|set| set.as_text().parse().ok()).unwrap_or_default();
        }
        let process = self.process_on(0, 0);
        let path = self.checkpoint_path(0);
        let peek = Box::pin(async move { FileStore::peek(path, STREAM).await });
        let peeked = on(Arc::new(Host(process)), peek).await;
        match peeked {
            Ok(saved) => saved.map(|saved| saved.gtid_set).unwrap_or_default(),
            Err(error) => {
                self.oracle.is_wrong(format!("the checkpoint can't be read: {error}"));
                GtidSet::new()
            }
        }
    }

    /// Looks at the checkpoint in a file, which nobody else sees.
    pub(crate) async fn check_saved(&mut self) {
        if !self.setting.table_store {
            let saved = self.saved().await;
            self.oracle.holds(&saved);
        }
    }

    /// The processes that have halted: each with the reason, and what it says.
    fn halted(&self) -> Vec<(Arc<Process>, String, String)> {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let halted = running.filter_map(|running| {
            let status = running.process.status()?;
            let text = |key| status["halted"][key].as_str().map(str::to_owned);
            Some((Arc::clone(&running.process), text("reason")?, text("message")?))
        });
        halted.collect()
    }

    pub(crate) fn is_halted(&self) -> bool {
        !self.halted().is_empty()
    }

    /// Judges streams that have halted since the last look.
    pub(crate) async fn judge_halts(&mut self) {
        for (process, reason, message) in self.halted() {
            if !self.judged.insert(process.number) {
                continue;
            }
            self.oracle.tell(|| format!("process {} halts: {reason}: {message}", process.number));
            let saved = self.saved().await;
            let has_to = match reason.as_str() {
                "position_lost" => {
                    self.oracle.count("halts as position_lost");
                    let mut servers = self.servers.iter();
                    servers.any(|server| !server.state().purged.is_subset_of(&saved))
                }
                "diverged" => {
                    self.oracle.count("halts as diverged");
                    self.oracle.is_forked()
                }
                _ => false,
            };
            if !has_to {
                self.oracle.is_wrong(format!(
                    "process {} halts as {reason} without need: {message}",
                    process.number
                ));
            }
        }
    }

    /// Logs are purged while the stream is away.
    pub(crate) async fn purge_while_away(&mut self) {
        let before = Duration::from_secs(self.dice.between(10, 30));
        if !self.pass(before).await {
            return;
        }
        let is_killed = self.dice.one_in(2);
        if is_killed {
            for machine in 0..self.slots.len() {
                self.kill(machine, Duration::from_hours(1));
            }
        } else {
            Fault::DumpRefused.begin(self);
        }
        let away = match self.dice.below(3) {
            0 => self.dice.between(100, 300),
            1 => self.dice.between(300, 3_000),
            _ => self.dice.between(3_000, 20_000),
        };
        if !self.pass(Duration::from_millis(away)).await {
            return;
        }
        self.oracle.count("purges");
        self.purge();
        let saved = self.saved().await;
        let is_lost = !self.primary().state().purged.is_subset_of(&saved);
        self.oracle.tell(|| format!("what is needed is purged: {is_lost}"));
        faults::heal(self);
        for slot in &mut self.slots {
            slot.starts_at = Instant::now();
        }
        if !self.pass(SAID_WITHIN).await {
            return;
        }
        // One that lives may deliver what it has read, which is purged and not lost.
        let (state, verdict) = self.verdict().unwrap_or_default();
        if is_killed && is_lost != (state == "position_lost") {
            let sentence = &verdict["sentence"];
            self.oracle.is_wrong(format!(
                "what is needed is purged: {is_lost}, and it is called {state}: {sentence}"
            ));
        }
    }

    /// Where a stream has halted: begins a new epoch with the oldest log that there is. Whether all is well
    /// so far.
    pub(crate) async fn begin_again(&mut self) -> bool {
        if !self.is_halted() {
            return true;
        }
        self.oracle.tell(|| "an operator begins a new epoch".to_owned());
        self.oracle.count("new epochs");
        self.stop(&[Outcome::NeedsOperator, Outcome::Stopped]).await;
        let primary = Arc::clone(self.primary());
        let mut row = checkpoint_row(&primary);
        let epoch = row.as_mut().and_then(|row| row.cell("epoch").cloned());
        // As the refusal to start without the flag names it.
        let epoch = epoch.and_then(|epoch| u64::try_from(epoch.int()).ok()).unwrap_or(0);
        self.new_epoch = Some(epoch);
        let purged = primary.state().purged.clone();
        self.oracle.begins_again(epoch, &purged);
        if self.setting.table_store {
            if let Some(begun) = row.as_mut().and_then(|row| row.cell("begun")) {
                *begun = Value::Int(0);
            }
            if primary.commit(row.into_iter().collect(), None).await.is_err() {
                self.oracle.is_wrong("the checkpoint can't be removed".to_owned());
            }
        } else if let Err(error) = std::fs::remove_file(self.checkpoint_path(0)) {
            self.oracle.is_wrong(format!("the checkpoint can't be removed: {error}"));
        }
        for slot in &mut self.slots {
            slot.starts_at = Instant::now();
        }
        if !self.pass(Duration::from_secs(45)).await {
            return false;
        }
        for (process, reason, message) in self.halted() {
            let number = process.number;
            self.oracle.is_wrong(format!("process {number} halts again: {reason}: {message}"));
        }
        self.oracle.wrong().is_none()
    }
}
