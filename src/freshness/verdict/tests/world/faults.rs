//! What may be broken, and what users do meanwhile.

use std::time::Duration;

use crate::change::Uuid;
use crate::freshness::{SqlFailure, StreamFailure};
use crate::sink::FailureClass;

pub(in super::super) const STEP: Duration = Duration::from_millis(250);
pub(in super::super) const SERVER: Uuid = Uuid([1; 16]);
pub(in super::super) const OTHER: Uuid = Uuid([2; 16]);

/// What users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Load {
    Quiet,
    Busy,
    FilteredOnly,
}

pub(in super::super) const LOADS: [Load; 3] = [Load::Quiet, Load::Busy, Load::FilteredOnly];

/// What SNS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Sns {
    Well,
    Fails(FailureClass),
    Hangs,
}

/// How the world is broken; all false or `None` is a healthy one.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "faults are independent switches")]
pub(in super::super) struct Faults {
    /// SQL connections, old ones and new ones.
    pub(in super::super) old_sql: Option<SqlFailure>,
    pub(in super::super) new_sql: Option<SqlFailure>,
    /// The dump socket is silent.
    pub(in super::super) silent: bool,
    /// A silent dump heals with the next dial.
    pub(in super::super) heals: bool,
    /// Dialling a dump fails.
    pub(in super::super) dial: Option<StreamFailure>,
    /// How writes fail: the first, the later ones, after how long, whether the row is seen.
    pub(in super::super) writes: Option<(SqlFailure, SqlFailure, bool)>,
    pub(in super::super) writer_state: Option<&'static str>,
    pub(in super::super) writer_server: Uuid,
    pub(in super::super) read_only: bool,
    pub(in super::super) hidden: bool,
    pub(in super::super) sns: Sns,
    /// Canaries are lost on their way to these.
    pub(in super::super) lost: Vec<&'static str>,
    /// Echo queues that can't be read.
    pub(in super::super) unreadable: Vec<&'static str>,
    /// Echo queues that never answer, which shows when the deadline of a read is over.
    pub(in super::super) hung: Vec<&'static str>,
    pub(in super::super) checkpoint_fails: bool,
    pub(in super::super) lag: Option<fn(f64) -> f64>,
    pub(in super::super) transaction_bytes: u64,
    pub(in super::super) upstream_broken: bool,
    pub(in super::super) source_lacks: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            old_sql: None,
            new_sql: None,
            silent: false,
            heals: false,
            dial: None,
            writes: None,
            writer_state: None,
            writer_server: SERVER,
            read_only: false,
            hidden: false,
            sns: Sns::Well,
            lost: Vec::new(),
            unreadable: Vec::new(),
            hung: Vec::new(),
            checkpoint_fails: false,
            lag: None,
            transaction_bytes: 0,
            upstream_broken: false,
            source_lacks: false,
        }
    }
}
