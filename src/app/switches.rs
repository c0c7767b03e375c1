//! What HTTP may change, handed to who does it.

use std::sync::Arc;
use std::time::Duration;

use super::lease;
use super::maintenance::Maintenance;
use super::reload::Reloader;
use super::replay;
use super::state::State;
use crate::control;
use crate::platform;
use crate::snapshot;
use crate::telemetry::http::{ReplayRefused, Switch};

/// Who takes what arrives by POST.
pub(super) struct Switches {
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) snapshot: Arc<snapshot::Control>,
    pub(super) replay: Arc<replay::Control>,
    pub(super) controls: Arc<control::Desk>,
    pub(super) state: State,
    pub(super) lease: lease::Control,
    pub(super) reloader: Arc<Reloader>,
}

impl Switch for Switches {
    fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String> {
        self.maintenance.maintenance(consumer, lasting)
    }

    fn snapshot(&self, command: &str) -> Result<String, String> {
        let command = serde_json::from_str(command)
            .map_err(|error| format!("no command for a snapshot: {error}"))?;
        self.snapshot.command(command)
    }

    fn yields(&self) -> Result<String, String> {
        self.lease.yields()
    }

    fn replay(&self, command: &str) -> Result<String, ReplayRefused> {
        self.replay.command(command, self.state.read().epoch)
    }

    fn control(&self, command: &str) -> Result<String, String> {
        let command = serde_json::from_str(command)
            .map_err(|error| format!("no command for a control: {error}"))?;
        self.controls.command(&command, platform::wall_us())
    }

    fn reload(&self, check: bool) -> Result<String, String> {
        self.reloader.command(check)
    }
}
