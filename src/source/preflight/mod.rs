//! Whether a server can be our source: facts over SQL, and a pure judgement of them.
//!
//! `check` prints all findings at once; `run` refuses with the same words.

mod facts;
mod grants;
mod judge;

pub use facts::{BinlogFile, Facts, Fellow, Unknown, collect};
pub use grants::Grants;
pub use judge::{Demands, Finding, Severity, choose_server_id, judge};
