//! The settings that a plan was made from, and how they are read again.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::{Error, Values};

/// Reads the settings from where they stand now.
pub(super) type Load = dyn Fn() -> Result<Values, Vec<Error>> + Send + Sync;

/// How the settings are read again.
#[derive(Clone)]
pub struct Reload {
    /// Reads them.
    pub load: Arc<Load>,
    /// Somebody asks for it by a signal.
    pub signal: Arc<Notify>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

/// The settings of a plan.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As they were read.
    pub values: Values,
    /// How to read them again; `None`: they stand nowhere.
    pub reload: Option<Reload>,
}

impl Settings {
    /// Settings that stand nowhere.
    pub(super) fn new(values: Values) -> Self {
        Self { values, reload: None }
    }
}
