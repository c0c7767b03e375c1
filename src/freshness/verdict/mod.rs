//! The verdict: is a silent database quiet or down, which hop broke, and how do we know?
//!
//! ```text
//! observations -> evidence of each hop -> conditions -> table -> hysteresis -> verdict
//!                  |        ^ obligations (armed clocks), pauses of our own
//!                  +------> accounting -> quiet certificate
//! ```
//!
//! Pure: no clock, no runtime, no I/O; time comes in as an argument, observations come in as values.
//! A loop on its own thread drives a [`Evaluator`]: it feeds [`Tick`](super::Observation::Tick)
//! first, then what arrived, then asks for the verdict and for the plan of second looks. This part
//! does not know how anything is measured, nor what is done with the verdict.
//!
//! An outage is an obligation that was not met and was looked at again, never "time since the last
//! event"; `quiet` is a proof (see [`certificate`]), never the default.

pub mod certificate;
mod condition;
mod evaluator;
mod evidence;
pub mod obligation;
mod parameters;
pub mod pause;
pub mod probe_schedule;
mod reason;
mod rule;
pub mod table;
#[cfg(test)]
mod tests;
#[allow(clippy::module_inception, reason = "the file is named for what it holds")]
mod verdict;
pub mod words;

pub use certificate::Certificate;
pub use condition::{Condition, Conditions, Known, Status};
pub use evaluator::Evaluator;
pub use parameters::{Parameters, PathAccount, Topology};
pub use probe_schedule::DueProbe;
pub use reason::Reason;
pub use rule::{Grade, Hop};
pub use table::State;
pub use verdict::Verdict;
