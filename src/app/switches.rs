//! What HTTP may change, handed to who does it.

use std::sync::Arc;
use std::time::Duration;

use super::lease;
use super::maintenance::Maintenance;
use super::monitoring::Controls;
use super::state::State;
use crate::platform;
use crate::telemetry::http::{ReplayRefused, Switch};

/// Who takes what arrives by POST.
pub(super) struct Switches {
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) controls: Controls,
    pub(super) state: State,
    pub(super) lease: lease::LeaseHandle,
}

impl Switch for Switches {
    fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String> {
        self.maintenance.maintenance(consumer, lasting)
    }

    fn snapshot(&self, command: &str) -> Result<String, String> {
        let command = serde_json::from_str(command)
            .map_err(|error| format!("no command for a snapshot: {error}"))?;
        self.controls.snapshot.command(command)
    }

    fn yields(&self) -> Result<String, String> {
        self.lease.yields()
    }

    fn replay(&self, command: &str) -> Result<String, ReplayRefused> {
        self.controls.replay.command(command, self.state.read().epoch)
    }

    fn control(&self, command: &str) -> Result<String, String> {
        let command = serde_json::from_str(command)
            .map_err(|error| format!("no command for a control: {error}"))?;
        self.controls.held.command(&command, platform::wall_us())
    }

    fn reload(&self, check: bool) -> Result<String, String> {
        self.controls.reloader.command(check)
    }
}
