//! Talks replication: from a server, or a binlog file, to raw checked events.
//!
//! ```text
//! preflight  may we, and is the server set up for it?         (facts over SQL, pure evaluation)
//! resume     where does the stream begin, is that still there? (named, definite errors if not)
//! replica    the connection: events as borrowed bytes, deadlines on bytes
//! captured   the same events from files and standard input
//! upstream   does the server itself replicate, and does that run?
//! retention  which binary logs it has, and how long it keeps them
//! columns    how tables look now, for logs that do not tell
//! error      what went wrong, and what follows: the one place that decides
//! ```
//!
//! It does not know what is in an event beyond its framing (`binlog`); that is `decode`'s. It does not redial: the pipeline does, told by [`Error::recovery`] and
//! paced by [`crate::backoff`]. It never acknowledges semi-synchronously: a source must not wait
//! for us.

pub mod file;
pub mod preflight;
pub mod resume;
pub mod retention;

mod columns;
mod command;
mod config;
mod error;
mod identity;
mod liveness;
mod refusal;
mod replica;
mod upstream;

pub use columns::{Columns, Dictionary, server_name};
pub use config::{Config, Deadlines, Start};
pub use error::{Error, Halt, Recovery, Step, time_text};
pub use file::FileReader;
pub use identity::{Flavor, Identity, derive_replica_uuid, derive_server_id};
pub use liveness::Liveness;
pub use refusal::ServerErrorKind;
pub use replica::Replica;
pub use retention::retention;
pub use upstream::{Upstream, upstream};

#[cfg(test)]
pub(crate) use replica::tests::replica_of;
#[cfg(test)]
pub(crate) mod tests;
