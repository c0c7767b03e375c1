//! What operators ask of a snapshot, and what they are shown of it. Shared by HTTP and the worker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::telemetry::snapshot::{SnapshotState, SnapshotStatus};

/// What an operator asks for; the JSON that `POST /snapshot` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Begins a snapshot; refused while another is not over.
    Start(Request),
    /// No further chunk is read until it is resumed, by this process or a later one.
    Pause {},
    /// Continues after a pause.
    Resume {},
    /// Ends it: the tables that are not done are given up.
    Stop {},
}

/// The tables that are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Patterns of `database.table`, as in `filter.tables`. At least one.
    pub tables: Vec<String>,
    /// A condition in SQL that rows must meet; only with one table.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Values of the first column of the key; only rows with these, only with one table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Only rows behind the one with this key; only with one table whose key has one column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only rows up to the one with this key, itself included; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<String>,
    /// No rows are published, but digests of them, for whoever has a copy to compare.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// Tables without a key are read under a short lock instead of being refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lock_keyless: bool,
    /// Subscribers that it is for: the attribute `replay`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Most rows a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<u64>,
}

/// What [`is_audience`] takes, in words.
pub const AUDIENCE: &str = "a name of 1 to 64 bytes without control characters";

/// Whether rows can be sent to subscribers of this name: SNS refuses attributes that are empty, and filter
/// policies compare no longer ones.
pub fn is_audience(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Commands that wait for the worker: a person gives few.
const COMMANDS_MAX: usize = 16;

/// Where commands arrive and the status is shown.
#[derive(Debug, Default)]
pub struct SnapshotHandle {
    commands: Mutex<VecDeque<Command>>,
    arrived: Notify,
    /// The first snapshot of a new stream could not begin yet, and is tried again.
    is_owed: AtomicBool,
    status: Mutex<Option<SnapshotStatus>>,
}

impl SnapshotHandle {
    /// Hands a command to the worker. What will be done, or why nothing will be, in words.
    ///
    /// Tables, keys and privileges are looked at by the worker: whether a snapshot began shows in the
    /// status.
    pub fn command(&self, command: Command) -> Result<String, String> {
        let state = self.status().map(|status| status.state);
        let is_underway = state.is_some_and(|state| !state.is_over());
        let words = match &command {
            Command::Start(_) if is_underway => {
                return Err("a snapshot is not over yet: wait for its end, or run \
                            `binpulse snapshot stop`"
                    .to_owned());
            }
            Command::Start(request) if request.tables.is_empty() => {
                return Err("no table is named".to_owned());
            }
            Command::Start(request)
                if request.audience.as_deref().is_some_and(|name| !is_audience(name)) =>
            {
                return Err(format!("for: expected {AUDIENCE}"));
            }
            Command::Start(_) => "the snapshot's tables are looked at",
            Command::Stop {} if !is_underway && self.is_owed.load(Ordering::Relaxed) => {
                "the first snapshot is given up: it is not tried again"
            }
            Command::Pause {} | Command::Resume {} | Command::Stop {} if !is_underway => {
                return Err("there is no snapshot".to_owned());
            }
            Command::Pause {} => "no further chunk is read until `binpulse snapshot resume`",
            Command::Resume {} => "the snapshot continues",
            Command::Stop {} => "the snapshot ends behind the chunk at hand",
        };
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if commands.len() == COMMANDS_MAX {
            return Err("earlier commands still wait".to_owned());
        }
        let is_start = |command: &Command| matches!(command, Command::Start(_));
        if is_start(&command) && commands.iter().any(is_start) {
            return Err("another snapshot is about to begin".to_owned());
        }
        commands.push_back(command);
        drop(commands);
        self.arrived.notify_one();
        Ok(words.to_owned())
    }

    /// How far the newest snapshot has got; `None`: there was none.
    pub fn status(&self) -> Option<SnapshotStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether one is read right now.
    pub fn is_running(&self) -> bool {
        self.status().is_some_and(|status| status.state == SnapshotState::Running)
    }

    /// Whether the first snapshot of a new stream could not begin yet, and is tried again.
    pub(super) fn owes(&self, is_owed: bool) {
        self.is_owed.store(is_owed, Ordering::Relaxed);
    }

    /// Shows how far it has got.
    pub fn show(&self, status: SnapshotStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Whether a command has arrived.
    pub(super) fn has_commands(&self) -> bool {
        !self.commands.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The next command that has arrived, if one has.
    pub fn take(&self) -> Option<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Waits until a command has arrived. Cancel safe.
    pub async fn arrived(&self) {
        loop {
            let notified = self.arrived.notified();
            if !self.commands.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            notified.await;
        }
    }
}
