//! The demo: a private MySQL, a stand-in of SNS and SQS, a shop's workload and a consumer, around
//! the streamer as it is.
//!
//! Its parts also start the servers of the live tests, so that there is one way to do it. Nothing
//! that is started here outlives its owner, see [`Process`].

mod audience;
mod consumer;
mod datadir;
mod error;
mod folder;
mod guide;
mod installed;
mod mysqld;
mod process;
pub mod roles;
mod sample;
mod source;
mod standin;
mod story;
mod streamer;
mod tally;
mod workload;

pub use audience::Audience;
pub use consumer::{Aws, Consumer};
pub use error::Error;
pub use folder::Folder;
pub use installed::{Flavor, Installed, Server};
pub use mysqld::{Mysqld, Options};
pub use process::{Process, Program, Signal};
pub use source::{PASSWORD, USER, prepare, settings_for, standin_environment};
pub use standin::Standin;
pub use story::{Summary, run};
pub use streamer::{Command, Streamer};
pub use tally::Tally;
pub use workload::{DATABASE, Workload};
