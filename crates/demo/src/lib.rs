//! The demo: a private MySQL, a stand-in of SNS and SQS, a shop's workload and a consumer, around
//! the streamer as it is.
//!
//! Its parts also start the servers of the live tests and benchmarks, so that there is one way to do
//! it. Nothing that is started here outlives its owner, see [`Process`]. This crate does not use
//! the service's code: it starts the program, and its consumer knows the wire contract alone.

mod audience;
mod billing;
pub mod cli;
mod consumer;
mod datadir;
mod error;
mod folder;
mod guide;
mod http;
mod installed;
mod launch;
mod mysqld;
mod process;
pub mod roles;
mod sample;
mod shuffler;
mod source;
mod standin;
mod story;
mod streamer;
mod tally;
mod workload;

pub use audience::Audience;
pub use billing::{Billing, bill};
pub use binpulse_client::proto;
pub use consumer::{Aws, Consumer};
pub use error::Error;
pub use folder::Folder;
pub use http::{Answer, HttpError, get};
pub use installed::{Flavor, Installed, Server};
pub use launch::Options;
pub use mysqld::Mysqld;
pub use process::{Process, Program, Signal};
pub use shuffler::{Shuffled, Shuffler, Shuffling};
pub use source::{PASSWORD, USER, prepare, settings_for, standin_environment};
pub use standin::Standin;
pub use story::{Summary, run};
pub use streamer::{Command, Streamer, flag, is_secret, variable};
pub use tally::{Op, Tally};
pub use workload::{DATABASE, Workload};
