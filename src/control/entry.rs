//! One control in the registry, and how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Control, SendRate, tables};
use crate::change::NameCase;
use crate::pack::HeldLane;
use crate::telemetry::status::{ControlKind, ControlState, ControlStatus};

/// A control, and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) control: Control,
    /// It is in the saved checkpoint.
    pub(super) is_saved: bool,
    /// Its end is not in the saved checkpoint yet.
    pub(super) is_ending: bool,
    /// Who sends its rows.
    pub(super) work: Work,
    /// How fast it is sent.
    pub(super) pace: Arc<SendRate>,
    /// The last number of each lane that was sent: the saved checkpoint learns of it a moment later.
    pub(super) sent: BTreeMap<Arc<str>, u64>,
    /// Rows that were sent of those that were held back.
    pub(super) sent_rows: u64,
    /// Why they could not be sent the last time.
    pub(super) told: String,
}

/// How far the work is of whoever sends a control's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Work {
    /// Nobody does.
    #[default]
    None,
    /// Somebody does, and reads nothing just now.
    Taken,
    /// They are being read and sent.
    Reads,
    /// All is sent, and the loop is asked to end it.
    GoesLive,
}

impl Entry {
    pub(super) fn new(control: Control, is_saved: bool) -> Self {
        let pace = Arc::new(SendRate::default());
        pace.set(control.rows_per_second);
        Self {
            control,
            is_saved,
            is_ending: false,
            work: Work::None,
            pace,
            sent: BTreeMap::new(),
            sent_rows: 0,
            told: String::new(),
        }
    }

    /// Whether it is a pause that goes on.
    pub(super) fn ends_by_itself(&self) -> bool {
        self.control.kind == ControlKind::Pause && !self.control.is_sending && !self.is_ending
    }

    /// Whether it is a rate whose rows are sent as they come.
    pub(super) fn is_live(&self) -> bool {
        !self.control.holds() && !self.is_ending
    }

    /// Whether it is a rate whose rows are held back, and sent at it.
    pub(super) fn is_paced(&self) -> bool {
        self.control.kind == ControlKind::Rate && self.control.is_sending && !self.is_ending
    }

    fn state(&self) -> ControlState {
        match (self.is_ending, self.control.is_sending) {
            (true, _) => ControlState::Releasing,
            (false, true) => ControlState::Sending,
            (false, false) if self.is_live() => ControlState::Live,
            (false, false) => ControlState::Holding,
        }
    }

    /// How it stands, with what is held back of these lanes.
    pub(super) fn status(&self, lanes: &[HeldLane], case: NameCase) -> ControlStatus {
        let control = &self.control;
        let tables = tables([control], case);
        let is_ours =
            |it: &&HeldLane| it.rows() > 0 && tables.has(&it.range.database, &it.range.table);
        let held: Vec<_> = lanes.iter().filter(is_ours).collect();
        ControlStatus {
            pattern: control.pattern.clone(),
            kind: control.kind,
            state: self.state(),
            reason: control.reason.clone(),
            by: control.by.clone(),
            at_us: control.at_us,
            saved: self.is_saved,
            lanes: held.len() as u64,
            rows: held.iter().map(|it| it.rows()).sum(),
            first_row_us: held.iter().map(|it| it.range.since_us).min(),
            sent_rows: self.sent_rows,
            told: self.told.clone(),
            purge_margin_seconds: None,
            until_us: control.until_us,
            rows_per_second: control.rows_per_second,
        }
    }
}
