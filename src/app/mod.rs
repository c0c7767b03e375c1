//! Composition root: builds every part, names each stage, supervises the stream.
//!
//! ```text
//! monitoring     HTTP, the verdict and its looks
//! start     topic, quarantine, checkpoint store, source (preflight, resume): each waited for
//! build     sink, finalizing thread, heartbeat writer, canary writer, echo readers
//! stream    dial -> pipeline -> what ended it -> pause, next host, or halt
//! stop      intake first, then what is under way within the grace, HTTP last
//! ```
//!
//! What a failure means is decided by the part that it is of; here it is only carried out.

mod begin;
mod build;
mod catalog;
pub mod check;
mod controls;
mod echo;
mod exported;
mod findings;
mod flow;
mod follow;
mod freshness;
mod halt;
mod label_values;
mod lease;
mod lease_standing;
pub mod listen;
mod maintenance;
mod monitoring;
mod paths;
mod patience;
pub mod plan;
mod previous_run;
mod primary;
mod probe;
mod recorder;
mod relay;
mod release;
mod reload;
mod replay;
mod scrape_sources;
pub mod send;
mod shadow;
mod sink;
mod snapshot;
mod source;
mod source_rollback;
mod start;
mod state;
mod status;
mod store;
mod stream;
mod supervise;
mod switches;
mod unlogged;

pub use build::run;
#[cfg(feature = "testing")]
pub use exported::exported;
pub use plan::{HttpPlan, Plan};
#[cfg(feature = "testing")]
pub use probe::exported_by_probe;
pub use probe::{ProbePlan, probe};
#[cfg(feature = "testing")]
pub use relay::exported_by_relay;
pub use relay::{
    PARKED_HEADER, RedrivePlan, Redriven, RelayPlan, check as check_relay,
    redrive as redrive_queue, relay,
};
pub use replay::{
    Error as ReplayError, ReplayProgress, ReplayRequest as ReplayWish, Report as ReplayReport,
    Watch as ReplayWatch, replay,
};
pub use shadow::{ShadowError, begin_shadow};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to stop, and everything under way was delivered and saved.
    Stopped,
    /// It was asked to stop; what was not delivered in time will be sent again.
    StoppedInHaste,
    /// Source or sink could not be used at start.
    Unavailable,
    /// It can't continue, or not even begin, without an operator: the place to continue from is lost, say.
    NeedsOperator,
    /// Another process is to run the stream, and this one waits for its turn.
    StandsDown,
    /// A bug of ours.
    Bug,
}

/// Why nothing was started. Each carries its own words and remedy.
type Unavailable = Box<dyn std::error::Error + Send + Sync>;
