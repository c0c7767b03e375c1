//! What HTTP may change, handed to who does it.

use std::sync::Arc;
use std::time::Duration;

use super::lease_standing::LeaseHandle;
use super::maintenance::Maintenance;
use super::plan::Plan;
use super::reload::Reloader;
use super::replay;
use super::state::State;
use crate::control::ControlRegistry;
use crate::platform;
use crate::shadow::LaneDigests;
use crate::snapshot;
use crate::telemetry::Readiness;
use crate::telemetry::http::{ReplayRefused, Switch};

/// Where what is asked for by HTTP arrives, and what is shown of it.
#[derive(Clone)]
pub(super) struct Controls {
    pub(super) snapshot: Arc<snapshot::SnapshotHandle>,
    pub(super) replay: Arc<replay::ReplayHandle>,
    /// Digests of the rows, if they are kept.
    pub(super) digests: Option<Arc<LaneDigests>>,
    /// What `/readyz` tells.
    pub(super) readiness: Readiness,
    pub(super) held: Arc<ControlRegistry>,
    pub(super) reloader: Arc<Reloader>,
}

impl Controls {
    /// Of a plan that is about to be run.
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        let snapshot = Arc::<snapshot::SnapshotHandle>::default();
        Self {
            reloader: Arc::new(Reloader::new(plan, Arc::clone(&snapshot))),
            snapshot,
            replay: Arc::default(),
            digests: plan.shadow.digests.then(Arc::default),
            readiness: Readiness::default(),
            held: Arc::default(),
        }
    }
}

/// Who takes what arrives by POST.
pub(super) struct Switches {
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) controls: Controls,
    pub(super) state: State,
    pub(super) lease: LeaseHandle,
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
        let epoch = self.state.read().epoch;
        match replay::ReadAgain::read(command) {
            Some(again) => again?.command(&self.controls.snapshot, epoch),
            None => self.controls.replay.command(command, epoch),
        }
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
