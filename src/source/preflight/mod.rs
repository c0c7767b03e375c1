//! Whether a server can be our source: facts over SQL, and a pure evaluation of them.
//!
//! `check` prints all findings at once; `run` refuses with the same words.

mod facts;
mod grants;
mod rules;

pub use super::upstream::Replicates;

pub use facts::{BinlogFile, Facts, Logged, OtherReplica, Unknown, collect};
pub use grants::Grants;
#[cfg(test)]
pub(crate) use rules::tests;
pub use rules::{
    Demands, Finding, LEASE, OUR_REPLICA_UUID, SUBJECTS, Severity, choose_server_id, evaluate,
    unnamed,
};
